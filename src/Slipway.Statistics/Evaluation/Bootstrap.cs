using System.Buffers;
using Slipway.Statistics.Histograms;

namespace Slipway.Statistics.Evaluation;

/// <summary>Percentile bootstrap intervals of metrics; the seed fixes every digit of the result.</summary>
/// <remarks>
/// Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13. Rows are drawn with replacement and must be
/// independent. A resample without both classes is drawn again, because ranking metrics have no value on it.
/// </remarks>
public static class Bootstrap
{
    private const int DrawsPerResampleMax = 100;

    /// <summary>Interval of one model's metric.</summary>
    /// <param name="labels">The truth per row, both classes present.</param>
    /// <param name="scores">The score per row.</param>
    /// <param name="metric">The metric, for instance <see cref="BinaryMetrics.RocAuc"/>.</param>
    /// <param name="resamples">Number of resamples, at least 100.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="alpha">One minus the coverage, between 0 and 1.</param>
    /// <exception cref="ArgumentException">Lengths differ, a class is missing or too rare to resample, or an argument is outside its range.</exception>
    public static BootstrapResult Metric(
        ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, BinaryMetric metric, int resamples = 2000, int seed = 1, double alpha = 0.05) =>
        Run(labels, scores, [], metric, resamples, seed, alpha);

    /// <summary>Interval of the difference second - first of two models' metrics, both computed on the same resampled rows.</summary>
    /// <param name="labels">The truth per row, both classes present.</param>
    /// <param name="first">The first model's score per row.</param>
    /// <param name="second">The second model's score per row.</param>
    /// <param name="metric">The metric, for instance <see cref="BinaryMetrics.RocAuc"/>.</param>
    /// <param name="resamples">Number of resamples, at least 100.</param>
    /// <param name="seed">Any number.</param>
    /// <param name="alpha">One minus the coverage, between 0 and 1.</param>
    /// <exception cref="ArgumentException">Lengths differ, a class is missing or too rare to resample, or an argument is outside its range.</exception>
    public static BootstrapResult PairedDifference(
        ReadOnlySpan<bool> labels,
        ReadOnlySpan<double> first,
        ReadOnlySpan<double> second,
        BinaryMetric metric,
        int resamples = 2000,
        int seed = 1,
        double alpha = 0.05)
    {
        Require.SameLength(labels.Length, second.Length, nameof(second));
        return Run(labels, first, second, metric, resamples, seed, alpha);
    }

    private static BootstrapResult Run(
        ReadOnlySpan<bool> labels, ReadOnlySpan<double> first, ReadOnlySpan<double> second, BinaryMetric metric, int resamples, int seed, double alpha)
    {
        ArgumentNullException.ThrowIfNull(metric);
        ArgumentOutOfRangeException.ThrowIfLessThan(resamples, 100);
        Require.OpenUnit(alpha);
        Require.NotEmpty(labels);
        Require.SameLength(labels.Length, first.Length, nameof(first));
        BinaryMetrics.CheckBothClasses(labels.Count(true), labels.Length);

        var n = labels.Length;
        var random = new SeededRandom((ulong)seed);
        var drawnLabels = ArrayPool<bool>.Shared.Rent(n);
        var drawnScores = ArrayPool<double>.Shared.Rent(n + second.Length);
        try
        {
            var resampledLabels = drawnLabels.AsSpan(0, n);
            var resampledFirst = drawnScores.AsSpan(0, n);
            var resampledSecond = drawnScores.AsSpan(n, second.Length);
            var values = new double[resamples];
            RunningMoments moments = default;
            for (var i = 0; i < resamples; i++)
            {
                Draw(random, labels, first, second, resampledLabels, resampledFirst, resampledSecond);
                values[i] = Value(metric, resampledLabels, resampledFirst, resampledSecond);
                moments.Add(values[i]);
            }

            Array.Sort(values);
            var interval = new Interval(
                Histogram.QuantileOfSorted(values, 0.5 * alpha), Histogram.QuantileOfSorted(values, 1 - 0.5 * alpha));
            return new BootstrapResult(Value(metric, labels, first, second), Math.Sqrt(moments.Variance), interval);
        }
        finally
        {
            ArrayPool<bool>.Shared.Return(drawnLabels);
            ArrayPool<double>.Shared.Return(drawnScores);
        }
    }

    private static double Value(BinaryMetric metric, ReadOnlySpan<bool> labels, ReadOnlySpan<double> first, ReadOnlySpan<double> second) =>
        second.IsEmpty ? metric(labels, first) : metric(labels, second) - metric(labels, first);

    private static void Draw(
        SeededRandom random,
        ReadOnlySpan<bool> labels,
        ReadOnlySpan<double> first,
        ReadOnlySpan<double> second,
        Span<bool> drawnLabels,
        Span<double> drawnFirst,
        Span<double> drawnSecond)
    {
        for (var attempt = 0; attempt < DrawsPerResampleMax; attempt++)
        {
            var positives = 0;
            for (var i = 0; i < labels.Length; i++)
            {
                var row = random.Next(labels.Length);
                drawnLabels[i] = labels[row];
                drawnFirst[i] = first[row];
                if (!second.IsEmpty)
                {
                    drawnSecond[i] = second[row];
                }

                positives += labels[row] ? 1 : 0;
            }

            if (positives > 0 && positives < labels.Length)
            {
                return;
            }
        }

        throw new ArgumentException(
            $"{DrawsPerResampleMax} resamples in a row held one class only; there are too few rows of the other to bootstrap.", nameof(labels));
    }
}
