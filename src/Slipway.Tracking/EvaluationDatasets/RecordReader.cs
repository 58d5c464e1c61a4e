using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Slipway.Contracts;

namespace Slipway.Tracking.EvaluationDatasets;

/// <summary>Reads the records that a request carries as JSON within a string, and says what identifies one.</summary>
internal static class RecordReader
{
    public const int RecordsMax = 10_000;

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false };
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static List<GivenRecord> Read(string json)
    {
        if (Parse(json, "records") is not JsonArray list)
        {
            throw RunLimits.Invalid("Invalid value for parameter 'records' supplied: it must be a JSON list of records.");
        }

        RunLimits.CheckCount("records", list.Count, RecordsMax);
        return [.. list.Select((item, index) => Record(item, $"records[{index}]"))];
    }

    /// <summary>JSON that a request carries within a string.</summary>
    public static JsonNode? Parse(string json, string field)
    {
        try
        {
            var node = JsonNode.Parse(json, documentOptions: Strict);
            _ = Text(node); // Texts are read lazily: this finds half a surrogate pair here and not later.
            return node;
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Invalid value for parameter '{field}' supplied: it is not JSON.", e);
        }
    }

    public static string Text(JsonNode? node) => node?.ToJsonString(Plain) ?? "null";

    /// <summary>The same for the same inputs, in whatever order their fields come.</summary>
    public static string Digest(JsonObject inputs) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Text(Sorted(inputs)))));

    /// <summary>MLflow's names of types in a dataset's schema.</summary>
    public static string TypeName(JsonNode? value) => value?.GetValueKind() switch
    {
        JsonValueKind.String => "string",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        JsonValueKind.Number => value.ToJsonString().AsSpan().ContainsAny('.', 'e', 'E') ? "float" : "integer",
        JsonValueKind.Array => "array",
        JsonValueKind.Object => "object",
        _ => "null",
    };

    private static GivenRecord Record(JsonNode? node, string at)
    {
        var record = node as JsonObject ?? throw RunLimits.Invalid($"Invalid value for parameter '{at}' supplied: a record must be an object.");
        var inputs = Object(record, "inputs", at) ?? throw RunLimits.Invalid($"Missing value for required parameter '{at}.inputs'.");
        var tags = Object(record, "tags", at);
        var source = Object(record, "source", at);
        var type = source is null ? null : String(source, "source_type", $"{at}.source");
        if (type is not (null or "TRACE" or "HUMAN" or "DOCUMENT" or "CODE" or "SOURCE_TYPE_UNSPECIFIED" or "UNSPECIFIED"))
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}.source.source_type' supplied: it must be TRACE, HUMAN, DOCUMENT or CODE.");
        }

        var data = source is null ? null : Object(source, "source_data", $"{at}.source");
        return new GivenRecord(
            inputs, record.TryGetPropertyValue("outputs", out var outputs) ? outputs : null, Object(record, "expectations", at), tags, source,
            data is null ? null : String(data, "trace_id", $"{at}.source.source_data"), type, tags is null ? null : String(tags, "mlflow.user", $"{at}.tags"));
    }

    private static JsonObject? Object(JsonObject holder, string name, string at) => !holder.TryGetPropertyValue(name, out var value) || value is null
        ? null
        : value as JsonObject ?? throw RunLimits.Invalid($"Invalid value for parameter '{at}.{name}' supplied: it must be an object.");

    private static string? String(JsonObject holder, string name, string at)
    {
        if (!holder.TryGetPropertyValue(name, out var value) || value is null)
        {
            return null;
        }

        if (value.GetValueKind() is not JsonValueKind.String)
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}.{name}' supplied: it must be a text.");
        }

        var text = value.GetValue<string>();
        Traces.TraceLimits.CheckText($"'{at}.{name}'", text);
        RunLimits.CheckLength($"'{at}.{name}'", text, 250);
        return text;
    }

    private static JsonNode? Sorted(JsonNode? node) => node switch
    {
        JsonObject inner => new JsonObject(inner.OrderBy(property => property.Key, StringComparer.Ordinal).Select(property => KeyValuePair.Create(property.Key, Sorted(property.Value)))),
        JsonArray list => new JsonArray([.. list.Select(Sorted)]),
        null => null,
        _ => node.DeepClone(),
    };
}
