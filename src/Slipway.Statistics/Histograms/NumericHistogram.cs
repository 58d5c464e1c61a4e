namespace Slipway.Statistics.Histograms;

/// <summary>
/// Counts of a numeric column over fixed edges, filled chunk by chunk and mergeable across chunks, files and machines.
/// Nothing is dropped: missing values and values outside the edges have counts of their own.
/// </summary>
/// <remarks>Not safe for concurrent writers; give each its own histogram and <see cref="Merge"/>.</remarks>
public sealed class NumericHistogram
{
    // A grid of equal cells over the edges tells in one multiplication where to start looking for the bin. It is used when
    // no cell spans many edges; very uneven edges (heavy tails) fall back to binary search.
    private const int CellEdgesMax = 4;
    private const int CellsPerBin = 4;

    // Few bins still get fine cells, so that most cells hold no edge and the search ends without a mispredicted branch.
    private const int CellsMin = 1024;

    private readonly double[] edges;
    private readonly long[] counts;
    private readonly int[]? cellFirstBin;
    private readonly double cellsPerUnit;

    /// <summary>An empty histogram over the given edges.</summary>
    /// <param name="edges">Bin edges in non-decreasing order, at least two, finite; bins are [lower, upper), the last one closed.</param>
    /// <exception cref="ArgumentException">Fewer than two edges, or edges that decrease or are not finite.</exception>
    public NumericHistogram(ReadOnlySpan<double> edges)
        : this(edges, new long[Math.Max(2, edges.Length) + 1], 0)
    {
    }

    private NumericHistogram(ReadOnlySpan<double> edges, long[] counts, long missing)
    {
        Histogram.CheckEdges(edges);
        if (!double.IsFinite(edges[0]) || !double.IsFinite(edges[^1]))
        {
            throw new ArgumentException("The first and last edge must be finite; values beyond them are counted as under- and overflow.", nameof(edges));
        }

        this.edges = edges.ToArray();
        this.counts = counts;
        MissingCount = missing;
        (cellFirstBin, cellsPerUnit) = BuildGrid(this.edges);
    }

    /// <summary>The bin edges.</summary>
    public ReadOnlySpan<double> Edges => edges;

    /// <summary>Counts with the outside included: underflow, then one per bin, then overflow.</summary>
    public ReadOnlySpan<long> Counts => counts;

    /// <summary>Counts per bin, without under- and overflow.</summary>
    public ReadOnlySpan<long> BinCounts => counts.AsSpan(1, counts.Length - 2);

    /// <summary>Values below the first edge, negative infinity included.</summary>
    public long UnderflowCount => counts[0];

    /// <summary>Values above the last edge, positive infinity included.</summary>
    public long OverflowCount => counts[^1];

    /// <summary>Missing values: NaN, and those reported by <see cref="AddMissing"/>.</summary>
    public long MissingCount { get; private set; }

    /// <summary>Values that are not missing, under- and overflow included.</summary>
    public long ValueCount
    {
        get
        {
            var sum = 0L;
            foreach (var count in counts)
            {
                sum += count;
            }

            return sum;
        }
    }

    /// <summary>Restores a histogram from stored counts.</summary>
    /// <param name="edges">The edges it was built over.</param>
    /// <param name="counts"><see cref="Counts"/>: underflow, bins, overflow; one more than the edges.</param>
    /// <param name="missingCount"><see cref="MissingCount"/>.</param>
    /// <exception cref="ArgumentException">Lengths do not fit, or a count is negative.</exception>
    public static NumericHistogram Restore(ReadOnlySpan<double> edges, ReadOnlySpan<long> counts, long missingCount)
    {
        Require.SameLength(edges.Length + 1, counts.Length, nameof(counts));
        ArgumentOutOfRangeException.ThrowIfNegative(missingCount);
        foreach (var count in counts)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(counts));
        }

        return new NumericHistogram(edges, counts.ToArray(), missingCount);
    }

    /// <summary>Counts a chunk of values; NaN counts as missing.</summary>
    public void Add(ReadOnlySpan<double> values)
    {
        foreach (var value in values)
        {
            Add(value);
        }
    }

    /// <summary>Counts a chunk of single-precision values; NaN counts as missing.</summary>
    public void Add(ReadOnlySpan<float> values)
    {
        foreach (var value in values)
        {
            Add((double)value);
        }
    }

    /// <summary>Counts one value; NaN counts as missing.</summary>
    public void Add(double value)
    {
        var first = edges[0];
        if (value >= first)
        {
            counts[value <= edges[^1] ? Bin(value, first) + 1 : counts.Length - 1]++;
        }
        else if (value < first)
        {
            counts[0]++;
        }
        else
        {
            MissingCount++;
        }
    }

    /// <summary>Counts values known to be missing (SQL null) without their being passed.</summary>
    /// <param name="count">At least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="count"/> is negative.</exception>
    public void AddMissing(long count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        MissingCount += count;
    }

    /// <summary>Adds the counts of another histogram over the same edges.</summary>
    /// <exception cref="ArgumentException">The edges differ.</exception>
    public void Merge(NumericHistogram other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (!edges.AsSpan().SequenceEqual(other.edges))
        {
            throw new ArgumentException("Only histograms over the same edges can be merged.", nameof(other));
        }

        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] += other.counts[i];
        }

        MissingCount += other.MissingCount;
    }

    private int Bin(double value, double first)
    {
        if (cellFirstBin is null)
        {
            return Histogram.BinOf(value, edges);
        }

        var bin = cellFirstBin[(int)((value - first) * cellsPerUnit)];
        var lastBin = edges.Length - 2;
        while (bin < lastBin && value >= edges[bin + 1])
        {
            bin++;
        }

        // Rounding in the multiplication can land one cell too far right.
        while (value < edges[bin])
        {
            bin--;
        }

        return bin;
    }

    private static (int[]? FirstBin, double CellsPerUnit) BuildGrid(double[] edges)
    {
        var width = edges[^1] - edges[0];
        var cells = Math.Max(CellsMin, (edges.Length - 1) * CellsPerBin);
        var cellsPerUnit = cells / width;
        if (!(width > 0 && double.IsFinite(cellsPerUnit) && double.IsFinite(width)))
        {
            return (null, 0);
        }

        // One cell more than needed takes the last edge itself and a rounding step past it.
        var firstBin = new int[cells + 2];
        var edge = 0;
        for (var cell = 0; cell < firstBin.Length; cell++)
        {
            var before = edge;
            while (edge < edges.Length - 2 && (edges[edge + 1] - edges[0]) * cellsPerUnit <= cell)
            {
                edge++;
            }

            if (edge - before > CellEdgesMax)
            {
                return (null, 0);
            }

            firstBin[cell] = edge;
        }

        return (firstBin, cellsPerUnit);
    }
}
