using System.Globalization;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>What was read from files before the transaction; none of it can change while the transaction runs.</summary>
/// <param name="Report">The version's evaluation report; null when it has none.</param>
/// <param name="MissingLineage">Kinds of upstream things that are missing.</param>
/// <param name="Damage">What is wrong with the version's files; null when all are as registered.</param>
/// <param name="RollbackTo">The version that would take over; null when none was in production.</param>
/// <param name="RollbackFault">Why it could not; null when it could.</param>
internal sealed record GateEvidence(
    EvaluationReport? Report, IReadOnlyList<string> MissingLineage, string? Damage, string? RollbackTo, string? RollbackFault);

/// <summary>Decides whether a version may enter a stage. Pure: every fact is an argument.</summary>
internal static class PromotionGate
{
    /// <param name="version">The version as it stands.</param>
    /// <param name="to">Stage asked for.</param>
    /// <param name="policy">In force.</param>
    /// <param name="promotion">The open request; null when there is none yet.</param>
    /// <param name="production">The version in production now; null for none.</param>
    /// <param name="evidence">From files.</param>
    public static GateReport Evaluate(
        ModelVersionRecord version, Stage to, PromotionPolicy policy, PromotionRecord? promotion, ModelVersionRecord? production, GateEvidence evidence)
    {
        var requirements = policy.For(to);
        var items = new List<GateItem> { SourceStage(version, to, promotion), Approvals(version, requirements, promotion) };
        if (to is Stage.Staging or Stage.Production)
        {
            items.Add(Integrity(version, evidence));
            if (requirements.LineageComplete)
            {
                items.Add(LineageComplete(version, evidence));
            }

            Evaluation(version, requirements, production, evidence, items);
        }

        if (to is Stage.Production)
        {
            items.Add(RollbackPlan(production, evidence));
        }

        return new GateReport(version.Model, version.Version, version.Stage, to, policy.Id, items);
    }

    /// <summary>Approvals that count: by a role the policy names, and by neither the requester nor the author.</summary>
    public static IReadOnlyList<PromotionDecision> Valid(PromotionRecord promotion, string author, StageRequirements requirements) =>
        [.. promotion.Decisions.Where(decision => decision.Approved
            && decision.By != promotion.RequestedBy && decision.By != author
            && requirements.Roles.Any(role => string.Equals(role.ToString(), decision.Role, StringComparison.OrdinalIgnoreCase)))];

    private static GateItem SourceStage(ModelVersionRecord version, Stage to, PromotionRecord? promotion)
    {
        var from = StageRules.Name(version.Stage);
        var evidence = new[] { version.Node.ToString() };
        if (promotion is not null && promotion.From != version.Stage)
        {
            return new GateItem("source_stage", false, $"the promotion was asked for from {StageRules.Name(promotion.From)}, but the version is now in {from}; ask again", evidence);
        }

        return StageRules.Allows(version.Stage, to)
            ? new GateItem("source_stage", true, $"{from} leads to {StageRules.Name(to)}", evidence)
            : new GateItem("source_stage", false,
                $"the version is in {from}, from which it may only go to {string.Join(" or ", StageRules.Targets(version.Stage).Select(StageRules.Name))}", evidence);
    }

    private static GateItem Approvals(ModelVersionRecord version, StageRequirements requirements, PromotionRecord? promotion)
    {
        var valid = promotion is null ? [] : Valid(promotion, version.CreatedBy, requirements);
        var roles = string.Join(" or ", requirements.Roles.Select(role => role.ToString().ToLowerInvariant()));
        var given = valid.Count == 0 ? "none was given" : $"given by {string.Join(", ", valid.Select(decision => decision.By))}";
        return new GateItem("approvals", valid.Count >= requirements.Approvals,
            $"{requirements.Approvals} needed from {roles}, by neither the requester nor the author; {given}",
            promotion is null ? [] : [$"promotion:{promotion.Id}"]);
    }

