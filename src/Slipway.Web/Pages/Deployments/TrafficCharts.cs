using Slipway.Contracts.Serving;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Deployments;

/// <summary>Traffic, latency and errors per arm, in as many intervals as a chart can show.</summary>
public static class TrafficCharts
{
    private const int BucketsMax = 300;
    private const double SampleSeconds = 2;

    /// <summary>Requests a second of each arm, stacked.</summary>
    public static ChartData Traffic(IReadOnlyList<TrafficPoint> points) => Chart(points, "area", "requests/s", (bucket, seconds) => bucket.Sum(point => point.Requests) / seconds, fill: 0);

    /// <summary>95th percentile of each arm.</summary>
    public static ChartData Latency(IReadOnlyList<TrafficPoint> points) => Chart(points, "line", "latency p95 (ms)", (bucket, _) => bucket.Max(point => point.LatencyMsP95), fill: null);

    /// <summary>Failed requests of each arm.</summary>
    public static ChartData Errors(IReadOnlyList<TrafficPoint> points) => Chart(points, "area", "errors", (bucket, _) => bucket.Sum(point => point.Errors), fill: 0);

    /// <summary>The colour of a role: the same on every page.</summary>
    public static string Colour(string arm) => arm switch { "stable" => "production", "candidate" => "candidate", _ => "baseline" };

    private static ChartData Chart(IReadOnlyList<TrafficPoint> points, string kind, string y, Func<IReadOnlyList<TrafficPoint>, double, double> value, double? fill)
    {
        if (points.Count == 0)
        {
            return new ChartData(kind, "time (UTC)", y, []);
        }

        var start = points[0].At.ToUnixTimeMilliseconds();
        var spanMs = Math.Max(1, points[^1].At.ToUnixTimeMilliseconds() - start);
        var bucketMs = Math.Max(SampleSeconds * 1000, spanMs / (double)BucketsMax);
        var buckets = (int)(spanMs / bucketMs) + 1;
        // A version that changes its role is another line: the colour says the role.
        var series = points.GroupBy(point => (point.Arm, point.Version)).Select(group =>
        {
            var byBucket = group.ToLookup(point => (int)((point.At.ToUnixTimeMilliseconds() - start) / bucketMs));
            var first = byBucket.Min(bucket => bucket.Key);
            var last = byBucket.Max(bucket => bucket.Key);
            var values = Enumerable.Range(0, buckets).Select(i => new ChartPoint(
                start + i * bucketMs, byBucket[i].ToList() is { Count: > 0 } bucket && (fill is not null || bucket.Any(point => point.Requests > 0)) ? value(bucket, bucketMs / 1000) : fill));
            return new ChartSeries($"{group.Key.Arm} {group.Key.Version}", Colour(group.Key.Arm), fill is null ? [.. values.Skip(first).Take(last - first + 1)] : [.. values]);
        });
        return new ChartData(kind, "time (UTC)", y, [.. series]) { Time = true, Minimum = 0 };
    }
}
