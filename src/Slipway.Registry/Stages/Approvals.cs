using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Identity;

namespace Slipway.Registry.Stages;

/// <summary>Counts approvals step by step. Pure: every fact is an argument.</summary>
internal static class Approvals
{
    private const string OnlyStep = "approvals";

    /// <summary>The steps that a version of this risk takes, in order; none when nobody need agree.</summary>
    public static IReadOnlyList<ApprovalStep> Steps(StageRequirements requirements, RiskClass risk, RiskTable table)
    {
        var steps = requirements.Steps.Count > 0
            ? requirements.Steps.Where(step => step.Risk.Count == 0 || step.Risk.Contains(risk)).ToList()
            : requirements.Approvals > 0 ? [new ApprovalStep(OnlyStep, requirements.Approvals, requirements.Roles, requirements.Groups, [])] : [];
        if (!requirements.RiskRaises || steps.Count == 0)
        {
            return steps;
        }

        var why = $"risk class {RiskTable.Name(risk)}";
        var tier = table[risk];
        foreach (var board in tier.Groups.Where(board => !steps.Any(step => step.Groups.Contains(board))))
        {
            // Before the last step, which stays the final word.
            steps.Insert(steps.Count - 1, new ApprovalStep(board, 1, requirements.Roles, [board], []) { Why = why });
        }

        var missing = tier.Approvals - steps.Sum(step => step.Approvals);
        return missing > 0 ? [.. steps[..^1], steps[^1] with { Approvals = steps[^1].Approvals + missing, Why = why }] : steps;
    }

    /// <summary>How far each step is. A user counts once, and never the requester or the author.</summary>
    public static IReadOnlyList<ApprovalStepState> Count(IReadOnlyList<ApprovalStep> steps, PromotionRecord? promotion, string author)
    {
        var given = steps.Select(_ => new List<string>()).ToList();
        foreach (var decision in promotion?.Decisions.Where(decision => decision.Approved && decision.By != promotion.RequestedBy && decision.By != author) ?? [])
        {
            for (var i = 0; i < steps.Count; i++)
            {
                if (given[i].Count < steps[i].Approvals && Counts(steps[i], decision.Role, decision.Groups))
                {
                    given[i].Add(decision.By);
                    break;
                }
            }
        }

        return [.. steps.Select((step, i) => new ApprovalStepState(step.Name, step.Approvals, [.. step.Roles.Select(Roles.Name)], step.Groups, given[i], step.Why))];
    }

    /// <summary>The step that waits; null when all are complete.</summary>
    public static ApprovalStep? Current(IReadOnlyList<ApprovalStep> steps, IReadOnlyList<ApprovalStepState> states) =>
        states.Index().FirstOrDefault(state => !state.Item.Complete) is { Item: not null } open ? steps[open.Index] : null;

    public static bool Counts(ApprovalStep step, string role, IReadOnlyList<string> groups) =>
        Roles.Find(role) is { } known && step.Roles.Contains(known) && (step.Groups.Count == 0 || step.Groups.Any(groups.Contains));

    /// <summary>Who may approve in a step, in words.</summary>
    public static string Who(ApprovalStep step) => Who(step.Roles, step.Groups);

    public static string Who(IReadOnlyList<Role> roles, IReadOnlyList<string> groups) =>
        $"{RoleNames.Of(roles)}{(groups.Count == 0 ? "" : $" in group {string.Join(" or ", groups)}")}";
}
