using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Slipway.Native.Onnx;

/// <summary>A tensor over the caller's array, which is read in place and must not change while the run lasts.</summary>
public readonly struct OnnxInput
{
    private const int RankInline = 8;

    private readonly Dimensions dimensions;
    private readonly long[]? more; // All of them, when they are many.

    private OnnxInput(string name, OnnxElementType elementType, Array data, int offset, int count, int elementSize, ReadOnlySpan<long> shape)
    {
        var elements = 1L;
        foreach (var size in shape)
        {
            elements = size < 0 ? throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has the negative dimension {size}.")
                : size == 0 || elements <= long.MaxValue / size ? elements * size
                : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has more values than can be counted.");
        }

        if (shape.Length <= RankInline)
        {
            shape.CopyTo(dimensions);
        }
        else
        {
            more = shape.ToArray();
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
    internal ReadOnlySpan<long> Shape => more ?? ((ReadOnlySpan<long>)dimensions)[..Rank];

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

    /// <summary>A string tensor from bytes: before each text its length in four bytes, little-endian. No text may hold a zero byte, at which the runtime would end it.</summary>
    /// <param name="name">The model's input.</param>
    /// <param name="prefixed">The texts.</param>
    /// <param name="count">How many there are.</param>
    /// <param name="shape">Its dimensions.</param>
    public static OnnxInput Texts(string name, ArraySegment<byte> prefixed, int count, params ReadOnlySpan<long> shape)
    {
        var rest = prefixed.AsSpan();
        for (var i = 0; i < count; i++)
        {
            if (rest.Length < sizeof(int) || BinaryPrimitives.ReadUInt32LittleEndian(rest) is var length && length > rest.Length - sizeof(int) || rest.Slice(sizeof(int), (int)length).Contains((byte)0))
            {
                throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Text {i} of input '{name}' is cut off or holds a zero byte.");
            }

            rest = rest[(sizeof(int) + (int)length)..];
        }

        return rest.IsEmpty
            ? new(name, OnnxElementType.String, prefixed.Array ?? [], prefixed.Offset, count, 0, shape)
            : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Input '{name}' has {rest.Length} bytes after its last text.");
    }

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

    [InlineArray(RankInline)]
    private struct Dimensions
    {
        private long first;
    }
}
