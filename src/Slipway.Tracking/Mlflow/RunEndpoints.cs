using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking.Mlflow;

/// <summary>MLflow's runs and metrics API.</summary>
internal static class RunEndpoints
{
    private const string ContextTag = "mlflow.data.context";

    private static readonly long TimeMsMax = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    public static void MapRuns(RouteGroupBuilder group)
    {
        group.MapPost("/runs/create", Create).May(Permission.Write);
        group.MapGet("/runs/get", Get).May(Permission.Read);
        group.MapPost("/runs/search", Search).May(Permission.Read);
        group.MapPost("/runs/update", Update).May(Permission.Write);
        group.MapPost("/runs/delete", Delete).May(Permission.Write);
        group.MapPost("/runs/restore", Restore).May(Permission.Write);
        group.MapPost("/runs/log-metric", LogMetric).May(Permission.Write);
        group.MapPost("/runs/log-parameter", LogParameter).May(Permission.Write);
        group.MapPost("/runs/log-batch", LogBatch).May(Permission.Write);
        group.MapPost("/runs/set-tag", SetTag).May(Permission.Write);
        group.MapPost("/runs/delete-tag", DeleteTag).May(Permission.Write);
        group.MapPost("/runs/log-inputs", LogInputs).May(Permission.Write);
        group.MapGet("/metrics/get-history", GetHistory).May(Permission.Read);
    }

    private static async Task<IResult> Create(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateRunRequest>(context, cancellationToken);
        CheckTime(request.StartTime, "start_time");
        var start = request.StartTime is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : (DateTimeOffset?)null;
        var run = await runs.CreateRunAsync(
            MlflowHttp.Required(request.ExperimentId, "experiment_id"), request.RunName, MlflowHttp.Tags(request.Tags), by, cancellationToken, start, request.UserId);
        return MlflowHttp.Answer(new RunResponse(Message(run)));
    }

    private static IResult Get(HttpContext context, RunStore runs) => MlflowHttp.Answer(new RunResponse(Message(runs.Get(QueryRunId(context)))));

