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
        var entries = ReadNewest(view.Definition, build, incremental ? last!.Value.UpTo : null, upTo, cancellationToken);
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

    private List<KeyValuePair<string, byte[]>> ReadNewest(
        FeatureViewDefinition view, OfflineBuild build, DateTimeOffset? after, DateTimeOffset upTo, CancellationToken cancellationToken)
    {
        var features = string.Join(", ", view.Features.Select(feature => $"CAST({DuckDbIdentifier.Quote(feature.Name)} AS DOUBLE)"));
        var key = view.Keys.Count == 0 ? "''" : string.Join(" || chr(31) || ", view.Keys.Select(name => $"CAST({DuckDbIdentifier.Quote(name)} AS VARCHAR)"));
        using var connection = duckDb.Connect();
        using var reader = connection.Query(
            $"""
            SELECT {key} AS key, {PointInTimeSql.EventColumn}, {features}
              FROM read_parquet({DuckDbLiteral.Quote(offline.PathOf(build))})
             WHERE {PointInTimeSql.VisibleColumn} > ? AND {PointInTimeSql.VisibleColumn} <= ?
            QUALIFY row_number() OVER (PARTITION BY key ORDER BY {PointInTimeSql.VisibleColumn} DESC) = 1
            """,
            cancellationToken, after is { } instant ? Nanoseconds(instant) : long.MinValue, Nanoseconds(upTo));

        var entries = new List<KeyValuePair<string, byte[]>>();
        while (reader.NextChunk())
        {
            var events = reader.Int64(1);
            for (var row = 0; row < reader.RowCount; row++)
            {
                var value = new byte[OnlineValue.Size(view.Features.Count)];
                OnlineValue.WriteEventTime(value, FloorDivide(events[row], 1_000_000));
                for (var feature = 0; feature < view.Features.Count; feature++)
                {
                    OnlineValue.Write(value, feature, reader.IsNull(feature + 2, row) ? null : reader.Double(feature + 2)[row]);
                }

                entries.Add(new(reader.String(0, row)!, value));
            }
        }

        return entries;
    }

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
}
