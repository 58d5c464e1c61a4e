using Slipway.Contracts.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Stages;

/// <summary>What a model's versions must show before they enter a stage or an environment.</summary>
/// <param name="Id"><c>policy/name@version</c>, or <c>built-in</c>.</param>
/// <param name="Model">The model it governs.</param>
/// <param name="Stages">By stage; a stage that is not named has <see cref="StageRequirements.None"/>.</param>
internal sealed record PromotionPolicy(string Id, string Model, IReadOnlyDictionary<Stage, StageRequirements> Stages)
{
    private static readonly TimeSpan ExpiryDefault = TimeSpan.FromDays(14);

    /// <summary>In order: the way of a version from staging to production.</summary>
    public IReadOnlyList<EnvironmentPolicy> Environments { get; init; } = [];

    /// <summary>Members of groups by the group's name, beside what the users' own records say.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Groups { get; init; } = new Dictionary<string, IReadOnlyList<string>>();

    /// <summary>The least risk class of the model; null leaves it to the model's own record.</summary>
    public RiskClass? Risk { get; init; }

    /// <summary>What each risk class adds.</summary>
    public RiskTable RiskTable { get; init; } = RiskTable.Default;

    /// <summary>How long a request stays open.</summary>
    public TimeSpan ExpiresAfter { get; init; } = ExpiryDefault;

    /// <summary>Whether requests are carried out by themselves once approved.</summary>
    public bool AutoExecute { get; init; }

    /// <summary>Steps of a retirement that an approver other than the one who gave the notice must do.</summary>
    public IReadOnlyList<string> RetirementApprovals { get; init; } = [];

    /// <summary>In force until a policy file for the model is applied.</summary>
    public static PromotionPolicy BuiltIn(string model) => new("built-in", model, new Dictionary<Stage, StageRequirements>
    {
        [Stage.Staging] = StageRequirements.Default,
        [Stage.Production] = StageRequirements.Default with { RiskRaises = true },
        [Stage.Archived] = StageRequirements.None with { Approvals = 1 },
    });

    public StageRequirements For(Stage stage) => Stages.GetValueOrDefault(stage, StageRequirements.None);

    /// <exception cref="Contracts.SlipwayException">NotFound: the policy names no such environment.</exception>
    public StageRequirements For(PromotionTarget target) => target.Environment is { } name ? Environment(name).Requirements : For(target.Stage!.Value);

    /// <summary>The environment of this name.</summary>
    /// <exception cref="Contracts.SlipwayException">NotFound.</exception>
    public EnvironmentPolicy Environment(string name) => Environments.FirstOrDefault(environment => environment.Name == name)
        ?? throw new Contracts.SlipwayException(Contracts.ErrorCode.NotFound,
            $"'{name}' is neither a stage (development, staging, production, archived) nor an environment of '{Model}'{(Environments.Count == 0 ? "; its policy names none" : $", which has {string.Join(", ", Environments.Select(known => known.Name))}")}.");

    /// <summary>The environments a version must have been in before it enters the target.</summary>
    public IEnumerable<string> Before(PromotionTarget target) => target.Environment is null && target.Stage is not Stage.Production
        ? []
        : Environments.TakeWhile(environment => environment.Name != target.Environment).Where(environment => !environment.Optional).Select(environment => environment.Name);

    /// <summary>Reads a policy file; faults are collected in <paramref name="yaml"/>, whose <c>Done</c> the caller calls.</summary>
    public static PromotionPolicy Read(DefinitionYaml yaml, string id)
    {
        var stages = new Dictionary<Stage, StageRequirements>();
        foreach (var stage in (ReadOnlySpan<Stage>)[Stage.Staging, Stage.Production, Stage.Archived])
        {
            if (yaml.OptionalMap(StageRules.Name(stage)) is { } requirements)
            {
                stages[stage] = PolicyReader.Requirements(requirements, riskRaises: stage is Stage.Production);
            }
        }

        var environments = yaml.Maps("environments").Select(PolicyReader.Environment).ToList();
        if (environments.GroupBy(environment => environment.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            yaml.Fault("environments", $"names '{twice.Key}' twice");
        }

        if (stages.Count == 0 && environments.Count == 0)
        {
            yaml.Fault("model", "has no stage requirements; give 'staging', 'production' or both");
        }

        var risk = RiskTable.Read(yaml);
        return new PromotionPolicy(id, yaml.Text("model"), stages)
        {
            Environments = environments,
            Groups = PolicyReader.Groups(yaml),
            Risk = yaml.OptionalChoice<RiskClass>("risk_class"),
            RiskTable = risk,
            ExpiresAfter = PolicyReader.Expiry(yaml) ?? ExpiryDefault,
            AutoExecute = yaml.OptionalBool("auto_execute") ?? false,
            RetirementApprovals = PolicyReader.RetirementSteps(yaml),
        };
    }
}

/// <summary>One environment between staging and production.</summary>
/// <param name="Name">Such as <c>canary-eu</c>.</param>
/// <param name="Optional">Whether production can be entered without it.</param>
/// <param name="Requirements">Its gate.</param>
internal sealed record EnvironmentPolicy(string Name, bool Optional, StageRequirements Requirements);
