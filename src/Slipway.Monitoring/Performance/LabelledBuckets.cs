using Slipway.Monitoring.Definitions;
using Slipway.Native.DuckDb;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;

namespace Slipway.Monitoring.Performance;

/// <summary>One version's predictions in one step of the cadence, with the labels that have come.</summary>
internal sealed class LabelledBucket
{
    public long Predictions { get; set; }

    public long NewestMs { get; set; } = long.MinValue;

    public List<LabelledScore> Labelled { get; } = [];
}

/// <summary>One performance window.</summary>
/// <param name="EndMs">Its end, in event time.</param>
/// <param name="Version">The version that served its newest row; the window holds its rows only.</param>
/// <param name="Predictions">Its rows.</param>
/// <param name="Counts">Its labelled rows; valid until the next window is asked for.</param>
internal readonly record struct PerformanceWindow(long EndMs, string Version, long Predictions, ScoreCounts Counts);

/// <summary>Joins the predictions of the stable arm with their labels and rolls windows over them.</summary>
internal sealed class LabelledBuckets(MonitorDefinition monitor, PerformanceDefinition performance, PredictionLog predictions, LabelLog labels, DuckDbDatabase duckDb)
{
    private long WindowMs => (long)performance.Window.TotalMilliseconds;

    /// <summary>The steps, by their start, that hold predictions labelled in these files.</summary>
    /// <remarks>Labels mostly follow their predictions within a window's length: older segments are opened only when a label found no prediction in the newer ones.</remarks>
    public IReadOnlyList<long> Touched(IReadOnlyList<string> labelFiles, CancellationToken cancellationToken)
    {
        if (labelFiles.Count == 0)
        {
            return [];
        }

        using var connection = duckDb.Connect();
        connection.Execute($"CREATE TEMP TABLE fresh AS SELECT prediction_id, min(observed_ms) AS observed_ms FROM read_parquet({Files(labelFiles)}) GROUP BY prediction_id", cancellationToken);
        connection.Execute("CREATE TEMP TABLE matched (prediction_id VARCHAR, start BIGINT, arm VARCHAR)", cancellationToken);
        var observed = Math.Clamp(connection.QueryScalar<long>("SELECT min(observed_ms) FROM fresh", cancellationToken), 0, DateTimeOffset.MaxValue.ToUnixTimeMilliseconds());
        var all = predictions.Segments(monitor.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue);
        var recent = predictions.Segments(monitor.Model, DateTimeOffset.FromUnixTimeMilliseconds(Math.Max(0, observed - WindowMs)), DateTimeOffset.MaxValue);
        foreach (var files in new[] { recent, [.. all.Except(recent)] })
        {
            if (files.Count > 0 && connection.QueryScalar<long>("SELECT count(*) FROM fresh WHERE prediction_id NOT IN (SELECT prediction_id FROM matched)", cancellationToken) > 0)
            {
                connection.Execute(
                    $"""
                    INSERT INTO matched SELECT prediction_id, event_ms - event_ms % {monitor.CadenceMs}, arm
                      FROM read_parquet({Files(files)}, union_by_name = true) WHERE prediction_id IN (SELECT prediction_id FROM fresh)
                    """, cancellationToken);
            }
        }

        return [.. connection.QueryRows("SELECT DISTINCT start FROM matched WHERE arm = 'stable' ORDER BY start", cancellationToken).Select(row => (long)row[0]!)];
    }

