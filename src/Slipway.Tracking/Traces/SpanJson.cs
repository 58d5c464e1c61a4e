using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Tracking.Traces;

/// <summary>A span as MLflow's JSON, which is also how it is kept: ids in base64, each attribute's value as JSON within a string.</summary>
internal static class SpanJson
{
    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>What is kept in <c>spans.content</c>.</summary>
    public static string Write(Span span)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            json.WriteStartObject();
            json.WriteString("trace_id", Base64(span.TraceKey));
            json.WriteString("span_id", Base64(span.SpanId));
            json.WriteString("parent_span_id", span.ParentSpanId is { } parent ? Base64(parent) : "");
            json.WriteString("name", span.Name);
            json.WriteNumber("start_time_unix_nano", span.StartNs);
            if (span.EndNs is { } end)
            {
                json.WriteNumber("end_time_unix_nano", end);
            }
            else
            {
                json.WriteNull("end_time_unix_nano");
            }

            json.WriteStartArray("events");
            foreach (var item in span.Events)
            {
                json.WriteStartObject();
                json.WriteString("name", item.Name);
                json.WriteNumber("time_unix_nano", item.AtNs);
                // Unlike those of a span, MLflow keeps the attributes of an event as plain JSON.
                WriteRaw(json, item.Attributes);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteStartObject("status");
            json.WriteString("code", "STATUS_CODE_" + span.Status);
            json.WriteString("message", span.StatusMessage);
            json.WriteEndObject();
            json.WriteStartObject("attributes");
            foreach (var (key, value) in span.Attributes)
            {
                json.WriteString(key, value);
            }

            json.WriteEndObject();
            if (span.Links.Count > 0)
            {
                json.WriteStartArray("links");
                foreach (var link in span.Links)
                {
                    json.WriteStartObject();
                    json.WriteString("trace_id", "tr-" + link.TraceKey);
                    json.WriteString("span_id", link.SpanId);
                    WriteRaw(json, link.Attributes);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            }

            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>The kept form as the JSON of OpenTelemetry's protobuf message, in which MLflow's own API answers spans.</summary>
    public static void WriteOpenTelemetry(Utf8JsonWriter json, JsonElement kept)
    {
        json.WriteStartObject();
        foreach (var name in (ReadOnlySpan<string>)["trace_id", "span_id", "parent_span_id", "name", "start_time_unix_nano", "end_time_unix_nano"])
        {
            if (kept.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.String or JsonValueKind.Number)
            {
                json.WritePropertyName(name);
                value.WriteTo(json);
            }
        }

        json.WriteStartArray("attributes");
        foreach (var attribute in kept.GetProperty("attributes").EnumerateObject())
        {
            using var value = Parse(attribute.Value.GetString() ?? "null");
            WriteKeyValue(json, attribute.Name, value.RootElement);
        }

        json.WriteEndArray();
        json.WriteStartArray("events");
        foreach (var item in kept.GetProperty("events").EnumerateArray())
        {
            json.WriteStartObject();
            json.WritePropertyName("time_unix_nano");
            item.GetProperty("time_unix_nano").WriteTo(json);
            json.WriteString("name", item.GetProperty("name").GetString());
            json.WriteStartArray("attributes");
            foreach (var attribute in item.GetProperty("attributes").EnumerateObject())
            {
                WriteKeyValue(json, attribute.Name, attribute.Value);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WritePropertyName("status");
        kept.GetProperty("status").WriteTo(json);
        json.WriteEndObject();
    }

    /// <summary>A span of an uploaded <c>traces.json</c>, in MLflow's present form or in that of 2.x.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: names the field.</exception>
    public static Span Read(JsonElement span, string at)
    {
        if (span.ValueKind is not JsonValueKind.Object)
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: a span must be an object.");
        }

        var old = span.TryGetProperty("context", out var context) && context.ValueKind is JsonValueKind.Object;
        var ids = old ? context : span;
        var status = Property(span, "status");
        return new Span(
            Id(Text(ids, "trace_id", at), 32, old, $"{at}.trace_id") ?? throw Missing($"{at}.trace_id"),
            Id(Text(ids, "span_id", at), 16, old, $"{at}.span_id") ?? throw Missing($"{at}.span_id"),
            old ? Id(Text(span, "parent_id", at), 16, true, $"{at}.parent_id") : Id(Text(span, "parent_span_id", at), 16, false, $"{at}.parent_span_id"),
            (Text(span, "name", at) ?? throw Missing($"{at}.name")).Replace("\0", "", StringComparison.Ordinal),
            Status(old ? Text(span, "status_code", at) : status.ValueKind is JsonValueKind.Object ? Text(status, "code", at + ".status") : null, at),
            (old ? Text(span, "status_message", at) : status.ValueKind is JsonValueKind.Object ? Text(status, "message", at + ".status") : null) ?? "",
            Time(span, old ? "start_time" : "start_time_unix_nano", at) ?? throw Missing($"{at}.start_time_unix_nano"),
            Time(span, old ? "end_time" : "end_time_unix_nano", at),
            [.. Attributes(span, $"{at}.attributes", quoted: true)],
            [.. Events(span, at)],
            []);
    }

    internal static string Hex(ReadOnlySpan<byte> id) => Convert.ToHexStringLower(id);

    internal static string Base64(string hex) => Convert.ToBase64String(Convert.FromHexString(hex));

    /// <summary>JSON that was put in by others and may not be any.</summary>
    internal static JsonDocument Parse(string text)
    {
        try
        {
            return JsonDocument.Parse(text);
        }
        catch (JsonException)
        {
            return JsonDocument.Parse(JsonSerializer.Serialize(text));
        }
    }

    private static void WriteRaw(Utf8JsonWriter json, IReadOnlyList<KeyValuePair<string, string>> attributes)
    {
        json.WriteStartObject("attributes");
        foreach (var (key, value) in attributes)
        {
            json.WritePropertyName(key);
            json.WriteRawValue(value);
        }

        json.WriteEndObject();
    }

    private static void WriteKeyValue(Utf8JsonWriter json, string key, JsonElement value)
    {
        json.WriteStartObject();
        json.WriteString("key", key);
        json.WritePropertyName("value");
        WriteAny(json, value);
        json.WriteEndObject();
    }

    private static void WriteAny(Utf8JsonWriter json, JsonElement value)
    {
        json.WriteStartObject();
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                json.WritePropertyName("string_value");
                value.WriteTo(json);
                break;
            case JsonValueKind.True or JsonValueKind.False:
                json.WriteBoolean("bool_value", value.GetBoolean());
                break;
            case JsonValueKind.Number when value.TryGetInt64(out var whole):
                json.WriteNumber("int_value", whole);
                break;
            case JsonValueKind.Number:
                json.WritePropertyName("double_value");
                value.WriteTo(json);
                break;
            case JsonValueKind.Array:
                json.WriteStartObject("array_value");
                json.WriteStartArray("values");
                foreach (var item in value.EnumerateArray())
                {
                    WriteAny(json, item);
                }

                json.WriteEndArray();
                json.WriteEndObject();
                break;
            case JsonValueKind.Object:
                json.WriteStartObject("kvlist_value");
                json.WriteStartArray("values");
                foreach (var property in value.EnumerateObject())
                {
                    WriteKeyValue(json, property.Name, property.Value);
                }

                json.WriteEndArray();
                json.WriteEndObject();
                break;
        }

        json.WriteEndObject();
    }

    private static IEnumerable<KeyValuePair<string, string>> Attributes(JsonElement holder, string at, bool quoted)
    {
        var attributes = Property(holder, "attributes");
        if (attributes.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null)
        {
            yield break;
        }

        if (attributes.ValueKind is not JsonValueKind.Object)
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: it must be an object.");
        }

        foreach (var attribute in attributes.EnumerateObject())
        {
            // A span's attribute is JSON within a string; what is not, is taken for a value itself.
            var value = quoted && attribute.Value.ValueKind is JsonValueKind.String ? attribute.Value.GetString()! : attribute.Value.GetRawText();
            using var check = quoted ? Parse(value) : null;
            yield return new(attribute.Name, check is null ? value : check.RootElement.GetRawText());
        }
    }

    private static IEnumerable<SpanEvent> Events(JsonElement span, string at)
    {
        var events = Property(span, "events");
        if (events.ValueKind is not JsonValueKind.Array)
        {
            yield break;
        }

        foreach (var (index, item) in events.EnumerateArray().Index())
        {
            var place = $"{at}.events[{index}]";
            if (item.ValueKind is not JsonValueKind.Object)
            {
                throw RunLimits.Invalid($"Invalid value for parameter '{place}' supplied: it must be an object.");
            }

            yield return new SpanEvent(
                Text(item, "name", place) ?? "", Time(item, item.TryGetProperty("timestamp", out _) ? "timestamp" : "time_unix_nano", place) ?? 0, [.. Attributes(item, place + ".attributes", quoted: false)]);
        }
    }

    private static string Status(string? code, string at) => code switch
    {
        null or "" or "STATUS_CODE_UNSET" or "UNSET" => "UNSET",
        "STATUS_CODE_OK" or "OK" => "OK",
        "STATUS_CODE_ERROR" or "ERROR" => "ERROR",
        _ => throw RunLimits.Invalid($"Invalid value for parameter '{at}.status.code' supplied: it must be STATUS_CODE_UNSET, STATUS_CODE_OK or STATUS_CODE_ERROR."),
    };

    private static string? Id(string? text, int hexDigits, bool isHex, string at)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        Span<byte> bytes = stackalloc byte[16];
        if (isHex || text.StartsWith("0x", StringComparison.Ordinal) || text.StartsWith("tr-", StringComparison.Ordinal))
        {
            var digits = text[(text.StartsWith("0x", StringComparison.Ordinal) ? 2 : text.StartsWith("tr-", StringComparison.Ordinal) ? 3 : 0)..].PadLeft(hexDigits, '0');
            if (digits.Length == hexDigits && digits.All(char.IsAsciiHexDigit))
            {
                return digits.ToLowerInvariant();
            }
        }
        else if (Convert.TryFromBase64String(text, bytes, out var count) && count * 2 == hexDigits)
        {
            return Hex(bytes[..count]);
        }

        throw RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: it must be {hexDigits / 2} bytes in {(isHex ? "hex" : "base64")}.");
    }

    private static long? Time(JsonElement holder, string name, string at)
    {
        var value = Property(holder, name);
        return value.ValueKind switch
        {
            JsonValueKind.Undefined or JsonValueKind.Null => null,
            JsonValueKind.Number when value.TryGetInt64(out var ns) && ns >= 0 => ns,
            JsonValueKind.String when long.TryParse(value.GetString(), NumberStyles.None, CultureInfo.InvariantCulture, out var ns) => ns,
            _ => throw RunLimits.Invalid($"Invalid value for parameter '{at}.{name}' supplied: it must be Unix nanoseconds."),
        };
    }

    private static string? Text(JsonElement holder, string name, string at)
    {
        var value = Property(holder, name);
        return value.ValueKind switch
        {
            JsonValueKind.Undefined or JsonValueKind.Null => null,
            JsonValueKind.String => value.GetString(),
            _ => throw RunLimits.Invalid($"Invalid value for parameter '{at}.{name}' supplied: it must be a text."),
        };
    }

    private static JsonElement Property(JsonElement holder, string name) => holder.TryGetProperty(name, out var value) ? value : default;

    private static SlipwayException Missing(string at) => RunLimits.Invalid($"Missing value for required parameter '{at}'.");
}
