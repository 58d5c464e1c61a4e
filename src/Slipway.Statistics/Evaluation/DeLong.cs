using System.Buffers;
using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Evaluation;

/// <summary>DeLong's nonparametric standard error of an area under the ROC curve, and the paired test of two.</summary>
/// <remarks>
/// Sources: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44(3), 837-845; computed by sorting instead of over all pairs, as
/// Sun and Xu (2014), IEEE Signal Process. Lett. 21(11). Rows must be independent.
/// </remarks>
public static class DeLong
{
    /// <summary>The area under the ROC curve with its standard error.</summary>
    /// <param name="labels">The truth per row, at least two of each class.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <exception cref="ArgumentException">Lengths differ, a class has fewer than two rows, or a score is NaN.</exception>
    public static AucEstimate Estimate(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
    {
        var placements = ArrayPool<double>.Shared.Rent(labels.Length);
        try
        {
            var own = placements.AsSpan(0, labels.Length);
            Place(labels, scores, own);
            return Summarize(labels, own);
        }
        finally
        {
            ArrayPool<double>.Shared.Return(placements);
        }
    }

    /// <summary>Compares two models scored on the same rows.</summary>
    /// <param name="labels">The truth per row, at least two of each class.</param>
    /// <param name="first">The first model's score per row, no NaN.</param>
    /// <param name="second">The second model's score per row, no NaN.</param>
    /// <param name="alpha">One minus the coverage of the interval, between 0 and 1.</param>
    /// <returns>The comparison; two models that rank the rows alike give p = 1.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a class has fewer than two rows, or a score is NaN.</exception>
    public static AucComparison Compare(ReadOnlySpan<bool> labels, ReadOnlySpan<double> first, ReadOnlySpan<double> second, double alpha = 0.05)
    {
        Require.OpenUnit(alpha);
        var n = labels.Length;
        var buffer = ArrayPool<double>.Shared.Rent(3 * n);
        try
        {
            var firstPlaces = buffer.AsSpan(0, n);
            var secondPlaces = buffer.AsSpan(n, n);
            var difference = buffer.AsSpan(2 * n, n);
            Place(labels, first, firstPlaces);
            Place(labels, second, secondPlaces);
            for (var i = 0; i < n; i++)
            {
                difference[i] = secondPlaces[i] - firstPlaces[i];
            }

            var (one, two) = (Summarize(labels, firstPlaces), Summarize(labels, secondPlaces));
            var (mean, error) = MeanAndError(labels, difference);
            var z = mean == 0 ? 0 : mean / error;
            var halfWidth = Normal.Quantile(1 - 0.5 * alpha) * error;
            return new AucComparison(
                one, two, mean, error, Math.Min(1, 2 * Normal.Survival(Math.Abs(z))), new Interval(mean - halfWidth, mean + halfWidth));
        }
        finally
        {
            ArrayPool<double>.Shared.Return(buffer);
        }
    }

    private static AucEstimate Summarize(ReadOnlySpan<bool> labels, ReadOnlySpan<double> placements)
    {
        var (auc, error) = MeanAndError(labels, placements);
        var positives = labels.Count(true);
        return new AucEstimate(Math.Clamp(auc, 0, 1), error, positives, labels.Length - positives);
    }

    /// <summary>
    /// Per positive row the share of negatives it beats, per negative row the share of positives that beat it; ties count half.
    /// The mean of either kind is the area.
    /// </summary>
    private static void Place(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, Span<double> placements)
    {
        BinaryMetrics.Check(labels, scores);
        double positives = labels.Count(true);
        var negatives = labels.Length - positives;
        BinaryMetrics.CheckBothClasses((long)positives, labels.Length);
        if (positives < 2 || negatives < 2)
        {
            throw new ArgumentException("Each class needs at least two rows for a standard error.", nameof(labels));
        }

        var sorted = ArrayPool<double>.Shared.Rent(labels.Length);
        var rows = ArrayPool<int>.Shared.Rent(labels.Length);
        try
        {
            scores.CopyTo(sorted);
            for (var i = 0; i < labels.Length; i++)
            {
                rows[i] = i;
            }

            sorted.AsSpan(0, labels.Length).Sort(rows.AsSpan(0, labels.Length));
            double positivesBelow = 0, negativesBelow = 0;
            for (var start = 0; start < labels.Length;)
            {
                double positivesHere = 0;
                var end = start;
                for (; end < labels.Length && sorted[end] == sorted[start]; end++)
                {
                    positivesHere += labels[rows[end]] ? 1 : 0;
                }

                var negativesHere = end - start - positivesHere;
                var beats = (negativesBelow + 0.5 * negativesHere) / negatives;
                var beatenBy = (positives - positivesBelow - 0.5 * positivesHere) / positives;
                for (; start < end; start++)
                {
                    placements[rows[start]] = labels[rows[start]] ? beats : beatenBy;
                }

                positivesBelow += positivesHere;
                negativesBelow += negativesHere;
            }
        }
        finally
        {
            ArrayPool<double>.Shared.Return(sorted);
            ArrayPool<int>.Shared.Return(rows);
        }
    }

    private static (double Mean, double StandardError) MeanAndError(ReadOnlySpan<bool> labels, ReadOnlySpan<double> placements)
    {
        RunningMoments positives = default, negatives = default;
        for (var i = 0; i < labels.Length; i++)
        {
            if (labels[i])
            {
                positives.Add(placements[i]);
            }
            else
            {
                negatives.Add(placements[i]);
            }
        }

        return (positives.Mean, Math.Sqrt(positives.Variance / positives.Count + negatives.Variance / negatives.Count));
    }
}
