using System.Buffers.Binary;
using System.Text;

namespace Slipway.Native.Onnx;

/// <summary>Writes the few protobuf constructs a model file needs. https://protobuf.dev/programming-guides/encoding</summary>
internal sealed class ProtobufWriter
{
    private byte[] buffer = new byte[256];
    private int length;

    internal ReadOnlySpan<byte> Written => buffer.AsSpan(0, length);

    internal void Int(int field, long value)
    {
        Tag(field, 0);
        Varint((ulong)value);
    }

    internal void Float(int field, float value)
    {
        Tag(field, 5);
        BinaryPrimitives.WriteSingleLittleEndian(Grow(sizeof(float)), value);
    }

    internal void Bytes(int field, ReadOnlySpan<byte> bytes)
    {
        Tag(field, 2);
        Varint((ulong)bytes.Length);
        bytes.CopyTo(Grow(bytes.Length));
    }

    /// <summary>A field copied as it is.</summary>
    internal void Raw(ReadOnlySpan<byte> field) => field.CopyTo(Grow(field.Length));

    internal void Text(int field, string text) => Bytes(field, Encoding.UTF8.GetBytes(text));

    internal void Message(int field, ProtobufWriter message) => Bytes(field, message.Written);

    internal void PackedInts(int field, ReadOnlySpan<long> values)
    {
        var packed = new ProtobufWriter();
        foreach (var value in values)
        {
            packed.Varint((ulong)value);
        }

        Message(field, packed);
    }

    internal void PackedFloats(int field, ReadOnlySpan<float> values)
    {
        Tag(field, 2);
        Varint((ulong)values.Length * sizeof(float));
        var bytes = Grow(values.Length * sizeof(float));
        for (var i = 0; i < values.Length; i++)
        {
            BinaryPrimitives.WriteSingleLittleEndian(bytes[(i * sizeof(float))..], values[i]);
        }
    }

    private void Tag(int field, int wireType) => Varint((ulong)((field << 3) | wireType));

    private void Varint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
        {
            Grow(1)[0] = (byte)(value | 0x80);
        }

        Grow(1)[0] = (byte)value;
    }

    private Span<byte> Grow(int bytes)
    {
        if (buffer.Length - length < bytes)
        {
            Array.Resize(ref buffer, Math.Max(buffer.Length * 2, length + bytes));
        }

        length += bytes;
        return buffer.AsSpan(length - bytes, bytes);
    }
}

/// <summary>Walks the fields of one protobuf message.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> rest = message;

    internal int Field { get; private set; }

    /// <summary>The value of a varint or fixed field.</summary>
    internal ulong Number { get; private set; }

    /// <summary>The content of a length-delimited field.</summary>
    internal ReadOnlySpan<byte> Bytes { get; private set; }

    /// <summary>The whole field with its tag, for copying as it is.</summary>
    internal ReadOnlySpan<byte> Raw { get; private set; }

    internal bool IsBytes { get; private set; }

    internal readonly string Text => Encoding.UTF8.GetString(Bytes);

    internal bool Next()
    {
        if (rest.IsEmpty)
        {
            return false;
        }

        var start = rest;
        var tag = Varint();
        Field = (int)(tag >> 3);
        Bytes = default;
        IsBytes = (tag & 7) == 2;
        switch (tag & 7)
        {
            case 0:
                Number = Varint();
                break;
            case 1:
                Number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
                break;
            case 2:
                var length = Varint();
                Bytes = Take(length <= int.MaxValue ? (int)length : throw Malformed());
                break;
            case 5:
                Number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4));
                break;
            default:
                throw Malformed();
        }

        Raw = start[..(start.Length - rest.Length)];
        return Field > 0 ? true : throw Malformed();
    }

    internal static OnnxException Malformed() =>
        new(OnnxErrorCode.InvalidProtobuf, "The bytes are not an ONNX model (its protobuf encoding is broken).");

    /// <summary>The integers of a packed field.</summary>
    internal static void Unpack(ReadOnlySpan<byte> packed, List<long> into)
    {
        for (var reader = new ProtobufReader(packed); !reader.rest.IsEmpty;)
        {
            into.Add((long)reader.Varint());
        }
    }

    private ReadOnlySpan<byte> Take(int bytes)
    {
        if (bytes > rest.Length)
        {
            throw Malformed();
        }

        var taken = rest[..bytes];
        rest = rest[bytes..];
        return taken;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            var next = Take(1)[0];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
            {
                return value;
            }
        }

        throw Malformed();
    }
}
