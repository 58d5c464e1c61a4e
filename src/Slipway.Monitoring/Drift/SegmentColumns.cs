using System.Text;
using Slipway.Native.DuckDb;

namespace Slipway.Monitoring.Drift;

/// <summary>The columns of prediction segments as a reader delivers them, and the counting of a run of rows.</summary>
internal sealed class SegmentColumns
{
    private readonly Dictionary<string, int> _ordinals;
    private readonly int _event;
    private readonly int _output;
    private readonly Dictionary<string, int[]> _subjects = new(StringComparer.Ordinal);
    private string _version = "";
    private byte[] _versionUtf8 = [];

    public SegmentColumns(DuckDbReader reader)
    {
        Reader = reader;
        _ordinals = reader.Columns.Index().ToDictionary(column => column.Item.Name, column => column.Index, StringComparer.Ordinal);
        _event = _ordinals["event_ms"];
        _output = _ordinals["output"];
        Version = _ordinals["version"];
    }

    public DuckDbReader Reader { get; }

    public int Version { get; }

    public ReadOnlySpan<long> Events => Reader.Int64(_event);

    /// <summary>The text of a version without a new string per row.</summary>
    public string VersionName(ReadOnlySpan<byte> utf8)
    {
        if (!utf8.SequenceEqual(_versionUtf8))
        {
            _versionUtf8 = utf8.ToArray();
            _version = Encoding.UTF8.GetString(utf8);
        }

        return _version;
    }

    /// <summary>Counts rows <paramref name="first"/> to before <paramref name="end"/> of the present chunk into a bucket.</summary>
    public void Add(Bucket bucket, int first, int end)
    {
        var layout = bucket.Layout;
        var ordinals = SubjectsOf(layout);
        for (var subject = 0; subject < ordinals.Length; subject++)
        {
            AddColumn(bucket, subject, ordinals[subject], first, end);
        }

        bucket.Rows += end - first;
        foreach (var eventMs in Events[first..end])
        {
            bucket.NewestMs = Math.Max(bucket.NewestMs, eventMs);
        }
    }

    private void AddColumn(Bucket bucket, int subject, int ordinal, int first, int end)
    {
        var layout = bucket.Layout;
        if (ordinal < 0)
        {
            // A feature that the version has but no segment at hand: missing in all rows.
            bucket.Counts[layout.SlotOf(subject, double.NaN)] += end - first;
            return;
        }

        var values = Reader.Double(ordinal);
        var nulls = Reader.MayHaveNulls(ordinal);
        for (var row = first; row < end; row++)
        {
            bucket.Counts[layout.SlotOf(subject, nulls && Reader.IsNull(ordinal, row) ? double.NaN : values[row])]++;
        }
    }

    private int[] SubjectsOf(BinLayout layout)
    {
        if (!_subjects.TryGetValue(layout.Version, out var ordinals))
        {
            _subjects[layout.Version] = ordinals =
                [.. Enumerable.Range(0, layout.Subjects).Select(i => i == layout.Features.Count ? _output : _ordinals.GetValueOrDefault(layout.Subject(i), -1))];
        }

        return ordinals;
    }
}
