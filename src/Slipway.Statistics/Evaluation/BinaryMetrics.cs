using System.Buffers;

namespace Slipway.Statistics.Evaluation;

/// <summary>A metric of scores against binary labels, both of equal length.</summary>
public delegate double BinaryMetric(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores);

/// <summary>Metrics of scores against binary labels. Sorting works on pooled copies, in O(n log n).</summary>
public static class BinaryMetrics
{
    /// <summary>Area under the ROC curve: the probability that a positive row scores above a negative one, ties counting half.</summary>
    /// <param name="labels">The truth per row, both classes present.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <returns>0 to 1; 0.5 for scores that say nothing.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a class is missing, or a score is NaN.</exception>
    /// <remarks>The Mann-Whitney form: Hanley and McNeil (1982), Radiology 143(1), 29-36.</remarks>
    public static double RocAuc(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
    {
        using var sorted = new SortedScores(labels, scores);
        var wins = 0.0;
        long negativesBelow = 0, positives = 0;
        for (var start = 0; start < labels.Length;)
        {
            var (end, positivesHere) = sorted.TieGroup(start);
            var negativesHere = end - start - positivesHere;
            wins += positivesHere * (negativesBelow + 0.5 * negativesHere);
            negativesBelow += negativesHere;
            positives += positivesHere;
            start = end;
        }

        CheckBothClasses(positives, labels.Length);
        return wins / ((double)positives * negativesBelow);
    }

    /// <summary>Average precision: the sum of precision at each distinct threshold weighted by the recall gained there.</summary>
    /// <param name="labels">The truth per row, at least one positive.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <returns>0 to 1; the share of positives for scores that say nothing.</returns>
    /// <exception cref="ArgumentException">Lengths differ, there is no positive row, or a score is NaN.</exception>
    /// <remarks>Step interpolation, not the trapezium rule, which is too optimistic: Davis and Goadrich (2006), ICML.</remarks>
    public static double AveragePrecision(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
    {
        using var sorted = new SortedScores(labels, scores);
        var sum = 0.0;
        var positives = 0L;
        for (var end = labels.Length; end > 0;)
        {
            var (start, positivesHere) = sorted.TieGroupEndingAt(end);
            positives += positivesHere;
            sum += positivesHere * ((double)positives / (labels.Length - start));
            end = start;
        }

        return positives > 0 ? sum / positives : throw new ArgumentException("There is no positive label.", nameof(labels));
    }

    /// <summary>Mean negative log likelihood of the labels in nats.</summary>
    /// <param name="labels">The truth per row, at least one row.</param>
    /// <param name="probabilities">Probability of the positive class per row, 0 to 1; clipped by 2.2e-16 at both ends.</param>
    /// <exception cref="ArgumentException">Lengths differ, there is no row, or a probability is outside 0 to 1.</exception>
    public static double LogLoss(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities)
    {
        const double clip = 2.220446049250313e-16;
        CheckProbabilities(labels, probabilities);
        var sum = 0.0;
        for (var i = 0; i < labels.Length; i++)
        {
            var p = Math.Clamp(probabilities[i], clip, 1 - clip);
            sum -= Math.Log(labels[i] ? p : 1 - p);
        }

        return sum / labels.Length;
    }

    /// <summary>Mean squared difference of probability and outcome (Brier 1950).</summary>
    /// <param name="labels">The truth per row, at least one row.</param>
    /// <param name="probabilities">Probability of the positive class per row, 0 to 1.</param>
    /// <returns>0 to 1; 0 is perfect.</returns>
    /// <exception cref="ArgumentException">Lengths differ, there is no row, or a probability is outside 0 to 1.</exception>
    public static double Brier(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities)
    {
        CheckProbabilities(labels, probabilities);
        var sum = 0.0;
        for (var i = 0; i < labels.Length; i++)
        {
            var difference = probabilities[i] - (labels[i] ? 1 : 0);
            sum += difference * difference;
        }

        return sum / labels.Length;
    }

    /// <summary>Share of positives among the k rows with the highest scores.</summary>
    /// <param name="labels">The truth per row.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <param name="k">1 to the number of rows.</param>
    /// <returns>
    /// 0 to 1. When the k-th score is tied with rows beyond k, the expected value over a random order of the tied rows, so that the
    /// result does not depend on the order of the input.
    /// </returns>
    /// <exception cref="ArgumentException">Lengths differ, <paramref name="k"/> is outside its range, or a score is NaN.</exception>
    public static double PrecisionAtK(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, int k) => PositivesInTop(labels, scores, k) / k;

    /// <summary>Share of all positives that are among the k rows with the highest scores; ties as in <see cref="PrecisionAtK"/>.</summary>
    /// <param name="labels">The truth per row, at least one positive.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <param name="k">1 to the number of rows.</param>
    /// <exception cref="ArgumentException">As for <see cref="PrecisionAtK"/>, or there is no positive row.</exception>
    public static double RecallAtK(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, int k)
    {
        var found = PositivesInTop(labels, scores, k);
        var positives = labels.Count(true);
        return positives > 0 ? found / positives : throw new ArgumentException("There is no positive label.", nameof(labels));
    }

    internal static void Check(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
    {
        Require.NotEmpty(labels);
        Require.SameLength(labels.Length, scores.Length, nameof(scores));
        Require.NoNaN(scores);
    }

    internal static void CheckProbabilities(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities)
    {
        Require.NotEmpty(labels);
        Require.SameLength(labels.Length, probabilities.Length, nameof(probabilities));
        foreach (var probability in probabilities)
        {
            Require.ClosedUnit(probability, nameof(probabilities));
        }
    }

    internal static void CheckBothClasses(long positives, long count)
    {
        if (positives == 0 || positives == count)
        {
            throw new ArgumentException($"All {count} labels are {(positives == 0 ? "negative" : "positive")}; both classes are needed.");
        }
    }

    private static double PositivesInTop(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, int k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(k, labels.Length);
        using var sorted = new SortedScores(labels, scores);
        var found = 0.0;
        for (var end = labels.Length; end > labels.Length - k;)
        {
            var (start, positivesHere) = sorted.TieGroupEndingAt(end);
            var taken = Math.Min(end - start, k - (labels.Length - end));
            found += (double)positivesHere * taken / (end - start);
            end = start;
        }

        return found;
    }

    /// <summary>Labels and scores in ascending order of score, in pooled arrays.</summary>
    private readonly struct SortedScores : IDisposable
    {
        private readonly double[] scores;
        private readonly bool[] labels;
        private readonly int length;

        public SortedScores(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores)
        {
            Check(labels, scores);
            length = labels.Length;
            this.scores = ArrayPool<double>.Shared.Rent(length);
            this.labels = ArrayPool<bool>.Shared.Rent(length);
            scores.CopyTo(this.scores);
            labels.CopyTo(this.labels);
            this.scores.AsSpan(0, length).Sort(this.labels.AsSpan(0, length));
        }

        /// <summary>The end of the run of equal scores that begins here, and the positives in it.</summary>
        public (int End, int Positives) TieGroup(int start)
        {
            var positives = 0;
            var end = start;
            while (end < length && scores[end] == scores[start])
            {
                positives += labels[end++] ? 1 : 0;
            }

            return (end, positives);
        }

        public (int Start, int Positives) TieGroupEndingAt(int end)
        {
            var positives = 0;
            var start = end;
            while (start > 0 && scores[start - 1] == scores[end - 1])
            {
                positives += labels[--start] ? 1 : 0;
            }

            return (start, positives);
        }

        public void Dispose()
        {
            ArrayPool<double>.Shared.Return(scores);
            ArrayPool<bool>.Shared.Return(labels);
        }
    }
}
