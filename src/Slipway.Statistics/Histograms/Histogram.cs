using System.Buffers;

namespace Slipway.Statistics.Histograms;

/// <summary>Bin edges, and counts of values between given edges.</summary>
/// <remarks>Bins are [lower, upper), the last one closed, as in NumPy. A bin between two equal edges stays empty, except the last.</remarks>
public static class Histogram
{
    /// <summary>Counts values per bin; NaN and values outside the edges are not counted.</summary>
    /// <param name="values">Values, in any order.</param>
    /// <param name="edges">Bin edges in non-decreasing order, at least two.</param>
    /// <returns>One count per bin: one fewer than the edges.</returns>
    /// <exception cref="ArgumentException">Fewer than two edges, or edges that decrease or are NaN.</exception>
    public static long[] Count(ReadOnlySpan<double> values, ReadOnlySpan<double> edges)
    {
        CheckEdges(edges);
        var counts = new long[edges.Length - 1];
        var first = edges[0];
        var last = edges[^1];
        foreach (var value in values)
        {
            if (value >= first && value <= last)
            {
                counts[BinOf(value, edges)]++;
            }
        }

        return counts;
    }

    /// <summary>Edges of equal-width bins by Sturges' rule: ceil(log2(n) + 1) bins between the smallest and largest finite value.</summary>
    /// <param name="values">At least one finite value; NaN and infinities are ignored.</param>
    /// <exception cref="ArgumentException">No finite value.</exception>
    /// <remarks>Source: Sturges (1926), JASA 21(153), 65-66. All values equal: one bin, half a unit to either side.</remarks>
    public static double[] SturgesEdges(ReadOnlySpan<double> values) => SturgesEdges(values, []);

    /// <summary>Sturges edges of two samples taken together.</summary>
    /// <param name="first">The first sample.</param>
    /// <param name="second">The second sample; the two together hold at least one finite value.</param>
    /// <exception cref="ArgumentException">No finite value.</exception>
    public static double[] SturgesEdges(ReadOnlySpan<double> first, ReadOnlySpan<double> second)
    {
        var range = new Range();
        range.Add(first);
        range.Add(second);
        if (range.Count == 0)
        {
            throw new ArgumentException("There is no finite value to build edges from.", nameof(first));
        }

        if (range.Low == range.High)
        {
            return EqualWidthEdges(range.Low - 0.5, range.High + 0.5, 1);
        }

        // Written through the width, as NumPy does, so that rounding gives the same number of bins.
        var width = (range.High - range.Low) / (Math.Log2(range.Count) + 1);
        return EqualWidthEdges(range.Low, range.High, (int)Math.Ceiling((range.High - range.Low) / width));
    }

    /// <summary>Edges of equal-width bins.</summary>
    /// <param name="low">First edge.</param>
    /// <param name="high">Last edge, above <paramref name="low"/>.</param>
    /// <param name="bins">Number of bins, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The edges are not finite and increasing, or <paramref name="bins"/> is below 1.</exception>
    public static double[] EqualWidthEdges(double low, double high, int bins)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        if (!(high > low && double.IsFinite(low) && double.IsFinite(high)))
        {
            throw new ArgumentOutOfRangeException(nameof(high), high, $"high must be finite and above low ({low}).");
        }

        var step = (high - low) / bins;
        var edges = new double[bins + 1];
        for (var i = 0; i < bins; i++)
        {
            edges[i] = i * step + low;
        }

        edges[bins] = high;
        return edges;
    }

    /// <summary>Edges at equally spaced quantiles of a reference sample, for bins of about equal count; ten bins give deciles.</summary>
    /// <param name="reference">At least one value that is not NaN; NaN is ignored.</param>
    /// <param name="bins">Number of bins, at least 1.</param>
    /// <returns>bins + 1 edges, repeated where the reference has ties; the ends are its smallest and largest value.</returns>
    /// <exception cref="ArgumentException">No value.</exception>
    public static double[] QuantileEdges(ReadOnlySpan<double> reference, int bins = 10)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bins, 1);
        var buffer = ArrayPool<double>.Shared.Rent(Math.Max(1, reference.Length));
        try
        {
            var count = 0;
            foreach (var value in reference)
            {
                if (!double.IsNaN(value))
                {
                    buffer[count++] = value;
                }
            }

            var sorted = buffer.AsSpan(0, count);
            Require.NotEmpty<double>(sorted, nameof(reference));
            sorted.Sort();
            var edges = new double[bins + 1];
            for (var i = 0; i <= bins; i++)
            {
                edges[i] = QuantileOfSorted(sorted, (double)i / bins);
            }

            return edges;
        }
        finally
        {
            ArrayPool<double>.Shared.Return(buffer);
        }
    }

    /// <summary>Quantile of sorted values by linear interpolation (type 7 of Hyndman and Fan 1996; the default of NumPy and R).</summary>
    /// <param name="sorted">Values in ascending order, at least one.</param>
    /// <param name="share">0 to 1; 0.5 is the median.</param>
    /// <exception cref="ArgumentException"><paramref name="sorted"/> is empty or <paramref name="share"/> outside its range.</exception>
    public static double QuantileOfSorted(ReadOnlySpan<double> sorted, double share)
    {
        Require.NotEmpty(sorted);
        Require.ClosedUnit(share);
        var position = share * (sorted.Length - 1);
        var index = (int)position;
        if (index >= sorted.Length - 1)
        {
            return sorted[^1];
        }

        var rest = position - index;
        var (low, high) = (sorted[index], sorted[index + 1]);
        return rest == 0 || low == high ? low : low + rest * (high - low);
    }

    /// <summary>The bin of a value known to lie between the first and last edge.</summary>
    internal static int BinOf(double value, ReadOnlySpan<double> edges)
    {
        // The number of edges at or below the value, less one; the last edge belongs to the last bin.
        var low = 0;
        var high = edges.Length;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (edges[middle] <= value)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return Math.Min(low - 1, edges.Length - 2);
    }

    internal static void CheckEdges(ReadOnlySpan<double> edges)
    {
        if (edges.Length < 2)
        {
            throw new ArgumentException($"edges has {edges.Length} elements; at least two are needed.", nameof(edges));
        }

        for (var i = 1; i < edges.Length; i++)
        {
            if (!(edges[i] >= edges[i - 1]))
            {
                throw new ArgumentException($"edges[{i}] = {edges[i]} is not at or above edges[{i - 1}] = {edges[i - 1]}.", nameof(edges));
            }
        }
    }

    private struct Range
    {
        public double Low = double.PositiveInfinity;
        public double High = double.NegativeInfinity;
        public long Count;

        public Range()
        {
        }

        public void Add(ReadOnlySpan<double> values)
        {
            foreach (var value in values)
            {
                if (double.IsFinite(value))
                {
                    Low = Math.Min(Low, value);
                    High = Math.Max(High, value);
                    Count++;
                }
            }
        }
    }
}
