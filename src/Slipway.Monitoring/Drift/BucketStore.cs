using Slipway.Monitoring.Definitions;
using Slipway.Native.DuckDb;
using Slipway.Serving.Predictions;

namespace Slipway.Monitoring.Drift;

/// <summary>
/// Counts of what a model's stable arm served, per step of the cadence and version. Each Parquet segment is read once; a window is
/// the sum of its buckets. Lives in memory and is rebuilt from the segments after a restart.
/// </summary>
internal sealed class BucketStore(MonitorDefinition monitor, PredictionLog log, DuckDbDatabase duckDb, Func<string, BinLayout?> layouts)
{
    private readonly SortedDictionary<long, Dictionary<string, Bucket>> _buckets = [];
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);

    /// <summary>Reads the segments not read yet that may hold event times from <paramref name="fromMs"/> on, and forgets what lies before.</summary>
    public void Read(long fromMs, CancellationToken cancellationToken)
    {
        if (_read.Any(path => !File.Exists(path)))
        {
            // Somebody has replaced segments by others; counting those on top would count rows twice.
            _read.Clear();
            _buckets.Clear();
        }

        foreach (var old in _buckets.Keys.TakeWhile(start => start < fromMs).ToList())
        {
            _buckets.Remove(old);
        }

        var from = fromMs <= DateTimeOffset.MinValue.ToUnixTimeMilliseconds() ? DateTimeOffset.MinValue : DateTimeOffset.FromUnixTimeMilliseconds(fromMs);
        var files = log.Segments(monitor.Model, from, DateTimeOffset.MaxValue).Where(path => !_read.Contains(path)).ToList();
        if (files.Count > 0)
        {
            Count(files, fromMs, cancellationToken);
            _read.UnionWith(files);
        }
    }

    /// <summary>The windows after <paramref name="afterMs"/> that end at or before <paramref name="untilMs"/> and have rows, oldest first.</summary>
    /// <remarks>Stretches without traffic have no windows, however long they are.</remarks>
    public IEnumerable<ClosedWindow> Windows(long afterMs, long untilMs)
    {
        var (cadence, window) = (monitor.CadenceMs, monitor.WindowMs);
        var starts = _buckets.Keys.ToArray();
        foreach (var (index, start) in starts.Index())
        {
            // The windows that end after this bucket and before the next one's end belong to this bucket.
            var last = index + 1 < starts.Length ? Math.Min(start + window, starts[index + 1]) : start + window;
            for (var end = Math.Max(start + cadence, afterMs + cadence); end <= Math.Min(last, untilMs); end += cadence)
            {
                if (Close(end) is { } closed)
                {
                    yield return closed;
                }
            }
        }
    }

    private ClosedWindow? Close(long endMs)
    {
        Bucket? newest = null;
        var inside = new List<Bucket>();
        for (var start = endMs - monitor.WindowMs; start < endMs; start += monitor.CadenceMs)
        {
            foreach (var bucket in _buckets.TryGetValue(start, out var versions) ? versions.Values : (IEnumerable<Bucket>)[])
            {
                inside.Add(bucket);
                newest = newest is null || bucket.NewestMs > newest.NewestMs ? bucket : newest;
            }
        }

        if (newest is null)
        {
            return null;
        }

        var layout = newest.Layout;
        var (counts, rows) = Sum(inside, layout);
        var last = _buckets.TryGetValue(endMs - monitor.CadenceMs, out var lastStep) ? lastStep.Values.ToList() : [];
        return new ClosedWindow(endMs, layout, rows, counts, Reference(endMs, layout), last);
    }

    private long[] Reference(long endMs, BinLayout layout)
    {
        if (monitor.Reference == ReferenceKind.Seasonal)
        {
            var seasonMs = (long)monitor.Season.TotalMilliseconds;
            var past = new List<Bucket>();
            for (var start = endMs - seasonMs - monitor.WindowMs; start < endMs - seasonMs; start += monitor.CadenceMs)
            {
                past.AddRange(_buckets.TryGetValue(start, out var versions) ? versions.Values : (IEnumerable<Bucket>)[]);
            }

            var (counts, rows) = Sum(past, layout);
            if (rows >= monitor.MinRows)
            {
                return counts;
            }
        }

        return layout.Reference;
    }

    private static (long[] Counts, long Rows) Sum(List<Bucket> buckets, BinLayout layout)
    {
        var counts = new long[layout.Width];
        var rows = 0L;
        foreach (var bucket in buckets.Where(bucket => bucket.Layout.Version == layout.Version))
        {
            for (var i = 0; i < counts.Length; i++)
            {
                counts[i] += bucket.Counts[i];
            }

            rows += bucket.Rows;
        }

        return (counts, rows);
    }

    private void Count(List<string> files, long fromMs, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        using var reader = connection.Query(
            $"""
            SELECT * EXCLUDE (prediction_id, at_ms, arm, entity_key, latency_us, status)
              FROM read_parquet([{string.Join(", ", files.Select(DuckDbLiteral.Quote))}], union_by_name = true)
             WHERE arm = 'stable' AND status < 400 AND event_ms >= $1
            """,
            cancellationToken, fromMs);
        var columns = new SegmentColumns(reader);
        while (reader.NextChunk())
        {
            CountChunk(columns);
        }
    }

    // Rows come in runs of one version and one step, so that the dictionaries are asked once per run and a column is counted in one go.
    private void CountChunk(SegmentColumns columns)
    {
        var reader = columns.Reader;
        var events = columns.Events;
        for (var first = 0; first < reader.RowCount;)
        {
            var version = reader.Utf8(columns.Version, first);
            var start = Floor(events[first]);
            var end = first + 1;
            while (end < reader.RowCount && Floor(events[end]) == start && reader.Utf8(columns.Version, end).SequenceEqual(version))
            {
                end++;
            }

            if (BucketOf(start, columns.VersionName(version)) is { } bucket)
            {
                columns.Add(bucket, first, end);
            }

            first = end;
        }
    }

    private long Floor(long eventMs) => eventMs - (eventMs % monitor.CadenceMs + monitor.CadenceMs) % monitor.CadenceMs;

    private Bucket? BucketOf(long startMs, string version)
    {
        if (layouts(version) is not { } layout)
        {
            return null;
        }

        if (!_buckets.TryGetValue(startMs, out var versions))
        {
            _buckets[startMs] = versions = new Dictionary<string, Bucket>(StringComparer.Ordinal);
        }

        if (!versions.TryGetValue(version, out var bucket))
        {
            versions[version] = bucket = new Bucket(layout);
        }

        return bucket;
    }
}
