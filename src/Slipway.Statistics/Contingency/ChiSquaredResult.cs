namespace Slipway.Statistics.Contingency;

/// <summary>Outcome of a chi-squared test.</summary>
/// <param name="Statistic">At least 0; positive infinity when a value appears where none is expected.</param>
/// <param name="PValue">Upper tail of the chi-squared distribution; 0 to 1.</param>
/// <param name="DegreesOfFreedom">At least 0; at 0 the p-value is 1.</param>
public readonly record struct ChiSquaredResult(double Statistic, double PValue, int DegreesOfFreedom);
