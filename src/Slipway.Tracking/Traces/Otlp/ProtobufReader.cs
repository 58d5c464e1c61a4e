using System.Buffers.Binary;
using System.Text;
using Slipway.Contracts;

namespace Slipway.Tracking.Traces.Otlp;

/// <summary>Reads one protobuf message field by field (https://protobuf.dev/programming-guides/encoding). What OTLP needs of it is this small.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> _rest = message;
    private int _wireType;

    /// <summary>The number of the present field.</summary>
    public int Field { get; private set; }

    /// <summary>Goes to the next field; false at the end. Each field's value must be read or skipped before the next.</summary>
    public bool Next()
    {
        if (_rest.IsEmpty)
        {
            return false;
        }

        var tag = RawVarint();
        Field = tag is > 7 and <= uint.MaxValue ? (int)(tag >> 3) : throw Malformed();
        _wireType = (int)(tag & 7);
        return true;
    }

    public ulong Varint() => _wireType == 0 ? RawVarint() : throw Malformed();

    public ulong Fixed64()
    {
        var bytes = _wireType == 1 ? Take(8) : throw Malformed();
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    public ReadOnlySpan<byte> Bytes() => _wireType == 2 ? Take(RawVarint()) : throw Malformed();

    public string Text() => Encoding.UTF8.GetString(Bytes());

    public void Skip()
    {
        switch (_wireType)
        {
            case 0:
                RawVarint();
                break;
            case 1:
                Take(8);
                break;
            case 2:
                Take(RawVarint());
                break;
            case 5:
                Take(4);
                break;
            default:
                throw Malformed(); // Groups; OTLP never had them.
        }
    }

    private ulong RawVarint()
    {
        ulong value = 0;
        for (var shift = 0; shift < 70; shift += 7)
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

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)_rest.Length)
        {
            throw Malformed();
        }

        var taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }

    private static SlipwayException Malformed() =>
        RunLimits.Invalid("The request body is not an ExportTraceServiceRequest in protobuf: it ends too soon or holds fields of another type.");
}
