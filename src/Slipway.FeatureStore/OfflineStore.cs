using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.FeatureStore.Expressions;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.FeatureStore;

/// <summary>The values of one view version over one dataset version: a Parquet blob.</summary>
/// <param name="View"><c>name@version</c>.</param>
/// <param name="Dataset"><c>name@version</c>.</param>
/// <param name="Sha256">Of the file.</param>
/// <param name="Rows">In the file.</param>
/// <param name="TiedRows">Rows that stand for several equally good ones, of which the last was taken. More than 0 points to doubled rows.</param>
/// <param name="BuiltAtMs">Unix milliseconds.</param>
public sealed record OfflineBuild(string View, string Dataset, string Sha256, long Rows, long TiedRows, long BuiltAtMs);

/// <summary>Asks for a training set.</summary>
/// <param name="EntitySql">SELECT … FROM source: the service's inputs, the event timestamp, the label and other columns. Its order is kept.</param>
/// <param name="Source">What <c>source</c> is; the views are built from the newest version of their own dataset, or from this one when it is theirs.</param>
/// <param name="EventTimestampColumn">The column that says when each row's features are wanted.</param>
/// <param name="Service">Which features.</param>
/// <param name="KeepColumns">The entity columns that the result keeps.</param>
public sealed record HistoricalRequest(
    string EntitySql, DatasetVersionRecord Source, string EventTimestampColumn, FeatureServiceRecord Service, IReadOnlyList<string> KeepColumns);

/// <summary>A point-in-time correct training set: a Parquet blob with the kept columns, then one column per feature named by its reference.</summary>
/// <param name="Sha256">Of the file.</param>
/// <param name="Path">The file.</param>
/// <param name="Rows">As many as the entity rows, in their order.</param>
/// <param name="FeatureNames">References in the service's order.</param>
/// <param name="FeatureViewVersions"><c>name@version</c> of each view behind it.</param>
public sealed record TrainingSet(string Sha256, string Path, long Rows, IReadOnlyList<string> FeatureNames, IReadOnlyList<string> FeatureViewVersions)
{
    /// <summary>Per view with doubled rows: entity rows whose value was decided by file order alone.</summary>
    public IReadOnlyDictionary<string, long> TiedRows { get; init; } = new Dictionary<string, long>();

    /// <summary>Its place in lineage.</summary>
    public NodeRef Node => new(NodeKinds.TrainingSet, Sha256);
}

