using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Tracking.Search;
using Slipway.Tracking.Traces;

namespace Slipway.Tracking.EvaluationDatasets;

/// <summary>Owns evaluation datasets, their records, tags, and which experiments use them.</summary>
public sealed class EvaluationDatasetStore(Database database)
{
    /// <summary>Kind of an evaluation dataset in the audit trail.</summary>
    public const string NodeKind = "evaluation_dataset";

    private const int SearchResultsMax = 1000;
    private const int RecordsPageMax = 10_000;

    private static readonly FilterFields Fields = new(
        new Dictionary<string, FieldKind>
        {
            ["tags"] = FieldKind.Tag,
            ["tag"] = FieldKind.Tag,
            ["attributes"] = FieldKind.Attribute,
            ["attribute"] = FieldKind.Attribute,
            ["attr"] = FieldKind.Attribute,
            ["dataset"] = FieldKind.Attribute,
        },
        new Dictionary<string, string>
        {
            ["name"] = "name",
            ["created_by"] = "created_by",
            ["last_updated_by"] = "last_updated_by",
            ["created_time"] = "created_time",
            ["last_update_time"] = "last_update_time",
        },
        new HashSet<string> { "created_time", "last_update_time" });

    /// <summary>The dataset without its records.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public EvaluationDataset Get(string datasetId) => database.Read(connection => Load(connection, [Number(connection, datasetId)])[0]);

    /// <summary>One page of a search.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<EvaluationDataset> Search(EvaluationDatasetSearch search)
    {
        TraceLimits.CheckMaxResults(search.MaxResults, SearchResultsMax);
        var sql = new SqlParts(database.Dialect);
        if (search.ExperimentIds.Count > 0)
        {
            var ids = search.ExperimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct();
            sql.Conditions.Add(
                $"EXISTS (SELECT 1 FROM evaluation_dataset_experiments x WHERE x.dataset = d.id AND x.experiment_id {database.Dialect.InNumbers(sql.Parameter($"[{string.Join(',', ids)}]"))})");
        }

        TraceLimits.CheckText("'filter_string'", search.Filter);
        foreach (var clause in FilterParser.Parse(search.Filter, Fields))
        {
            sql.Conditions.Add(clause.Field.Kind is FieldKind.Tag
                ? $"EXISTS (SELECT 1 FROM evaluation_dataset_tags c WHERE c.dataset = d.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {FilterSql.Compare(sql, "c.value", clause)})"
                : FilterSql.Compare(sql, Column(clause.Field.Name), clause));
        }

        var keyset = Order(search.OrderBy);
        var fingerprint = $"evaluation datasets\n{string.Join(',', search.ExperimentIds)}\n{search.Filter}\n{string.Join('\n', search.OrderBy ?? [])}";
        if (!string.IsNullOrEmpty(search.PageToken))
        {
            keyset.After(PageToken.Decode(search.PageToken, fingerprint, keyset.Count), sql);
        }

        return database.Read(connection =>
        {
            var text = $"SELECT d.id AS id, {keyset.Columns} FROM evaluation_datasets d {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(search.MaxResults + 1)}";
            var (ids, next) = PageReader.Read(connection, text, sql, search.MaxResults, fingerprint);
            return new Page<EvaluationDataset>(Load(connection, ids), next);
        });
    }

    /// <summary>One page of the records, in the order in which they came.</summary>
    /// <param name="datasetId">The dataset.</param>
    /// <param name="maxResults">1 to 10,000.</param>
    /// <param name="pageToken">From the page before; null for the first.</param>
    /// <exception cref="SlipwayException">NotFound: the dataset; InvalidArgument: the token.</exception>
    public Page<EvaluationRecord> Records(string datasetId, int maxResults, string? pageToken)
    {
        TraceLimits.CheckMaxResults(maxResults, RecordsPageMax);
        var fingerprint = $"evaluation records\n{datasetId}";
        var after = string.IsNullOrEmpty(pageToken) ? 0 : (long)PageToken.Decode(pageToken, fingerprint, 1)[0]!;
        return database.Read(connection =>
        {
            var rows = connection.Query<RecordRow>(
                """
                SELECT id AS Id, record_id AS RecordId, inputs_json AS Inputs, outputs_json AS Outputs, expectations_json AS Expectations, tags_json AS Tags, source_json AS Source,
                       source_id AS SourceId, source_type AS SourceType, created_at_ms AS CreatedAtMs, updated_at_ms AS UpdatedAtMs, created_by AS CreatedBy, last_updated_by AS LastUpdatedBy
                  FROM evaluation_dataset_records WHERE dataset = @dataset AND id > @after ORDER BY id LIMIT @limit
                """,
                new { dataset = Number(connection, datasetId), after, limit = (long)maxResults + 1 }).AsList();
            var more = rows.Count > maxResults;
            return new Page<EvaluationRecord>(
                [.. rows.Take(maxResults).Select(row => row.ToRecord(datasetId))], more ? PageToken.Encode(fingerprint, [rows[maxResults - 1].Id]) : null);
        });
    }

