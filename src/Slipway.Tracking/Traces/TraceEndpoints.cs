using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking.Traces;

/// <summary>MLflow's traces API as 3.x speaks it.</summary>
internal static class TraceEndpoints
{
    /// <summary>Maps what lies below <c>/3.0/mlflow</c>.</summary>
    public static void MapTraces(RouteGroupBuilder group)
    {
        group.MapPost("/traces", Start).May(Permission.Write);
        group.MapPost("/traces/search", Search).May(Permission.Read);
        group.MapPost("/traces/delete-traces", DeleteTraces).May(Permission.Write);
        group.MapPost("/traces/calculate-filter-correlation", Correlate).May(Permission.Read);
        group.MapGet("/traces/batchGet", BatchGet).May(Permission.Read);
        group.MapGet("/traces/get", GetTrace).May(Permission.Read);
        group.MapGet("/traces/{trace_id}", GetInfo).May(Permission.Read);
        group.MapPatch("/traces/{trace_id}/tags", SetTag).May(Permission.Write);
        group.MapDelete("/traces/{trace_id}/tags", DeleteTag).May(Permission.Write);
    }

    public static TraceInfoMessage Message(TraceRecord trace) => new(
        trace.TraceId, trace.ClientRequestId, new TraceLocationMessage("MLFLOW_EXPERIMENT", new ExperimentLocationMessage(trace.ExperimentId)), null, null,
        trace.RequestPreview, trace.ResponsePreview, WireTime.Instant(trace.RequestTimeMs), trace.DurationMs is { } ms ? WireTime.Duration(ms) : null, trace.State,
        Pairs(trace.Metadata), Pairs(trace.Tags), MlflowHttp.OrNull(trace.Assessments.Select(AssessmentEndpoints.Message)));

    public static async Task<IResult> DeleteTraces(HttpContext context, TraceStore traces, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<DeleteTracesRequest>(context, cancellationToken);
        var ids = request.RequestIds is { Count: > 0 } given ? given.Select(id => TraceLimits.CheckTraceId(id, "request_ids")).ToList() : null;
        return MlflowHttp.Answer(new DeleteTracesResponse(await traces.DeleteAsync(
            MlflowHttp.Required(request.ExperimentId, "experiment_id"), request.MaxTimestampMillis, request.MaxTraces, ids, by, cancellationToken)));
    }

    /// <summary>The tag to set; the body names it.</summary>
    public static async Task<IResult> SetTagAsync(HttpContext context, string traceId, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<TraceTagRequest>(context, cancellationToken);
        await traces.SetTagAsync(traceId, MlflowHttp.Required(request.Key, "key"), request.Value ?? "", cancellationToken);
        return MlflowHttp.Nothing();
    }

