using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Evaluation;

/// <summary>The difference of two models' mean losses on the same rows, with Student's interval.</summary>
/// <remarks>
/// Source: Student (1908), Biometrika 6(1), 1-25, as the paired t test. For losses that are means over rows (log loss, Brier score,
/// accuracy); rows must be independent. An area under a curve is not such a mean: see <see cref="DeLong"/>.
/// </remarks>
public static class PairedDifference
{
    /// <summary>Mean of second less first, and its interval.</summary>
    /// <param name="first">The first model's loss per row, at least two rows.</param>
    /// <param name="second">The second model's loss per row.</param>
    /// <param name="alpha">One minus the coverage, between 0 and 1.</param>
    /// <exception cref="ArgumentException">Lengths differ, or there are fewer than two rows.</exception>
    public static (double Difference, Interval Interval) OfMeans(ReadOnlySpan<double> first, ReadOnlySpan<double> second, double alpha = 0.05)
    {
        Require.OpenUnit(alpha);
        Require.SameLength(first.Length, second.Length, nameof(second));
        if (first.Length < 2)
        {
            throw new ArgumentException("An interval needs at least two rows.", nameof(first));
        }

        RunningMoments moments = default;
        for (var i = 0; i < first.Length; i++)
        {
            moments.Add(second[i] - first[i]);
        }

        var halfWidth = StudentT.Quantile(1 - (0.5 * alpha), first.Length - 1) * Math.Sqrt(moments.Variance / first.Length);
        return (moments.Mean, new Interval(moments.Mean - halfWidth, moments.Mean + halfWidth));
    }
}
