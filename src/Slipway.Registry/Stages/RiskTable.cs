using Slipway.Contracts.Registry;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Stages;

/// <summary>What a risk class adds to a gate.</summary>
/// <param name="Approvals">Least number of approvals over all steps.</param>
/// <param name="Groups">Groups, each of which must approve: the boards.</param>
internal sealed record RiskTier(int Approvals, IReadOnlyList<string> Groups);

/// <summary>The tiers by risk class.</summary>
internal sealed record RiskTable(IReadOnlyDictionary<RiskClass, RiskTier> Tiers)
{
    /// <summary>One more approval per class; the ethics board from high on, the executive for very high.</summary>
    public static RiskTable Default { get; } = new(new Dictionary<RiskClass, RiskTier>
    {
        [RiskClass.Low] = new(1, []),
        [RiskClass.Medium] = new(2, []),
        [RiskClass.High] = new(3, ["ethics"]),
        [RiskClass.VeryHigh] = new(4, ["ethics", "executive"]),
    });

    public RiskTier this[RiskClass risk] => Tiers[risk];

    public static string Name(RiskClass risk) => risk is RiskClass.VeryHigh ? "very_high" : risk.ToString().ToLowerInvariant();

    /// <summary>Reads <c>very_high</c>, <c>Very High</c> or <c>VeryHigh</c>; null for anything else.</summary>
    public static RiskClass? Parse(string? text) =>
        text is not null && Enum.TryParse<RiskClass>(text.Replace("_", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal), ignoreCase: true, out var risk)
            && Enum.IsDefined(risk) && !char.IsAsciiDigit(text[0])
            ? risk
            : null;

    /// <summary>The class of a version's model: the highest that the policy, the model's record or the version's tags name.</summary>
    /// <param name="policy">Names the least class.</param>
    /// <param name="recorded">The model's own record.</param>
    /// <param name="version">Its tags <c>risk_class</c> or <c>risk_tier</c> may raise the class, and never lower it.</param>
    public static RiskClass Of(PromotionPolicy policy, RiskClass recorded, ModelVersionRecord version) =>
        ((RiskClass?[])[policy.Risk, recorded, Parse(version.Tags.GetValueOrDefault("risk_class")), Parse(version.Tags.GetValueOrDefault("risk_tier"))]).Max()!.Value;

    /// <summary>Reads <c>risk_table</c>; classes that it does not name keep their defaults.</summary>
    public static RiskTable Read(DefinitionYaml yaml)
    {
        if (yaml.OptionalMap("risk_table") is not { } map)
        {
            return Default;
        }

        var tiers = new Dictionary<RiskClass, RiskTier>(Default.Tiers);
        foreach (var risk in Enum.GetValues<RiskClass>())
        {
            if (map.OptionalMap(Name(risk)) is { } tier)
            {
                tiers[risk] = new RiskTier(tier.Integer("approvals", 0, 20), tier.Texts("groups"));
            }
        }

        return new RiskTable(tiers);
    }
}
