using Slipway.Contracts.Registry;

namespace Slipway.Registry.Stages;

/// <summary>Decides whether a version may enter a stage or environment. Pure: every fact is an argument.</summary>
internal static class PromotionGate
{
    /// <param name="version">The version as it stands.</param>
    /// <param name="to">Stage or environment asked for.</param>
    /// <param name="policy">In force.</param>
    /// <param name="promotion">The open request; null when there is none yet.</param>
    /// <param name="state">From rows.</param>
    /// <param name="evidence">From files and other areas.</param>
    /// <param name="now">For ages and ends of life.</param>
    public static GateReport Evaluate(
        ModelVersionRecord version, PromotionTarget to, PromotionPolicy policy, PromotionRecord? promotion, GateState state, GateEvidence evidence, DateTimeOffset now)
    {
        var requirements = policy.For(to);
        var items = new List<GateItem> { SourceStage(version, to, promotion) };
        items.AddRange(ApprovalItems(version, requirements, policy, promotion, state.Risk));
        var enters = to.Environment is not null || to.Stage is Stage.Staging or Stage.Production;
        if (enters)
        {
            Provenance(version, requirements, evidence, items);
            EvaluationGate.Add(version, requirements.WithLimitsOf(evidence.Limits.Requirements), state.Production, evidence, items);
            Papers(version, requirements, state, evidence, now, items);
            if (policy.Before(to).ToList() is { Count: > 0 } before)
            {
                var missing = before.Where(name => !state.WasIn.Contains(name)).ToList();
                items.Add(new GateItem("environments", missing.Count == 0,
                    missing.Count == 0 ? $"it was in {string.Join(", ", before)}" : $"it was not yet in {string.Join(", ", missing)}", [version.Node.ToString()]));
            }

            if (state.Deprecation is { EndOfLife: { } end } deprecation && end <= now)
            {
                items.Add(new GateItem("end_of_life", false, $"its life ended {end.UtcDateTime:yyyy-MM-dd}: {deprecation.Reason}", [version.Node.ToString()]));
            }
        }

        if (to.Stage is Stage.Production)
        {
            items.Add(RollbackPlan(state.Production, evidence));
        }

        return new GateReport(version.Model, version.Version, version.Stage, to.Stage ?? version.Stage, policy.Id, items) { Environment = to.Environment };
    }

    private static GateItem SourceStage(ModelVersionRecord version, PromotionTarget to, PromotionRecord? promotion)
    {
        var from = StageRules.Name(version.Stage);
        var evidence = new[] { version.Node.ToString() };
        if (promotion is not null && promotion.From != version.Stage)
        {
            return new GateItem("source_stage", false, $"the promotion was asked for from {StageRules.Name(promotion.From)}, but the version is now in {from}; ask again", evidence);
        }

        return StageRules.WhyNot(version.Stage, to) is { } fault
            ? new GateItem("source_stage", false, $"the version is in {from}, {fault}", evidence)
            : new GateItem("source_stage", true, $"{from} leads to {to.Name}", evidence);
    }

    private static IEnumerable<GateItem> ApprovalItems(
        ModelVersionRecord version, StageRequirements requirements, PromotionPolicy policy, PromotionRecord? promotion, RiskClass risk)
    {
        var steps = Approvals.Steps(requirements, risk, policy.RiskTable);
        string[] evidence = promotion is null ? [] : [$"promotion:{promotion.Id}"];
        if (steps.Count == 0)
        {
            yield return new GateItem("approvals", true, "the policy asks for none", evidence);
            yield break;
        }

        foreach (var (step, state) in steps.Zip(Approvals.Count(steps, promotion, version.CreatedBy)))
        {
            var given = state.By.Count == 0 ? "none was given" : $"given by {string.Join(", ", state.By)}";
            var why = step.Why == "the policy" ? "" : $" ({step.Why})";
            yield return new GateItem(steps.Count == 1 ? "approvals" : $"approvals:{step.Name}", state.Complete,
                $"{step.Approvals} needed from {Approvals.Who(step)}{why}, by neither the requester nor the author; {given}", evidence);
        }
    }

