using System.Globalization;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Versions;

/// <summary>Puts two versions side by side and says which to prefer, or why that cannot be said.</summary>
internal static class VersionComparer
{
    public static VersionComparison Compare(ModelVersionRecord a, EvaluationReport? reportA, ModelVersionRecord b, EvaluationReport? reportB)
    {
        var change = VersionRules.Compare(a.Signature, a.FeatureSchema, b.Signature, b.FeatureSchema);
        var before = a.FeatureSchema.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        var after = b.FeatureSchema.Features.ToDictionary(feature => feature.Name, feature => feature.Type, StringComparer.Ordinal);
        var sameTestSet = reportA is not null && reportA.TestSetSha256 == reportB?.TestSetSha256;
        var metrics = Metrics(reportA, reportB);
        var (recommendation, reasons) = Recommend(a, b, reportA, reportB, sameTestSet, metrics);
        if (change.Required is not Bump.Patch)
        {
            reasons.Add($"going from {a.Version} to {b.Version} is a {VersionRules.Name(change.Required)} change: {string.Join(", ", change.Reasons)}");
        }

        return new VersionComparison(
            a.Model, a.Version, b.Version, sameTestSet, metrics, a.SizeBytes, b.SizeBytes, reportA?.Cost?.LatencyUsP95, reportB?.Cost?.LatencyUsP95,
            [.. after.Keys.Except(before.Keys)], [.. before.Keys.Except(after.Keys)],
            [.. after.Where(feature => before.TryGetValue(feature.Key, out var type) && type != feature.Value).Select(feature => feature.Key)],
            VersionRules.Name(change.Required), recommendation, reasons);
    }

    private static List<MetricDifference> Metrics(EvaluationReport? reportA, EvaluationReport? reportB)
    {
        var names = (reportA?.Metrics.Keys ?? []).Union(reportB?.Metrics.Keys ?? []).Order(StringComparer.Ordinal);
        return [.. names.Select(name =>
        {
            var a = Value(reportA, name);
            var b = Value(reportB, name);
            var difference = b - a;
            return new MetricDifference(name, a, b, difference, a is 0 ? null : difference / a * 100, MetricDirection.HigherIsBetter(name));
        })];
    }

    private static double? Value(EvaluationReport? report, string metric) =>
        report is not null && report.Metrics.TryGetValue(metric, out var value) ? value : null;

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
                var text = string.Create(CultureInfo.InvariantCulture,
                    $"{candidate.Version} minus {rival.Version} in {paired.Metric}: {paired.Difference:0.####} ({paired.Interval.Level:0.##} interval {paired.Interval.Lower:0.####} to {paired.Interval.Upper:0.####}, p = {paired.PValue:0.####}) on one test set");
                var sign = MetricDirection.HigherIsBetter(paired.Metric) ? 1 : -1;
                return (paired.Interval.Lower > 0 || paired.Interval.Upper < 0)
                    ? (sign * paired.Difference > 0 ? candidate.Version : rival.Version, [text])
                    : (null, [$"{text}; the interval holds zero"]);
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

        var preferB = deciding.Difference > 0 == deciding.HigherIsBetter;
        return ((preferB ? b : a).Version, [string.Create(CultureInfo.InvariantCulture,
            $"{deciding.Name} {deciding.A:0.####} of {a.Version} against {deciding.B:0.####} of {b.Version} on the same test set; no test of the difference is on record")]);
    }
}
