namespace Slipway.Web.Pages.Shared;

/// <summary>Thins curves on the server: a screen has fewer columns than a run has steps.</summary>
public static class Downsample
{
    /// <summary>Points a full-width chart can show.</summary>
    public const int PointsMax = 600;

    /// <summary>Keeps the first, the last, and of each slice between the point that spans the largest triangle with its neighbours.</summary>
    /// <param name="points">In x order.</param>
    /// <param name="max">At most this many, 3 or more.</param>
    /// <remarks>Largest Triangle Three Buckets (Steinarsson 2013, University of Iceland): peaks survive where averages would hide them.</remarks>
    public static IReadOnlyList<ChartPoint> LargestTriangles(IReadOnlyList<ChartPoint> points, int max = PointsMax)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(max, 3);
        if (points.Count <= max)
        {
            return points;
        }

        var kept = new List<ChartPoint>(max) { points[0] };
        var bucket = (points.Count - 2) / (double)(max - 2);
        for (var i = 0; i < max - 2; i++)
        {
            var from = (int)(i * bucket) + 1;
            var to = Math.Min((int)((i + 1) * bucket) + 1, points.Count - 1);
            var nextTo = Math.Min((int)((i + 2) * bucket) + 1, points.Count);
            var (x, y) = Mean(points, to, nextTo);
            var (best, bestArea) = (points[from], -1.0);
            var last = kept[^1];
            for (var j = from; j < to; j++)
            {
                var area = Math.Abs((last.X - x) * ((points[j].Y ?? 0) - (last.Y ?? 0)) - (last.X - points[j].X) * (y - (last.Y ?? 0)));
                if (area > bestArea)
                {
                    (best, bestArea) = (points[j], area);
                }
            }

            kept.Add(best);
        }

        kept.Add(points[^1]);
        return kept;
    }

    private static (double X, double Y) Mean(IReadOnlyList<ChartPoint> points, int from, int to)
    {
        var (x, y) = (0.0, 0.0);
        for (var i = from; i < to; i++)
        {
            x += points[i].X;
            y += points[i].Y ?? 0;
        }

        return (x / (to - from), y / (to - from));
    }
}
