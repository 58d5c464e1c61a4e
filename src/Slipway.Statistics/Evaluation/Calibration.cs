namespace Slipway.Statistics.Evaluation;

/// <summary>How far predicted probabilities agree with observed frequencies.</summary>
public static class Calibration
{
    /// <summary>The calibration curve over bins of equal width; empty bins are left out.</summary>
    /// <param name="labels">The truth per row, at least one row.</param>
    /// <param name="probabilities">Probability of the positive class per row, 0 to 1.</param>
    /// <param name="bins">Number of bins, at least 1; bins are [lower, upper), the last one closed.</param>
    /// <exception cref="ArgumentException">Lengths differ, there is no row, or a probability is outside 0 to 1.</exception>
    public static CalibrationBin[] Curve(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities, int bins = 10)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        BinaryMetrics.CheckProbabilities(labels, probabilities);
        var counts = new long[bins];
        var positives = new long[bins];
        var sums = new double[bins];
        for (var i = 0; i < labels.Length; i++)
        {
            var bin = Math.Min(bins - 1, (int)(probabilities[i] * bins));
            counts[bin]++;
            positives[bin] += labels[i] ? 1 : 0;
            sums[bin] += probabilities[i];
        }

        var curve = new List<CalibrationBin>(bins);
        for (var bin = 0; bin < bins; bin++)
        {
            if (counts[bin] > 0)
            {
                curve.Add(new CalibrationBin(
                    (double)bin / bins, (bin + 1.0) / bins, counts[bin], sums[bin] / counts[bin], (double)positives[bin] / counts[bin]));
            }
        }

        return [.. curve];
    }

    /// <summary>Expected calibration error: the mean gap between predicted probability and observed frequency, weighted by rows.</summary>
    /// <param name="labels">The truth per row, at least one row.</param>
    /// <param name="probabilities">Probability of the positive class per row, 0 to 1.</param>
    /// <param name="bins">Number of bins of equal width; the value depends on it, so publish it too.</param>
    /// <returns>0 to 1; 0 is perfect. Biased upwards when bins hold few rows.</returns>
    /// <exception cref="ArgumentException">Lengths differ, there is no row, or a probability is outside 0 to 1.</exception>
    /// <remarks>Source: Naeini, Cooper and Hauskrecht (2015), AAAI.</remarks>
    public static double ExpectedError(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities, int bins = 10)
    {
        var sum = 0.0;
        foreach (var bin in Curve(labels, probabilities, bins))
        {
            sum += bin.Count * Math.Abs(bin.MeanPredicted - bin.PositiveShare);
        }

        return sum / labels.Length;
    }
}
