namespace Slipway.Contracts.Tracking;

/// <summary>What comes of comparing runs by one metric: answer of <c>GET /api/slipway/v1/runs/compare</c>.</summary>
/// <param name="Metric">What they are compared by; null when the runs share none.</param>
/// <param name="HigherIsBetter">Which way it is better.</param>
/// <param name="BestRunId">The best; null when no run has a number there.</param>
/// <param name="Runs">All compared runs, best first; those without a number last.</param>
/// <param name="SameTestSet">Whether all runs that name a test set name the same.</param>
/// <param name="Recommendation">One sentence: what to choose, or what stands against choosing.</param>
public sealed record RunComparison(
    string? Metric, bool HigherIsBetter, string? BestRunId, IReadOnlyList<ComparedRun> Runs, bool SameTestSet, string Recommendation);

/// <summary>One run of a comparison.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Name">Its name.</param>
/// <param name="Value">Its newest value of the metric; null when it has no number there.</param>
/// <param name="Delta">Value minus the best value; null for the best and for runs without a number.</param>
/// <param name="TestSets">Test sets it was scored on, as <c>name (digest)</c>; empty when it names none.</param>
/// <param name="TestSetGroup">A letter that runs of the same test sets share; null when the run names none.</param>
public sealed record ComparedRun(string RunId, string Name, double? Value, double? Delta, IReadOnlyList<string> TestSets, string? TestSetGroup);
