namespace Slipway.Web.Pages.Shared;

/// <summary>Thins curves on the server: a screen has fewer columns than a run has steps.</summary>
public static class Downsample
{
    /// <summary>Points a full-width chart can show.</summary>
    public const int PointsMax = 600;

    /// <summary>The points that keep the look of the curve; a gap counts as zero.</summary>
    /// <param name="points">In x order.</param>
    /// <param name="max">At most this many, 3 or more.</param>
    public static IReadOnlyList<ChartPoint> LargestTriangles(IReadOnlyList<ChartPoint> points, int max = PointsMax) =>
        [.. Statistics.Series.Downsample.LargestTriangles([.. points.Select(point => point.X)], [.. points.Select(point => point.Y ?? 0)], max).Select(i => points[i])];
}
