namespace Slipway.Statistics.Histograms;

/// <summary>Counts of two columns over the same categories, in the same order.</summary>
/// <param name="Categories">Category names in ordinal order.</param>
/// <param name="Reference">Reference counts, one per category.</param>
/// <param name="Current">Current counts, one per category.</param>
public sealed record AlignedCounts(IReadOnlyList<string> Categories, long[] Reference, long[] Current);