    private static async Task<IResult> Search(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<SearchRunsRequest>(context, cancellationToken);
        var page = runs.Search(new RunSearch(
            [.. (request.ExperimentIds ?? []).OfType<string>()], request.Filter, [.. (request.OrderBy ?? []).OfType<string>()], request.MaxResults ?? 1000, request.PageToken,
            MlflowHttp.View(request.RunViewType, "run_view_type")));
        return MlflowHttp.Answer(new SearchRunsResponse(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static async Task<IResult> Update(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        CheckTime(request.EndTime, "end_time");
        await runs.UpdateAsync(runId, Status(request.Status), request.EndTime, request.RunName, by, cancellationToken);
        return MlflowHttp.Answer(new RunInfoResponse(Info(runs.Get(runId))));
    }

    private static async Task<IResult> Delete(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        await runs.SetDeletedAsync((await ReadChange(context, cancellationToken)).RunId, true, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Restore(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        await runs.SetDeletedAsync((await ReadChange(context, cancellationToken)).RunId, false, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogMetric(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogMetricRequest>(context, cancellationToken);
        var runId = MlflowHttp.Required(request.RunId ?? request.RunUuid, "run_id");
        var point = Point(new MlflowMetric(request.Key, request.Value, request.Timestamp, request.Step), "");
        await runs.LogBatchAsync(runId, [point], [], [], by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogParameter(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        await runs.LogBatchAsync(runId, [], [new(MlflowHttp.Required(request.Key, "key"), request.Value ?? "")], [], by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogBatch(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogBatchRequest>(context, cancellationToken, RunLimits.BatchBytesMax);
        await runs.LogBatchAsync(
            MlflowHttp.Required(request.RunId, "run_id"),
            [.. (request.Metrics ?? []).Select((metric, index) => Point(metric, $"metrics[{index}]."))],
            [.. Pairs(request.Params, "params")], [.. Pairs(request.Tags, "tags")], by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> SetTag(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        await runs.LogBatchAsync(runId, [], [], [new(MlflowHttp.Required(request.Key, "key"), request.Value ?? "")], by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> DeleteTag(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        await runs.DeleteTagAsync(runId, MlflowHttp.Required(request.Key, "key"), cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogInputs(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogInputsRequest>(context, cancellationToken);
        if (request.Models is { Count: > 0 })
        {
            throw new SlipwayException(ErrorCode.NotImplemented, "'models' of /api/2.0/mlflow/runs/log-inputs is not implemented by this server; log datasets only.");
        }

        var inputs = (request.Datasets ?? []).Select(Input).ToList();
        await runs.LogInputsAsync(MlflowHttp.Required(request.RunId, "run_id"), inputs, cancellationToken);
        return MlflowHttp.Nothing();
    }

    // Without max_results all points come, up to a page's limit: older clients do not ask for pages.
    private static IResult GetHistory(HttpContext context, RunStore runs)
    {
        var max = MlflowHttp.QueryNumber(context, "max_results") ?? RunLimits.HistoryPageMax;
        if (max < 1)
        {
            throw RunLimits.Invalid($"Invalid value {max} for parameter 'max_results' supplied: it must be at least 1.");
        }

        var page = runs.MetricHistory(
            QueryRunId(context), MlflowHttp.Required(MlflowHttp.Query(context, "metric_key"), "metric_key"), Math.Min(max, RunLimits.HistoryPageMax), MlflowHttp.Query(context, "page_token"));
        return MlflowHttp.Answer(new MetricHistoryResponse(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static async Task<(ChangeRunRequest Request, string RunId)> ReadChange(HttpContext context, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ChangeRunRequest>(context, cancellationToken);
        return (request, MlflowHttp.Required(request.RunId ?? request.RunUuid, "run_id"));
    }

    internal static string QueryRunId(HttpContext context) =>
        MlflowHttp.Required(MlflowHttp.Query(context, "run_id") ?? MlflowHttp.Query(context, "run_uuid"), "run_id");

    private static void CheckTime(long? ms, string name)
    {
        if (ms < 0 || ms > TimeMsMax)
        {
            throw RunLimits.Invalid($"Invalid value {ms} for parameter '{name}' supplied: it must be Unix milliseconds.");
        }
    }

    private static RunStatus? Status(string? text)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        foreach (var status in Enum.GetValues<RunStatus>())
        {
            if (RunStore.StatusText(status) == text)
            {
                return status;
            }
        }

        throw RunLimits.Invalid($"Invalid value '{text}' for parameter 'status' supplied: it must be RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.");
    }

    private static MetricPoint Point(MlflowMetric? metric, string path) => new(
        MlflowHttp.Required(metric?.Key, path + "key"), MlflowHttp.Required(metric!.Value, path + "value"),
        MlflowHttp.Required(metric.Timestamp, path + "timestamp"), metric.Step ?? 0);

    private static IEnumerable<KeyValuePair<string, string>> Pairs(IReadOnlyList<MlflowTag>? pairs, string name) =>
        (pairs ?? []).Select((pair, index) => new KeyValuePair<string, string>(MlflowHttp.Required(pair?.Key, $"{name}[{index}].key"), pair!.Value ?? ""));

    private static RunInput Input(MlflowDatasetInput? input)
    {
        var dataset = input?.Dataset ?? throw RunLimits.Invalid("Missing value for required parameter 'datasets.dataset'.");
        var tags = MlflowHttp.Tags(input.Tags);
        tags.Remove(ContextTag, out var use);
        RunLimits.CheckLength("A dataset's digest", dataset.Digest, 36);
        return new RunInput(
            MlflowHttp.Required(dataset.Name, "datasets.dataset.name"), MlflowHttp.Required(dataset.Digest, "datasets.dataset.digest"),
            dataset.Source ?? "", use, null, dataset.SourceType ?? "", dataset.Schema, dataset.Profile, tags);
    }

    private static MlflowMetric Message(MetricPoint point) => new(point.Key, point.Value, point.TimestampMs, point.Step);

    private static MlflowRunInfo Info(RunRecord run) => new(
        run.RunId, run.RunId, run.ExperimentId, run.Name, run.UserId, RunStore.StatusText(run.Status), run.StartTimeMs, run.EndTimeMs, run.ArtifactUri,
        run.Deleted ? "deleted" : "active");

    private static MlflowRun Message(RunRecord run) => new(
        Info(run),
        new MlflowRunData(MlflowHttp.OrNull(run.Metrics.Select(Message)), MlflowHttp.Tags(run.Parameters), MlflowHttp.Tags(run.Tags)),
        new MlflowRunInputs(MlflowHttp.OrNull(run.Inputs.Select(Message))));

    private static MlflowDatasetInput Message(RunInput input)
    {
        var tags = new Dictionary<string, string>(input.Tags ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        if (input.Context is { } use)
        {
            tags[ContextTag] = use;
        }

        return new MlflowDatasetInput(
            MlflowHttp.Tags(tags), new MlflowDataset(input.Name, input.Digest, input.SourceType, input.Source, input.Schema, input.Profile));
    }
}
