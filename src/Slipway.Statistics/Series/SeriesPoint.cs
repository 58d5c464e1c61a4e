namespace Slipway.Statistics.Series;

/// <summary>One point of a curve.</summary>
/// <param name="X">Where.</param>
/// <param name="Y">How high; NaN where the curve has a gap.</param>
public readonly record struct SeriesPoint(double X, double Y);