    private static void Provenance(ModelVersionRecord version, StageRequirements requirements, GateEvidence evidence, List<GateItem> items)
    {
        items.Add(new GateItem("integrity", evidence.Damage is null, evidence.Damage ?? $"all {version.Files.Count} files have their registered SHA-256",
            [.. version.Files.Select(file => $"blob:{file.Sha256}")]));
        if (evidence.Parts is { } parts)
        {
            items.Add(new GateItem("parts", parts.Fault is null, parts.Fault ?? $"all {parts.Nodes.Count} versions that it runs load and were approved as far themselves", parts.Nodes));
        }

        string[] node = [version.Node.ToString()];
        if (requirements.LineageComplete)
        {
            items.Add(new GateItem("lineage", evidence.MissingLineage.Count == 0,
                evidence.MissingLineage.Count == 0
                    ? "dataset version, commit, feature definitions and evaluation report are linked"
                    : $"no link to {string.Join(", ", evidence.MissingLineage)}",
                node));
        }

        if (requirements.DatasetVersion)
        {
            var flagged = evidence.Run is { Inputs.Count: 0 };
            items.Add(new GateItem("dataset_version", version.Datasets.Count > 0 && !flagged,
                flagged ? $"run {version.RunId} names no dataset"
                    : version.Datasets.Count == 0 ? "the version names no dataset version; register it with 'datasets'"
                    : $"trained on {string.Join(", ", version.Datasets.Select(dataset => $"{dataset.Name}@{dataset.Version}"))}",
                [.. version.Datasets.Select(dataset => $"dataset_version:{dataset.Name}@{dataset.Version}")]));
        }

        var dependencies = evidence.Dependencies;
        if (requirements.PinnedDependencies is true || (requirements.PinnedDependencies is null && dependencies.Pinned is false))
        {
            items.Add(new GateItem("pinned_dependencies", dependencies.Pinned is true, dependencies.Detail,
                version.EnvironmentSha256 is { } sha256 ? [$"blob:{sha256}"] : []));
        }
    }

    private static void Papers(ModelVersionRecord version, StageRequirements requirements, GateState state, GateEvidence evidence, DateTimeOffset now, List<GateItem> items)
    {
        foreach (var wanted in requirements.Documents)
        {
            items.Add(Document(wanted, evidence.Documents.GetValueOrDefault(wanted.Name), version, now));
        }

        if (requirements.AbTest is { } test)
        {
            items.Add(AbTest(test, evidence));
        }

        if (requirements.Checklist.Count > 0)
        {
            var open = requirements.Checklist.Where(item => !state.Ticked.ContainsKey(item.Item)).Select(item => item.Item).ToList();
            items.Add(new GateItem("checklist", open.Count == 0,
                open.Count == 0 ? $"all {requirements.Checklist.Count} items are ticked" : $"{open.Count} of {requirements.Checklist.Count} items are open: {string.Join(", ", open)}",
                [.. requirements.Checklist.Where(item => state.Ticked.ContainsKey(item.Item)).Select(item => $"{item.Item}: {state.Ticked[item.Item].TickedBy}")]));
        }
    }

    private static GateItem Document(DocumentRequirement wanted, GateFact? fact, ModelVersionRecord version, DateTimeOffset now)
    {
        var name = $"document:{wanted.Name}";
        if (fact is null)
        {
            return new GateItem(name, false, $"there is no {wanted.Name} of {version.Version}; write one", []);
        }

        var fresh = wanted.AgeMax is not { } age || now - fact.At <= age;
        return new GateItem(name, fact.Holds && fresh,
            fresh ? fact.Detail : $"{fact.Detail}, which is older than {wanted.AgeMax!.Value.TotalDays:0.#} days; write it again", [fact.Evidence]);
    }

    private static GateItem AbTest(AbTestRequirement wanted, GateEvidence evidence)
    {
        const string name = "ab_test";
        if (evidence.AbTest is not { } test)
        {
            return new GateItem(name, false, evidence.KnowsAbTests
                ? "the policy asks for a won A/B test of this version, and there is none"
                : "the policy asks for a won A/B test of this version, and this server holds no results of A/B tests", []);
        }

        var (days, share) = (test.Numbers.GetValueOrDefault("days"), test.Numbers.GetValueOrDefault("share"));
        return new GateItem(name, test.Holds && days >= wanted.DaysMin && share >= wanted.ShareMin,
            FormattableString.Invariant($"{test.Detail}; it ran {days:0.#} days on {share:0.##} of the traffic, {wanted.DaysMin:0.#} days on {wanted.ShareMin:0.##} required"), [test.Evidence]);
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
}
