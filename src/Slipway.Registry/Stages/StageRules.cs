using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Stages;

/// <summary>Which moves a promotion may make. Into production from anywhere but staging only rollback leads.</summary>
internal static class StageRules
{
    public static IReadOnlyList<Stage> Targets(Stage from) => from switch
    {
        Stage.Development => [Stage.Staging, Stage.Archived],
        Stage.Staging => [Stage.Production, Stage.Development, Stage.Archived],
        Stage.Production => [Stage.Archived],
        _ => [Stage.Staging],
    };

    public static bool Allows(Stage from, Stage to) => Targets(from).Contains(to);

    /// <summary>Why a version cannot go there from its stage, as the end of a sentence; null when it can.</summary>
    public static string? WhyNot(Stage from, PromotionTarget to) => to.Stage is { } stage
        ? Allows(from, stage) ? null : $"from which it may only go to {string.Join(" or ", Targets(from).Select(Name))}, not to {Name(stage)}"
        : from is Stage.Staging or Stage.Production ? null : $"and only versions in staging or production enter {to.Environment}";

    /// <summary>As the tables and the wire write it.</summary>
    public static string Name(Stage stage) => stage switch
    {
        Stage.Development => "development",
        Stage.Staging => "staging",
        Stage.Production => "production",
        _ => "archived",
    };

    public static bool TryParse(string text, out Stage stage)
    {
        foreach (var candidate in Enum.GetValues<Stage>())
        {
            if (string.Equals(Name(candidate), text, StringComparison.OrdinalIgnoreCase))
            {
                stage = candidate;
                return true;
            }
        }

        stage = default;
        return false;
    }

    public static Stage Parse(string text) => TryParse(text, out var stage)
        ? stage
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{text}' is not a stage; use development, staging, production or archived.");
}
