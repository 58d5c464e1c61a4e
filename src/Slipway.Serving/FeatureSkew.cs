namespace Slipway.Serving;

/// <summary>One feature as training saw it: the bins that live values are counted in.</summary>
/// <param name="Name">The feature's reference.</param>
/// <param name="Edges">Rising inner and outer bounds; n edges make n-1 bins, closed on the left, the last closed on both sides. Values outside fall into the first or last bin.</param>
/// <param name="Counts">Training rows per bin.</param>
/// <param name="Nulls">Training rows without a value.</param>
public sealed record FeatureReference(string Name, double[] Edges, long[] Counts, long Nulls);

/// <summary>One feature's live histogram beside its training histogram.</summary>
/// <param name="Name">The feature's reference.</param>
/// <param name="Edges">The bins' bounds.</param>
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
    /// <param name="features">The version's features in the order of its input; those without a reference are not counted.</param>
    /// <param name="references">The training baseline.</param>
    public FeatureSkew(IReadOnlyList<string> features, IEnumerable<FeatureReference> references)
    {
        var byName = references.ToDictionary(reference => reference.Name, StringComparer.Ordinal);
        _columns = [.. features.Select(name => byName.TryGetValue(name, out var reference) && reference.Edges.Length >= 2 ? new Column(reference) : null)];
    }

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

    private sealed class Column(FeatureReference reference)
    {
        private readonly long[] _counts = new long[reference.Edges.Length - 1];
        private long _nulls;

        public void Count(float value)
        {
            if (float.IsNaN(value))
            {
                Volatile.Write(ref _nulls, _nulls + 1);
                return;
            }

            var edges = reference.Edges;
            var at = Array.BinarySearch(edges, value);
            var bin = Math.Clamp(at >= 0 ? at : ~at - 1, 0, _counts.Length - 1);
            Volatile.Write(ref _counts[bin], _counts[bin] + 1);
        }

        public FeatureSkewCounts Snapshot() => new(reference.Name, reference.Edges, reference.Counts, reference.Nulls, [.. _counts], Volatile.Read(ref _nulls));
    }
}
