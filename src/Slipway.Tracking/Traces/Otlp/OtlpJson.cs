using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Tracking.Traces.Otlp;

/// <summary>OTLP's JSON form (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): lowerCamelCase, ids in hex, enums as numbers.</summary>
internal static class OtlpJson
{
    public static OtlpBatch Read(ReadOnlyMemory<byte> body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            var batch = new OtlpBatch();
            foreach (var resource in List(document.RootElement, "resourceSpans", ""))
            {
                foreach (var scope in List(resource.Item, "scopeSpans", resource.At))
                {
                    foreach (var span in List(scope.Item, "spans", scope.At))
                    {
                        batch.Add(ReadSpan(span.Item, span.At));
                    }
                }
            }

            return batch;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The second: a text with half a surrogate pair, which JSON allows and nothing can hold.
            throw new SlipwayException(ErrorCode.InvalidArgument, "The request body is not an ExportTraceServiceRequest in JSON.", e);
        }
    }

    /// <summary>An ExportTraceServiceResponse.</summary>
    public static byte[] Response(int rejected, string? reason) => rejected == 0
        ? "{}"u8.ToArray()
        : JsonSerializer.SerializeToUtf8Bytes(new { partialSuccess = new { rejectedSpans = rejected.ToString(CultureInfo.InvariantCulture), errorMessage = reason } });

    private static OtlpSpan ReadSpan(JsonElement json, string at)
    {
        var span = new OtlpSpan
        {
            TraceId = Id(json, "traceId", at),
            SpanId = Id(json, "spanId", at),
            ParentSpanId = Id(json, "parentSpanId", at),
            Name = Text(json, "name", at),
            StartNs = Nanoseconds(json, "startTimeUnixNano", at),
            EndNs = Nanoseconds(json, "endTimeUnixNano", at),
        };
        if (Property(json, "status", at) is { ValueKind: JsonValueKind.Object } status)
        {
            span.StatusMessage = Text(status, "message", at + ".status");
            span.StatusCode = Property(status, "code", at + ".status") switch
            {
                { ValueKind: JsonValueKind.Number } code when code.TryGetInt32(out var number) => number,
                { ValueKind: JsonValueKind.String } code => code.GetString() switch { "STATUS_CODE_OK" => 1, "STATUS_CODE_ERROR" => 2, _ => 0 },
                _ => 0,
            };
        }

        ReadAttributes(json, at, span.Attributes);
        foreach (var item in List(json, "events", at + "."))
        {
            var attributes = new List<KeyValuePair<string, string>>();
            ReadAttributes(item.Item, item.At, attributes);
            span.Events.Add(new SpanEvent(Text(item.Item, "name", item.At), (long)Math.Min(Nanoseconds(item.Item, "timeUnixNano", item.At), long.MaxValue), attributes));
        }

        foreach (var link in List(json, "links", at + "."))
        {
            var attributes = new List<KeyValuePair<string, string>>();
            ReadAttributes(link.Item, link.At, attributes);
            if (Id(link.Item, "traceId", link.At) is { Length: 16 } traceId && Id(link.Item, "spanId", link.At) is { Length: 8 } spanId)
            {
                span.Links.Add(new SpanLink(SpanJson.Hex(traceId), SpanJson.Hex(spanId), attributes));
            }
        }

        return span;
    }

    private static void ReadAttributes(JsonElement holder, string at, List<KeyValuePair<string, string>> attributes)
    {
        foreach (var attribute in List(holder, "attributes", at + "."))
        {
            var value = Property(attribute.Item, "value", attribute.At);
            attributes.Add(new(Text(attribute.Item, "key", attribute.At), OtlpBatch.Json(json => WriteAny(json, value, attribute.At, 1))));
        }
    }

    private static void WriteAny(Utf8JsonWriter json, JsonElement any, string at, int depth)
    {
        if (depth > OtlpBatch.DepthMax)
        {
            throw OtlpBatch.TooDeep();
        }

        if (any.ValueKind is JsonValueKind.Object)
        {
            foreach (var property in any.EnumerateObject())
            {
                switch (property.Name)
                {
                    case "stringValue" or "bytesValue" when property.Value.ValueKind is JsonValueKind.String:
                        json.WriteStringValue(property.Value.GetString());
                        return;
                    case "boolValue" when property.Value.ValueKind is JsonValueKind.True or JsonValueKind.False:
                        json.WriteBooleanValue(property.Value.GetBoolean());
                        return;
                    case "intValue":
                        json.WriteNumberValue(property.Value.ValueKind switch
                        {
                            JsonValueKind.Number when property.Value.TryGetInt64(out var whole) => whole,
                            JsonValueKind.String when long.TryParse(property.Value.GetString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) => whole,
                            _ => throw Wrong(at + ".intValue", "a whole number"),
                        });
                        return;
                    case "doubleValue":
                        OtlpBatch.WriteNumber(json, property.Value.ValueKind switch
                        {
                            JsonValueKind.Number => property.Value.GetDouble(),
                            JsonValueKind.String when double.TryParse(property.Value.GetString(), NumberStyles.Float, CultureInfo.InvariantCulture, out var number) => number,
                            _ => throw Wrong(at + ".doubleValue", "a number"),
                        });
                        return;
                    case "arrayValue":
                        json.WriteStartArray();
                        foreach (var item in List(property.Value, "values", at + "."))
                        {
                            WriteAny(json, item.Item, item.At, depth + 1);
                        }

                        json.WriteEndArray();
                        return;
                    case "kvlistValue":
                        json.WriteStartObject();
                        foreach (var item in List(property.Value, "values", at + "."))
                        {
                            json.WritePropertyName(Text(item.Item, "key", item.At));
                            WriteAny(json, Property(item.Item, "value", item.At), item.At, depth + 1);
                        }

                        json.WriteEndObject();
                        return;
                    case "stringValue" or "bytesValue" or "boolValue":
                        throw Wrong($"{at}.{property.Name}", "of the type its name says");
                }
            }
        }

        json.WriteNullValue();
    }

    private static IEnumerable<(JsonElement Item, string At)> List(JsonElement holder, string name, string at)
    {
        var list = Property(holder, name, at.TrimEnd('.'));
        if (list.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null)
        {
            return [];
        }

        return list.ValueKind is JsonValueKind.Array
            ? list.EnumerateArray().Select((item, index) => (item, $"{at}{(at.Length == 0 || at.EndsWith('.') ? "" : ".")}{name}[{index}]"))
            : throw Wrong(at + name, "a list");
    }

    private static JsonElement Property(JsonElement holder, string name, string at) => holder.ValueKind is JsonValueKind.Object
        ? holder.TryGetProperty(name, out var value) ? value : default
        : throw Wrong(at.Length == 0 ? "body" : at, "an object");

    private static string Text(JsonElement holder, string name, string at) => Property(holder, name, at) switch
    {
        { ValueKind: JsonValueKind.Undefined or JsonValueKind.Null } => "",
        { ValueKind: JsonValueKind.String } text => text.GetString()!,
        _ => throw Wrong($"{at}.{name}", "a text"),
    };

    private static byte[] Id(JsonElement holder, string name, string at)
    {
        var text = Text(holder, name, at);
        return text.Length % 2 == 0 && text.All(char.IsAsciiHexDigit) ? Convert.FromHexString(text) : throw Wrong($"{at}.{name}", "bytes in hex");
    }

    private static ulong Nanoseconds(JsonElement holder, string name, string at) => Property(holder, name, at) switch
    {
        { ValueKind: JsonValueKind.Undefined or JsonValueKind.Null } => 0,
        { ValueKind: JsonValueKind.Number } number when number.TryGetUInt64(out var ns) => ns,
        { ValueKind: JsonValueKind.String } text when ulong.TryParse(text.GetString(), NumberStyles.None, CultureInfo.InvariantCulture, out var ns) => ns,
        _ => throw Wrong($"{at}.{name}", "Unix nanoseconds"),
    };

    private static SlipwayException Wrong(string at, string expected) => RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: it must be {expected}.");
}