    /// <summary>Makes a dataset.</summary>
    /// <exception cref="SlipwayException">NotFound: an experiment; InvalidArgument: the name or a tag.</exception>
    internal async Task<EvaluationDataset> CreateAsync(
        string name, IReadOnlyList<string> experimentIds, IReadOnlyDictionary<string, string> tags, string? schema, string? profile, string? createdBy, Caller by, CancellationToken cancellationToken)
    {
        var datasetId = "d-" + Guid.NewGuid().ToString("N");
        await database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var dataset = connection.ExecuteScalar<long>(
                """
                INSERT INTO evaluation_datasets (dataset_id, name, schema, profile, digest, created_at_ms, updated_at_ms, created_by, last_updated_by)
                VALUES (@datasetId, @name, @schema, @profile, @digest, @now, @now, @createdBy, @createdBy) RETURNING id
                """,
                new { datasetId, name, schema, profile, digest = Digest(name, transaction.NowMs), now = transaction.NowMs, createdBy });
            WriteTags(connection, dataset, tags);
            Join(connection, dataset, experimentIds);
            transaction.Audit(by, "evaluation_dataset.created", new NodeRef(NodeKind, datasetId), after: new { name, experiment_ids = experimentIds });
        }, cancellationToken);
        return Get(datasetId);
    }

    /// <summary>Deletes a dataset with its records. Deleting one that is not there changes nothing, as in MLflow.</summary>
    internal Task DeleteAsync(string datasetId, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            if (Find(connection, datasetId) is not { } dataset)
            {
                return;
            }

            var name = connection.ExecuteScalar<string>("SELECT name FROM evaluation_datasets WHERE id = @dataset", new { dataset });
            var records = connection.Execute("DELETE FROM evaluation_dataset_records WHERE dataset = @dataset", new { dataset });
            connection.Execute("DELETE FROM evaluation_dataset_tags WHERE dataset = @dataset", new { dataset });
            connection.Execute("DELETE FROM evaluation_dataset_experiments WHERE dataset = @dataset", new { dataset });
            connection.Execute("DELETE FROM evaluation_datasets WHERE id = @dataset", new { dataset });
            transaction.Audit(by, "evaluation_dataset.deleted", new NodeRef(NodeKind, datasetId), before: new { name, records });
        }, cancellationToken);

    /// <summary>Sets tags; a null takes one away.</summary>
    internal async Task<EvaluationDataset> SetTagsAsync(string datasetId, IReadOnlyDictionary<string, string?> tags, Caller by, CancellationToken cancellationToken)
    {
        await database.WriteAsync(transaction =>
        {
            var dataset = Number(transaction.Connection, datasetId);
            foreach (var key in tags.Where(tag => tag.Value is null).Select(tag => tag.Key))
            {
                transaction.Connection.Execute("DELETE FROM evaluation_dataset_tags WHERE dataset = @dataset AND key = @key", new { dataset, key });
            }

            WriteTags(transaction.Connection, dataset, tags.Where(tag => tag.Value is not null).ToDictionary(tag => tag.Key, tag => tag.Value!, StringComparer.Ordinal));
            Touch(transaction, dataset, null);
            transaction.Audit(by, "evaluation_dataset.tags_set", new NodeRef(NodeKind, datasetId), after: tags);
        }, cancellationToken);
        return Get(datasetId);
    }

    /// <summary>Removes one tag; removing one that is not there changes nothing, as in MLflow.</summary>
    internal Task DeleteTagAsync(string datasetId, string key, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var before = transaction.Connection.ExecuteScalar<string>(
                "DELETE FROM evaluation_dataset_tags WHERE dataset = @dataset AND key = @key RETURNING value", new { dataset = Number(transaction.Connection, datasetId), key });
            if (before is not null)
            {
                transaction.Audit(by, "evaluation_dataset.tag_deleted", new NodeRef(NodeKind, datasetId), before: new { key, value = before });
            }
        }, cancellationToken);

    /// <summary>Adds the dataset to experiments, or takes it away from them; doing it again changes nothing.</summary>
    internal async Task<EvaluationDataset> SetExperimentsAsync(string datasetId, IReadOnlyList<string> experimentIds, bool uses, Caller by, CancellationToken cancellationToken)
    {
        await database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var dataset = Number(connection, datasetId);
            if (uses)
            {
                Join(connection, dataset, experimentIds);
            }
            else
            {
                var ids = experimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1);
                connection.Execute(
                    $"DELETE FROM evaluation_dataset_experiments WHERE dataset = @dataset AND experiment_id {database.Dialect.InNumbers("@ids")}",
                    new { dataset, ids = $"[{string.Join(',', ids)}]" });
            }

            transaction.Audit(by, uses ? "evaluation_dataset.experiments_added" : "evaluation_dataset.experiments_removed", new NodeRef(NodeKind, datasetId), after: new { experiment_ids = experimentIds });
        }, cancellationToken);
        return Get(datasetId);
    }

    /// <summary>Adds records. One whose inputs are there already changes that one: expectations and tags are merged into it, outputs replaced.</summary>
    internal Task<(int Inserted, int Updated)> UpsertAsync(string datasetId, IReadOnlyList<GivenRecord> records, string? updatedBy, Caller by, CancellationToken cancellationToken)
    {
        var digests = records.Select(record => RecordReader.Digest(record.Inputs)).ToList();
        return database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            var dataset = Number(connection, datasetId);
            var (inserted, updated) = (0, 0);
            for (var i = 0; i < records.Count; i++)
            {
                if (Upsert(transaction, dataset, records[i], digests[i], updatedBy))
                {
                    inserted++;
                }
                else
                {
                    updated++;
                }
            }

            if (records.Count > 0)
            {
                Touch(transaction, dataset, updatedBy ?? records[^1].By);
                Describe(connection, dataset, records, inserted);
                transaction.Audit(by, "evaluation_dataset.records_changed", new NodeRef(NodeKind, datasetId), after: new { inserted, updated });
            }

            return (inserted, updated);
        }, cancellationToken);
    }

    private static bool Upsert(WriteTransaction transaction, long dataset, GivenRecord given, string digest, string? updatedBy)
    {
        var connection = transaction.Connection;
        var by = given.By ?? updatedBy;
        var old = connection.QueryFirstOrDefault<RecordRow>(
            "SELECT id AS Id, expectations_json AS Expectations, tags_json AS Tags FROM evaluation_dataset_records WHERE dataset = @dataset AND inputs_sha256 = @digest",
            new { dataset, digest });
        if (old is not null)
        {
            connection.Execute(
                """
                UPDATE evaluation_dataset_records SET expectations_json = @expectations, tags_json = @tags, outputs_json = COALESCE(@outputs, outputs_json),
                       updated_at_ms = @now, last_updated_by = COALESCE(@by, last_updated_by) WHERE id = @Id
                """,
                new
                {
                    old.Id,
                    expectations = Merged(old.Expectations, given.Expectations),
                    tags = Merged(old.Tags, given.Tags),
                    outputs = given.Outputs is null ? null : RecordReader.Text(given.Outputs),
                    now = transaction.NowMs,
                    by,
                });
            return false;
        }

        connection.Execute(
            """
            INSERT INTO evaluation_dataset_records (record_id, dataset, inputs_sha256, inputs_json, outputs_json, expectations_json, tags_json, source_json, source_id, source_type,
                   created_at_ms, updated_at_ms, created_by, last_updated_by)
            VALUES (@record, @dataset, @digest, @inputs, @outputs, @expectations, @tags, @source, @SourceId, @SourceType, @now, @now, @by, @by)
            """,
            new
            {
                record = "dr-" + Guid.NewGuid().ToString("N"),
                dataset,
                digest,
                inputs = RecordReader.Text(given.Inputs),
                outputs = given.Outputs is null ? null : RecordReader.Text(given.Outputs),
                expectations = given.Expectations is null ? null : RecordReader.Text(given.Expectations),
                tags = given.Tags is null ? null : RecordReader.Text(given.Tags),
                source = given.Source is null ? null : RecordReader.Text(given.Source),
                given.SourceId,
                given.SourceType,
                now = transaction.NowMs,
                by,
            });
        return true;
    }

    private static string? Merged(string? old, JsonObject? added)
    {
        if (added is null)
        {
            return old;
        }

        var merged = old is null ? new JsonObject() : (JsonObject)JsonNode.Parse(old)!;
        foreach (var (key, value) in added)
        {
            merged[key] = value?.DeepClone();
        }

        return RecordReader.Text(merged);
    }

    // The schema grows by what the new records hold; it is not read from all of them each time.
    private static void Describe(DbConnection connection, long dataset, IReadOnlyList<GivenRecord> records, int inserted)
    {
        var (schema, profile) = connection.QuerySingle<(string? Schema, string? Profile)>("SELECT schema, profile FROM evaluation_datasets WHERE id = @dataset", new { dataset });
        var types = schema is not null && RecordReader.Parse(schema, "schema") is JsonObject known ? known : [];
        foreach (var record in records)
        {
            foreach (var (part, fields) in (ReadOnlySpan<(string, JsonObject?)>)[("inputs", record.Inputs), ("expectations", record.Expectations), ("outputs", record.Outputs as JsonObject)])
            {
                if (types[part] is not JsonObject ofPart)
                {
                    types[part] = ofPart = [];
                }

                foreach (var (name, value) in fields ?? [])
                {
                    ofPart.TryAdd(name, RecordReader.TypeName(value));
                }
            }
        }

        var count = connection.ExecuteScalar<long>("SELECT count(*) FROM evaluation_dataset_records WHERE dataset = @dataset", new { dataset });
        var described = profile is not null && RecordReader.Parse(profile, "profile") is JsonObject before ? before : [];
        described["num_records"] = count;
        connection.Execute(
            "UPDATE evaluation_datasets SET schema = @schema, profile = @profile WHERE id = @dataset",
            new { dataset, schema = RecordReader.Text(types), profile = RecordReader.Text(described) });
    }

    private static void Touch(WriteTransaction transaction, long dataset, string? by)
    {
        var name = transaction.Connection.ExecuteScalar<string>("SELECT name FROM evaluation_datasets WHERE id = @dataset", new { dataset })!;
        transaction.Connection.Execute(
            "UPDATE evaluation_datasets SET updated_at_ms = @now, digest = @digest, last_updated_by = COALESCE(@by, last_updated_by) WHERE id = @dataset",
            new { dataset, now = transaction.NowMs, digest = Digest(name, transaction.NowMs), by });
    }

    // Eight hex digits over name and time of the last change, as MLflow makes it.
    private static string Digest(string name, long updatedAtMs) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{name}:{ExperimentStore.Text(updatedAtMs)}")).AsSpan(0, 4));

    private static Keyset Order(IReadOnlyList<string>? orderBy)
    {
        var keyset = new Keyset();
        foreach (var term in (orderBy ?? []).Select(term => FilterParser.ParseOrder(term, Fields)))
        {
            if (term.Field.Kind is not FieldKind.Attribute)
            {
                throw RunLimits.Invalid("Invalid order_by: evaluation datasets are ordered by name, created_time, last_update_time, created_by or last_updated_by.");
            }

            if (term.Field.Name is "created_by" or "last_updated_by")
            {
                FilterSql.AddNullsLast(keyset, Column(term.Field.Name), term.Descending);
            }
            else
            {
                keyset.Add(Column(term.Field.Name), term.Descending);
            }
        }

        if (keyset.Count == 0)
        {
            keyset.Add("d.created_at_ms", true);
        }

        keyset.Add("d.dataset_id", false);
        return keyset;
    }

    private static string Column(string attribute) => attribute switch
    {
        "created_time" => "d.created_at_ms",
        "last_update_time" => "d.updated_at_ms",
        _ => "d." + attribute,
    };

    private static void WriteTags(DbConnection connection, long dataset, IReadOnlyDictionary<string, string> tags)
    {
        foreach (var (key, value) in tags)
        {
            connection.Execute(
                "INSERT INTO evaluation_dataset_tags (dataset, key, value) VALUES (@dataset, @key, @value) ON CONFLICT (dataset, key) DO UPDATE SET value = excluded.value",
                new { dataset, key, value });
        }
    }

    private static void Join(DbConnection connection, long dataset, IReadOnlyList<string> experimentIds)
    {
        foreach (var id in experimentIds)
        {
            if (!ExperimentStore.TryId(id, out var experiment)
                || connection.Execute(
                    """
                    INSERT INTO evaluation_dataset_experiments (dataset, experiment_id) SELECT @dataset, id FROM experiments WHERE id = @experiment
                    ON CONFLICT (dataset, experiment_id) DO UPDATE SET experiment_id = excluded.experiment_id
                    """,
                    new { dataset, experiment }) == 0)
            {
                throw ExperimentStore.NoExperiment(id);
            }
        }
    }

    private static long? Find(DbConnection connection, string datasetId) =>
        connection.QueryFirstOrDefault<long?>("SELECT id FROM evaluation_datasets WHERE dataset_id = @datasetId", new { datasetId });

    private static long Number(DbConnection connection, string datasetId) =>
        Find(connection, datasetId) ?? throw new SlipwayException(ErrorCode.NotFound, $"Evaluation dataset with ID '{datasetId}' not found.");

    // The order of the ids is kept.
    private List<EvaluationDataset> Load(DbConnection connection, List<long> datasets)
    {
        var ids = new { ids = $"[{string.Join(',', datasets)}]" };
        var chosen = database.Dialect.InNumbers("@ids");
        var rows = connection.Query<DatasetRow>(
            $"""
            SELECT id AS Id, dataset_id AS DatasetId, name AS Name, schema AS Schema, profile AS Profile, digest AS Digest, created_at_ms AS CreatedAtMs, updated_at_ms AS UpdatedAtMs,
                   created_by AS CreatedBy, last_updated_by AS LastUpdatedBy
              FROM evaluation_datasets WHERE id {chosen}
            """,
            ids).ToDictionary(row => row.Id);
        var tags = connection.Query<(long Dataset, string Key, string Value)>(
            $"SELECT dataset, key, value FROM evaluation_dataset_tags WHERE dataset {chosen} ORDER BY dataset, key", ids).ToLookup(row => row.Dataset);
        var experiments = connection.Query<(long Dataset, long Experiment)>(
            $"SELECT dataset, experiment_id FROM evaluation_dataset_experiments WHERE dataset {chosen} ORDER BY dataset, experiment_id", ids).ToLookup(row => row.Dataset);
        return datasets.ConvertAll(id =>
        {
            var row = rows[id];
            return new EvaluationDataset(
                row.DatasetId, row.Name, tags[id].ToDictionary(tag => tag.Key, tag => tag.Value, StringComparer.Ordinal), row.Schema, row.Profile, row.Digest, row.CreatedAtMs,
                row.UpdatedAtMs, row.CreatedBy, row.LastUpdatedBy, [.. experiments[id].Select(pair => ExperimentStore.Text(pair.Experiment))]);
        });
    }

    private sealed class DatasetRow
    {
        public long Id { get; init; }

        public string DatasetId { get; init; } = "";

        public string Name { get; init; } = "";

        public string? Schema { get; init; }

        public string? Profile { get; init; }

        public string Digest { get; init; } = "";

        public long CreatedAtMs { get; init; }

        public long UpdatedAtMs { get; init; }

        public string? CreatedBy { get; init; }

        public string? LastUpdatedBy { get; init; }
    }

    private sealed class RecordRow
    {
        public long Id { get; init; }

        public string RecordId { get; init; } = "";

        public string Inputs { get; init; } = "";

        public string? Outputs { get; init; }

        public string? Expectations { get; init; }

        public string? Tags { get; init; }

        public string? Source { get; init; }

        public string? SourceId { get; init; }

        public string? SourceType { get; init; }

        public long CreatedAtMs { get; init; }

        public long UpdatedAtMs { get; init; }

        public string? CreatedBy { get; init; }

        public string? LastUpdatedBy { get; init; }

        public EvaluationRecord ToRecord(string datasetId) => new(
            RecordId, datasetId, JsonSerializer.Deserialize<JsonElement>(Inputs), Json(Outputs), Json(Expectations), Json(Tags), Json(Source), SourceId, SourceType, CreatedAtMs,
            UpdatedAtMs, CreatedBy, LastUpdatedBy);

        private static JsonElement? Json(string? text) => text is null ? null : JsonSerializer.Deserialize<JsonElement>(text);
    }
}
