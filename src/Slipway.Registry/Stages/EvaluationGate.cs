using System.Globalization;
using Slipway.Contracts.Registry;
using Slipway.Statistics.Proportions;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>The part of a gate that judges figures. Pure.</summary>
internal static class EvaluationGate
{
    private static readonly HashSet<string> Rates = new(StringComparer.Ordinal) { "accuracy", "selection_rate", "positive_rate" };

    /// <param name="version">The candidate.</param>
    /// <param name="requirements">With the limits that were in force when its run began.</param>
    /// <param name="production">The version in production now; null for none.</param>
    /// <param name="evidence">From files.</param>
    /// <param name="items">Takes what was found.</param>
    public static void Add(ModelVersionRecord version, StageRequirements requirements, ModelVersionRecord? production, GateEvidence evidence, List<GateItem> items)
    {
        if (evidence.Report is not { } report)
        {
            if (requirements.NeedsReport)
            {
                items.Add(new GateItem("evaluation_report", false, "the policy sets limits on metrics, but the version has no evaluation report", []));
            }

            return;
        }

        string[] proof = [new NodeRef(NodeKinds.EvaluationReport, version.EvaluationReportSha256!).ToString(), $"test_set:{report.TestSetSha256}"];
        if (report.GoNoGo is { } verdict)
        {
            items.Add(new GateItem("go_no_go", verdict.Passed,
                $"{verdict.Metric} {Number(verdict.Value)} against a minimum of {Number(verdict.Minimum)} set before training", proof));
        }

        if (requirements.NeedsReport)
        {
            if (requirements.LimitsBeforeRun)
            {
                items.Add(new GateItem("limits_before_run", evidence.Limits.BeforeRun is true, evidence.Limits.Detail, [evidence.Limits.Policy]));
            }
            else
            {
                proof = [.. proof, $"limits: {evidence.Limits.Detail}"];
            }
        }

        items.AddRange(requirements.Metrics.Select(limit => WithinLimit($"metric:{limit.Metric}", limit, Find(report.Metrics, limit.Metric), "", proof)));
        if (requirements.MustBeatBaseline is { } metric)
        {
            items.Add(BeatsBaselines(metric, report, proof));
        }

        if (requirements.ImprovementOverProduction is { } improvement)
        {
            items.Add(ImprovesOnProduction(improvement, production, evidence, proof));
        }

        items.AddRange(requirements.Fairness.Select(limit => Fair(limit, report, proof)));
        items.AddRange(requirements.BusinessMetrics.Select(limit => Business(limit, report, proof)));
    }

    private static double? Find(IReadOnlyDictionary<string, double> metrics, string name) => metrics.TryGetValue(name, out var value) ? value : null;

    private static GateItem WithinLimit(string name, MetricLimit limit, double? value, string about, string[] proof)
    {
        var wanted = (limit.Minimum, limit.Maximum) switch
        {
            ({ } minimum, null) => $"at least {Number(minimum)}",
            (null, { } maximum) => $"at most {Number(maximum)}",
            var (minimum, maximum) => $"{Number(minimum!.Value)} to {Number(maximum!.Value)}",
        };
        if (value is not { } found)
        {
            return new GateItem(name, false, $"{limit.Metric} must be {wanted}, but the evaluation report does not hold it", proof);
        }

        // Written so that NaN fails.
        var passed = (limit.Minimum is not { } least || found >= least) && (limit.Maximum is not { } most || found <= most) && !double.IsNaN(found);
        return new GateItem(name, passed, $"{limit.Metric} {Number(found)}{about}, {wanted} required", proof);
    }

    private static GateItem Business(MetricLimit limit, EvaluationReport report, string[] proof)
    {
        var name = $"business_metric:{limit.Metric}";
        if (report.BusinessMetrics.FirstOrDefault(metric => metric.Name == limit.Metric) is not { } found)
        {
            return new GateItem(name, false, $"the evaluation report states no business metric {limit.Metric}; an offline metric alone does not win", proof);
        }

        var about = $"{(found.Unit is null ? "" : $" {found.Unit}")}{(found.Source is null ? "" : $" ({found.Source})")}";
        return WithinLimit(name, limit, found.Value, about, proof);
    }

