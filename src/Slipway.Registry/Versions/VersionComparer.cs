using System.Globalization;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Versions;

/// <summary>Puts two versions side by side and says which to prefer, or why that cannot be said.</summary>
internal static class VersionComparer
{
    // Below these, differences of two benchmark runs on one machine are noise.
    private const double SlowerFactor = 1.5;
    private const double LatencyUsNoise = 200;

    public static VersionComparison Compare(ModelVersionRecord a, ScoredReport? scoredA, ModelVersionRecord b, ScoredReport? scoredB)
    {
        var (reportA, reportB) = (scoredA?.Report, scoredB?.Report);
        var change = VersionRules.Compare(a.Signature, a.FeatureSchema, b.Signature, b.FeatureSchema);
        var before = a.FeatureSchema.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        var after = b.FeatureSchema.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        var sameTestSet = reportA is not null && reportA.TestSetSha256 == reportB?.TestSetSha256;
        var metrics = Metrics(a.Version, scoredA, b.Version, scoredB, sameTestSet);
        var (recommendation, reasons) = Recommend(a, b, reportA, reportB, sameTestSet, metrics);
        if (change.Required is not Bump.Patch)
        {
            reasons.Add($"going from {a.Version} to {b.Version} is a {VersionRules.Name(change.Required)} change: {string.Join(", ", change.Reasons)}");
        }

        AddCost(a, b, reasons);
        return new VersionComparison(
            a.Model, a.Version, b.Version, sameTestSet, metrics, a.SizeBytes, b.SizeBytes, LatencyUsP95(a, reportA), LatencyUsP95(b, reportB),
            [.. after.Keys.Except(before.Keys)], [.. before.Keys.Except(after.Keys)],
            [.. after.Where(feature => before.TryGetValue(feature.Key, out var type) && type != feature.Value).Select(feature => feature.Key)],
            VersionRules.Name(change.Required), recommendation, reasons)
        {
            BenchmarkA = a.Profile?.Benchmark,
            BenchmarkB = b.Profile?.Benchmark,
        };
    }

    /// <summary>Why a candidate's evaluation is significantly better than the newest version's on the same test rows; null when it is not, or cannot be said.</summary>
    public static string? Better(string newest, ScoredReport before, ScoredReport candidate)
    {
        if (before.Report.TestSetSha256 != candidate.Report.TestSetSha256 && candidate.Report.ComparedWithProduction?.Version != newest)
        {
            return null;
        }

        var metric = candidate.Report.ComparedWithProduction is { } paired && paired.Version == newest ? paired.Metric
            : candidate.Report.GoNoGo?.Metric ?? before.Report.GoNoGo?.Metric ?? "auc";
        var row = Metrics(newest, before, "", candidate, before.Report.TestSetSha256 == candidate.Report.TestSetSha256).FirstOrDefault(row => row.Name == metric);
        return row is { Interval: { } interval } && (row.HigherIsBetter ? interval.Lower > 0 : interval.Upper < 0)
            ? string.Create(CultureInfo.InvariantCulture,
                $"{metric} is significantly better than of {newest} on the same test rows: by {(interval.Lower + interval.Upper) / 2:0.####} ({interval.Level:0.##} interval {interval.Lower:0.####} to {interval.Upper:0.####})")
            : null;
    }

    private static List<MetricDifference> Metrics(string versionA, ScoredReport? a, string versionB, ScoredReport? b, bool sameTestSet)
    {
        var names = (a?.Report.Metrics.Keys ?? []).Union(b?.Report.Metrics.Keys ?? []).Order(StringComparer.Ordinal);
        return [.. names.Select(name =>
        {
            var first = Value(a?.Report, name);
            var second = Value(b?.Report, name);
            var difference = second - first;
            var (interval, from) = difference is null ? (null, "one version does not report it") : IntervalOf(name, versionA, a!, versionB, b!, sameTestSet);
            return new MetricDifference(name, first, second, difference, first is 0 ? null : difference / first * 100, MetricDirection.HigherIsBetter(name))
            {
                Interval = interval,
                IntervalFrom = from,
            };
        })];
    }