/// <summary>Owns <c>feature_builds</c> and <c>training_sets</c>: feature values over time as Parquet, and point-in-time retrieval from them.</summary>
public sealed class OfflineStore(
    Database database, BlobStore blobs, StorageOptions options, DuckDbDatabase duckDb, DatasetStore datasets, FeatureRegistry registry)
    : IDisposable
{
    // Ordered by time and cut small, so that a refresh reads the newest part of the file only.
    private const string FileFormat = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)";

    private const string BuildColumns =
        "view || '@' || view_version AS View, dataset || '@' || dataset_version AS Dataset, sha256 AS Sha256, rows AS Rows, tied_rows AS TiedRows, built_at_ms AS BuiltAtMs";

    private readonly SemaphoreSlim _building = new(1, 1);

    /// <summary>Computes a view over a dataset version, or finds that it was computed before.</summary>
    /// <param name="view"><c>name</c> for the newest version, or <c>name@version</c>.</param>
    /// <param name="source">A version of the view's dataset.</param>
    /// <param name="by">Who asks.</param>
    /// <param name="cancellationToken">Interrupts the query.</param>
    /// <exception cref="SlipwayException">NotFound: no such view; InvalidArgument: the view is on-demand, of another dataset, or its SQL does not fit the data.</exception>
    public async Task<OfflineBuild> BuildAsync(string view, DatasetVersionRecord source, Caller by, CancellationToken cancellationToken)
    {
        var record = registry.RequireView(view);
        if (record.Definition.OnDemand)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The feature view '{record.Name}' is computed on demand from the request; there is nothing to build.");
        }

        if (record.Definition.Source != source.Name)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The feature view '{record.Name}' is made from the dataset '{record.Definition.Source}', not from '{source.Name}'.");
        }

        await _building.WaitAsync(cancellationToken); // One at a time: the builds share one memory limit.
        try
        {
            return FindBuild(record, source.Sha256) ?? await BuildAsync(record, source, by, cancellationToken);
        }
        finally
        {
            _building.Release();
        }
    }

    /// <summary>The newest build of a view version; null when there is none.</summary>
    public OfflineBuild? FindBuild(FeatureViewRecord view) => database.Read(connection => connection.QueryFirstOrDefault<OfflineBuild>(
        $"SELECT {BuildColumns} FROM feature_builds WHERE view = @Name AND view_version = @Version ORDER BY dataset_version DESC LIMIT 1", new { view.Name, view.Version }));

    /// <summary>The file of a build: keys, <c>event_timestamp</c>, features, ordered by time.</summary>
    public string PathOf(OfflineBuild build) => blobs.PathOf(build.Sha256);

    /// <summary>
    /// Retrieves, for each entity row, the feature values that were known at its event time (rules R1 to R9 of the feature store's
    /// reference), and stores the result.
    /// </summary>
    /// <exception cref="SlipwayException">InvalidArgument: the entity SQL lacks a column that the service needs, or has it in another type.</exception>
    public async Task<TrainingSet> GetHistoricalAsync(HistoricalRequest request, Caller by, CancellationToken cancellationToken)
    {
        var service = request.Service;
        var builds = new List<(FeatureViewRecord View, OfflineBuild Build)>();
        foreach (var view in service.Views.Where(view => !view.Definition.OnDemand))
        {
            var source = view.Definition.Source == request.Source.Name ? request.Source : datasets.Require(view.Definition.Source!);
            builds.Add((view, await BuildAsync(view.Id, source, by, cancellationToken)));
        }

        string Parquet(OfflineBuild build) => $"read_parquet({DuckDbLiteral.Quote(PathOf(build))})";
        using var connection = duckDb.Connect();
        OpenSource(connection, request.Source);
        var entity = new EntityRows(connection, request, cancellationToken);
        var views = builds.Select(pair => new PointInTimeView(
            Parquet(pair.Build), entity.Keys(pair.View.Definition, Parquet(pair.Build)), pair.View.Definition.Ttl,
            [.. service.Features.Where(feature => feature.View.Id == pair.View.Id).Select(feature => (feature.Feature.Name, feature.Ref))])).ToList();

        var sql = PointInTimeSql.Retrieve(entity.Relation, entity.Nanoseconds, views, request.KeepColumns, entity.OnDemandColumns(), service.FeatureNames);
        var (path, rows) = Write(connection, sql, "training-set", "(FORMAT parquet, COMPRESSION snappy)", cancellationToken);
        var ties = CountTies(connection, entity, builds, views, cancellationToken);
        var blob = await blobs.PutFileAsync(path, cancellationToken);
        var set = new TrainingSet(blob.Sha256, blobs.PathOf(blob.Sha256), rows, service.FeatureNames, [.. service.Views.Select(view => view.Id)]) { TiedRows = ties };
        await database.WriteAsync(transaction => Record(transaction, by, request, set), cancellationToken);
        return set;
    }

    /// <summary>Every blob that a build or a training set rests on.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string Kind, string Id, string Part, string Sha256)>(
            $"""
            SELECT '{NodeKinds.FeatureView}', view || '@' || view_version, 'values over ' || dataset || '@' || dataset_version, sha256 FROM feature_builds
            UNION ALL
            SELECT '{NodeKinds.TrainingSet}', sha256, 'rows', sha256 FROM training_sets
            """)
        .Select(row => new BlobReference(new NodeRef(row.Kind, row.Id), row.Part, row.Sha256)).ToList());

    /// <inheritdoc/>
    public void Dispose() => _building.Dispose();

    private static void Record(WriteTransaction transaction, Caller by, HistoricalRequest request, TrainingSet set)
    {
        var added = transaction.Connection.Execute(
            """
            INSERT INTO training_sets (sha256, service, service_version, dataset, dataset_version, entity_sql, rows, features_json, views_json, ties_json, created_at_ms)
            VALUES (@Sha256, @service, @serviceVersion, @dataset, @datasetVersion, @EntitySql, @Rows, @features, @views, @ties, @now)
            ON CONFLICT (sha256) DO NOTHING
            """,
            new
            {
                set.Sha256,
                set.Rows,
                request.EntitySql,
                service = request.Service.Name,
                serviceVersion = request.Service.Version,
                dataset = request.Source.Name,
                datasetVersion = request.Source.Version,
                features = JsonSerializer.Serialize(set.FeatureNames),
                views = JsonSerializer.Serialize(set.FeatureViewVersions),
                ties = JsonSerializer.Serialize(set.TiedRows),
                now = transaction.NowMs,
            });
        if (added > 0)
        {
            transaction.Audit(by, "training_set.retrieved", set.Node, null, null, new { set.Rows, service = $"{request.Service.Name}@{request.Service.Version}", dataset = request.Source.Node.Id });
        }

        transaction.Link(request.Source.Node, "drawn_from", set.Node);
        transaction.Link(request.Service.Node, "selected_by", set.Node);
        foreach (var view in request.Service.Views)
        {
            transaction.Link(view.Node, "defined_by", set.Node);
        }
    }

    private async Task<OfflineBuild> BuildAsync(FeatureViewRecord view, DatasetVersionRecord source, Caller by, CancellationToken cancellationToken)
    {
        var definition = view.Definition;
        string path;
        long rows;
        long tied;
        using (var connection = duckDb.Connect())
        {
            OpenSource(connection, source);
            var columns = FeatureViewSql.Describe(connection, definition, cancellationToken);
            string Instant(string name) => PointInTimeSql.Nanoseconds(name, columns.First(column => column.Name.Equals(name, StringComparison.OrdinalIgnoreCase)).Type);
            var normal = PointInTimeSql.Normalize(
                $"(\n{FeatureViewSql.TrimEnd(definition.Sql!)}\n)", definition.Keys, Instant(definition.Timestamp),
                definition.Created is null ? null : Instant(definition.Created), definition.FilterByCreated,
                [definition.Timestamp, .. definition.Features.Select(feature => feature.Name)]);
            var byKey = string.Concat(definition.Keys.Select(key => $", {DuckDbIdentifier.Quote(key)}"));
            (path, rows) = Write(connection, $"{normal}\nORDER BY {PointInTimeSql.VisibleColumn}{byKey}", "features", FileFormat, cancellationToken);
            tied = connection.QueryScalar<long>($"SELECT count(*) FROM read_parquet({DuckDbLiteral.Quote(path)}) WHERE {PointInTimeSql.TiesColumn} > 1", cancellationToken);
        }

        var blob = await blobs.PutFileAsync(path, cancellationToken);
        return await database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute(
                """
                INSERT INTO feature_builds (view, view_version, dataset, dataset_version, dataset_sha256, sha256, rows, tied_rows, built_at_ms)
                VALUES (@view, @viewVersion, @dataset, @datasetVersion, @datasetSha256, @sha256, @rows, @tied, @now)
                ON CONFLICT (view, view_version, dataset_sha256) DO UPDATE
                   SET dataset_version = excluded.dataset_version, sha256 = excluded.sha256, rows = excluded.rows, tied_rows = excluded.tied_rows, built_at_ms = excluded.built_at_ms
                """,
                new
                {
                    view = view.Name,
                    viewVersion = view.Version,
                    dataset = source.Name,
                    datasetVersion = source.Version,
                    datasetSha256 = source.Sha256,
                    sha256 = blob.Sha256,
                    rows,
                    tied,
                    now = transaction.NowMs,
                });
            transaction.Audit(by, "feature_view.built", view.Node, null, null, new { dataset = source.Node.Id, blob.Sha256, rows, tied });
            transaction.Link(source.Node, "built_from", view.Node);
            return new OfflineBuild(view.Id, source.Node.Id, blob.Sha256, rows, tied, transaction.NowMs);
        }, cancellationToken);
    }

    private OfflineBuild? FindBuild(FeatureViewRecord view, string datasetSha256)
    {
        var build = database.Read(connection => connection.QueryFirstOrDefault<OfflineBuild>(
            $"SELECT {BuildColumns} FROM feature_builds WHERE view = @Name AND view_version = @Version AND dataset_sha256 = @datasetSha256",
            new { view.Name, view.Version, datasetSha256 }));
        return build is not null && blobs.Exists(build.Sha256) ? build : null;
    }

    private void OpenSource(DuckDbConnection connection, DatasetVersionRecord source) =>
        connection.Execute($"CREATE TEMP VIEW source AS SELECT * FROM read_parquet({DuckDbLiteral.Quote(datasets.ParquetPath(source))})");

    private (string Path, long Rows) Write(DuckDbConnection connection, string sql, string name, string format, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(options.TemporaryDirectory);
        var path = Path.Combine(options.TemporaryDirectory, $"{name}-{Guid.NewGuid():N}.parquet");
        try
        {
            return (path, connection.Execute($"COPY (\n{sql}\n) TO {DuckDbLiteral.Quote(path)} {format}", cancellationToken));
        }
        catch (DuckDbException e)
        {
            File.Delete(path);
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The features cannot be computed from these data: {e.Message.Split('\n', 2)[0]}", e);
        }
    }

    // Only views with doubled rows need a second pass.
    private static Dictionary<string, long> CountTies(
        DuckDbConnection connection, EntityRows entity, List<(FeatureViewRecord View, OfflineBuild Build)> builds, List<PointInTimeView> views, CancellationToken cancellationToken)
    {
        var ties = new Dictionary<string, long>(StringComparer.Ordinal);
        for (var i = 0; i < builds.Count; i++)
        {
            if (builds[i].Build.TiedRows > 0)
            {
                var sql = PointInTimeSql.Retrieve(entity.Relation, entity.Nanoseconds, [views[i] with { Features = [] }], [], [], withTies: true);
                ties[builds[i].View.Id] = connection.QueryScalar<long>($"SELECT count(*) FROM ({sql}) WHERE __ties_0 > 1", cancellationToken);
            }
        }

        return ties;
    }

    /// <summary>The entity SQL of a request, checked against what its service needs.</summary>
    private sealed class EntityRows
    {
        private readonly DuckDbConnection _connection;
        private readonly HistoricalRequest _request;
        private readonly IReadOnlyList<DuckDbColumn> _columns;

        public EntityRows(DuckDbConnection connection, HistoricalRequest request, CancellationToken cancellationToken)
        {
            _connection = connection;
            _request = request;
            _columns = FeatureViewSql.Describe(connection, request.EntitySql, "The entity SQL", cancellationToken);
            Relation = $"(\n{FeatureViewSql.TrimEnd(request.EntitySql)}\n)";
            foreach (var column in request.KeepColumns)
            {
                Find(column, "is asked for in the result");
            }

            var timestamp = Find(request.EventTimestampColumn, "is named as the event timestamp");
            if (!ColumnTypes.IsTime(ColumnTypes.NameOf(timestamp)))
            {
                throw Invalid($"yields '{timestamp.Name}' as {timestamp.TypeName}, but the event timestamp must be a timestamp");
            }

            Nanoseconds = PointInTimeSql.Nanoseconds(timestamp.Name, timestamp.Type);
        }

        public string Relation { get; }

        public string Nanoseconds { get; }

        /// <summary>Pairs a view's keys with entity columns of the same type: a cast in the join would make "007" equal to 7.</summary>
        public List<(string Feature, string Entity)> Keys(FeatureViewDefinition view, string file)
        {
            using var reader = _connection.Query($"SELECT * FROM {file} LIMIT 0");
            var keys = new List<(string Feature, string Entity)>();
            foreach (var (key, input) in view.Keys.Zip(_request.Service.InputsOfKeys(view)))
            {
                var column = Find(input, $"is the key '{key}' of the feature view '{view.Name}'");
                var (given, needed) = (ColumnTypes.NameOf(column), ColumnTypes.NameOf(reader.Columns[reader.Ordinal(key)]));
                if (given != needed && !(given is "int32" or "int64" && needed is "int32" or "int64"))
                {
                    throw Invalid($"yields '{input}' as {given}, but the key '{key}' of the feature view '{view.Name}' is {needed}; cast it in the SQL");
                }

                keys.Add((key, input));
            }

            return keys;
        }

        /// <summary>The on-demand features as SQL over the entity row.</summary>
        public List<(string Sql, string Output)> OnDemandColumns()
        {
            var inputs = _request.Service.Inputs;
            var columns = inputs.Select(input => $"entity.{DuckDbIdentifier.Quote(input.Name)}").ToList();
            var features = _request.Service.Features.Where(feature => feature.View.Definition.OnDemand).ToList();
            foreach (var input in features.SelectMany(feature => feature.View.Definition.Inputs))
            {
                CheckType(input.Name, input.Type);
            }

            return [.. features.Select(feature => (ExpressionParser.ParseFeature(feature.Feature.Expression!, inputs).ToSql(columns), feature.Ref))];
        }

        private void CheckType(string input, string type)
        {
            var column = Find(input, "is an input of the feature service");
            var actual = ColumnTypes.NameOf(column);
            var fits = actual == type || (ColumnTypes.IsNumber(type) && (ColumnTypes.IsNumber(actual) || column.Type == DuckDbType.Decimal)) || (type == "timestamp" && actual == "date");
            if (!fits)
            {
                throw Invalid($"yields '{input}' as {column.TypeName}, but the feature service takes {type}; cast it in the SQL");
            }
        }

        private DuckDbColumn Find(string name, string why) =>
            _columns.FirstOrDefault(column => column.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            ?? throw Invalid($"yields no column '{name}', which {why}; it yields {string.Join(", ", _columns.Select(column => column.Name))}");

        private static SlipwayException Invalid(string fault) => new(ErrorCode.InvalidArgument, $"The entity SQL {fault}.");
    }
}