    /// <summary>The windows with these ends, ascending; a window without rows is left out.</summary>
    public IEnumerable<PerformanceWindow> Windows(IReadOnlyList<long> ends, CancellationToken cancellationToken)
    {
        if (ends.Count == 0)
        {
            yield break;
        }

        var buckets = Read(ends[0] - WindowMs, ends[^1], cancellationToken);
        var starts = buckets.Keys.ToArray();
        var totals = new Dictionary<string, (long Predictions, ScoreCounts Counts)>(StringComparer.Ordinal);
        var (first, next) = (0, 0);
        foreach (var end in ends)
        {
            for (; next < starts.Length && starts[next] < end; next++)
            {
                Move(totals, buckets[starts[next]], 1);
            }

            for (; first < next && starts[first] < end - WindowMs; first++)
            {
                Move(totals, buckets[starts[first]], -1);
            }

            if (first < next)
            {
                var version = buckets[starts[next - 1]].MaxBy(pair => pair.Value.NewestMs).Key;
                yield return new PerformanceWindow(end, version, totals[version].Predictions, totals[version].Counts);
            }
        }
    }

    private void Move(Dictionary<string, (long Predictions, ScoreCounts Counts)> totals, Dictionary<string, LabelledBucket> versions, int sign)
    {
        foreach (var (version, bucket) in versions)
        {
            if (!totals.TryGetValue(version, out var total))
            {
                total = (0, new ScoreCounts(performance.Threshold));
            }

            foreach (var row in bucket.Labelled)
            {
                total.Counts.Add(row, sign);
            }

            totals[version] = (total.Predictions + sign * bucket.Predictions, total.Counts);
        }
    }

    private SortedDictionary<long, Dictionary<string, LabelledBucket>> Read(long fromMs, long toMs, CancellationToken cancellationToken)
    {
        var buckets = new SortedDictionary<long, Dictionary<string, LabelledBucket>>();
        var files = predictions.Segments(monitor.Model, DateTimeOffset.FromUnixTimeMilliseconds(fromMs), DateTimeOffset.FromUnixTimeMilliseconds(toMs));
        if (files.Count == 0)
        {
            return buckets;
        }

        var labelFiles = labels.Segments(monitor.Model);
        // Of several labels for one prediction the one received last counts.
        var truth = labelFiles.Count == 0
            ? "SELECT NULL::VARCHAR AS prediction_id, NULL::DOUBLE AS label WHERE false"
            : $"SELECT prediction_id, arg_max(label, received_ms) AS label FROM read_parquet({Files(labelFiles)}) WHERE prediction_id IN (SELECT prediction_id FROM served) GROUP BY prediction_id";
        using var connection = duckDb.Connect();
        using var reader = connection.Query(
            $"""
            WITH served AS MATERIALIZED (
                SELECT prediction_id, event_ms, version, output FROM read_parquet({Files(files)}, union_by_name = true)
                 WHERE arm = 'stable' AND status < 400 AND output IS NOT NULL AND event_ms >= $1 AND event_ms < $2),
            truth AS ({truth})
            SELECT s.event_ms, s.version, s.output, t.label FROM served s LEFT JOIN truth t USING (prediction_id)
            """,
            cancellationToken, fromMs, toMs);
        while (reader.NextChunk())
        {
            var events = reader.Int64(0);
            var outputs = reader.Double(2);
            var outcomes = reader.Double(3);
            for (var row = 0; row < reader.RowCount; row++)
            {
                var bucket = BucketOf(buckets, events[row] - events[row] % monitor.CadenceMs, reader.String(1, row)!);
                bucket.Predictions++;
                bucket.NewestMs = Math.Max(bucket.NewestMs, events[row]);
                if (!reader.IsNull(3, row))
                {
                    bucket.Labelled.Add(new LabelledScore((float)outputs[row], outcomes[row] >= 0.5));
                }
            }
        }

        return buckets;
    }

    private static LabelledBucket BucketOf(SortedDictionary<long, Dictionary<string, LabelledBucket>> buckets, long start, string version)
    {
        if (!buckets.TryGetValue(start, out var versions))
        {
            buckets[start] = versions = new Dictionary<string, LabelledBucket>(StringComparer.Ordinal);
        }

        if (!versions.TryGetValue(version, out var bucket))
        {
            versions[version] = bucket = new LabelledBucket();
        }

        return bucket;
    }

    private static string Files(IReadOnlyList<string> files) => $"[{string.Join(", ", files.Select(DuckDbLiteral.Quote))}]";
}
