namespace Slipway.Statistics.Evaluation;

/// <summary>A bootstrap estimate.</summary>
/// <param name="Estimate">The value on the sample itself.</param>
/// <param name="StandardError">Standard deviation over the resamples.</param>
/// <param name="Interval">Percentile interval at the level asked for.</param>
public readonly record struct BootstrapResult(double Estimate, double StandardError, Interval Interval);
