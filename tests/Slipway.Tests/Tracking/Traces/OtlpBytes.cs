using System.Buffers.Binary;
using System.Text;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>Writes protobuf by the encoding's specification, independently of the server's reader.</summary>
internal sealed class OtlpBytes
{
    private readonly List<byte> _bytes = [];

    public byte[] ToArray() => [.. _bytes];

    public OtlpBytes Varint(int field, ulong value)
    {
        Raw((ulong)(field << 3));
        Raw(value);
        return this;
    }

    public OtlpBytes Fixed64(int field, ulong value)
    {
        Raw((ulong)((field << 3) | 1));
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        _bytes.AddRange(bytes);
        return this;
    }

    public OtlpBytes Double(int field, double value) => Fixed64(field, BitConverter.DoubleToUInt64Bits(value));

    public OtlpBytes Bytes(int field, byte[] value)
    {
        Raw((ulong)((field << 3) | 2));
        Raw((ulong)value.Length);
        _bytes.AddRange(value);
        return this;
    }

    public OtlpBytes Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    public OtlpBytes Message(int field, OtlpBytes value) => Bytes(field, value.ToArray());

    public OtlpBytes Attribute(int field, string key, OtlpBytes value) => Message(field, new OtlpBytes().Text(1, key).Message(2, value));

    public OtlpBytes Attribute(int field, string key, string value) => Attribute(field, key, new OtlpBytes().Text(1, value));

    /// <summary>A span: ids in hex, seconds since 1970-01-01 as start and end.</summary>
    public static OtlpBytes Span(string traceId, string spanId, string? parent, string name, double start, double end, int status = 0)
    {
        var span = new OtlpBytes().Bytes(1, Convert.FromHexString(traceId)).Bytes(2, Convert.FromHexString(spanId)).Text(3, "vendor=1");
        if (parent is not null)
        {
            span.Bytes(4, Convert.FromHexString(parent));
        }

        return span.Text(5, name).Varint(6, 1).Fixed64(7, (ulong)(start * 1e9)).Fixed64(8, (ulong)(end * 1e9)).Varint(10, 0)
            .Message(15, new OtlpBytes().Text(2, status == 2 ? "it broke" : "").Varint(3, (ulong)status));
    }

    /// <summary>An ExportTraceServiceRequest with a resource and a scope around the spans.</summary>
    public static byte[] Request(params OtlpBytes[] spans)
    {
        var scope = new OtlpBytes().Message(1, new OtlpBytes().Text(1, "test").Text(2, "1.0"));
        foreach (var span in spans)
        {
            scope.Message(2, span);
        }

        return new OtlpBytes().Message(1, new OtlpBytes().Message(1, new OtlpBytes().Attribute(1, "service.name", "shop")).Message(2, scope).Text(3, "https://opentelemetry.io/schemas/1.27.0")).ToArray();
    }

    private void Raw(ulong value)
    {
        while (value >= 0x80)
        {
            _bytes.Add((byte)(value | 0x80));
            value >>= 7;
        }

        _bytes.Add((byte)value);
    }
}
