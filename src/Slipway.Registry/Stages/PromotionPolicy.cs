using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Stages;

/// <summary>What a model's versions must show before they enter a stage.</summary>
/// <param name="Id"><c>policy/name@version</c>, or <c>built-in</c>.</param>
/// <param name="Model">The model it governs.</param>
/// <param name="Stages">By stage; a stage that is not named has <see cref="StageRequirements.None"/>.</param>
internal sealed record PromotionPolicy(string Id, string Model, IReadOnlyDictionary<Stage, StageRequirements> Stages)
{
    /// <summary>In force until a policy file for the model is applied.</summary>
    public static PromotionPolicy BuiltIn(string model) => new("built-in", model, new Dictionary<Stage, StageRequirements>
    {
        [Stage.Staging] = StageRequirements.Default,
        [Stage.Production] = StageRequirements.Default,
        [Stage.Archived] = StageRequirements.None with { Approvals = 1 },
    });

    public StageRequirements For(Stage stage) => Stages.GetValueOrDefault(stage, StageRequirements.None);

    /// <summary>Reads a policy file; faults are collected in <paramref name="yaml"/>, whose <c>Done</c> the caller calls.</summary>
    public static PromotionPolicy Read(DefinitionYaml yaml, string id)
    {
        var stages = new Dictionary<Stage, StageRequirements>();
        foreach (var stage in (ReadOnlySpan<Stage>)[Stage.Staging, Stage.Production, Stage.Archived])
        {
            if (yaml.OptionalMap(StageRules.Name(stage)) is { } requirements)
            {
                stages[stage] = ReadStage(requirements);
            }
        }

        if (stages.Count == 0)
        {
            yaml.Fault("model", "has no stage requirements; give 'staging', 'production' or both");
        }

        return new PromotionPolicy(id, yaml.Text("model"), stages);
    }

    private static StageRequirements ReadStage(DefinitionYaml yaml)
    {
        var roles = new List<Role>();
        foreach (var role in yaml.Texts("roles"))
        {
            if (role is "approver" or "admin")
            {
                roles.Add(role == "admin" ? Role.Admin : Role.Approver);
            }
            else
            {
                yaml.Fault("roles", $"may hold approver and admin, who may approve, not '{role}'");
            }
        }

        var limits = new List<MetricLimit>();
        foreach (var limit in yaml.Maps("metrics"))
        {
            var read = new MetricLimit(limit.Text("metric"), limit.OptionalNumber("minimum"), limit.OptionalNumber("maximum"));
            limits.Add(read);
            if (read.Minimum is null && read.Maximum is null && !limit.Has("minimum") && !limit.Has("maximum"))
            {
                limit.Fault("metric", "has no limit; give it a minimum, a maximum or both");
            }
        }

        var improvement = yaml.OptionalMap("improvement_over_production");
        return new StageRequirements(
            yaml.OptionalInteger("approvals", 0, 20) ?? StageRequirements.Default.Approvals,
            roles.Count == 0 ? StageRequirements.Default.Roles : roles,
            yaml.OptionalBool("lineage_complete") ?? true,
            limits,
            yaml.OptionalText("must_beat_baseline"),
            improvement is null ? null : new ImprovementLimit(improvement.Text("metric"), improvement.Number("minimum")));
    }
}

/// <summary>What one stage asks for.</summary>
/// <param name="Approvals">Users other than the requester and the author who must agree.</param>
/// <param name="Roles">Roles whose approval counts.</param>
/// <param name="LineageComplete">The four links must exist.</param>
/// <param name="Metrics">Limits on the evaluation report's metrics.</param>
/// <param name="MustBeatBaseline">The metric in which the candidate must beat every baseline of its report; null for none.</param>
/// <param name="ImprovementOverProduction">The least improvement over the version in production; null for none.</param>
internal sealed record StageRequirements(
    int Approvals, IReadOnlyList<Role> Roles, bool LineageComplete, IReadOnlyList<MetricLimit> Metrics, string? MustBeatBaseline,
    ImprovementLimit? ImprovementOverProduction)
{
    public static StageRequirements Default { get; } = new(1, [Role.Approver, Role.Admin], true, [], null, null);

    public static StageRequirements None { get; } = Default with { Approvals = 0, LineageComplete = false };

    public bool NeedsReport => Metrics.Count > 0 || MustBeatBaseline is not null || ImprovementOverProduction is not null;
}

/// <summary>A limit on one metric.</summary>
internal sealed record MetricLimit(string Metric, double? Minimum, double? Maximum);

/// <summary>The least difference from production, in the metric's own unit; negative allows a small loss.</summary>
internal sealed record ImprovementLimit(string Metric, double Minimum);
