using System.Globalization;
using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Statistics.Evaluation;

namespace Slipway.Registry.Versions;

/// <summary>A report with the predictions behind it; null when they were not kept.</summary>
internal sealed record ScoredReport(EvaluationReport Report, StoredPredictions? Predictions);

/// <summary>Labels and scores of a test set's rows, in its order.</summary>
internal sealed class StoredPredictions
{
    private const string Header = "label,score";
    private const double Alpha = 0.05;

    private StoredPredictions(bool[] labels, double[] scores) => (Labels, Scores) = (labels, scores);

    public bool[] Labels { get; }

    /// <summary>Of the positive class.</summary>
    public double[] Scores { get; }

    /// <exception cref="SlipwayException">InvalidArgument: the bytes are not a CSV file of labels and scores.</exception>
    public static StoredPredictions Parse(byte[] csv)
    {
        var lines = Encoding.UTF8.GetString(csv).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (lines.Length < 2 || lines[0] != Header)
        {
            throw Invalid($"must be a CSV file that begins with the line {Header} and has a row per test row");
        }

        var labels = new bool[lines.Length - 1];
        var scores = new double[labels.Length];
        for (var i = 0; i < labels.Length; i++)
        {
            var comma = lines[i + 1].IndexOf(',', StringComparison.Ordinal);
            if (comma != 1 || lines[i + 1][0] is not ('0' or '1') || !double.TryParse(lines[i + 1].AsSpan(2), NumberStyles.Float, CultureInfo.InvariantCulture, out scores[i]) || !double.IsFinite(scores[i]))
            {
                throw Invalid($"has '{lines[i + 1]}' in line {i + 2}; a label 0 or 1, a comma and a number were expected");
            }

            labels[i] = lines[i + 1][0] == '1';
        }

        return new StoredPredictions(labels, scores);
    }

    /// <summary>The interval of the other's metric less this one's on the same rows; null with the reason when there is none.</summary>
    /// <param name="other">The second model's predictions.</param>
    /// <param name="metric">Such as <c>auc</c>.</param>
    /// <param name="threshold">At or above it the decision is positive.</param>
    public (ConfidenceInterval? Interval, string From) Compare(StoredPredictions other, string metric, double? threshold)
    {
        if (!Labels.AsSpan().SequenceEqual(other.Labels))
        {
            return (null, "the stored predictions are of different rows");
        }

        var positives = Labels.Count(label => label);
        if (metric == "auc")
        {
            if (positives < 2 || Labels.Length - positives < 2)
            {
                return (null, "the test set has too few rows of one class");
            }

            var interval = DeLong.Compare(Labels, Scores, other.Scores, Alpha).Interval;
            return (new ConfidenceInterval(interval.Lower, interval.Upper, 1 - Alpha), Describe("DeLong"));
        }

        Func<bool, double, double>? loss = metric switch
        {
            "log_loss" => (label, score) => -Math.Log(Math.Clamp(label ? score : 1 - score, 1e-15, 1)),
            "brier" => (label, score) => ((label ? 1 : 0) - score) * ((label ? 1 : 0) - score),
            "accuracy" when threshold is { } limit => (label, score) => label == score >= limit ? 1 : 0,
            _ => null,
        };
        if (loss is null || Labels.Length < 2)
        {
            return (null, "no interval is computed for this metric");
        }

        var mean = PairedDifference.OfMeans(Losses(Scores, loss), Losses(other.Scores, loss), Alpha).Interval;
        return (new ConfidenceInterval(mean.Lower, mean.Upper, 1 - Alpha), Describe("paired differences"));
    }

    private string Describe(string method) => string.Create(CultureInfo.InvariantCulture, $"{method} on {Labels.Length:N0} stored predictions");

    private double[] Losses(double[] scores, Func<bool, double, double> loss) => [.. scores.Select((score, row) => loss(Labels[row], score))];

    private static SlipwayException Invalid(string what) => new(ErrorCode.InvalidArgument, $"'predictions_sha256' of the evaluation report {what}.");
}
