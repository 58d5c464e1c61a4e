using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tracking.Traces;

/// <summary>MLflow's traces API as 2.x speaks it, over the same traces; and the links to runs, which have no other form.</summary>
internal static class TraceV2Endpoints
{
    /// <summary>Maps what lies below <c>/2.0/mlflow</c>.</summary>
    public static void MapTraces(RouteGroupBuilder group)
    {
        group.MapPost("/traces", Start).May(Permission.Write);
        group.MapGet("/traces", Search).May(Permission.Read);
        group.MapPost("/traces/delete-traces", TraceEndpoints.DeleteTraces).May(Permission.Write);
        group.MapPost("/traces/link-to-run", Link).May(Permission.Write);
        group.MapPatch("/traces/{request_id}", End).May(Permission.Write);
        group.MapGet("/traces/{request_id}/info", GetInfo).May(Permission.Read);
        group.MapPatch("/traces/{request_id}/tags", SetTag).May(Permission.Write);
        group.MapDelete("/traces/{request_id}/tags", DeleteTag).May(Permission.Write);
    }

    private static async Task<IResult> Start(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<StartTraceV2Request>(context, cancellationToken);
        var stated = new StatedTrace(
            "tr-" + Guid.NewGuid().ToString("N"), MlflowHttp.Required(request.ExperimentId, "experiment_id"), Time(request.TimestampMs), null, "IN_PROGRESS", null, null, null,
            Pairs("piece of metadata", request.RequestMetadata), Pairs("tag", request.Tags));
        return Answer(await traces.StateAsync(stated, [], cancellationToken));
    }

    private static async Task<IResult> End(HttpContext context, [FromRoute(Name = "request_id")] string requestId, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<EndTraceV2Request>(context, cancellationToken);
        return Answer(await traces.EndAsync(
            requestId, MlflowHttp.Required(Time(request.TimestampMs), "timestamp_ms"), TraceEndpoints.State(request.Status, "status"),
            Pairs("piece of metadata", request.RequestMetadata), Pairs("tag", request.Tags), cancellationToken));
    }

    private static IResult GetInfo([FromRoute(Name = "request_id")] string requestId, TraceStore traces) => Answer(traces.Get(requestId));

    private static IResult Search(HttpContext context, TraceStore traces)
    {
        var query = context.Request.Query;
        var experiments = query["experiment_ids"].OfType<string>().ToList();
        if (experiments.Count == 0)
        {
            throw RunLimits.Invalid("Missing value for required parameter 'experiment_ids'.");
        }

        var page = traces.Search(new TraceSearch(
            experiments, MlflowHttp.Query(context, "filter"), [.. query["order_by"].OfType<string>()],
            MlflowHttp.QueryNumber(context, "max_results") ?? TraceLimits.SearchResultsDefault, MlflowHttp.Query(context, "page_token")));
        return MlflowHttp.Answer(new SearchTracesV2Response(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static async Task<IResult> Link(HttpContext context, TraceStore traces, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LinkTracesRequest>(context, cancellationToken);
        await traces.LinkToRunAsync(MlflowHttp.Required(request.RunId, "run_id"), [.. (request.TraceIds ?? []).Select(id => id ?? "")], cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static Task<IResult> SetTag(HttpContext context, [FromRoute(Name = "request_id")] string requestId, TraceStore traces, CancellationToken cancellationToken) =>
        TraceEndpoints.SetTagAsync(context, requestId, traces, cancellationToken);

    private static Task<IResult> DeleteTag(HttpContext context, [FromRoute(Name = "request_id")] string requestId, TraceStore traces, Caller by, CancellationToken cancellationToken) =>
        TraceEndpoints.DeleteTagAsync(context, requestId, traces, by, cancellationToken);

    private static IResult Answer(TraceRecord trace) => MlflowHttp.Answer(new TraceInfoV2Holder(Message(trace)));

    private static TraceInfoV2Message Message(TraceRecord trace) => new(
        trace.TraceId, trace.ExperimentId, trace.RequestTimeMs, trace.DurationMs, trace.State is "STATE_UNSPECIFIED" ? "TRACE_STATUS_UNSPECIFIED" : trace.State,
        MlflowHttp.Tags(trace.Metadata), MlflowHttp.Tags(trace.Tags));

    private static List<KeyValuePair<string, string>> Pairs(string what, IReadOnlyList<MlflowTag?>? pairs) =>
        (pairs ?? []).Select(pair => TraceLimits.CheckPair(what, pair?.Key, pair?.Value)).ToList();

    private static long? Time(long? ms) => ms is null or (>= 0 and <= 253_402_300_799_999)
        ? ms
        : throw RunLimits.Invalid($"Invalid value {ms} for parameter 'timestamp_ms' supplied: it must be Unix milliseconds.");
}
