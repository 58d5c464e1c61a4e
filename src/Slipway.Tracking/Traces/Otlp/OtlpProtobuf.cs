using System.Text;
using System.Text.Json;

namespace Slipway.Tracking.Traces.Otlp;

/// <summary>
/// OTLP's binary form, by the field numbers of opentelemetry-proto v1
/// (https://github.com/open-telemetry/opentelemetry-proto/blob/v1.3.2/opentelemetry/proto/trace/v1/trace.proto).
/// </summary>
internal static class OtlpProtobuf
{
    public static OtlpBatch Read(ReadOnlySpan<byte> body)
    {
        var batch = new OtlpBatch();
        for (var request = new ProtobufReader(body); request.Next();)
        {
            if (request.Field != 1)
            {
                request.Skip();
                continue;
            }

            for (var resource = new ProtobufReader(request.Bytes()); resource.Next();)
            {
                if (resource.Field != 2)
                {
                    resource.Skip();
                    continue;
                }

                for (var scope = new ProtobufReader(resource.Bytes()); scope.Next();)
                {
                    if (scope.Field == 2)
                    {
                        batch.Add(ReadSpan(scope.Bytes()));
                    }
                    else
                    {
                        scope.Skip();
                    }
                }
            }
        }

        return batch;
    }

    /// <summary>An ExportTraceServiceResponse: empty, or with the count of what was rejected.</summary>
    public static byte[] Response(int rejected, string? reason)
    {
        if (rejected == 0)
        {
            return [];
        }

        using var partial = new MemoryStream();
        partial.WriteByte(1 << 3);
        WriteVarint(partial, (ulong)rejected);
        var text = Encoding.UTF8.GetBytes(reason ?? "");
        partial.WriteByte((2 << 3) | 2);
        WriteVarint(partial, (ulong)text.Length);
        partial.Write(text);
        using var response = new MemoryStream();
        response.WriteByte((1 << 3) | 2);
        WriteVarint(response, (ulong)partial.Length);
        partial.WriteTo(response);
        return response.ToArray();
    }

    private static OtlpSpan ReadSpan(ReadOnlySpan<byte> message)
    {
        var span = new OtlpSpan();
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1:
                    span.TraceId = reader.Bytes().ToArray();
                    break;
                case 2:
                    span.SpanId = reader.Bytes().ToArray();
                    break;
                case 4:
                    span.ParentSpanId = reader.Bytes().ToArray();
                    break;
                case 5:
                    span.Name = reader.Text();
                    break;
                case 7:
                    span.StartNs = reader.Fixed64();
                    break;
                case 8:
                    span.EndNs = reader.Fixed64();
                    break;
                case 9:
                    span.Attributes.Add(ReadAttribute(reader.Bytes()));
                    break;
                case 11:
                    span.Events.Add(ReadEvent(reader.Bytes()));
                    break;
                case 13:
                    if (ReadLink(reader.Bytes()) is { } link)
                    {
                        span.Links.Add(link);
                    }

                    break;
                case 15:
                    for (var status = new ProtobufReader(reader.Bytes()); status.Next();)
                    {
                        switch (status.Field)
                        {
                            case 2:
                                span.StatusMessage = status.Text();
                                break;
                            case 3:
                                span.StatusCode = (int)status.Varint();
                                break;
                            default:
                                status.Skip();
                                break;
                        }
                    }

                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return span;
    }

    private static SpanEvent ReadEvent(ReadOnlySpan<byte> message)
    {
        var (name, at, attributes) = ("", 0UL, new List<KeyValuePair<string, string>>());
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1:
                    at = reader.Fixed64();
                    break;
                case 2:
                    name = reader.Text();
                    break;
                case 3:
                    attributes.Add(ReadAttribute(reader.Bytes()));
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return new SpanEvent(name, (long)Math.Min(at, long.MaxValue), attributes);
    }

    private static SpanLink? ReadLink(ReadOnlySpan<byte> message)
    {
        ReadOnlySpan<byte> traceId = [], spanId = [];
        var attributes = new List<KeyValuePair<string, string>>();
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1:
                    traceId = reader.Bytes();
                    break;
                case 2:
                    spanId = reader.Bytes();
                    break;
                case 4:
                    attributes.Add(ReadAttribute(reader.Bytes()));
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        return traceId.Length == 16 && spanId.Length == 8 ? new SpanLink(SpanJson.Hex(traceId), SpanJson.Hex(spanId), attributes) : null;
    }

    private static KeyValuePair<string, string> ReadAttribute(ReadOnlySpan<byte> message)
    {
        using var buffer = new MemoryStream();
        var key = "";
        ReadOnlySpan<byte> value = [];
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1:
                    key = reader.Text();
                    break;
                case 2:
                    value = reader.Bytes();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        // A span cannot be captured by the delegate; attributes are small.
        var bytes = value.ToArray();
        return new(key, OtlpBatch.Json(json => WriteAny(json, bytes, 1)));
    }

    private static void WriteAny(Utf8JsonWriter json, ReadOnlySpan<byte> message, int depth)
    {
        if (depth > OtlpBatch.DepthMax)
        {
            throw OtlpBatch.TooDeep();
        }

        var written = false;
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            if (written)
            {
                reader.Skip(); // A value is one of these; what comes after the first is not sent by anyone sane.
                continue;
            }

            written = true;
            switch (reader.Field)
            {
                case 1:
                    json.WriteStringValue(reader.Text());
                    break;
                case 2:
                    json.WriteBooleanValue(reader.Varint() != 0);
                    break;
                case 3:
                    json.WriteNumberValue((long)reader.Varint());
                    break;
                case 4:
                    OtlpBatch.WriteNumber(json, BitConverter.UInt64BitsToDouble(reader.Fixed64()));
                    break;
                case 5:
                    json.WriteStartArray();
                    for (var list = new ProtobufReader(reader.Bytes()); list.Next();)
                    {
                        if (list.Field == 1)
                        {
                            WriteAny(json, list.Bytes(), depth + 1);
                        }
                        else
                        {
                            list.Skip();
                        }
                    }

                    json.WriteEndArray();
                    break;
                case 6:
                    json.WriteStartObject();
                    for (var list = new ProtobufReader(reader.Bytes()); list.Next();)
                    {
                        if (list.Field == 1)
                        {
                            WriteProperty(json, list.Bytes(), depth + 1);
                        }
                        else
                        {
                            list.Skip();
                        }
                    }

                    json.WriteEndObject();
                    break;
                case 7:
                    json.WriteBase64StringValue(reader.Bytes());
                    break;
                default:
                    reader.Skip();
                    written = false;
                    break;
            }
        }

        if (!written)
        {
            json.WriteNullValue();
        }
    }

    private static void WriteProperty(Utf8JsonWriter json, ReadOnlySpan<byte> message, int depth)
    {
        var key = "";
        ReadOnlySpan<byte> value = [];
        for (var reader = new ProtobufReader(message); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1:
                    key = reader.Text();
                    break;
                case 2:
                    value = reader.Bytes();
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        json.WritePropertyName(key);
        WriteAny(json, value, depth);
    }

    private static void WriteVarint(MemoryStream target, ulong value)
    {
        while (value >= 0x80)
        {
            target.WriteByte((byte)(value | 0x80));
            value >>= 7;
        }

        target.WriteByte((byte)value);
    }
}
