using System.Runtime.InteropServices;
using Slipway.Statistics.Histograms;

namespace Slipway.Statistics.Drift;

/// <summary>
/// Distances and quantiles from binned counts, for data too big to sort. They see the data only at the edges: with b bins of equal
/// reference count the binned Kolmogorov-Smirnov statistic lies at most 1/b below the exact one.
/// </summary>
public static class BinnedDistance
{
    /// <summary>Kolmogorov-Smirnov statistic over histogram edges: the largest gap of the two distribution functions at an edge.</summary>
    /// <param name="reference">Reference histogram, at least one value.</param>
    /// <param name="current">Current histogram over the same edges, at least one value.</param>
    /// <returns>0 to 1; never above the exact statistic, because both functions are known exactly at the edges.</returns>
    /// <exception cref="ArgumentException">The edges differ, or a histogram has no value.</exception>
    public static double KolmogorovSmirnov(NumericHistogram reference, NumericHistogram current)
    {
        var (totalReference, totalCurrent) = Check(reference, current);
        var largest = 0.0;
        long below = 0, belowCurrent = 0;
        var r = reference.Counts;
        var c = current.Counts;
        for (var i = 0; i < r.Length - 1; i++)
        {
            below += r[i];
            belowCurrent += c[i];
            largest = Math.Max(largest, Math.Abs(below / totalReference - belowCurrent / totalCurrent));
        }

        return largest;
    }

    /// <summary>Population stability index of two histograms; values outside the edges form a bin at either end.</summary>
    /// <param name="reference">Reference histogram, at least one value.</param>
    /// <param name="current">Current histogram over the same edges, at least one value.</param>
    /// <param name="zeroFill">The rule for bins that are empty on one side; bins empty on both sides are left out.</param>
    /// <exception cref="ArgumentException">The edges differ, or a histogram has no value.</exception>
    public static double Psi(NumericHistogram reference, NumericHistogram current, ZeroFill zeroFill = ZeroFill.PerSide)
    {
        Check(reference, current);
        var r = new List<long>();
        var c = new List<long>();
        for (var i = 0; i < reference.Counts.Length; i++)
        {
            // The zero fill may differ between the sides, and a bin that nobody is in must not count as drift.
            if (reference.Counts[i] > 0 || current.Counts[i] > 0)
            {
                r.Add(reference.Counts[i]);
                c.Add(current.Counts[i]);
            }
        }

        return Divergence.Psi(CollectionsMarshal.AsSpan(r), CollectionsMarshal.AsSpan(c), zeroFill);
    }

    /// <summary>First Wasserstein distance with values taken as evenly spread within their bins.</summary>
    /// <param name="reference">Reference histogram, at least one value.</param>
    /// <param name="current">Current histogram over the same edges, at least one value.</param>
    /// <returns>
    /// In the unit of the values. Values outside the edges count as lying on the nearest edge, so that a shift far outside is
    /// understated: watch the under- and overflow counts beside it.
    /// </returns>
    /// <exception cref="ArgumentException">The edges differ, or a histogram has no value.</exception>
    public static double Wasserstein(NumericHistogram reference, NumericHistogram current)
    {
        var (totalReference, totalCurrent) = Check(reference, current);
        var edges = reference.Edges;
        var area = 0.0;
        double below = reference.UnderflowCount, belowCurrent = current.UnderflowCount;
        var gap = below / totalReference - belowCurrent / totalCurrent;
        for (var i = 0; i < edges.Length - 1; i++)
        {
            below += reference.BinCounts[i];
            belowCurrent += current.BinCounts[i];
            var next = below / totalReference - belowCurrent / totalCurrent;
            var width = edges[i + 1] - edges[i];

            // The gap is linear within a bin; where it changes sign the area is that of two triangles.
            area += gap * next >= 0
                ? 0.5 * width * Math.Abs(gap + next)
                : 0.5 * width * (gap * gap + next * next) / (Math.Abs(gap) + Math.Abs(next));
            gap = next;
        }

        return area;
    }

    /// <summary>Quantile from binned counts by linear interpolation within the bin.</summary>
    /// <param name="histogram">At least one value.</param>
    /// <param name="share">0 to 1; 0.5 is the median.</param>
    /// <returns>
    /// The quantile, off by at most the width of its bin. When it falls into the under- or overflow, the first or last edge: a bound,
    /// not an estimate.
    /// </returns>
    /// <exception cref="ArgumentException">The histogram has no value, or <paramref name="share"/> is outside its range.</exception>
    public static double Quantile(NumericHistogram histogram, double share)
    {
        ArgumentNullException.ThrowIfNull(histogram);
        Require.ClosedUnit(share);
        var total = histogram.ValueCount;
        if (total == 0)
        {
            throw new ArgumentException("The histogram has no value.", nameof(histogram));
        }

        var edges = histogram.Edges;
        var target = share * total;
        double below = histogram.UnderflowCount;
        if (target < below || (target == below && below > 0))
        {
            return edges[0];
        }

        for (var i = 0; i < edges.Length - 1; i++)
        {
            var count = histogram.BinCounts[i];
            if (count > 0 && below + count >= target)
            {
                return edges[i] + (edges[i + 1] - edges[i]) * Math.Clamp((target - below) / count, 0, 1);
            }

            below += count;
        }

        return edges[^1];
    }

    private static (double Reference, double Current) Check(NumericHistogram reference, NumericHistogram current)
    {
        ArgumentNullException.ThrowIfNull(reference);
        ArgumentNullException.ThrowIfNull(current);
        if (!reference.Edges.SequenceEqual(current.Edges))
        {
            throw new ArgumentException("Both histograms must have the same edges.", nameof(current));
        }

        var (first, second) = (reference.ValueCount, current.ValueCount);
        return first > 0 && second > 0
            ? (first, second)
            : throw new ArgumentException("Both histograms need at least one value.", first == 0 ? nameof(reference) : nameof(current));
    }
}
