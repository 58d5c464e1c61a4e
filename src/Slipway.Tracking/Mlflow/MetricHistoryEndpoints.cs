using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking.Mlflow;

/// <summary>The calls behind MLflow's charts: one metric of many runs.</summary>
internal static class MetricHistoryEndpoints
{
    private const int RunsMax = 100;
    private const int SampledMax = 2500;

    public static void MapMetricHistories(RouteGroupBuilder group)
    {
        group.MapGet("/metrics/get-history-bulk", GetBulk).May(Permission.Read);
        group.MapGet("/metrics/get-history-bulk-interval", GetSampled).May(Permission.Read);
    }

    private static IResult GetBulk(HttpContext context, MetricHistories histories)
    {
        var runs = RunIds(context, "run_id");
        var key = MlflowHttp.Required(MlflowHttp.Query(context, "metric_key"), "metric_key");
        var max = MlflowHttp.QueryNumber(context, "max_results") ?? RunLimits.HistoryPageMax;
        return max < 1
            ? throw RunLimits.Invalid($"Invalid value {max} for parameter 'max_results' supplied: it must be at least 1.")
            : MlflowHttp.Answer(new BulkMetricHistoryResponse([.. histories.Read(runs, key, Math.Min(max, RunLimits.HistoryPageMax)).Select(Message)]));
    }

    private static IResult GetSampled(HttpContext context, MetricHistories histories)
    {
        var runs = RunIds(context, "run_ids");
        var key = MlflowHttp.Required(MlflowHttp.Query(context, "metric_key"), "metric_key");
        var max = MlflowHttp.QueryNumber(context, "max_results") ?? SampledMax;
        if (max is < 1 or > SampledMax)
        {
            throw RunLimits.Invalid($"Invalid value {max} for parameter 'max_results' supplied: max_results must be between 1 and {SampledMax}.");
        }

        var points = histories.ReadSampled(runs, key, Range(MlflowHttp.QueryLong(context, "start_step"), MlflowHttp.QueryLong(context, "end_step")), max);
        return MlflowHttp.Answer(new BulkMetricHistoryResponse(MlflowHttp.OrNull(points.Select(Message))));
    }

    private static (long From, long To)? Range(long? start, long? end) => (start, end) switch
    {
        (null, null) => null,
        ({ } from, { } to) when from <= to => (from, to),
        ({ }, { }) => throw RunLimits.Invalid($"end_step must be greater than start_step. Found start_step={start} and end_step={end}."),
        _ => throw RunLimits.Invalid("If either start step or end step are specified, both must be specified."),
    };

    private static List<string> RunIds(HttpContext context, string name)
    {
        var given = MlflowHttp.QueryAll(context, name);
        if (given.Count > RunsMax)
        {
            throw RunLimits.Invalid($"The request must specify at most {RunsMax} {name}s. Received {given.Count} {name}s.");
        }

        var ids = given.Distinct(StringComparer.Ordinal).ToList();
        return ids.Count > 0 ? ids : throw RunLimits.Invalid($"Missing value for required parameter '{name}'.");
    }

    private static MlflowMetric Message(RunMetricPoint point) =>
        new(point.Point.Key, point.Point.Value, point.Point.TimestampMs, point.Point.Step, RunId: point.RunId);
}
