using Slipway.Contracts.Monitoring;

namespace Slipway.Serving;

/// <summary>One feature's live histogram beside its training histogram.</summary>
/// <param name="Name">The feature's reference.</param>
/// <param name="Edges">Inner bin edges, as in <see cref="BaselineHistogram"/>.</param>
/// <param name="Expected">Training rows per bin.</param>
/// <param name="ExpectedNulls">Training rows without a value.</param>
/// <param name="Actual">Live rows per bin.</param>
/// <param name="ActualNulls">Live rows without a value.</param>
public sealed record FeatureSkewCounts(string Name, double[] Edges, long[] Expected, long ExpectedNulls, long[] Actual, long ActualNulls)
{
    /// <summary>Live rows counted.</summary>
    public long ActualRows => Actual.Sum() + ActualNulls;
}

/// <summary>
/// Live histograms of a version's inputs, in the bins of the version's own training baseline. Counted by the prediction log's
/// writer, off the request path, so they trail the traffic by a fifth of a second.
/// </summary>
public sealed class FeatureSkew
{
    private readonly Column?[] _columns;

    /// <summary>Starts at zero.</summary>
    /// <param name="features">The version's features in the order of its input; those without a baseline are not counted.</param>
    /// <param name="baseline">The version's training baseline; null counts nothing.</param>
    public FeatureSkew(IReadOnlyList<string> features, ModelBaseline? baseline) =>
        _columns = [.. features.Select(name => baseline is not null && baseline.Features.TryGetValue(name, out var column) ? new Column(name, column) : null)];

    /// <summary>Counts one row. One caller at a time.</summary>
    /// <param name="values">The features in the version's order; NaN is a missing value.</param>
    public void Count(ReadOnlySpan<float> values)
    {
        var n = Math.Min(values.Length, _columns.Length);
        for (var i = 0; i < n; i++)
        {
            _columns[i]?.Count(values[i]);
        }
    }

    /// <summary>The histograms now, one per feature with a baseline.</summary>
    public IReadOnlyList<FeatureSkewCounts> Snapshot() => [.. _columns.Where(column => column is not null).Select(column => column!.Snapshot())];

    private sealed class Column(string name, FeatureBaseline baseline)
    {
        private readonly double[] _edges = [.. baseline.Edges];
        private readonly long[] _counts = new long[baseline.Edges.Count + 1];
        private long _nulls;

        public void Count(float value)
        {
            if (float.IsNaN(value))
            {
                Volatile.Write(ref _nulls, _nulls + 1);
                return;
            }

            ref var bin = ref _counts[BaselineHistogram.BinOf(_edges, value)];
            Volatile.Write(ref bin, bin + 1);
        }

        public FeatureSkewCounts Snapshot() => new(name, _edges, [.. baseline.Counts], baseline.Nulls, [.. _counts], Volatile.Read(ref _nulls));
    }
}
