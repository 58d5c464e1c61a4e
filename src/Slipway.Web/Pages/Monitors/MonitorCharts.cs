using Slipway.Contracts.Monitoring;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Monitors;

/// <summary>Series of results as charts with their limits.</summary>
public static class MonitorCharts
{
    /// <summary>Performance with the test split's value and both limits.</summary>
    public static ChartData Performance(string metric, IReadOnlyList<ResultPoint> points, MonitorLimits limits)
    {
        List<ChartThreshold> lines = [];
        Add(lines, "test split", limits.PerformanceBaseline, "baseline");
        Add(lines, "warning", limits.WarningLimit, "warn");
        Add(lines, "critical", limits.CriticalLimit, "bad");
        return Line(metric, points, "production") with { Thresholds = lines };
    }

    /// <summary>PSI with its two limits.</summary>
    public static ChartData Psi(IReadOnlyList<ResultPoint> points, MonitorLimits limits) => Line("psi", points, "accent") with
    {
        Minimum = 0,
        Thresholds = [new ChartThreshold("look", limits.PsiInvestigate, "warn"), new ChartThreshold("act", limits.PsiAct, "bad")],
    };

    /// <summary>Any metric without limits.</summary>
    public static ChartData Line(string metric, IReadOnlyList<ResultPoint> points, string colour) =>
        new("line", "event time (UTC)", metric,
            [new ChartSeries(metric, colour, Downsample.LargestTriangles([.. points.Select(point => new ChartPoint(point.WindowEnd.ToUnixTimeMilliseconds(), double.IsFinite(point.Value) ? point.Value : null))]))])
        {
            Time = true,
        };

    private static void Add(List<ChartThreshold> lines, string name, double? value, string colour)
    {
        if (value is { } limit)
        {
            lines.Add(new ChartThreshold(name, limit, colour));
        }
    }
}
