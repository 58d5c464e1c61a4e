using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Text;

namespace Slipway.Native.Onnx;

/// <summary>The outputs of one run, in the runtime's memory until disposed. Outputs that are not tensors are left out.</summary>
public unsafe ref struct OnnxResult
{
    private readonly OnnxSession session;
    private readonly nint[]? many;
    private readonly int count;
    private Few few;
    private bool disposed;

    internal OnnxResult(OnnxSession session, ReadOnlySpan<nint> values)
    {
        this.session = session;
        count = values.Length;
        if (count <= Few.Length)
        {
            values.CopyTo(few);
        }
        else
        {
            many = values.ToArray();
        }
    }

    /// <summary>Outputs that are tensors.</summary>
    public readonly int Count => count;

    /// <summary>Position of an output by name.</summary>
    public readonly int Position(string name) => session.OutputPosition(name);

    /// <summary>Name, type and declared shape.</summary>
    public readonly OnnxTensorInfo Info(int output) => session.Output(output);

    /// <summary>The actual shape of this run.</summary>
    public readonly long[] Shape(int output)
    {
        nint info;
        OnnxApi.Check(OnnxApi.GetTensorTypeAndShape(Value(output), &info));
        try
        {
            nuint rank;
            OnnxApi.Check(OnnxApi.GetDimensionsCount(info, &rank));
            var shape = new long[rank];
            fixed (long* dimensions = shape)
            {
                OnnxApi.Check(OnnxApi.GetDimensions(info, dimensions, rank));
            }

            return shape;
        }
        finally
        {
            OnnxApi.ReleaseTensorTypeAndShapeInfo(info);
        }
    }

    /// <summary>The values; <typeparamref name="T"/> must have the size of the output's element type (bool for bool).</summary>
    [UnscopedRef]
    public readonly ReadOnlySpan<T> Values<T>(int output)
        where T : unmanaged
    {
        var size = OnnxInput.SizeOf(Info(output).ElementType);
        if (size != sizeof(T))
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Output '{Info(output).Name}' is {Info(output).ElementType}, not {typeof(T).Name}.");
        }

        void* data;
        OnnxApi.Check(OnnxApi.GetTensorMutableData(Value(output), &data));
        return new ReadOnlySpan<T>(data, ElementCount(output));
    }

    /// <summary>A float32 output.</summary>
    [UnscopedRef]
    public readonly ReadOnlySpan<float> Floats(int output) => Values<float>(Expect(output, OnnxElementType.Float));

    /// <summary>An int64 output.</summary>
    [UnscopedRef]
    public readonly ReadOnlySpan<long> Longs(int output) => Values<long>(Expect(output, OnnxElementType.Int64));

    /// <summary>The bytes of any output but strings, in native order.</summary>
    [UnscopedRef]
    public readonly ReadOnlySpan<byte> Bytes(int output)
    {
        var size = OnnxInput.SizeOf(Info(output).ElementType);
        if (size == 0)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Output '{Info(output).Name}' is {Info(output).ElementType}, which has no bytes.");
        }

        void* data;
        OnnxApi.Check(OnnxApi.GetTensorMutableData(Value(output), &data));
        return new ReadOnlySpan<byte>(data, checked(ElementCount(output) * size));
    }

    /// <summary>A string output, copied.</summary>
    public readonly string[] Strings(int output)
    {
        ReadOnlySpan<byte> rest = Texts(output);
        var strings = new string[ElementCount(output)];
        for (var i = 0; i < strings.Length; i++)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(rest);
            strings[i] = Encoding.UTF8.GetString(rest.Slice(sizeof(int), length));
            rest = rest[(sizeof(int) + length)..];
        }

        return strings;
    }

    /// <summary>A string output as bytes: before each text its length in four bytes, little-endian.</summary>
    public readonly byte[] Texts(int output)
    {
        Expect(output, OnnxElementType.String);
        nuint bytes;
        OnnxApi.Check(OnnxApi.GetStringTensorDataLength(Value(output), &bytes));
        var text = new byte[bytes + 1];
        var offsets = new nuint[ElementCount(output) + 1];
        fixed (byte* t = text)
        fixed (nuint* o = offsets)
        {
            OnnxApi.Check(OnnxApi.GetStringTensorContent(Value(output), t, bytes, o, (nuint)offsets.Length - 1));
        }

        offsets[^1] = bytes;
        var prefixed = new byte[checked((int)bytes + (sizeof(int) * (offsets.Length - 1)))];
        var at = 0;
        for (var i = 0; i < offsets.Length - 1; i++)
        {
            var length = (int)(offsets[i + 1] - offsets[i]);
            BinaryPrimitives.WriteInt32LittleEndian(prefixed.AsSpan(at), length);
            text.AsSpan((int)offsets[i], length).CopyTo(prefixed.AsSpan(at + sizeof(int)));
            at += sizeof(int) + length;
        }

        return prefixed;
    }

    /// <summary>Frees the outputs.</summary>
    public void Dispose()
    {
        if (!disposed)
        {
            disposed = true;
            for (var i = 0; i < count; i++)
            {
                OnnxApi.ReleaseValue(many is null ? few[i] : many[i]);
            }
        }
    }

    private readonly int Expect(int output, OnnxElementType type) => Info(output).ElementType == type
        ? output
        : throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Output '{Info(output).Name}' is {Info(output).ElementType}, not {type}.");

    private readonly int ElementCount(int output)
    {
        nint info;
        nuint elements;
        OnnxApi.Check(OnnxApi.GetTensorTypeAndShape(Value(output), &info));
        var status = OnnxApi.GetTensorShapeElementCount(info, &elements);
        OnnxApi.ReleaseTensorTypeAndShapeInfo(info);
        OnnxApi.Check(status);
        return checked((int)elements);
    }

    private readonly nint Value(int output)
    {
        ObjectDisposedException.ThrowIf(disposed, typeof(OnnxResult));
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)output, (uint)count, nameof(output));
        return many is null ? few[output] : many[output];
    }

    [InlineArray(Length)]
    private struct Few
    {
        internal const int Length = 8;
        private nint first;
    }
}
