using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Grpc;

/// <summary>The answer to a <see cref="OneTensorMessage"/>, written as the general one is, without an object for each of its parts.</summary>
internal static class OneTensorAnswer
{
    private const int FrameHeader = 5;

    // Of tags, lengths and the texts that are always the same, with room to spare.
    private const int Fixed = 256;

    /// <summary>Writes the frame: a ModelInferResponse with the output, its values as raw bytes.</summary>
    public static void Write(InferScratch mine, Arm arm)
    {
        var model = arm.Model;
        var id = mine.PredictionId;
        var own = mine.Request.Id;
        var values = MemoryMarshal.AsBytes(mine.Request.Outputs);
        var into = mine.Response;
        into.Clear();
        var span = into.GetSpan(Fixed + (3 * (model.Model.Length + model.Version.Length + model.OutputName.Length)) + own.Length + (2 * id.Length) + values.Length);

        var at = FrameHeader;
        Text(span, ref at, 1, model.Model);
        Text(span, ref at, 2, model.Version);
        Bytes(span, ref at, 3, own.IsEmpty ? id : own);
        Parameter(span, ref at, "prediction_id"u8, id);
        Span<byte> role = stackalloc byte[16];
        Parameter(span, ref at, "arm"u8, role[..Encoding.UTF8.GetBytes(arm.Name, role)]);

        Span<byte> sizes = stackalloc byte[10];
        var sizesLength = 0;
        Varint(sizes, ref sizesLength, (uint)mine.Request.Rows);
        Varint(sizes, ref sizesLength, 1);
        var name = Encoding.UTF8.GetByteCount(model.OutputName);
        Tag(span, ref at, 5, 1 + VarintLength(name) + name + 2 + "FP32"u8.Length + 2 + sizesLength);
        Text(span, ref at, 1, model.OutputName);
        Bytes(span, ref at, 2, "FP32"u8);
        Bytes(span, ref at, 3, sizes[..sizesLength]);
        Bytes(span, ref at, 6, values);

        span[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(span[1..], (uint)(at - FrameHeader));
        into.Advance(at);
    }

    // An entry of the map: key and InferParameter, whose field 3 is a string.
    private static void Parameter(Span<byte> span, ref int at, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        var inner = 1 + VarintLength(value.Length) + value.Length;
        Tag(span, ref at, 4, 2 + key.Length + 1 + VarintLength(inner) + inner);
        Bytes(span, ref at, 1, key);
        Tag(span, ref at, 2, inner);
        Bytes(span, ref at, 3, value);
    }

    private static void Text(Span<byte> span, ref int at, int field, string text)
    {
        Tag(span, ref at, field, Encoding.UTF8.GetByteCount(text));
        at += Encoding.UTF8.GetBytes(text, span[at..]);
    }

    private static void Bytes(Span<byte> span, ref int at, int field, ReadOnlySpan<byte> bytes)
    {
        Tag(span, ref at, field, bytes.Length);
        bytes.CopyTo(span[at..]);
        at += bytes.Length;
    }

    private static void Tag(Span<byte> span, ref int at, int field, int length)
    {
        span[at++] = (byte)((field << 3) | 2);
        Varint(span, ref at, (uint)length);
    }

    private static void Varint(Span<byte> span, ref int at, uint value)
    {
        while (value >= 0x80)
        {
            span[at++] = (byte)(value | 0x80);
            value >>= 7;
        }

        span[at++] = (byte)value;
    }

    private static int VarintLength(int value)
    {
        var length = 1;
        for (var rest = (uint)value >> 7; rest > 0; rest >>= 7)
        {
            length++;
        }

        return length;
    }
}
