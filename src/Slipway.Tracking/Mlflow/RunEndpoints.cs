using System.Text.Encodings.Web;
using System.Text.Json;
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

    // A few hundred kilobytes of answer.
    private const int RunsPerPart = 250;

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
        group.MapPost("/runs/outputs", LogOutputs).May(Permission.Write);
        group.MapPost("/runs/log-model", LogModel).May(Permission.Write);
        group.MapGet("/metrics/get-history", GetHistory).May(Permission.Read);
    }

    private static async Task<IResult> Create(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateRunRequest>(context, cancellationToken);
        CheckTime(request.StartTime, "start_time");
        var start = request.StartTime is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : (DateTimeOffset?)null;
        var run = await runs.StartRunAsync(
            string.IsNullOrEmpty(request.ExperimentId) ? "0" : request.ExperimentId, request.RunName, MlflowHttp.Tags(request.Tags), by, start, request.UserId, cancellationToken);
        return Answer(runs.Rows(run));
    }

    private static MlflowAnswer Get(HttpContext context, RunStore runs) => Answer(runs.Rows(QueryRunId(context)));

    private static async Task<IResult> Search(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<SearchRunsRequest>(context, cancellationToken);
        var (numbers, next, rows) = runs.SearchRows(
            new RunSearch(
                [.. (request.ExperimentIds ?? []).OfType<string>()], request.Filter, [.. (request.OrderBy ?? []).OfType<string>()], request.MaxResults ?? 1000, request.PageToken,
                MlflowHttp.View(request.RunViewType, "run_view_type")),
            RunsPerPart);
        var written = 0;
        return new MlflowAnswer(json =>
        {
            if (written == 0)
            {
                json.WriteStartObject();
                if (numbers.Count > 0)
                {
                    json.WriteStartArray("runs"u8);
                }
            }
            else
            {
                rows = runs.Rows(numbers.GetRange(written, Math.Min(RunsPerPart, numbers.Count - written)));
            }

            for (var end = Math.Min(written + RunsPerPart, numbers.Count); written < end; written++)
            {
                RunJson.Write(json, rows, rows.IndexOf(numbers[written]));
            }

            if (written < numbers.Count)
            {
                return true;
            }

            if (numbers.Count > 0)
            {
                json.WriteEndArray();
            }

            if (next is not null)
            {
                json.WriteString("next_page_token"u8, next);
            }

            json.WriteEndObject();
            return false;
        });
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
        var metric = new MlflowMetric(request.Key, request.Value, request.Timestamp, request.Step, request.DatasetName, request.DatasetDigest, request.ModelId);
        var point = Point(metric, "");
        await runs.LogBatchAsync(runId, [point], [], [], by, cancellationToken, [.. OfModels([metric], [point])]);
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
        var metrics = request.Metrics ?? [];
        List<MetricPoint> points = [.. metrics.Select((metric, index) => Point(metric, $"metrics[{index}]."))];
        await runs.LogBatchAsync(
            MlflowHttp.Required(request.RunId, "run_id"), points, [.. Pairs(request.Params, "params")], [.. Pairs(request.Tags, "tags")], by, cancellationToken,
            [.. OfModels(metrics, points)]);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> SetTag(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        await runs.LogBatchAsync(runId, [], [], [new(MlflowHttp.Required(request.Key, "key"), request.Value ?? "")], by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> DeleteTag(HttpContext context, RunStore runs, Caller by, CancellationToken cancellationToken)
    {
        var (request, runId) = await ReadChange(context, cancellationToken);
        await runs.DeleteTagAsync(runId, MlflowHttp.Required(request.Key, "key"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogInputs(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogInputsRequest>(context, cancellationToken);
        var inputs = (request.Datasets ?? []).Select(Input).ToList();
        var models = (request.Models ?? []).Select((model, index) => MlflowHttp.Required(model?.ModelId, $"models[{index}].model_id")).ToList();
        await runs.LogInputsAsync(MlflowHttp.Required(request.RunId, "run_id"), inputs, cancellationToken, models);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogModel(HttpContext context, RunModelHistory history, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogModelRequest>(context, cancellationToken);
        await history.AppendAsync(MlflowHttp.Required(request.RunId, "run_id"), MlflowHttp.Required(request.ModelJson, "model_json"), cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogOutputs(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<LogOutputsRequest>(context, cancellationToken);
        var models = request.Models ?? throw RunLimits.Invalid("Missing value for required parameter 'models'.");
        await runs.LogOutputsAsync(
            MlflowHttp.Required(request.RunId, "run_id"),
            [.. models.Select((model, index) => new ModelOutput(MlflowHttp.Required(model?.ModelId, $"models[{index}].model_id"), model!.Step ?? 0))], cancellationToken);
        return MlflowHttp.Nothing();
    }

    // Without max_results all points come, up to a page's limit: older clients do not ask for pages.
    private static MlflowAnswer GetHistory(HttpContext context, RunStore runs)
    {
        var max = MlflowHttp.QueryNumber(context, "max_results") ?? RunLimits.HistoryPageMax;
        if (max < 1)
        {
            throw RunLimits.Invalid($"Invalid value {max} for parameter 'max_results' supplied: it must be at least 1.");
        }

        var (runId, key, token) = (QueryRunId(context), MlflowHttp.Required(MlflowHttp.Query(context, "metric_key"), "metric_key"), MlflowHttp.Query(context, "page_token"));
        return new MlflowAnswer(json =>
        {
            var name = JsonEncodedText.Encode(key, JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
            var any = false;
            json.WriteStartObject();
            var next = runs.ReadHistory(runId, key, Math.Min(max, RunLimits.HistoryPageMax), token, (value, atMs, step) =>
            {
                if (!any)
                {
                    json.WriteStartArray("metrics"u8);
                    any = true;
                }

                RunJson.WritePoint(json, name, value, atMs, step);
            });
            if (any)
            {
                json.WriteEndArray();
            }

            if (next is not null)
            {
                json.WriteString("next_page_token"u8, next);
            }

            json.WriteEndObject();
            return false;
        });
    }

    private static MlflowAnswer Answer(RunRows rows) => new(json =>
    {
        json.WriteStartObject();
        json.WritePropertyName("run"u8);
        RunJson.Write(json, rows, 0);
        json.WriteEndObject();
        return false;
    });

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
            // In MLflow's proto file the numbers begin at 1.
            if (RunStore.StatusText(status) == text || (int)status + 1 == (int.TryParse(text, out var number) ? number : 0))
            {
                return status;
            }
        }

        throw RunLimits.Invalid($"Invalid value '{text}' for parameter 'status' supplied: it must be RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.");
    }

    private static MetricPoint Point(MlflowMetric? metric, string path) => new(
        MlflowHttp.Required(metric?.Key, path + "key"), MlflowHttp.Required(metric!.Value, path + "value"),
        MlflowHttp.Required(metric.Timestamp, path + "timestamp"), metric.Step ?? 0);

    // Those of the metrics that say which logged model they measure.
    private static IEnumerable<ModelMetricPoint> OfModels(IReadOnlyList<MlflowMetric> metrics, IReadOnlyList<MetricPoint> points) =>
        metrics.Zip(points).Where(pair => !string.IsNullOrEmpty(pair.First.ModelId))
            .Select(pair => new ModelMetricPoint(pair.First.ModelId!, pair.Second, pair.First.DatasetName, pair.First.DatasetDigest));

    internal static IEnumerable<KeyValuePair<string, string>> Pairs(IReadOnlyList<MlflowTag>? pairs, string name) =>
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

    private static MlflowRunInfo Info(RunRecord run) => new(
        run.RunId, run.RunId, run.ExperimentId, run.Name, run.UserId, RunStore.StatusText(run.Status), run.StartTimeMs, run.EndTimeMs, run.ArtifactUri,
        run.Deleted ? "deleted" : "active");

    internal static MlflowRunInputs Inputs(IReadOnlyList<RunInput> inputs, IReadOnlyList<string> models) =>
        new(MlflowHttp.OrNull(inputs.Select(Message)), MlflowHttp.OrNull(models.Select(model => new MlflowModelInput(model))));

    internal static MlflowRunOutputs Outputs(IReadOnlyList<ModelOutput> models) => new([.. models.Select(model => new MlflowModelOutput(model.ModelId, model.Step))]);

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
