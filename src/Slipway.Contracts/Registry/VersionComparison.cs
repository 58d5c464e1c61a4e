namespace Slipway.Contracts.Registry;

/// <summary>Two versions of a model side by side.</summary>
/// <param name="Model">Model.</param>
/// <param name="A">First version.</param>
/// <param name="B">Second version.</param>
/// <param name="SameTestSet">Whether both reports name the same test set; without it the metrics do not compare.</param>
/// <param name="Metrics">Metrics that either report holds.</param>
/// <param name="SizeBytesA">Files of the first.</param>
/// <param name="SizeBytesB">Files of the second.</param>
/// <param name="LatencyUsP95A">Of one row in the benchmark on registration, else in the evaluation report; null when neither measured it.</param>
/// <param name="LatencyUsP95B">As of the first.</param>
/// <param name="FeaturesAdded">In the second only.</param>
/// <param name="FeaturesRemoved">In the first only.</param>
/// <param name="FeaturesChanged">In both, with another type.</param>
/// <param name="Required">The bump that going from the first to the second requires: <c>major</c>, <c>minor</c> or <c>patch</c>.</param>
/// <param name="Recommendation">The version to prefer; null when the evidence does not decide.</param>
/// <param name="Reasons">Why, one sentence each.</param>
public sealed record VersionComparison(
    string Model, string A, string B, bool SameTestSet, IReadOnlyList<MetricDifference> Metrics, long SizeBytesA, long SizeBytesB,
    double? LatencyUsP95A, double? LatencyUsP95B, IReadOnlyList<string> FeaturesAdded, IReadOnlyList<string> FeaturesRemoved,
    IReadOnlyList<string> FeaturesChanged, string Required, string? Recommendation, IReadOnlyList<string> Reasons)
{
    /// <summary>The first version's benchmark; null when not measured.</summary>
    public ModelBenchmark? BenchmarkA { get; init; }

    /// <summary>The second version's benchmark; null when not measured.</summary>
    public ModelBenchmark? BenchmarkB { get; init; }
}

/// <summary>One metric of two versions.</summary>
/// <param name="Name">Metric.</param>
/// <param name="A">Null when the first report lacks it.</param>
/// <param name="B">Null when the second report lacks it.</param>
/// <param name="Difference">B minus A; null when either is missing.</param>
/// <param name="RelativePercent">Difference over A in percent; null when A is missing or zero.</param>
/// <param name="HigherIsBetter">Which way it is better.</param>
public sealed record MetricDifference(string Name, double? A, double? B, double? Difference, double? RelativePercent, bool HigherIsBetter)
{
    /// <summary>Confidence interval of the difference on the same test rows; null when there is none.</summary>
    public ConfidenceInterval? Interval { get; init; }

    /// <summary>Where the interval comes from, or why there is none.</summary>
    public string? IntervalFrom { get; init; }
}
