using System.Buffers.Binary;
using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.Datasets;
using Slipway.Native.DuckDb;
using Slipway.Storage;

namespace Slipway.FeatureStore;

/// <summary>
/// Keeps the newest value of every entity for serving. Each view version has a space of its own, so that a model that pins an older
/// version goes on reading values of the layout it knows.
/// </summary>
public sealed class OnlineStore(KeyValueStore values, OfflineStore offline, FeatureRegistry registry, DatasetStore datasets, DuckDbDatabase duckDb)
    : IDisposable
{
    /// <summary>Stands between the key values of one entity (U+001F, the unit separator).</summary>
    internal const char KeySeparator = '\u001F';

    // In the same space, so that one transaction moves the values and their watermark. No entity has this key.
    private const string WatermarkKey = "\u001E";

    // Rows read ahead at a time: a refresh every hour then asks DuckDB once in many calls.
    private const int UpcomingMax = 20_000;

    private readonly Dictionary<string, Upcoming> _upcoming = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _materializing = new(1, 1);

    /// <summary>
    /// Brings online values to an instant: afterwards every entity has the newest value known then, and none later. Reads only what
    /// came since the last call; goes back in time, or over to a newer build, by reading all.
    /// </summary>
    /// <param name="view"><c>name</c>: the newest version, and older ones that are online already; or <c>name@version</c>.</param>
    /// <param name="upTo">The instant.</param>
    /// <param name="by">Who asks.</param>
    /// <param name="cancellationToken">Interrupts the query; values already written stay.</param>
    /// <returns>Entities written.</returns>
    /// <exception cref="SlipwayException">NotFound: no such view, or its dataset has no version; InvalidArgument: the view is not online.</exception>
    public async Task<long> MaterializeAsync(string view, DateTimeOffset upTo, Caller by, CancellationToken cancellationToken) =>
        (await MaterializeVersionsAsync(view, upTo, by, cancellationToken)).Sum(version => version.KeysWritten);

    /// <summary>As <see cref="MaterializeAsync"/>, with the count of each version.</summary>
    public async Task<IReadOnlyList<MaterializedView>> MaterializeVersionsAsync(string view, DateTimeOffset upTo, Caller by, CancellationToken cancellationToken)
    {
        var newest = registry.RequireView(view);
        if (newest.Definition.OnDemand || !newest.Definition.Online)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The feature view '{newest.Name}' keeps no online values; say 'online: true' in its definition, or name another view.");
        }

        var versions = new List<FeatureViewRecord> { newest };
        if (!view.Contains('@', StringComparison.Ordinal))
        {
            versions.AddRange(Enumerable.Range(1, newest.Version - 1).Select(version => $"{newest.Name}@{version}").Where(id => Watermark(id) is not null).Select(registry.RequireView));
        }

        await _materializing.WaitAsync(cancellationToken); // The watermark is read and moved by one at a time.
        try
        {
            var done = new List<MaterializedView>();
            foreach (var version in versions)
            {
                var build = offline.FindBuild(version) ?? await offline.BuildAsync(version.Id, datasets.Require(version.Definition.Source!), by, cancellationToken);
                done.Add(new MaterializedView(version.Id, Materialize(version, build, upTo, cancellationToken), upTo));
            }

            return done;
        }
        finally
        {
            _materializing.Release();
        }
    }

    /// <summary>Up to which instant a view version's online values are; null while there are none.</summary>
    /// <param name="viewId"><c>name@version</c>.</param>
    public DateTimeOffset? MaterializedUpTo(string viewId) => Watermark(viewId)?.UpTo;

    /// <summary>The number of entities with an online value.</summary>
    /// <param name="viewId"><c>name@version</c>.</param>
    public long CountKeys(string viewId) => Math.Max(0, values.Space(viewId).Count - (Watermark(viewId) is null ? 0 : 1));

    /// <summary>Prepares the feature vectors of a service version; keep it for as long as the version is served.</summary>
    public FeatureVectorBuilder CreateVectorBuilder(FeatureServiceRecord service) => new(service, values);

    /// <inheritdoc/>
    public void Dispose() => _materializing.Dispose();

    private long Materialize(FeatureViewRecord view, OfflineBuild build, DateTimeOffset upTo, CancellationToken cancellationToken)
    {
        var last = Watermark(view.Id);
        var incremental = last is { } mark && mark.BuildSha256 == build.Sha256 && mark.UpTo <= upTo;
        var entries = incremental
            ? TakeUpcoming(view, build, Nanoseconds(last!.Value.UpTo), Nanoseconds(upTo), cancellationToken)
            : ReadAll(view.Definition, build, Nanoseconds(upTo), cancellationToken);
        var written = entries.Count;
        entries.Add(new(WatermarkKey, EncodeWatermark(upTo, build.Sha256)));
        if (incremental)
        {
            values.Put(view.Id, entries);
        }
        else
        {
            values.Replace(view.Id, entries);
        }

        return written;
    }

    private List<KeyValuePair<string, byte[]>> ReadAll(FeatureViewDefinition view, OfflineBuild build, long upTo, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        var newest = $"QUALIFY row_number() OVER (PARTITION BY key ORDER BY {PointInTimeSql.VisibleColumn} DESC) = 1";
        return [.. Read(connection, view, build, long.MinValue, upTo, newest, cancellationToken).Select(row => new KeyValuePair<string, byte[]>(row.Key, row.Value))];
    }

    /// <summary>The newest value of each entity that becomes known after one instant, up to another.</summary>
    private List<KeyValuePair<string, byte[]>> TakeUpcoming(FeatureViewRecord view, OfflineBuild build, long after, long upTo, CancellationToken cancellationToken)
    {
        var newest = new Dictionary<string, byte[]>(StringComparer.Ordinal);

        // Taken out while it moves: a read that is interrupted half-way must begin again from the watermark.
        if (!_upcoming.Remove(view.Id, out var upcoming) || upcoming.BuildSha256 != build.Sha256 || upcoming.At != after)
        {
            upcoming = ReadUpcoming(view.Definition, build, after, cancellationToken);
        }

        while (true)
        {
            for (; upcoming.Next < upcoming.Rows.Count && upcoming.Rows[upcoming.Next].Visible <= upTo; upcoming.Next++)
            {
                newest[upcoming.Rows[upcoming.Next].Key] = upcoming.Rows[upcoming.Next].Value;
            }

            if (upcoming.Next < upcoming.Rows.Count || upcoming.End >= upTo)
            {
                break;
            }

            upcoming = ReadUpcoming(view.Definition, build, upcoming.End, cancellationToken);
        }

        upcoming.At = upTo;
        _upcoming[view.Id] = upcoming;
        return [.. newest];
    }

    private Upcoming ReadUpcoming(FeatureViewDefinition view, OfflineBuild build, long after, CancellationToken cancellationToken)
    {
        // The file is ordered by time. The last instant is read whole, so that no row of it is left between two reads.
        using var connection = duckDb.Connect();
        var (count, end) = connection.QueryRows(
            $"""
            SELECT count(*), max({PointInTimeSql.VisibleColumn})
              FROM (SELECT {PointInTimeSql.VisibleColumn} FROM {File(build)} WHERE {PointInTimeSql.VisibleColumn} > ? ORDER BY {PointInTimeSql.VisibleColumn} LIMIT {UpcomingMax})
            """, cancellationToken, after)
            .Select(row => ((long)row[0]!, (long?)row[1] ?? long.MaxValue)).Single();
        if (count < UpcomingMax)
        {
            end = long.MaxValue;
        }

        return new Upcoming(build.Sha256, end, Read(connection, view, build, after, end, $"ORDER BY {PointInTimeSql.VisibleColumn}", cancellationToken));
    }

    private List<(long Visible, string Key, byte[] Value)> Read(
        DuckDbConnection connection, FeatureViewDefinition view, OfflineBuild build, long after, long upTo, string ending, CancellationToken cancellationToken)
    {
        var features = string.Join(", ", view.Features.Select(feature => $"CAST({DuckDbIdentifier.Quote(feature.Name)} AS DOUBLE)"));
        var key = view.Keys.Count == 0 ? "''" : string.Join(" || chr(31) || ", view.Keys.Select(name => $"CAST({DuckDbIdentifier.Quote(name)} AS VARCHAR)"));
        using var reader = connection.Query(
            $"""
            SELECT {key} AS key, {PointInTimeSql.EventColumn}, {PointInTimeSql.VisibleColumn}, {features}
              FROM {File(build)}
             WHERE {PointInTimeSql.VisibleColumn} > ? AND {PointInTimeSql.VisibleColumn} <= ?
            {ending}
            """,
            cancellationToken, after, upTo);

        var rows = new List<(long, string, byte[])>();
        var keys = new Dictionary<string, string>(StringComparer.Ordinal); // Each entity comes many times; one string will do.
        while (reader.NextChunk())
        {
            for (var row = 0; row < reader.RowCount; row++)
            {
                var value = new byte[OnlineValue.Size(view.Features.Count)];
                OnlineValue.WriteEventTime(value, FloorDivide(reader.Int64(1)[row], 1_000_000));
                for (var feature = 0; feature < view.Features.Count; feature++)
                {
                    OnlineValue.Write(value, feature, reader.IsNull(feature + 3, row) ? null : reader.Double(feature + 3)[row]);
                }

                var text = reader.String(0, row)!;
                keys.TryAdd(text, text);
                rows.Add((reader.Int64(2)[row], keys[text], value));
            }
        }

        return rows;
    }

    private string File(OfflineBuild build) => $"read_parquet({DuckDbLiteral.Quote(offline.PathOf(build))})";

    private (DateTimeOffset UpTo, string BuildSha256)? Watermark(string viewId) => values.Find(viewId, WatermarkKey) is { } bytes
        ? (new DateTimeOffset(BinaryPrimitives.ReadInt64LittleEndian(bytes), TimeSpan.Zero), Encoding.ASCII.GetString(bytes.AsSpan(8)))
        : null;

    private static byte[] EncodeWatermark(DateTimeOffset upTo, string buildSha256)
    {
        var bytes = new byte[8 + buildSha256.Length];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, upTo.UtcTicks);
        Encoding.ASCII.GetBytes(buildSha256, bytes.AsSpan(8));
        return bytes;
    }

    // Instants beyond the range of nanoseconds in 64 bits are before or after every value.
    private static long Nanoseconds(DateTimeOffset instant) =>
        (long)Int128.Clamp((instant.UtcTicks - DateTimeOffset.UnixEpoch.UtcTicks) * (Int128)100, long.MinValue, long.MaxValue);

    private static long FloorDivide(long value, long divisor) => Math.DivRem(value, divisor, out var rest) - (rest < 0 ? 1 : 0);

    /// <summary>Rows that become known next, in order of time.</summary>
    private sealed class Upcoming(string buildSha256, long end, List<(long Visible, string Key, byte[] Value)> rows)
    {
        public string BuildSha256 { get; } = buildSha256;

        /// <summary>Every row up to this instant is here.</summary>
        public long End { get; } = end;

        public List<(long Visible, string Key, byte[] Value)> Rows { get; } = rows;

        public int Next { get; set; }

        /// <summary>The watermark that the rows before <see cref="Next"/> have brought the online values to.</summary>
        public long At { get; set; }
    }
}
