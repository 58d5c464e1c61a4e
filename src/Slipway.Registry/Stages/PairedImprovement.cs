using Slipway.Contracts.Registry;
using Slipway.Registry.Versions;
using Slipway.Statistics.Distributions;
using Slipway.Statistics.Evaluation;

namespace Slipway.Registry.Stages;

/// <summary>The improvement of a candidate over another version on the same rows, in the direction in which the metric is better.</summary>
/// <param name="Version">The other version.</param>
/// <param name="Metric">Which metric.</param>
/// <param name="Theirs">Its value.</param>
/// <param name="Ours">The candidate's.</param>
/// <param name="Gain">Improvement; negative for a loss.</param>
/// <param name="Lower">Lower end of its interval.</param>
/// <param name="Upper">Upper end.</param>
/// <param name="Alpha">One minus the interval's coverage.</param>
/// <param name="PValue">Of no difference; null when the method gives none.</param>
/// <param name="Method">How it was found.</param>
internal sealed record PairedImprovement(
    string Version, string Metric, double Theirs, double Ours, double Gain, double Lower, double Upper, double Alpha, double? PValue, string Method)
{
    private const int ResamplesMax = 2000;
    private const int ResamplesMin = 200;
    private const long DrawsMax = 40_000_000;

    /// <summary>Compares row by row.</summary>
    /// <param name="version">The other version.</param>
    /// <param name="metric">One of those below.</param>
    /// <param name="theirs">The other version's scores.</param>
    /// <param name="ours">The candidate's, on the same test set.</param>
    /// <param name="theirThreshold">At or above it the other version's decision is positive.</param>
    /// <param name="ourThreshold">At or above it the candidate's decision is positive.</param>
    /// <param name="alpha">One minus the interval's coverage.</param>
    /// <returns>Null when the metric cannot be computed from labels and scores, or the rows hold one class only.</returns>
    public static PairedImprovement? Of(
        string version, string metric, StoredPredictions theirs, StoredPredictions ours, double theirThreshold, double ourThreshold, double alpha)
    {
        var (labels, first, second) = (ours.Labels, theirs.Scores, ours.Scores);
        if (labels.Count(label => label) is var positives && (positives < 2 || labels.Length - positives < 2))
        {
            return null;
        }

        return metric switch
        {
            "auc" or "roc_auc" => ByDeLong(version, metric, labels, first, second, alpha),
            "accuracy" => ByMcNemar(version, metric, labels, first, theirThreshold, second, ourThreshold, alpha),
            "log_loss" => ByBootstrap(version, metric, labels, first, second, BinaryMetrics.LogLoss, alpha),
            "brier" => ByBootstrap(version, metric, labels, first, second, BinaryMetrics.Brier, alpha),
            "average_precision" => ByBootstrap(version, metric, labels, first, second, BinaryMetrics.AveragePrecision, alpha),
            "precision" or "recall" or "f1" when theirThreshold == ourThreshold => ByBootstrap(version, metric, labels, first, second, Decision(metric, ourThreshold), alpha),
            _ => null,
        };
    }

    /// <summary>Takes the comparison that the evaluation made on its test set; null when it is of another metric or its interval is too narrow a promise.</summary>
    public static PairedImprovement? Of(ProductionComparison comparison, string metric, double alpha)
    {
        if (comparison.Metric != metric || comparison.Interval.Level < 1 - alpha - 1e-9)
        {
            return null;
        }

        var (lower, upper) = (comparison.Interval.Lower, comparison.Interval.Upper);
        return Oriented(comparison.Version, metric, comparison.Production, comparison.Candidate, comparison.Difference, lower, upper, 1 - comparison.Interval.Level,
            double.IsNaN(comparison.PValue) ? null : comparison.PValue, "the paired interval of the evaluation report");
    }

    private static PairedImprovement ByDeLong(string version, string metric, bool[] labels, double[] first, double[] second, double alpha)
    {
        var paired = DeLong.Compare(labels, first, second, alpha);
        return Oriented(version, metric, paired.First.Auc, paired.Second.Auc, paired.Difference, paired.Interval.Lower, paired.Interval.Upper, alpha, paired.PValue,
            $"DeLong's test on {labels.Length} common rows");
    }

    /// <remarks>
    /// Interval: Agresti and Min (2005), Statistics in Medicine 24(5), 729-740: Wald's for matched pairs after half a row was added to
    /// each of the four cells, which keeps its coverage when few rows differ.
    /// </remarks>
    private static PairedImprovement ByMcNemar(
        string version, string metric, bool[] labels, double[] first, double firstThreshold, double[] second, double secondThreshold, double alpha)
    {
        long onlyFirst = 0, onlySecond = 0, firstRight = 0, secondRight = 0;
        for (var i = 0; i < labels.Length; i++)
        {
            var (one, two) = ((first[i] >= firstThreshold) == labels[i], (second[i] >= secondThreshold) == labels[i]);
            firstRight += one ? 1 : 0;
            secondRight += two ? 1 : 0;
            onlyFirst += one && !two ? 1 : 0;
            onlySecond += two && !one ? 1 : 0;
        }

        var n = (double)labels.Length;
        var (b, c, rows) = (onlyFirst + 0.5, onlySecond + 0.5, n + 2);
        var centre = (c - b) / rows;
        var halfWidth = Normal.Quantile(1 - 0.5 * alpha) * Math.Sqrt(b + c - (c - b) * (c - b) / rows) / rows;
        return Oriented(version, metric, firstRight / n, secondRight / n, (onlySecond - onlyFirst) / n, centre - halfWidth, centre + halfWidth, alpha,
            McNemar.Test(onlyFirst, onlySecond).PValue, $"McNemar's exact test on {labels.Length} common rows");
    }

    private static PairedImprovement ByBootstrap(string version, string metric, bool[] labels, double[] first, double[] second, BinaryMetric of, double alpha)
    {
        var resamples = (int)Math.Clamp(DrawsMax / labels.Length, ResamplesMin, ResamplesMax);
        var result = Bootstrap.PairedDifference(labels, first, second, of, resamples, alpha: alpha);
        return Oriented(version, metric, of(labels, first), of(labels, second), result.Estimate, result.Interval.Lower, result.Interval.Upper, alpha, null,
            $"a paired bootstrap of {resamples} resamples over {labels.Length} common rows");
    }

    private static BinaryMetric Decision(string metric, double threshold) => (labels, scores) =>
    {
        var matrix = ConfusionMatrix.At(labels, scores, threshold);
        var value = metric switch { "precision" => matrix.Precision, "recall" => matrix.Recall, _ => matrix.F1 };
        return double.IsNaN(value) ? 0 : value; // Nothing was called positive: as bad as can be.
    };

    private static PairedImprovement Oriented(
        string version, string metric, double theirs, double ours, double difference, double lower, double upper, double alpha, double? pValue, string method) =>
        MetricDirection.HigherIsBetter(metric)
            ? new(version, metric, theirs, ours, difference, lower, upper, alpha, pValue, method)
            : new(version, metric, theirs, ours, -difference, -upper, -lower, alpha, pValue, method);
}
