using Slipway.Pipelines.Definitions;
using Slipway.Statistics.Evaluation;

namespace Slipway.Pipelines.Training;

/// <summary>All metrics of a binary classifier at once.</summary>
internal static class ClassifierMetrics
{
    /// <summary>Metrics by name.</summary>
    /// <param name="labels">The truth, both classes present.</param>
    /// <param name="probabilities">One per row.</param>
    /// <param name="threshold">At or above it the decision is positive.</param>
    public static Dictionary<string, double> Of(ReadOnlySpan<bool> labels, ReadOnlySpan<double> probabilities, double threshold)
    {
        var decisions = ConfusionMatrix.At(labels, probabilities, threshold);
        var metrics = new Dictionary<string, double>
        {
            [EvaluationMetrics.Auc] = BinaryMetrics.RocAuc(labels, probabilities),
            [EvaluationMetrics.LogLoss] = BinaryMetrics.LogLoss(labels, probabilities),
            [EvaluationMetrics.Brier] = BinaryMetrics.Brier(labels, probabilities),
            [EvaluationMetrics.Ece] = Calibration.ExpectedError(labels, probabilities),
            [EvaluationMetrics.Accuracy] = decisions.Accuracy,
        };

        // Undefined where nothing was predicted, or nothing was, positive.
        foreach (var (name, value) in ((string, double)[])
            [(EvaluationMetrics.Precision, decisions.Precision), (EvaluationMetrics.Recall, decisions.Recall), (EvaluationMetrics.F1, decisions.F1)])
        {
            if (double.IsFinite(value))
            {
                metrics[name] = value;
            }
        }

        return metrics;
    }
}
