using System.Text.Json;

namespace Slipway.Tracking.Traces;

/// <summary>What a trace is, without its spans.</summary>
/// <param name="TraceId">Such as <c>tr-</c> and 32 hex digits.</param>
/// <param name="ExperimentId">Where it belongs.</param>
/// <param name="RequestTimeMs">Start, Unix milliseconds.</param>
/// <param name="DurationMs">Null while it has not ended.</param>
/// <param name="State">STATE_UNSPECIFIED, OK, ERROR or IN_PROGRESS.</param>
/// <param name="ClientRequestId">The id of the request in the system that was traced; null when not given.</param>
/// <param name="RequestPreview">The beginning of the root span's input; null when not known.</param>
/// <param name="ResponsePreview">The beginning of the root span's output; null when not known.</param>
/// <param name="Metadata">What the client stated once.</param>
/// <param name="Tags">What anyone may change.</param>
/// <param name="Assessments">Oldest first.</param>
public sealed record TraceRecord(
    string TraceId, string ExperimentId, long RequestTimeMs, long? DurationMs, string State, string? ClientRequestId, string? RequestPreview, string? ResponsePreview,
    IReadOnlyDictionary<string, string> Metadata, IReadOnlyDictionary<string, string> Tags, IReadOnlyList<AssessmentRecord> Assessments)
{
    /// <summary>The root span's name; null when not known.</summary>
    public string? Name => Tags.GetValueOrDefault(TraceKeys.NameTag);
}

/// <summary>One judgement of a trace or of one of its spans.</summary>
/// <param name="AssessmentId">Its id.</param>
/// <param name="TraceId">The judged trace.</param>
/// <param name="Name">Such as <c>relevance</c>.</param>
/// <param name="IsExpectation">An expected value; otherwise feedback on what was answered.</param>
/// <param name="Value">Null only for feedback that failed.</param>
/// <param name="Error">error_code, error_message, stack_trace of feedback that failed; null otherwise.</param>
/// <param name="SourceType">HUMAN, LLM_JUDGE, CODE or SOURCE_TYPE_UNSPECIFIED.</param>
/// <param name="SourceId">Who or what judged.</param>
/// <param name="Rationale">Why; null when not given.</param>
/// <param name="Metadata">Anything else.</param>
/// <param name="SpanId">The judged span; null for the whole trace.</param>
/// <param name="Overrides">The assessment that this one replaces; null for none.</param>
/// <param name="Valid">False once another one replaces it.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
/// <param name="UpdatedAtMs">Unix milliseconds.</param>
public sealed record AssessmentRecord(
    string AssessmentId, string TraceId, string Name, bool IsExpectation, JsonElement? Value, JsonElement? Error, string SourceType, string SourceId, string? Rationale,
    IReadOnlyDictionary<string, string> Metadata, string? SpanId, string? Overrides, bool Valid, long CreatedAtMs, long UpdatedAtMs);

/// <summary>A trace with its spans.</summary>
/// <param name="Info">Without the spans.</param>
/// <param name="Spans">Each as MLflow's span JSON, by start.</param>
public sealed record TraceWithSpans(TraceRecord Info, IReadOnlyList<JsonElement> Spans);

/// <summary>A search for traces, in MLflow's grammar.</summary>
/// <param name="ExperimentIds">Only traces of these; none means no traces.</param>
/// <param name="Filter">Such as <c>trace.status = 'ERROR' AND span.type = 'LLM'</c>; null for all.</param>
/// <param name="OrderBy">Terms such as <c>timestamp_ms ASC</c>; null for newest first.</param>
/// <param name="MaxResults">1 to 500.</param>
/// <param name="PageToken">From the page before; null for the first.</param>
public sealed record TraceSearch(
    IReadOnlyList<string> ExperimentIds, string? Filter = null, IReadOnlyList<string>? OrderBy = null, int MaxResults = 100, string? PageToken = null);

/// <summary>A trace as its client states it at the end (v3), or as it begins (v2).</summary>
internal sealed record StatedTrace(
    string TraceId, string ExperimentId, long? RequestTimeMs, long? DurationMs, string State, string? ClientRequestId, string? RequestPreview, string? ResponsePreview,
    IReadOnlyList<KeyValuePair<string, string>> Metadata, IReadOnlyList<KeyValuePair<string, string>> Tags);

/// <summary>Keys that MLflow gives a meaning.</summary>
internal static class TraceKeys
{
    public const string NameTag = "mlflow.traceName";
    public const string ArtifactLocationTag = "mlflow.artifactLocation";
    public const string SpansLocationTag = "mlflow.trace.spansLocation";
    public const string SpansInStore = "TRACKING_STORE";
    public const string SourceRunMetadata = "mlflow.sourceRun";
    public const string SchemaVersionMetadata = "mlflow.trace_schema.version";

    public const string SpanTypeAttribute = "mlflow.spanType";
    public const string SpanInputsAttribute = "mlflow.spanInputs";
    public const string SpanOutputsAttribute = "mlflow.spanOutputs";
    public const string TraceRequestIdAttribute = "mlflow.traceRequestId";
}
