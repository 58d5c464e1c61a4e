using System.Globalization;
using Slipway.Contracts.Audit;
using Slipway.Contracts.Registry;
using Slipway.Governance.Documents;
using Slipway.Registry;
using Slipway.Storage;

namespace Slipway.Governance.Audit;

/// <summary>The named checkpoints of a promotion, each from the gate as it was checked then, or from the records it left.</summary>
internal static class ComplianceCheckpoints
{
    /// <param name="promotion">With its gate.</param>
    /// <param name="version">The version it was about.</param>
    /// <param name="evaluation">Its evaluation; null when it has none that can be read.</param>
    /// <param name="cards">The model's cards.</param>
    public static IReadOnlyList<ComplianceCheckpoint> Of(PromotionRecord promotion, ModelVersionRecord version, EvaluationReport? evaluation, IReadOnlyList<PublishedCard> cards) =>
    [
        FromGate("files_as_registered", promotion, "integrity", "the gate of this stage does not look at the files"),
        FromGate("lineage_complete", promotion, "lineage", "the policy did not ask for it"),
        ApprovedByAnother(promotion, version),
        RollbackPlan(promotion),
        EvaluatedOnTestSet(version, evaluation),
        Fairness(promotion),
        ModelCard(promotion, version, cards),
    ];

    private static ComplianceCheckpoint FromGate(string name, PromotionRecord promotion, string item, string otherwise) =>
        promotion.LastGate!.Items.FirstOrDefault(found => found.Name == item) is { } checkedThen
            ? new ComplianceCheckpoint(name, Outcome(checkedThen.Passed), checkedThen.Detail, [$"promotion:{promotion.Id}", .. checkedThen.Evidence])
            : new ComplianceCheckpoint(name, ComplianceOutcome.NotChecked, otherwise, [$"promotion:{promotion.Id}"]);

    private static ComplianceCheckpoint ApprovedByAnother(PromotionRecord promotion, ModelVersionRecord version)
    {
        var others = promotion.Decisions.Where(decision => decision.Approved && decision.By != promotion.RequestedBy && decision.By != version.CreatedBy).ToList();
        return new ComplianceCheckpoint("approved_by_another", Outcome(others.Count > 0),
            others.Count > 0
                ? $"approved by {string.Join(", ", others.Select(decision => $"{decision.By} ({decision.Role})"))}; registered by {version.CreatedBy}, asked for by {promotion.RequestedBy}"
                : $"nobody but {string.Join(" and ", new[] { version.CreatedBy, promotion.RequestedBy }.Distinct())}, who registered it and asked for it, had a say",
            [$"promotion:{promotion.Id}"]);
    }

    private static ComplianceCheckpoint RollbackPlan(PromotionRecord promotion) => promotion.To is Stage.Production
        ? FromGate("rollback_plan", promotion, "rollback_plan", "the gate did not look for one")
        : new ComplianceCheckpoint("rollback_plan", ComplianceOutcome.NotChecked, "only a promotion to production needs one", [$"promotion:{promotion.Id}"]);

    private static ComplianceCheckpoint EvaluatedOnTestSet(ModelVersionRecord version, EvaluationReport? evaluation)
    {
        const string name = "evaluated_on_test_set";
        if (evaluation is null)
        {
            return new ComplianceCheckpoint(name, ComplianceOutcome.Failed, "the version has no evaluation report that can be read", [version.Node.ToString()]);
        }

        string[] evidence = [new NodeRef(NodeKinds.EvaluationReport, version.EvaluationReportSha256!).ToString(), $"test_set:{evaluation.TestSetSha256}"];
        var test = evaluation.Splits.FirstOrDefault(split => split.Name == "test");
        return new ComplianceCheckpoint(name, Outcome(test is { Rows: > 0 } && evaluation.Metrics.Count > 0),
            test is null ? "the evaluation report names no test split"
                : string.Create(CultureInfo.InvariantCulture, $"{evaluation.Metrics.Count} metrics on {test.Rows:N0} test rows"), evidence);
    }

    private static ComplianceCheckpoint Fairness(PromotionRecord promotion)
    {
        var items = promotion.LastGate!.Items.Where(item => item.Name.StartsWith("fairness", StringComparison.Ordinal)).ToList();
        return items.Count == 0
            ? new ComplianceCheckpoint("fairness_checked", ComplianceOutcome.NotChecked, "the policy sets no limit on fairness", [$"promotion:{promotion.Id}"])
            : new ComplianceCheckpoint("fairness_checked", Outcome(items.TrueForAll(item => item.Passed)), string.Join("; ", items.Select(item => item.Detail)),
                [$"promotion:{promotion.Id}", .. items.SelectMany(item => item.Evidence).Distinct(StringComparer.Ordinal)]);
    }

    private static ComplianceCheckpoint ModelCard(PromotionRecord promotion, ModelVersionRecord version, IReadOnlyList<PublishedCard> cards)
    {
        const string name = "model_card_present";
        if (promotion.LastGate!.Items.FirstOrDefault(item => item.Name == "model_card") is { } item)
        {
            return new ComplianceCheckpoint(name, Outcome(item.Passed), item.Detail, [$"promotion:{promotion.Id}", .. item.Evidence]);
        }

        var card = cards.LastOrDefault(card => card.Version == version.Version && (promotion.ClosedAt is not { } closed || card.At <= closed));
        return card is null
            ? new ComplianceCheckpoint(name, ComplianceOutcome.Failed, $"no model card of {version.Version} was published before", [version.Node.ToString()])
            : new ComplianceCheckpoint(name, ComplianceOutcome.Passed, $"{card.Id} describes {version.Version}", [card.Node.ToString()]);
    }

    private static ComplianceOutcome Outcome(bool passed) => passed ? ComplianceOutcome.Passed : ComplianceOutcome.Failed;
}
