namespace Slipway.Statistics.Evaluation;

/// <summary>Counts of a binary decision against the truth, and the metrics that follow from them.</summary>
/// <remarks>A ratio with denominator 0 is 0, as in scikit-learn, so that a gate on a minimum fails rather than passes.</remarks>
/// <param name="TruePositives">Positive rows called positive.</param>
/// <param name="FalsePositives">Negative rows called positive.</param>
/// <param name="FalseNegatives">Positive rows called negative.</param>
/// <param name="TrueNegatives">Negative rows called negative.</param>
public readonly record struct ConfusionMatrix(long TruePositives, long FalsePositives, long FalseNegatives, long TrueNegatives)
{
    /// <summary>All rows.</summary>
    public long Count => TruePositives + FalsePositives + FalseNegatives + TrueNegatives;

    /// <summary>Share of rows called rightly.</summary>
    public double Accuracy => Ratio(TruePositives + (double)TrueNegatives, Count);

    /// <summary>Share of positive calls that are right.</summary>
    public double Precision => Ratio(TruePositives, TruePositives + (double)FalsePositives);

    /// <summary>Share of positive rows that are found; the true positive rate.</summary>
    public double Recall => Ratio(TruePositives, TruePositives + (double)FalseNegatives);

    /// <summary>Share of negative rows called negative.</summary>
    public double Specificity => Ratio(TrueNegatives, TrueNegatives + (double)FalsePositives);

    /// <summary>Share of negative rows called positive.</summary>
    public double FalsePositiveRate => Ratio(FalsePositives, TrueNegatives + (double)FalsePositives);

    /// <summary>Mean of recall and specificity.</summary>
    public double BalancedAccuracy => 0.5 * (Recall + Specificity);

    /// <summary>Share of rows called positive.</summary>
    public double SelectionRate => Ratio(TruePositives + (double)FalsePositives, Count);

    /// <summary>Harmonic mean of precision and recall.</summary>
    public double F1 => Ratio(2.0 * TruePositives, 2.0 * TruePositives + FalsePositives + FalseNegatives);

    /// <summary>Matthews correlation coefficient, -1 to 1 (Matthews 1975).</summary>
    public double Mcc
    {
        get
        {
            double tp = TruePositives, fp = FalsePositives, fn = FalseNegatives, tn = TrueNegatives;
            return Ratio(tp * tn - fp * fn, Math.Sqrt(tp + fp) * Math.Sqrt(tp + fn) * Math.Sqrt(tn + fp) * Math.Sqrt(tn + fn));
        }
    }

    /// <summary>Cohen's kappa: agreement beyond that expected from the margins, at most 1 (Cohen 1960).</summary>
    public double Kappa
    {
        get
        {
            double tp = TruePositives, fp = FalsePositives, fn = FalseNegatives, tn = TrueNegatives, n = Count;
            var expected = Ratio((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp), n * n);
            return Ratio(Accuracy - expected, 1 - expected);
        }
    }

    /// <summary>Counts the decisions "score at or above the threshold".</summary>
    /// <param name="labels">The truth per row; at least one row.</param>
    /// <param name="scores">The score per row, no NaN.</param>
    /// <param name="threshold">Rows at or above it are called positive; not NaN.</param>
    /// <exception cref="ArgumentException">Lengths differ, there is no row, or a number is NaN.</exception>
    public static ConfusionMatrix At(ReadOnlySpan<bool> labels, ReadOnlySpan<double> scores, double threshold = 0.5)
    {
        BinaryMetrics.Check(labels, scores);
        if (double.IsNaN(threshold))
        {
            throw new ArgumentException("threshold must be a number.", nameof(threshold));
        }

        long tp = 0, fp = 0, fn = 0, tn = 0;
        for (var i = 0; i < labels.Length; i++)
        {
            switch (labels[i], scores[i] >= threshold)
            {
                case (true, true): tp++; break;
                case (false, true): fp++; break;
                case (true, false): fn++; break;
                default: tn++; break;
            }
        }

        return new ConfusionMatrix(tp, fp, fn, tn);
    }

    private static double Ratio(double part, double whole) => whole == 0 ? 0 : part / whole;
}
