using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Statistics.Series;
using Slipway.Tracking;

namespace Slipway.Web.Http;

/// <summary>Curves thinned to the pixel: a chart of a million points costs a screenful. Here, since tracking may not use the statistics.</summary>
internal static class MetricSeriesEndpoints
{
    private const int SeriesMax = 100;
    private const int PointsMin = 4;
    private const int PointsMax = 10_000;

    // Of all series together: an answer stays under about 6 MB.
    private const int PointsTogetherMax = 200_000;

    public static void MapMetricSeries(this IEndpointRouteBuilder app)
    {
        app.MapGet("/api/slipway/v1/metric-series", Read).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Read metric curves, thinned to what a chart can show");
        app.MapGet("/api/slipway/v1/runs/compare", Compare).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Compare runs by a metric: the best, the distances, what to choose");
    }

    private static Ok<RunComparison> Compare([FromQuery] string[]? run_id, string? metric, RunStore runs) =>
        TypedResults.Ok(RunComparer.Compare([.. (run_id ?? []).Distinct().Take(RunComparer.RunsMax + 1).Select(runs.Get)], string.IsNullOrEmpty(metric) ? null : metric));

    private static Ok<MetricSeriesList> Read(
        [FromQuery] string[]? run_id, [FromQuery] string[]? key, long? from, long? to, string? x, int? points, RunStore runs, MetricSeries series, CancellationToken cancellationToken)
    {
        var runIds = (run_id ?? []).Distinct().ToList();
        var keys = (key ?? []).Distinct().ToList();
        if (runIds.Count == 0 || keys.Count == 0)
        {
            throw Invalid("Name at least one run and one metric: ?run_id=…&key=….");
        }

        if (runIds.Count * keys.Count > SeriesMax)
        {
            throw Invalid($"'run_id' and 'key' name {runIds.Count * keys.Count} series together; at most {SeriesMax} are read at once.");
        }

        var axis = x switch
        {
            null or "step" => MetricAxis.Step,
            "time" => MetricAxis.Time,
            _ => throw Invalid($"'x' must be step or time, not '{x}'."),
        };
        if (points is < PointsMin or > PointsMax)
        {
            throw Invalid($"'points' must be from {PointsMin} to {PointsMax}, not {points}.");
        }

        if (from > to)
        {
            throw Invalid($"'from' ({from}) must not be over 'to' ({to}).");
        }

        var each = Math.Min(points ?? 2000, Math.Max(PointsMin, PointsTogetherMax / (runIds.Count * keys.Count)));
        var curves = new List<MetricSeriesCurve>();
        foreach (var info in runIds.Select(runs.Get))
        {
            foreach (var metric in keys)
            {
                if (MetricCurve.Read(series, info, metric, axis, from, to, each, cancellationToken) is { } curve)
                {
                    curves.Add(curve);
                }
            }
        }

        return TypedResults.Ok(new MetricSeriesList(axis is MetricAxis.Step ? "step" : "time", curves));
    }

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}

/// <summary>Joins the stored points to the sampler.</summary>
internal static class MetricCurve
{
    /// <summary>One thinned curve; null when the run has no point of the metric.</summary>
    public static MetricSeriesCurve? Read(
        MetricSeries series, RunRecord run, string key, MetricAxis axis, long? from, long? to, int pointsMax, CancellationToken cancellationToken)
    {
        if (series.Range(run.RunId, key, axis) is not { } whole)
        {
            return null;
        }

        var (low, high) = (Math.Max(whole.From, from ?? long.MinValue), Math.Min(whole.To, to ?? long.MaxValue));
        var sampler = new SeriesSampler(low, Math.Max(low, high), pointsMax);
        if (low <= high)
        {
            series.Read(run.RunId, key, axis, low, high, (x, y) => sampler.Add(x, y), cancellationToken);
        }

        var points = sampler.Points();
        return new MetricSeriesCurve(
            run.RunId, run.Name, run.StartTimeMs, key, sampler.Count, sampler.Gaps,
            [.. points.Select(point => (long)point.X)], [.. points.Select(point => double.IsNaN(point.Y) ? (double?)null : point.Y)]);
    }
}