    /// <summary>The tag to remove; the query names it, or the body, as MLflow's own clients send it.</summary>
    public static async Task<IResult> DeleteTagAsync(HttpContext context, string traceId, TraceStore traces, Caller by, CancellationToken cancellationToken)
    {
        var key = MlflowHttp.Query(context, "key") ?? (await MlflowHttp.ReadAsync<TraceTagRequest>(context, cancellationToken)).Key;
        await traces.DeleteTagAsync(traceId, MlflowHttp.Required(key, "key"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Start(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<TraceHolder>(context, cancellationToken);
        var info = request.Trace?.TraceInfo ?? throw RunLimits.Invalid("Missing value for required parameter 'trace.trace_info'.");
        var stated = new StatedTrace(
            TraceLimits.CheckTraceId(info.TraceId, "trace.trace_info.trace_id"),
            Experiment(info.TraceLocation, "trace.trace_info.trace_location"),
            WireTime.ReadInstant(info.RequestTime, "trace.trace_info.request_time"),
            WireTime.ReadDuration(info.ExecutionDuration, "trace.trace_info.execution_duration"),
            State(info.State, "trace.trace_info.state"),
            Text(info.ClientRequestId, "client_request_id", 250),
            Preview(info.RequestPreview ?? info.Request, "request_preview"),
            Preview(info.ResponsePreview ?? info.Response, "response_preview"),
            [.. (info.TraceMetadata ?? new Dictionary<string, string?>()).Select(pair => TraceLimits.CheckPair("piece of metadata", pair.Key, pair.Value))],
            [.. (info.Tags ?? new Dictionary<string, string?>()).Select(pair => TraceLimits.CheckPair("tag", pair.Key, pair.Value))]);
        var given = (info.Assessments ?? []).Select((assessment, index) => AssessmentEndpoints.Read(assessment, $"trace.trace_info.assessments[{index}]", ownId: true)).ToList();
        return MlflowHttp.Answer(new TraceHolder(new TraceMessage(Message(await traces.StateAsync(stated, given, cancellationToken)))));
    }

    private static IResult GetInfo([FromRoute(Name = "trace_id")] string traceId, TraceStore traces) =>
        MlflowHttp.Answer(new TraceHolder(new TraceMessage(Message(traces.Get(traceId)))));

    private static IResult BatchGet(HttpContext context, TraceStore traces)
    {
        var ids = context.Request.Query["trace_ids"].OfType<string>().ToList();
        if (ids.Count is 0 or > TraceLimits.TracesPerRequestMax)
        {
            throw RunLimits.Invalid($"Invalid value for parameter 'trace_ids' supplied: 1 to {TraceLimits.TracesPerRequestMax} ids are taken, not {ids.Count}.");
        }

        return Spans("traces", traces.GetWithSpans(ids), list: true);
    }

    private static IResult GetTrace(HttpContext context, TraceStore traces)
    {
        var id = MlflowHttp.Required(MlflowHttp.Query(context, "trace_id"), "trace_id");
        var found = traces.GetWithSpans([id]);
        return found.Count == 0 ? throw TraceLimits.NoTrace(id) : Spans("trace", found, list: false);
    }

    private static async Task<IResult> Search(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<SearchTracesV3Request>(context, cancellationToken);
        if (request.Locations is not { Count: > 0 } locations)
        {
            throw RunLimits.Invalid("Missing value for required parameter 'locations': name at least one experiment.");
        }

        var page = traces.Search(new TraceSearch(
            [.. locations.Select((location, index) => Experiment(location, $"locations[{index}]"))], request.Filter, [.. (request.OrderBy ?? []).OfType<string>()],
            request.MaxResults ?? TraceLimits.SearchResultsDefault, request.PageToken));
        return MlflowHttp.Answer(new SearchTracesV3Response(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static async Task<IResult> Correlate(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CorrelationRequest>(context, cancellationToken);
        if (request.ExperimentIds is not { Count: > 0 } experiments)
        {
            throw RunLimits.Invalid("Missing value for required parameter 'experiment_ids'.");
        }

        var found = traces.Correlate(
            [.. experiments.OfType<string>()], MlflowHttp.Required(request.FilterString1, "filter_string1"), MlflowHttp.Required(request.FilterString2, "filter_string2"), request.BaseFilter);
        return MlflowHttp.Answer(new CorrelationResponse(found.Npmi, found.NpmiSmoothed, found.Filter1Count, found.Filter2Count, found.JointCount, found.TotalCount));
    }

    private static Task<IResult> SetTag(HttpContext context, [FromRoute(Name = "trace_id")] string traceId, TraceStore traces, CancellationToken cancellationToken) =>
        SetTagAsync(context, traceId, traces, cancellationToken);

    private static Task<IResult> DeleteTag(HttpContext context, [FromRoute(Name = "trace_id")] string traceId, TraceStore traces, Caller by, CancellationToken cancellationToken) =>
        DeleteTagAsync(context, traceId, traces, by, cancellationToken);

    // Spans are written as they are kept, without becoming objects first.
    private static IResult Spans(string name, IReadOnlyList<TraceWithSpans> traces, bool list)
    {
        var buffer = new ArrayBufferWriter<byte>(4096);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WritePropertyName(name);
            if (list)
            {
                json.WriteStartArray();
            }

            foreach (var trace in traces)
            {
                json.WriteStartObject();
                json.WritePropertyName("trace_info");
                JsonSerializer.Serialize(json, Message(trace.Info), MlflowJson.Options);
                json.WriteStartArray("spans");
                foreach (var span in trace.Spans)
                {
                    SpanJson.WriteOpenTelemetry(json, span);
                }

                json.WriteEndArray();
                json.WriteEndObject();
            }

            if (list)
            {
                json.WriteEndArray();
            }

            json.WriteEndObject();
        }

        return Results.Bytes(buffer.WrittenMemory, "application/json");
    }

    private static string Experiment(TraceLocationMessage? location, string at)
    {
        if (location?.Type is not (null or "" or "MLFLOW_EXPERIMENT" or "TRACE_LOCATION_TYPE_UNSPECIFIED"))
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{at}.type' supplied: this server keeps traces in experiments only; send MLFLOW_EXPERIMENT.");
        }

        return MlflowHttp.Required(location?.MlflowExperiment?.ExperimentId, $"{at}.mlflow_experiment.experiment_id");
    }

    internal static string State(string? state, string field) => state switch
    {
        null or "" => "STATE_UNSPECIFIED",
        "STATE_UNSPECIFIED" or "OK" or "ERROR" or "IN_PROGRESS" => state,
        "TRACE_STATUS_UNSPECIFIED" => "STATE_UNSPECIFIED",
        _ => throw RunLimits.Invalid($"Invalid value for parameter '{field}' supplied: it must be OK, ERROR, IN_PROGRESS or STATE_UNSPECIFIED."),
    };

    private static string? Text(string? text, string field, int max)
    {
        RunLimits.CheckLength($"'trace.trace_info.{field}'", text, max);
        TraceLimits.CheckText($"'trace.trace_info.{field}'", text);
        return string.IsNullOrEmpty(text) ? null : text;
    }

    private static string? Preview(string? text, string field)
    {
        TraceLimits.CheckText($"'trace.trace_info.{field}'", text);
        return text is null ? null : RunLimits.Truncate(text, TraceLimits.PreviewMax);
    }

    private static Dictionary<string, string?>? Pairs(IReadOnlyDictionary<string, string> pairs) =>
        pairs.Count == 0 ? null : pairs.ToDictionary(pair => pair.Key, pair => (string?)pair.Value, StringComparer.Ordinal);
}
