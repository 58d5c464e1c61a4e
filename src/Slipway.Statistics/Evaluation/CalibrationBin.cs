namespace Slipway.Statistics.Evaluation;

/// <summary>One point of a calibration curve.</summary>
/// <param name="Lower">Lower edge of predicted probability, included.</param>
/// <param name="Upper">Upper edge, excluded except at 1.</param>
/// <param name="Count">Rows in the bin, at least 1.</param>
/// <param name="MeanPredicted">Mean predicted probability of those rows.</param>
/// <param name="PositiveShare">Share of them that are positive.</param>
public readonly record struct CalibrationBin(double Lower, double Upper, long Count, double MeanPredicted, double PositiveShare);
