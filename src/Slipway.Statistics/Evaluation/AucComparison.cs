namespace Slipway.Statistics.Evaluation;

/// <summary>Two models' areas under the ROC curve on the same rows, compared.</summary>
/// <param name="First">The first model.</param>
/// <param name="Second">The second model.</param>
/// <param name="Difference">Second less first.</param>
/// <param name="StandardError">Standard error of the difference, at least 0.</param>
/// <param name="PValue">Two-sided, for equal areas.</param>
/// <param name="Interval">Confidence interval of the difference at the level asked for.</param>
public readonly record struct AucComparison(
    AucEstimate First, AucEstimate Second, double Difference, double StandardError, double PValue, Interval Interval);
