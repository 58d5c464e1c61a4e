using System.Globalization;
using System.Text.Json;

namespace Slipway.Tracking.Traces;

/// <summary>
/// What the attributes of a span mean, under MLflow's names and under those of the OpenTelemetry GenAI conventions and OpenInference.
/// The latter two still change; this is the one place that knows them.
/// </summary>
internal static class SpanConventions
{
    private static readonly string[] TypeKeys = [TraceKeys.SpanTypeAttribute, "gen_ai.operation.name", "openinference.span.kind"];
    private static readonly string[] InputKeys = [TraceKeys.SpanInputsAttribute, "input.value", "gen_ai.input.messages"];
    private static readonly string[] OutputKeys = [TraceKeys.SpanOutputsAttribute, "output.value", "gen_ai.output.messages"];

    private static readonly Dictionary<string, string> Types = new(StringComparer.OrdinalIgnoreCase)
    {
        ["chat"] = "CHAT_MODEL",
        ["text_completion"] = "LLM",
        ["generate_content"] = "LLM",
        ["embeddings"] = "EMBEDDING",
        ["execute_tool"] = "TOOL",
        ["invoke_agent"] = "AGENT",
        ["create_agent"] = "AGENT",
    };

    /// <summary>Such as LLM, TOOL or AGENT; UNKNOWN when nothing says.</summary>
    public static string Type(Span span)
    {
        foreach (var key in TypeKeys)
        {
            if (Find(span, key) is { } json)
            {
                var text = Text(json).Text;
                return text.Length == 0 ? "UNKNOWN" : Types.GetValueOrDefault(text, text.ToUpperInvariant());
            }
        }

        return "UNKNOWN";
    }

    /// <summary>The beginning of what went in; null when nothing says.</summary>
    public static string? InputPreview(Span span) => Preview(span, InputKeys);

    /// <summary>The beginning of what came out; null when nothing says.</summary>
    public static string? OutputPreview(Span span) => Preview(span, OutputKeys);

    /// <summary>The value as a filter compares it: a text without its quotes, anything else as JSON; and as a number when it is one.</summary>
    public static (string Text, double? Number) Text(string json)
    {
        if (json.Length == 0)
        {
            return ("", null);
        }

        if (json[0] == '"')
        {
            try
            {
                return ((JsonSerializer.Deserialize<string>(json) ?? "").Replace("\0", "", StringComparison.Ordinal), null);
            }
            catch (JsonException)
            {
                return (json, null); // An attribute that a client left unencoded.
            }
        }

        return (json, double.TryParse(json, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : null);
    }

    private static string? Preview(Span span, string[] keys)
    {
        foreach (var key in keys)
        {
            if (Find(span, key) is { } json and not "null")
            {
                return RunLimits.Truncate(Text(json).Text, TraceLimits.PreviewMax);
            }
        }

        return null;
    }

    private static string? Find(Span span, string key)
    {
        foreach (var (name, json) in span.Attributes)
        {
            if (name == key)
            {
                return json;
            }
        }

        return null;
    }
}
