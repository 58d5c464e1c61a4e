using Slipway.Contracts.Monitoring;

namespace Slipway.Monitoring.Drift;

/// <summary>
/// The bins of one model version: those of its own baseline, of all features and of the prediction one after the other in one
/// array of counts, so that windows merge by adding arrays. Each subject has a last slot for missing values.
/// </summary>
internal sealed class BinLayout
{
    private readonly double[][] _edges;
    private readonly int[] _offsets;

    public BinLayout(string version, ModelBaseline baseline)
    {
        Version = version;
        Baseline = baseline;
        Features = [.. baseline.Features.Keys.Order(StringComparer.Ordinal)];

        // Live values were single precision on their way to the model: a value that equals an edge must still do so.
        double[] Rounded(IReadOnlyList<double> edges) => [.. edges.Select(edge => (double)(float)edge)];
        _edges = [.. Features.Select(feature => Rounded(baseline.Features[feature].Edges)), Rounded(baseline.Prediction.Edges)];
        _offsets = new int[_edges.Length + 1];
        for (var i = 0; i < _edges.Length; i++)
        {
            _offsets[i + 1] = _offsets[i] + _edges[i].Length + 2;
        }

        Reference = new long[Width];
        for (var i = 0; i < Features.Count; i++)
        {
            var feature = baseline.Features[Features[i]];
            Copy(feature.Counts, i);
            Reference[_offsets[i + 1] - 1] = feature.Nulls;
        }

        Copy(baseline.Prediction.Counts, Features.Count);
    }

    public string Version { get; }

    public ModelBaseline Baseline { get; }

    public IReadOnlyList<string> Features { get; }

    /// <summary>Features, then the prediction.</summary>
    public int Subjects => _edges.Length;

    /// <summary>Length of an array of counts.</summary>
    public int Width => _offsets[^1];

    /// <summary>The baseline's counts.</summary>
    public long[] Reference { get; }

    public string Subject(int index) => index < Features.Count ? Features[index] : Reading.Prediction;

    public ReadOnlySpan<double> Edges(int subject) => _edges[subject];

    /// <summary>A subject's bins, the missing values last.</summary>
    public Range Slots(int subject) => _offsets[subject].._offsets[subject + 1];

    /// <summary>The slot of a value; NaN is missing.</summary>
    public int SlotOf(int subject, double value) => double.IsNaN(value)
        ? _offsets[subject + 1] - 1
        : _offsets[subject] + BaselineHistogram.BinOf(_edges[subject], value);

    private void Copy(IReadOnlyList<long> counts, int subject)
    {
        if (counts.Count != _edges[subject].Length + 1)
        {
            throw new InvalidDataException($"The baseline of {Version} has {counts.Count} counts over {_edges[subject].Length} edges for '{Subject(subject)}'; one more than edges is needed.");
        }

        for (var bin = 0; bin < counts.Count; bin++)
        {
            Reference[_offsets[subject] + bin] = counts[bin];
        }
    }
}
