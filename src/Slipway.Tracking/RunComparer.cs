using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;

namespace Slipway.Tracking;

/// <summary>Compares runs by a metric, and says when their scores are not of the same test data.</summary>
public static class RunComparer
{
    /// <summary>Runs compared at most.</summary>
    public const int RunsMax = 100;

    private static readonly HashSet<string> TestContexts = new(StringComparer.OrdinalIgnoreCase) { "test", "testing", "holdout" };

    /// <summary>Compares the runs.</summary>
    /// <param name="runs">As they stand.</param>
    /// <param name="metric">By what; null takes the metric that most of them have, one of a test or validation set before others.</param>
    /// <exception cref="SlipwayException">InvalidArgument: none or more than <see cref="RunsMax"/> runs.</exception>
    public static RunComparison Compare(IReadOnlyList<RunRecord> runs, string? metric = null)
    {
        if (runs.Count is 0 or > RunsMax)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Name from 1 to {RunsMax} runs to compare, not {runs.Count}: ?run_id=…&run_id=….");
        }

        var by = metric ?? Choose(runs);
        var higher = by is null || MetricDirection.HigherIsBetter(by);
        var scored = runs.Select(run => (Run: run, Value: by is not null && run.Metric(by) is { } value && double.IsFinite(value) ? value : (double?)null))
            .OrderBy(score => score.Value is null).ThenBy(score => higher ? -score.Value : score.Value).ToList();
        var best = scored[0].Value is { } top ? scored[0].Run : null;
        var groups = Groups(runs);
        var same = groups.Values.OfType<string>().Distinct().Count() <= 1;
        return new RunComparison(
            by, higher, best?.RunId,
            [.. scored.Select(score => new ComparedRun(
                score.Run.RunId, Name(score.Run), score.Value, score.Run == best ? null : score.Value - scored[0].Value, TestSets(score.Run), groups[score.Run.RunId]))],
            same, Recommend(by, scored, groups, same));
    }

    private static string Recommend(string? metric, List<(RunRecord Run, double? Value)> scored, Dictionary<string, string?> groups, bool same)
    {
        if (metric is null)
        {
            return "The runs share no metric; log one and the same metric in each.";
        }

        if (scored[0].Value is not { } best)
        {
            return $"None of the runs has a number for {metric}.";
        }

        var name = Name(scored[0].Run);
        if (!same)
        {
            return $"{name} has the best {metric}, but the runs were scored on different test sets: score them on one test set before choosing.";
        }

        if (scored.Count == 1 || scored[1].Value is not { } second)
        {
            return $"{name} alone has a number for {metric}: {Text(best)}.";
        }

        var unnamed = groups.Values.Count(group => group is null);
        var caution = unnamed == 0 ? "" : unnamed == scored.Count
            ? " None of the runs names its test set, so that nobody can say whether they saw the same."
            : $" {unnamed} of {scored.Count} runs do not name their test set.";
        return best.Equals(second)
            ? $"{name} and {Name(scored[1].Run)} are level on {metric} ({Text(best)}); choose by another metric, size or latency.{caution}"
            : $"Choose {name}: its {metric} of {Text(best)} is ahead of {Name(scored[1].Run)} by {Text(Math.Abs(best - second))}.{caution}";
    }

    // What most runs have; among these the scores of held-out data, since those of the training data flatter.
    private static string? Choose(IReadOnlyList<RunRecord> runs) => runs
        .SelectMany(run => run.Metrics.Select(point => point.Key)).Where(key => !key.StartsWith("system/", StringComparison.Ordinal))
        .GroupBy(key => key, StringComparer.Ordinal).OrderByDescending(group => group.Count()).ThenBy(group => Rank(group.Key)).ThenBy(group => group.Key, StringComparer.Ordinal)
        .FirstOrDefault()?.Key;

    private static int Rank(string key) =>
        key.StartsWith("test", StringComparison.OrdinalIgnoreCase) ? 0
        : key.StartsWith("val", StringComparison.OrdinalIgnoreCase) ? 1
        : key is "auc" or "accuracy" or "f1" or "rmse" ? 2
        : key.StartsWith("train", StringComparison.OrdinalIgnoreCase) ? 4
        : 3;

    private static Dictionary<string, string?> Groups(IReadOnlyList<RunRecord> runs)
    {
        var letters = new Dictionary<string, string>(StringComparer.Ordinal);
        return runs.ToDictionary(run => run.RunId, run =>
        {
            var digests = string.Join('\n', run.Inputs.Where(IsTest).Select(input => input.Digest).Distinct().Order(StringComparer.Ordinal));
            if (digests.Length == 0)
            {
                return null;
            }

            if (!letters.TryGetValue(digests, out var letter))
            {
                letters[digests] = letter = letters.Count < 26 ? ((char)('A' + letters.Count)).ToString() : (letters.Count + 1).ToString(CultureInfo.InvariantCulture);
            }

            return letter;
        }, StringComparer.Ordinal);
    }

    private static List<string> TestSets(RunRecord run) =>
        [.. run.Inputs.Where(IsTest).Select(input => $"{input.Name} ({input.Digest[..Math.Min(8, input.Digest.Length)]})").Distinct().Order(StringComparer.Ordinal)];

    private static bool IsTest(RunInput input) => input.Context is { } context && TestContexts.Contains(context);

    private static string Name(RunRecord run) => run.Name.Length == 0 ? run.RunId[..8] : run.Name;

    private static string Text(double value) => value.ToString("G4", CultureInfo.InvariantCulture);
}
