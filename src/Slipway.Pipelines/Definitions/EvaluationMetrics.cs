namespace Slipway.Pipelines.Definitions;

/// <summary>The metrics of a binary classifier that a threshold may name.</summary>
internal static class EvaluationMetrics
{
    public const string Auc = "auc";
    public const string LogLoss = "log_loss";
    public const string Brier = "brier";
    public const string Ece = "ece";
    public const string Accuracy = "accuracy";
    public const string Precision = "precision";
    public const string Recall = "recall";
    public const string F1 = "f1";

    public static IReadOnlyList<string> Names { get; } = [Auc, LogLoss, Brier, Ece, Accuracy, Precision, Recall, F1];
}