    private static GateItem BeatsBaselines(string metric, EvaluationReport report, string[] proof)
    {
        var rivals = report.Baselines.Where(baseline => baseline.Metrics.ContainsKey(metric)).Select(baseline => (baseline.Name, Value: baseline.Metrics[metric])).ToList();
        if (!report.Metrics.TryGetValue(metric, out var value) || rivals.Count == 0)
        {
            return new GateItem("beats_baseline", false, $"the evaluation report holds no {metric} of the candidate and of a baseline on the same test set", proof);
        }

        var higher = MetricDirection.HigherIsBetter(metric);
        var best = higher ? rivals.MaxBy(rival => rival.Value) : rivals.MinBy(rival => rival.Value);
        return new GateItem("beats_baseline", higher ? value > best.Value : value < best.Value,
            $"{metric} {Number(value)} against {Number(best.Value)} of the best baseline, {best.Name}, on the same test set", proof);
    }

    private static GateItem ImprovesOnProduction(ImprovementLimit limit, ModelVersionRecord? production, GateEvidence evidence, string[] proof)
    {
        const string name = "improves_on_production";
        if (production is null)
        {
            return new GateItem(name, true, "no version is in production to compare with", proof);
        }

        if (evidence.Improvement is not { } found || found.Version != production.Version)
        {
            return new GateItem(name, false,
                $"neither common test scores nor the evaluation report compare {limit.Metric} with version {production.Version}, which is in production now, at {Percent(1 - limit.Alpha)}; evaluate again", proof);
        }

        // The whole interval must lie above the least improvement: a difference that chance may have made does not pass.
        var passed = found.Lower > limit.Minimum;
        var p = found.PValue is { } value ? $", p = {value.ToString(value < 0.0001 ? "0.0e+0" : "0.####", CultureInfo.InvariantCulture)}" : "";
        return new GateItem(name, passed,
            $"{limit.Metric} {Number(found.Ours)} against {Number(found.Theirs)} of {production.Version} on the same test set: an improvement of {Number(found.Gain)}, " +
            $"{Percent(1 - found.Alpha)} interval {Number(found.Lower)} to {Number(found.Upper)}{p}, by {found.Method}; the interval must lie above {Number(limit.Minimum)}",
            [.. proof, production.Node.ToString(), FormattableString.Invariant($"alpha:{limit.Alpha}")]);
    }

    private static GateItem Fair(FairnessLimit limit, EvaluationReport report, string[] proof)
    {
        var name = $"fairness:{limit.Metric} by {limit.By}";
        var prefix = limit.By + "=";
        var groups = report.Slices
            .Where(slice => slice.Slice.StartsWith(prefix, StringComparison.Ordinal) && slice.Rows >= limit.RowsMin && slice.Metrics.ContainsKey(limit.Metric))
            .Select(slice => (Group: slice.Slice[prefix.Length..], slice.Rows, Value: slice.Metrics[limit.Metric])).OrderBy(group => group.Value).ToList();
        if (groups.Count < 2 || groups.Exists(group => double.IsNaN(group.Value)))
        {
            return new GateItem(name, false,
                $"the evaluation report holds {limit.Metric} of {groups.Count} groups of {limit.By} with at least {limit.RowsMin} rows; two are needed to compare", proof);
        }

        var (lowest, highest) = (groups[0], groups[^1]);
        var difference = highest.Value - lowest.Value;
        var ratio = highest.Value == 0 ? 1 : lowest.Value / highest.Value;
        var wanted = new[]
        {
            limit.MaximumDifference is { } most ? $"a difference of at most {Number(most)}" : null, limit.MinimumRatio is { } least ? $"a ratio of at least {Number(least)}" : null,
        }.OfType<string>();
        return new GateItem(name, (limit.MaximumDifference is not { } maximum || difference <= maximum) && (limit.MinimumRatio is not { } minimum || ratio >= minimum),
            $"{limit.Metric} from {Described(limit.Metric, lowest)} to {Described(limit.Metric, highest)}: difference {Number(difference)}, ratio {Number(ratio)}; {string.Join(" and ", wanted)} required",
            [.. proof, .. groups.Select(group => $"slice:{prefix}{group.Group}")]);
    }

    // Only rates over all rows of a group have an interval that its number of rows gives.
    private static string Described(string metric, (string Group, long Rows, double Value) group)
    {
        var text = $"{Number(group.Value)} of {group.Group} ({group.Rows} rows";
        if (!Rates.Contains(metric) || group.Value is < 0 or > 1)
        {
            return text + ")";
        }

        var interval = Proportion.WilsonInterval((long)Math.Round(group.Value * group.Rows), group.Rows);
        return $"{text}, 95 % interval {Number(interval.Lower)} to {Number(interval.Upper)})";
    }

    private static string Percent(double share) => (share * 100).ToString("0.##", CultureInfo.InvariantCulture) + " %";

    private static string Number(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
}
