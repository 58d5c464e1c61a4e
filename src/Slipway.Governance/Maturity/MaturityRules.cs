using Slipway.Contracts.Governance;

namespace Slipway.Governance.Maturity;

/// <summary>Turns checks into levels and scores.</summary>
internal static class MaturityRules
{
    public const int LevelMax = 4;

    private static readonly string[] Dimensions = ["data", "training", "deployment", "monitoring", "governance"];

    private static readonly Dictionary<string, string[]> LevelNames = new(StringComparer.Ordinal)
    {
        ["data"] = ["manual", "versioned", "validated", "feature store", "automated quality"],
        ["training"] = ["notebooks", "scripts", "pipelines", "AutoML", "continuous"],
        ["deployment"] = ["manual", "scripted", "CI/CD", "canary", "progressive"],
        ["monitoring"] = ["none", "basic logs", "metrics", "drift detection", "auto-remediation"],
        ["governance"] = ["none", "documentation", "lineage", "model cards", "automated audit"],
    };

    /// <summary>Level: the highest whose checks, and those of all levels below, pass. A level without a check is not reached.</summary>
    public static MaturityDimension Rate(string dimension, IReadOnlyList<MaturityItem> items)
    {
        var level = 0;
        while (level < LevelMax && items.Any(item => item.Level == level + 1) && items.Where(item => item.Level == level + 1).All(item => item.Passed))
        {
            level++;
        }

        var next = items.Where(item => item.Level == level + 1).ToList();
        var share = level == LevelMax ? 1 : next.Count == 0 ? 0 : (double)next.Count(item => item.Passed) / next.Count;
        return new MaturityDimension(dimension, level, LevelNames[dimension][level], (20 * level) + (20 * share), items);
    }

    public static MaturityReport Report(DateTimeOffset at, IReadOnlyList<string> scope, IReadOnlyList<MaturityDimension> dimensions)
    {
        // Rounded down: a score is never better than its evidence.
        var score = (int)Math.Floor(dimensions.Average(dimension => dimension.Score));
        var target = (int)Math.Floor(dimensions.Average(dimension => dimension.Level == LevelMax ? 100.0 : 20 * (dimension.Level + 1)));
        var steps = dimensions.OrderBy(dimension => dimension.Score).ThenBy(dimension => Array.IndexOf(Dimensions, dimension.Name))
            .SelectMany(dimension => dimension.Items.Where(item => item.Level == dimension.Level + 1 && !item.Passed).Select(item => new MaturityStep(
                dimension.Level switch { 0 => "critical", 1 => "high", 2 => "medium", _ => "low" },
                item.Gap!, $"{dimension.Name}, level {item.Level}: {item.Check} ({item.Met} of {item.Of})", item.Level <= 1 ? "hours" : item.Level == 2 ? "days" : "weeks")));
        return new MaturityReport(at, score, dimensions.Min(dimension => dimension.Level), target, scope, dimensions, [.. steps]);
    }
}
