using Slipway.Contracts.Tracking;
using Slipway.Tracking;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Experiments;

/// <summary>Curves of metrics, one chart per family: <c>train_auc</c> and <c>validation_auc</c> belong on one.</summary>
public static class MetricCharts
{
    private static readonly string[] Splits = ["train", "validation", "valid", "val", "test", "eval"];
    private static readonly string[] Colours = ["accent", "candidate", "previous", "baseline", "ok", "warn"];

    /// <summary>The charts of one run: metrics that were logged at more than one step.</summary>
    public static IReadOnlyList<(string Name, ChartData Data)> Of(RunStore runs, RunRecord run) =>
        [.. run.Metrics.Where(point => point.Step > 0).GroupBy(point => Family(point.Key)).OrderBy(family => family.Key, StringComparer.Ordinal).Take(12).Select(family => (family.Key,
            new ChartData("line", "step", family.Key, [.. family.Select((point, i) => new ChartSeries(point.Key, Colours[i % Colours.Length], Curve(runs, run.RunId, point.Key)))])))];

    /// <summary>The same metric of several runs, laid over each other.</summary>
    public static IReadOnlyList<(string Name, ChartData Data)> Compare(RunStore runs, IReadOnlyList<RunRecord> compared) =>
        [.. compared.SelectMany(run => run.Metrics.Where(point => point.Step > 0).Select(point => point.Key)).Distinct().Order(StringComparer.Ordinal).Take(12).Select(key => (key,
            new ChartData("line", "step", key, [.. compared.Where(run => run.Metric(key) is not null).Select((run, i) => new ChartSeries(Name(run), Colours[i % Colours.Length], Curve(runs, run.RunId, key)))])))];

    /// <summary>A run's name, or the beginning of its id.</summary>
    public static string Name(RunRecord run) => run.Name.Length == 0 ? Format.Short(run.RunId) : run.Name;

    private static IReadOnlyList<ChartPoint> Curve(RunStore runs, string runId, string key) =>
        Downsample.LargestTriangles([.. runs.MetricHistory(runId, key).Select(point => new ChartPoint(point.Step, double.IsFinite(point.Value) ? point.Value : null))]);

    private static string Family(string key)
    {
        foreach (var split in Splits)
        {
            foreach (var separator in (ReadOnlySpan<char>)['_', '-', '/', '.'])
            {
                if (key.StartsWith(split + separator, StringComparison.OrdinalIgnoreCase))
                {
                    return key[(split.Length + 1)..];
                }
            }
        }

        return key;
    }
}
