namespace Slipway.Web.Pages.Shared;

/// <summary>A chart, ready to be drawn: already thinned to what a screen can show.</summary>
/// <param name="Kind"><c>line</c>, <c>area</c> (stacked) or <c>bar</c>.</param>
/// <param name="X">What the x axis is, with its unit.</param>
/// <param name="Y">What the y axis is, with its unit.</param>
/// <param name="Series">What is drawn.</param>
public sealed record ChartData(string Kind, string X, string Y, IReadOnlyList<ChartSeries> Series)
{
    /// <summary>Whether x is Unix milliseconds.</summary>
    public bool Time { get; init; }

    /// <summary>Names of the x positions of a bar chart.</summary>
    public IReadOnlyList<string> Categories { get; init; } = [];

    /// <summary>Dashed lines with their value.</summary>
    public IReadOnlyList<ChartThreshold> Thresholds { get; init; } = [];

    /// <summary>Lower end of the y axis; null lets the data decide.</summary>
    public double? Minimum { get; init; }

    /// <summary>Whether there is anything to draw.</summary>
    public bool Empty => Series.All(series => series.Points.Count == 0);
}

/// <summary>One line, band or set of bars.</summary>
/// <param name="Name">Its label.</param>
/// <param name="Colour">A colour token: accent, production, candidate, baseline, previous, ok, warn, bad.</param>
/// <param name="Points">x and y; a null y leaves a gap.</param>
public sealed record ChartSeries(string Name, string Colour, IReadOnlyList<ChartPoint> Points);

/// <summary>One point.</summary>
public readonly record struct ChartPoint(double X, double? Y);

/// <summary>A limit.</summary>
/// <param name="Name">What it limits.</param>
/// <param name="Value">Where it lies.</param>
/// <param name="Colour">warn, bad or baseline.</param>
public sealed record ChartThreshold(string Name, double Value, string Colour);
