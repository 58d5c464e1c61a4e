namespace Slipway.Statistics;

/// <summary>The outcome of a fixed-sample hypothesis test: valid once, at a sample size chosen beforehand.</summary>
/// <param name="Statistic">The test statistic; its meaning is stated by the method that returns it.</param>
/// <param name="PValue">Probability, under the null hypothesis, of a statistic at least this extreme; 0 to 1.</param>
public readonly record struct TestResult(double Statistic, double PValue);
