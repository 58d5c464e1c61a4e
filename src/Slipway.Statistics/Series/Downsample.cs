namespace Slipway.Statistics.Series;

/// <summary>Thins a curve that is held in memory to what a screen can show.</summary>
public static class Downsample
{
    /// <summary>Picks the points that keep the curve's look: the first, the last, and of each bucket between the one that spans the largest triangle with its neighbours.</summary>
    /// <param name="x">In ascending order.</param>
    /// <param name="y">Finite values, one for each x.</param>
    /// <param name="pointsMax">At most this many, 3 or more.</param>
    /// <returns>Ascending indices into the input; all of them when there are no more than <paramref name="pointsMax"/>.</returns>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="pointsMax"/> is under 3.</exception>
    /// <remarks>
    /// Source: Largest Triangle Three Buckets, Steinarsson (2013), Downsampling Time Series for Visual Representation, MSc thesis,
    /// University of Iceland. Peaks survive where averages would hide them.
    /// </remarks>
    public static int[] LargestTriangles(ReadOnlySpan<double> x, ReadOnlySpan<double> y, int pointsMax)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(pointsMax, 3);
        if (x.Length != y.Length)
        {
            throw new ArgumentException($"x has {x.Length} values and y has {y.Length}; they must be as many.", nameof(y));
        }

        if (x.Length <= pointsMax)
        {
            return [.. Enumerable.Range(0, x.Length)];
        }

        var kept = new int[pointsMax];
        var width = (x.Length - 2) / (double)(pointsMax - 2);
        for (var bucket = 0; bucket < pointsMax - 2; bucket++)
        {
            var from = (int)(bucket * width) + 1;
            var to = Math.Min((int)((bucket + 1) * width) + 1, x.Length - 1);
            var nextTo = Math.Min((int)((bucket + 2) * width) + 1, x.Length);
            var (nextX, nextY) = (Mean(x[to..nextTo]), Mean(y[to..nextTo]));
            var last = kept[bucket];
            var (best, bestArea) = (from, -1.0);
            for (var i = from; i < to; i++)
            {
                // Twice the area; only the order matters.
                var area = Math.Abs((x[last] - nextX) * (y[i] - y[last]) - (x[last] - x[i]) * (nextY - y[last]));
                if (area > bestArea)
                {
                    (best, bestArea) = (i, area);
                }
            }

            kept[bucket + 1] = best;
        }

        kept[^1] = x.Length - 1;
        return kept;
    }

    private static double Mean(ReadOnlySpan<double> values)
    {
        var sum = 0.0;
        foreach (var value in values)
        {
            sum += value;
        }

        return sum / values.Length;
    }
}
