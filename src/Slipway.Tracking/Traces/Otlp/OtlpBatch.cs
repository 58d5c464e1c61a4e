using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Tracking.Traces.Otlp;

/// <summary>What one export holds: the spans that can be taken, and how many cannot.</summary>
internal sealed class OtlpBatch
{
    /// <summary>How deep an attribute's value may nest; deeper ones are refused before they can exhaust the stack.</summary>
    public const int DepthMax = 16;

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public List<Span> Spans { get; } = [];

    public int Rejected { get; private set; }

    public string? Reason { get; private set; }

    /// <summary>Takes one span, or counts it as rejected.</summary>
    public void Add(OtlpSpan span)
    {
        if (Spans.Count + Rejected >= TraceLimits.SpansPerRequestMax)
        {
            throw new SlipwayException(ErrorCode.TooLarge, $"An export may hold at most {TraceLimits.SpansPerRequestMax} spans; send smaller batches.");
        }

        var fault = span.TraceId is not { Length: 16 } || span.TraceId.All(part => part == 0) ? "'trace_id' must be 16 bytes, not all zero"
            : span.SpanId is not { Length: 8 } || span.SpanId.All(part => part == 0) ? "'span_id' must be 8 bytes, not all zero"
            : span.ParentSpanId.Length is not (0 or 8) ? "'parent_span_id' must be 8 bytes or absent"
            : span.StartNs > long.MaxValue || span.EndNs > long.MaxValue ? "'start_time_unix_nano' and 'end_time_unix_nano' must be Unix nanoseconds"
            : span.EndNs != 0 && span.EndNs < span.StartNs ? "'end_time_unix_nano' lies before 'start_time_unix_nano'"
            : null;
        if (fault is not null)
        {
            Rejected++;
            Reason ??= $"Span '{(span.Name.Length <= 60 ? span.Name : span.Name[..60] + "…")}': {fault}.";
            return;
        }

        var traceKey = SpanJson.Hex(span.TraceId);
        // MLflow's clients read a span's trace from this attribute.
        span.Attributes.RemoveAll(attribute => attribute.Key == TraceKeys.TraceRequestIdAttribute);
        span.Attributes.Add(new(TraceKeys.TraceRequestIdAttribute, $"\"tr-{traceKey}\""));
        Spans.Add(new Span(
            traceKey, SpanJson.Hex(span.SpanId), span.ParentSpanId.All(part => part == 0) ? null : SpanJson.Hex(span.ParentSpanId), Clean(span.Name),
            span.StatusCode switch { 1 => "OK", 2 => "ERROR", _ => "UNSET" }, span.StatusMessage, (long)span.StartNs, span.EndNs == 0 ? null : (long)span.EndNs,
            span.Attributes, span.Events, span.Links));
    }

    /// <summary>JSON of one attribute's value.</summary>
    public static string Json(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, Options))
        {
            write(json);
        }

        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    /// <summary>JSON has no NaN and no infinities; their names stand for them.</summary>
    public static void WriteNumber(Utf8JsonWriter json, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumberValue(value);
        }
        else
        {
            json.WriteStringValue(value.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    public static SlipwayException TooDeep() => RunLimits.Invalid($"An attribute's value nests more than {DepthMax} levels; send it as JSON text instead.");

    private static string Clean(string name) => name.Replace("\0", "", StringComparison.Ordinal);
}

/// <summary>A span as it was sent, before it is checked.</summary>
internal sealed class OtlpSpan
{
    public byte[] TraceId { get; set; } = [];

    public byte[] SpanId { get; set; } = [];

    public byte[] ParentSpanId { get; set; } = [];

    public string Name { get; set; } = "";

    public ulong StartNs { get; set; }

    public ulong EndNs { get; set; }

    public int StatusCode { get; set; }

    public string StatusMessage { get; set; } = "";

    public List<KeyValuePair<string, string>> Attributes { get; } = [];

    public List<SpanEvent> Events { get; } = [];

    public List<SpanLink> Links { get; } = [];
}
