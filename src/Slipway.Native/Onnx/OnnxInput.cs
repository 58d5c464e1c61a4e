using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Slipway.Native.Onnx;

/// <summary>A tensor over the caller's array, which is read in place and must not change while the run lasts.</summary>
public readonly struct OnnxInput
{
    internal const int RankMax = 8;

    private readonly Dimensions dimensions;

    private OnnxInput(string name, OnnxElementType elementType, Array data, int offset, int count, int elementSize, ReadOnlySpan<long> shape)
    {
        if (shape.Length > RankMax)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has {shape.Length} dimensions; at most {RankMax} are supported.");
        }

        var elements = 1L;
        for (var i = 0; i < shape.Length; i++)
        {
            dimensions[i] = shape[i] >= 0
                ? shape[i]
                : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has the negative dimension {shape[i]}.");
            elements = checked(elements * shape[i]);
        }

        if (elements != count)
        {
            throw new OnnxException(
                OnnxErrorCode.InvalidArgument,
                $"Input '{name}' has {count} values; its shape [{string.Join(", ", shape.ToArray())}] needs {elements}.");
        }

        Name = name;
        ElementType = elementType;
        Data = data;
        Offset = offset;
        Count = count;
        ElementSize = elementSize;
        Rank = shape.Length;
    }

    /// <summary>The model's input it is for.</summary>
    public string Name { get; }

    /// <summary>The type of its elements.</summary>
    public OnnxElementType ElementType { get; }

    internal Array Data { get; }

    internal int Offset { get; }

    internal int Count { get; }

    internal int ElementSize { get; }

    internal int Rank { get; }

    [UnscopedRef]
    internal ReadOnlySpan<long> Shape => ((ReadOnlySpan<long>)dimensions)[..Rank];

    /// <summary>A float32 tensor.</summary>
    public static OnnxInput Float(string name, ArraySegment<float> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.Float, values, sizeof(float), shape);

    /// <summary>A float64 tensor.</summary>
    public static OnnxInput Double(string name, ArraySegment<double> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.Double, values, sizeof(double), shape);

    /// <summary>An int64 tensor.</summary>
    public static OnnxInput Int64(string name, ArraySegment<long> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.Int64, values, sizeof(long), shape);

    /// <summary>An int32 tensor.</summary>
    public static OnnxInput Int32(string name, ArraySegment<int> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.Int32, values, sizeof(int), shape);

    /// <summary>A bool tensor.</summary>
    public static OnnxInput Bool(string name, ArraySegment<bool> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.Bool, values, sizeof(bool), shape);

    /// <summary>A tensor of one of the smaller types (uint8, int8, uint16, …, float16 as its bits) from its bytes in native order.</summary>
    public static OnnxInput Bytes(string name, OnnxElementType elementType, ArraySegment<byte> bytes, params ReadOnlySpan<long> shape)
    {
        var size = SizeOf(elementType);
        return size > 0 && bytes.Count % size == 0
            ? new(name, elementType, bytes.Array!, bytes.Offset / size * size == bytes.Offset ? bytes.Offset / size : throw Misaligned(name), bytes.Count / size, size, shape)
            : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has {bytes.Count} bytes, which is no whole number of {elementType} values.");
    }

    /// <summary>A string tensor. Its text is copied.</summary>
    public static OnnxInput String(string name, ArraySegment<string> values, params ReadOnlySpan<long> shape) =>
        Over(name, OnnxElementType.String, values, 0, shape);

    /// <summary>Bytes of one element; 0 for strings and what is not a tensor.</summary>
    public static int SizeOf(OnnxElementType elementType) => elementType switch
    {
        OnnxElementType.UInt8 or OnnxElementType.Int8 or OnnxElementType.Bool => 1,
        OnnxElementType.UInt16 or OnnxElementType.Int16 or OnnxElementType.Float16 or OnnxElementType.BFloat16 => 2,
        OnnxElementType.Float or OnnxElementType.Int32 or OnnxElementType.UInt32 => 4,
        OnnxElementType.Double or OnnxElementType.Int64 or OnnxElementType.UInt64 or OnnxElementType.Complex64 => 8,
        OnnxElementType.Complex128 => 16,
        _ => 0,
    };

    private static OnnxInput Over<T>(string name, OnnxElementType type, ArraySegment<T> values, int size, ReadOnlySpan<long> shape) =>
        new(name, type, values.Array ?? Array.Empty<T>(), values.Offset, values.Count, size, shape);

    private static OnnxException Misaligned(string name) =>
        new(OnnxErrorCode.InvalidArgument, $"The bytes of input '{name}' do not begin at a multiple of their element size.");

    [InlineArray(RankMax)]
    private struct Dimensions
    {
        private long first;
    }
}
