namespace Slipway.Contracts.Monitoring;

/// <summary>
/// What a model version saw and said when it was made: the reference of drift, skew and performance checks. Stored as a JSON
/// blob beside the model.
/// </summary>
/// <param name="Features">Per feature reference such as <c>airport:late_rate_7d</c>, over the training split.</param>
/// <param name="Prediction">The model's outputs on the test split, in 20 bins of equal width from 0 to 1.</param>
/// <param name="Performance">On the test split.</param>
/// <param name="Rows">Rows of the training split.</param>
public sealed record ModelBaseline(
    IReadOnlyDictionary<string, FeatureBaseline> Features, BaselineHistogram Prediction, BaselinePerformance Performance, long Rows);

/// <summary>One feature over the training split.</summary>
/// <param name="Edges">Inner bin edges, strictly ascending: the training deciles, or the mid-points between values when there are at most 20. See <see cref="BaselineHistogram.BinOf"/>.</param>
/// <param name="Counts">Rows per bin, nulls left out; one more than <paramref name="Edges"/>.</param>
/// <param name="Nulls">Rows without a value.</param>
/// <param name="Mean">Of the values present; 0 when there are none.</param>
/// <param name="Std">Sample standard deviation of the values present.</param>
/// <param name="Min">Least value; 0 when there are none.</param>
/// <param name="Max">Greatest value; 0 when there are none.</param>
public sealed record FeatureBaseline(
    IReadOnlyList<double> Edges, IReadOnlyList<long> Counts, long Nulls, double Mean, double Std, double Min, double Max);

/// <summary>Counts between edges. The outermost bins are open, so that a value never seen before still falls into one.</summary>
/// <param name="Edges">Inner bin edges, strictly ascending.</param>
/// <param name="Counts">Rows per bin; one more than <paramref name="Edges"/>.</param>
public sealed record BaselineHistogram(IReadOnlyList<double> Edges, IReadOnlyList<long> Counts)
{
    /// <summary>The bin of a value: bin i holds edges[i - 1] ≤ value &lt; edges[i]. A NaN is a missing value and has no bin.</summary>
    /// <returns>0 to <paramref name="edges"/>.Length.</returns>
    public static int BinOf(ReadOnlySpan<double> edges, double value)
    {
        var low = 0;
        var high = edges.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (value >= edges[middle])
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }
}

/// <summary>Quality on the test split.</summary>
/// <param name="Auc">Area under the ROC curve.</param>
/// <param name="AucLower">Lower end of its 95 % interval (DeLong).</param>
/// <param name="AucUpper">Upper end of its 95 % interval.</param>
/// <param name="LogLoss">Mean negative log-likelihood, natural logarithm.</param>
/// <param name="Brier">Mean squared error of the probability.</param>
/// <param name="Ece">Expected calibration error over 10 bins of equal width.</param>
/// <param name="PositiveRate">Share of positive labels.</param>
/// <param name="MeanPrediction">Mean predicted probability.</param>
/// <param name="Rows">Rows of the test split.</param>
public sealed record BaselinePerformance(
    double Auc, double AucLower, double AucUpper, double LogLoss, double Brier, double Ece, double PositiveRate, double MeanPrediction, long Rows);