    private static GateItem Integrity(ModelVersionRecord version, GateEvidence evidence) =>
        new("integrity", evidence.Damage is null, evidence.Damage ?? $"all {version.Files.Count} files have their registered SHA-256",
            [.. version.Files.Select(file => $"blob:{file.Sha256}")]);

    private static GateItem LineageComplete(ModelVersionRecord version, GateEvidence evidence) =>
        new("lineage", evidence.MissingLineage.Count == 0,
            evidence.MissingLineage.Count == 0
                ? "dataset version, commit, feature definitions and evaluation report are linked"
                : $"no link to {string.Join(", ", evidence.MissingLineage)}",
            [version.Node.ToString()]);

    private static void Evaluation(
        ModelVersionRecord version, StageRequirements requirements, ModelVersionRecord? production, GateEvidence evidence, List<GateItem> items)
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

        items.AddRange(requirements.Metrics.Select(limit => WithinLimit(limit, report, proof)));
        if (requirements.MustBeatBaseline is { } metric)
        {
            items.Add(BeatsBaselines(metric, report, proof));
        }

        if (requirements.ImprovementOverProduction is { } improvement)
        {
            items.Add(ImprovesOnProduction(improvement, report, production, proof));
        }
    }

    private static GateItem WithinLimit(MetricLimit limit, EvaluationReport report, string[] proof)
    {
        var name = $"metric:{limit.Metric}";
        var wanted = (limit.Minimum, limit.Maximum) switch
        {
            ({ } minimum, null) => $"at least {Number(minimum)}",
            (null, { } maximum) => $"at most {Number(maximum)}",
            var (minimum, maximum) => $"{Number(minimum!.Value)} to {Number(maximum!.Value)}",
        };
        if (!report.Metrics.TryGetValue(limit.Metric, out var value))
        {
            return new GateItem(name, false, $"{limit.Metric} must be {wanted}, but the evaluation report does not hold it", proof);
        }

        // Written so that NaN fails.
        var passed = (limit.Minimum is not { } least || value >= least) && (limit.Maximum is not { } most || value <= most) && !double.IsNaN(value);
        return new GateItem(name, passed, $"{limit.Metric} {Number(value)}, {wanted} required", proof);
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

    private static GateItem ImprovesOnProduction(ImprovementLimit limit, EvaluationReport report, ModelVersionRecord? production, string[] proof)
    {
        const string name = "improves_on_production";
        if (production is null)
        {
            return new GateItem(name, true, "no version is in production to compare with", proof);
        }

        if (report.ComparedWithProduction is not { } comparison || comparison.Version != production.Version || comparison.Metric != limit.Metric)
        {
            return new GateItem(name, false,
                $"the evaluation report does not compare {limit.Metric} with version {production.Version}, which is in production now; evaluate again", proof);
        }

        var gain = MetricDirection.HigherIsBetter(limit.Metric) ? comparison.Difference : -comparison.Difference;
        return new GateItem(name, gain >= limit.Minimum,
            $"{limit.Metric} {Number(comparison.Candidate)} against {Number(comparison.Production)} of {production.Version} on the same test set: an improvement of {Number(gain)}, {Number(limit.Minimum)} required",
            [.. proof, production.Node.ToString()]);
    }

    private static GateItem RollbackPlan(ModelVersionRecord? production, GateEvidence evidence)
    {
        const string name = "rollback_plan";
        if (evidence.RollbackTo is { } target)
        {
            return new GateItem(name, evidence.RollbackFault is null, evidence.RollbackFault ?? $"{target} was in production before, its files verify and its model loads", [$"rollback_to:{target}"]);
        }

        return production is null
            ? new GateItem(name, true, "no version was in production before this one", [])
            : new GateItem(name, false, $"version {production.Version} went into production while this was checked; try again", [production.Node.ToString()]);
    }

    private static string Number(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
}