    private static (ConfidenceInterval? Interval, string From) IntervalOf(
        string metric, string versionA, ScoredReport a, string versionB, ScoredReport b, bool sameTestSet)
    {
        if (b.Report.ComparedWithProduction is { } forward && forward.Version == versionA && forward.Metric == metric)
        {
            return (forward.Interval, $"the paired comparison in {(versionB.Length == 0 ? "the candidate" : versionB)}'s report");
        }

        if (a.Report.ComparedWithProduction is { } backward && backward.Version == versionB && backward.Metric == metric)
        {
            return (new ConfidenceInterval(-backward.Interval.Upper, -backward.Interval.Lower, backward.Interval.Level), $"the paired comparison in {versionA}'s report");
        }

        return !sameTestSet ? (null, "the test sets differ")
            : a.Predictions is null || b.Predictions is null ? (null, "the predictions of both versions are not stored")
            : a.Predictions.Compare(b.Predictions, metric, a.Report.Threshold == b.Report.Threshold ? a.Report.Threshold : null);
    }

    private static double? Value(EvaluationReport? report, string metric) =>
        report is not null && report.Metrics.TryGetValue(metric, out var value) ? value : null;

    private static double? LatencyUsP95(ModelVersionRecord version, EvaluationReport? report) => version.Profile?.Benchmark?.LatencyUsP95 ?? report?.Cost?.LatencyUsP95;

    private static void AddCost(ModelVersionRecord a, ModelVersionRecord b, List<string> reasons)
    {
        foreach (var (slow, fast) in new[] { (b, a), (a, b) })
        {
            if (slow.Profile?.Benchmark?.LatencyUsP95 is { } slower && fast.Profile?.Benchmark?.LatencyUsP95 is { } faster && slower > faster * SlowerFactor && slower - faster > LatencyUsNoise)
            {
                reasons.Add(string.Create(CultureInfo.InvariantCulture, $"{slow.Version} is {slower / faster:0.0} times slower: p95 of one row {slower:0} µs against {faster:0} µs"));
            }
        }

        foreach (var version in new[] { a, b })
        {
            if (version.Profile?.Benchmark?.Fault is { } fault)
            {
                reasons.Add($"{version.Version} could not be measured: {fault}");
            }
        }
    }

    private static (string? Recommendation, List<string> Reasons) Recommend(
        ModelVersionRecord a, ModelVersionRecord b, EvaluationReport? reportA, EvaluationReport? reportB, bool sameTestSet, List<MetricDifference> metrics)
    {
        if (reportA is null || reportB is null)
        {
            return (null, [$"version {(reportA is null ? a : b).Version} has no evaluation report"]);
        }

        // A paired test on one test set decides before single numbers do.
        foreach (var (candidate, rival, report) in new[] { (b, a, reportB), (a, b, reportA) })
        {
            if (report.ComparedWithProduction is { } paired && paired.Version == rival.Version)
            {
                var sign = MetricDirection.HigherIsBetter(paired.Metric) ? 1 : -1;
                var text = string.Create(CultureInfo.InvariantCulture,
                    $"{candidate.Version} minus {rival.Version} in {paired.Metric}: {paired.Difference:0.####} ({paired.Interval.Level:0.##} interval {paired.Interval.Lower:0.####} to {paired.Interval.Upper:0.####}, p = {paired.PValue:0.####}) on one test set");
                return Decide(text, paired.Interval, sign * paired.Difference > 0 ? candidate.Version : rival.Version);
            }
        }

        if (!sameTestSet)
        {
            return (null, ["the two reports are on different test sets, so that their metrics do not compare; evaluate both on one"]);
        }

        var metric = reportB.GoNoGo?.Metric ?? reportA.GoNoGo?.Metric;
        var deciding = metrics.FirstOrDefault(row => row.Name == metric && row.Difference is not null);
        if (deciding is null || deciding.Difference is 0 or double.NaN)
        {
            return (null, ["no metric that both versions report decides"]);
        }

        var preferred = (deciding.Difference > 0 == deciding.HigherIsBetter ? b : a).Version;
        if (deciding.Interval is { } interval)
        {
            return Decide(
                string.Create(CultureInfo.InvariantCulture,
                    $"{b.Version} minus {a.Version} in {deciding.Name}: {deciding.Difference:0.####} ({interval.Level:0.##} interval {interval.Lower:0.####} to {interval.Upper:0.####}, {deciding.IntervalFrom})"),
                interval, preferred);
        }

        return (preferred, [string.Create(CultureInfo.InvariantCulture,
            $"{deciding.Name} {deciding.A:0.####} of {a.Version} against {deciding.B:0.####} of {b.Version} on the same test set; no test of the difference is on record")]);
    }

    private static (string? Recommendation, List<string> Reasons) Decide(string text, ConfidenceInterval interval, string preferred) =>
        interval.Lower > 0 || interval.Upper < 0 ? (preferred, [text]) : (null, [$"{text}; the interval holds zero"]);
}
