using System.Buffers;
using System.Data.Common;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Search;

namespace Slipway.Tracking;

/// <summary>Owns logged models and all that hangs on them: parameters, tags, metrics, and which runs used or made them.</summary>
public sealed class LoggedModelStore(Database database)
{
    /// <summary>Kind of a logged model in the audit trail.</summary>
    public const string NodeKind = "logged_model";

    internal const string StatusPrefix = "LOGGED_MODEL_";

    // A text column of MLflow's databases.
    private const int ValueMax = 65_535;
    private const int NameMax = 500;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");
    private static readonly SearchValues<char> NotInNames = SearchValues.Create("/:.%\"'");

    /// <summary>Whether the text has the form of a logged model's id.</summary>
    public static bool IsModelId(string? text) => text is ['m', '-', ..] && text.Length == 34 && !text.AsSpan(2).ContainsAnyExcept(HexDigits);

    /// <summary>Makes a model whose files are still to come.</summary>
    /// <param name="experimentId">A living experiment.</param>
    /// <param name="name">Null for one made from the id.</param>
    /// <param name="modelType">Free text; null when not said.</param>
    /// <param name="sourceRunId">The run that makes it; null when not said.</param>
    /// <param name="parameters">Never changed later.</param>
    /// <param name="tags">First tags.</param>
    /// <param name="by">Who makes it.</param>
    /// <param name="cancellationToken">Cancels while the write waits.</param>
    /// <exception cref="SlipwayException">NotFound: the experiment; InvalidArgument: it is deleted, or a name is wrong.</exception>
    public async Task<LoggedModelRecord> CreateAsync(
        string experimentId, string? name, string? modelType, string? sourceRunId, IReadOnlyList<KeyValuePair<string, string>> parameters,
        IReadOnlyList<KeyValuePair<string, string>> tags, Caller by, CancellationToken cancellationToken)
    {
        CheckPairs("param", parameters);
        CheckPairs("tag", tags);
        CheckName(name);
        RunLimits.CheckLength("The logged model's 'model_type'", modelType, NameMax);
        RunLimits.CheckLength("The logged model's 'source_run_id'", sourceRunId, 256);
        var modelId = $"m-{Guid.NewGuid():N}";
        await database.WriteAsync(transaction =>
        {
            var experiment = ExperimentStore.DemandActive(transaction.Connection, experimentId);
            var given = string.IsNullOrEmpty(name) ? $"model-{modelId[2..10]}" : name;
            var model = transaction.Connection.ExecuteScalar<long>(
                """
                INSERT INTO logged_models (model_id, experiment_id, name, status, model_type, source_run_id, lifecycle_stage, created_at_ms, updated_at_ms)
                VALUES (@modelId, @experiment, @given, 'PENDING', @modelType, @sourceRunId, 'active', @now, @now) RETURNING id
                """,
                new { modelId, experiment, given, modelType = OrNull(modelType), sourceRunId = OrNull(sourceRunId), now = transaction.NowMs });
            WriteParameters(transaction.Connection, model, modelId, parameters);
            WriteTags(transaction.Connection, model, tags);
            if (sourceRunId is { Length: > 0 })
            {
                transaction.Link(RunStore.Node(sourceRunId), "logged_by", Node(modelId));
            }

            transaction.Audit(by, "logged_model.created", Node(modelId), after: new { experiment_id = experimentId, name = given, source_run_id = OrNull(sourceRunId) });
        }, cancellationToken);
        return Get(modelId);
    }

    /// <summary>The model.</summary>
    /// <exception cref="SlipwayException">NotFound: no such model, or it is deleted.</exception>
    public LoggedModelRecord Get(string modelId) => Get(modelId, includeDeleted: false);

    /// <summary>Says that the model's files are there, or that sending them failed.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<LoggedModelRecord> FinalizeAsync(string modelId, LoggedModelStatus status, Caller by, CancellationToken cancellationToken)
    {
        await database.WriteAsync(transaction =>
        {
            var model = Number(transaction.Connection, modelId, includeDeleted: true);
            var before = transaction.Connection.ExecuteScalar<string>("SELECT status FROM logged_models WHERE id = @model", new { model });
            var after = StatusText(status);
            transaction.Connection.Execute("UPDATE logged_models SET status = @after, updated_at_ms = @now WHERE id = @model", new { model, after, now = transaction.NowMs });
            transaction.Audit(by, "logged_model.finalized", Node(modelId), before: new { status = before }, after: new { status = after });
        }, cancellationToken);
        return Get(modelId, includeDeleted: true);
    }

    /// <summary>Moves the model to the bin. MLflow knows no way back.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public Task DeleteAsync(string modelId, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        var model = Number(transaction.Connection, modelId, includeDeleted: true);
        if (transaction.Connection.Execute(
            "UPDATE logged_models SET lifecycle_stage = 'deleted', updated_at_ms = @now WHERE id = @model AND lifecycle_stage = 'active'", new { model, now = transaction.NowMs }) > 0)
        {
            transaction.Audit(by, "logged_model.deleted", Node(modelId), before: new { stage = "active" }, after: new { stage = "deleted" });
        }
    }, cancellationToken);

    /// <summary>Sets tags: all of them or none.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument.</exception>
    public async Task<LoggedModelRecord> SetTagsAsync(string modelId, IReadOnlyList<KeyValuePair<string, string>> tags, Caller by, CancellationToken cancellationToken)
    {
        CheckPairs("tag", tags);
        await database.WriteAsync(transaction =>
        {
            WriteTags(transaction.Connection, Number(transaction.Connection, modelId, includeDeleted: true), tags);
            transaction.Audit(by, "logged_model.tags_set", Node(modelId), after: tags);
        }, cancellationToken);
        return Get(modelId, includeDeleted: true);
    }

    /// <summary>Removes one tag.</summary>
    /// <exception cref="SlipwayException">NotFound: the model, or it has no such tag.</exception>
    public Task DeleteTagAsync(string modelId, string key, Caller by, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        var model = Number(transaction.Connection, modelId, includeDeleted: true);
        var before = transaction.Connection.ExecuteScalar<string>("DELETE FROM logged_model_tags WHERE model = @model AND key = @key RETURNING value", new { model, key })
            ?? throw new SlipwayException(ErrorCode.NotFound, $"No tag with key '{key}' found for model with ID '{modelId}'.");
        transaction.Audit(by, "logged_model.tag_deleted", Node(modelId), before: new { key, value = before });
    }, cancellationToken);

    /// <summary>Adds parameters; one that is there already may be repeated, but not changed.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: a name, or another value than before.</exception>
    public Task LogParametersAsync(string modelId, IReadOnlyList<KeyValuePair<string, string>> parameters, CancellationToken cancellationToken)
    {
        CheckPairs("param", parameters);
        return database.WriteAsync(transaction =>
            WriteParameters(transaction.Connection, Number(transaction.Connection, modelId, includeDeleted: true), modelId, parameters), cancellationToken);
    }

    /// <summary>One page of a search. Deleted models are left out.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<LoggedModelRecord> Search(LoggedModelSearch search)
    {
        RunStore.CheckMaxResults(search.MaxResults);
        var orderBy = search.OrderBy ?? [];
        RunLimits.CheckCount("order_by terms", orderBy.Count, 20);
        RunLimits.CheckCount("datasets", search.Datasets?.Count ?? 0, 100);
        var sql = new SqlParts(database.Dialect);
        var experiments = string.Join(',', search.ExperimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct());
        sql.Conditions.Add($"l.experiment_id {database.Dialect.InNumbers(sql.Parameter($"[{experiments}]"))}");
        sql.Conditions.Add("l.lifecycle_stage = 'active'");
        LoggedModelSql.AddFilter(sql, FilterParser.Parse(search.Filter, LoggedModelSql.Fields), search.Datasets ?? []);
        var keyset = LoggedModelSql.Order(sql, orderBy);
        var fingerprint = $"logged models\n{experiments}\n{search.Filter}\n{string.Join('\n', search.Datasets ?? [])}\n{string.Join('\n', orderBy)}";
        if (!string.IsNullOrEmpty(search.PageToken))
        {
            keyset.After(PageToken.Decode(search.PageToken, fingerprint, keyset.Count), sql);
        }

        return database.Read(connection =>
        {
            var text = $"SELECT l.id AS id, {keyset.Columns} FROM logged_models l {string.Join('\n', sql.Joins)} {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(search.MaxResults + 1)}";
            var (ids, next) = PageReader.Read(connection, text, sql, search.MaxResults, fingerprint);
            return new Page<LoggedModelRecord>(Load(connection, ids), next);
        });
    }

    internal static string StatusText(LoggedModelStatus status) => status switch
    {
        LoggedModelStatus.Ready => "READY",
        LoggedModelStatus.UploadFailed => "UPLOAD_FAILED",
        _ => "PENDING",
    };

    internal static long Number(DbConnection connection, string modelId, bool includeDeleted) =>
        connection.QueryFirstOrDefault<(long Id, string Stage)?>("SELECT id, lifecycle_stage FROM logged_models WHERE model_id = @modelId", new { modelId }) switch
        {
            { } found when includeDeleted || found.Stage == "active" => found.Id,
            _ => throw new SlipwayException(ErrorCode.NotFound, $"Logged model with ID '{modelId}' not found."),
        };

    // Called by the run store in its own transaction: a batch's points of models are written with the batch or not at all.
    internal static void WriteMetrics(DbConnection connection, long run, IReadOnlyList<ModelMetricPoint> metrics)
    {
        var models = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (modelId, point, datasetName, datasetDigest) in metrics)
        {
            if (!models.TryGetValue(modelId, out var model))
            {
                models[modelId] = model = Number(connection, modelId, includeDeleted: true);
            }

            connection.Execute(
                """
                INSERT INTO logged_model_metrics (model, key, dataset_name, dataset_digest, run, at_ms, step, value, is_nan)
                VALUES (@model, @Key, @name, @digest, @run, @TimestampMs, @Step, @value, @isNan)
                ON CONFLICT (model, key, dataset_name, dataset_digest, run)
                DO UPDATE SET at_ms = excluded.at_ms, step = excluded.step, value = excluded.value, is_nan = excluded.is_nan
                 WHERE (excluded.at_ms, excluded.step) >= (logged_model_metrics.at_ms, logged_model_metrics.step)
                """,
                new
                {
                    model,
                    point.Key,
                    name = datasetName ?? "",
                    digest = datasetDigest ?? "",
                    run,
                    point.TimestampMs,
                    point.Step,
                    value = double.IsNaN(point.Value) ? 0.0 : Math.Clamp(point.Value, -double.MaxValue, double.MaxValue),
                    isNan = double.IsNaN(point.Value) ? 1L : 0L,
                });
        }
    }

    internal static void CheckMetric(ModelMetricPoint metric)
    {
        RunLimits.CheckLength($"The 'dataset_name' of metric '{metric.Point.Key}'", metric.DatasetName, 500);
        RunLimits.CheckLength($"The 'dataset_digest' of metric '{metric.Point.Key}'", metric.DatasetDigest, 64);
    }

    // Called by the run store in its own transaction.
    internal static void LinkToRun(WriteTransaction transaction, long run, string runId, string relation, IEnumerable<ModelOutput> models)
    {
        foreach (var (modelId, step) in models)
        {
            transaction.Connection.Execute(
                "INSERT INTO run_models (run, relation, model, step) VALUES (@run, @relation, @model, @step) ON CONFLICT DO NOTHING",
                new { run, relation, model = Number(transaction.Connection, modelId, includeDeleted: true), step });
            if (relation == "input")
            {
                transaction.Link(Node(modelId), "used", RunStore.Node(runId));
            }
            else
            {
                transaction.Link(RunStore.Node(runId), "logged_by", Node(modelId));
            }
        }
    }

    /// <summary>Whether the logged model has a file of this content.</summary>
    public static bool Holds(DbConnection connection, string modelId, string sha256) => connection.ExecuteScalar<long>(
        "SELECT count(*) FROM logged_model_artifacts a JOIN logged_models m ON m.id = a.model WHERE m.model_id = @modelId AND a.sha256 = @sha256", new { modelId, sha256 }) > 0;

    private LoggedModelRecord Get(string modelId, bool includeDeleted) => database.Read(connection => Load(connection, [Number(connection, modelId, includeDeleted)]))[0];

    // The order of the ids is kept.
    private static List<LoggedModelRecord> Load(DbConnection connection, IReadOnlyList<long> models)
    {
        var ids = new { ids = $"[{string.Join(',', models)}]" };
        var chosen = SqlDialect.Of(connection).InNumbers("@ids");
        var rows = connection.Query<ModelRow>(
            $"""
            SELECT id AS Id, model_id AS ModelId, experiment_id AS Experiment, name AS Name, status AS Status, model_type AS ModelType, source_run_id AS SourceRunId,
                   created_at_ms AS CreatedAtMs, updated_at_ms AS UpdatedAtMs
              FROM logged_models WHERE id {chosen}
            """,
            ids).ToDictionary(row => row.Id);
        var parameters = connection.Query<(long Model, string Key, string Value)>(
            $"SELECT model, key, value FROM logged_model_params WHERE model {chosen} ORDER BY model, key", ids).ToLookup(row => row.Model);
        var tags = connection.Query<(long Model, string Key, string Value)>(
            $"SELECT model, key, value FROM logged_model_tags WHERE model {chosen} ORDER BY model, key", ids).ToLookup(row => row.Model);
        var metrics = connection.Query<MetricRow>(
            $"""
            SELECT c.model AS Model, c.key AS Key, c.dataset_name AS DatasetName, c.dataset_digest AS DatasetDigest, r.run_id AS RunId, c.at_ms AS AtMs, c.step AS Step,
                   c.value AS Value, c.is_nan AS IsNan
              FROM logged_model_metrics c JOIN runs r ON r.id = c.run WHERE c.model {chosen}
             ORDER BY c.model, c.key, c.at_ms, c.step, c.run, c.dataset_name, c.dataset_digest
            """,
            ids).ToLookup(row => row.Model);
        return [.. models.Select(id =>
        {
            var row = rows[id];
            return new LoggedModelRecord(
                row.ModelId, ExperimentStore.Text(row.Experiment), row.Name,
                row.Status switch { "READY" => LoggedModelStatus.Ready, "UPLOAD_FAILED" => LoggedModelStatus.UploadFailed, _ => LoggedModelStatus.Pending },
                row.ModelType, row.SourceRunId, row.CreatedAtMs, row.UpdatedAtMs,
                parameters[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                tags[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                [.. metrics[id].Select(metric => metric.ToMetric())]);
        })];
    }

    private static void WriteParameters(DbConnection connection, long model, string modelId, IReadOnlyList<KeyValuePair<string, string>> parameters)
    {
        foreach (var (key, value) in parameters)
        {
            if (connection.Execute("INSERT INTO logged_model_params (model, key, value) VALUES (@model, @key, @value) ON CONFLICT DO NOTHING", new { model, key, value }) > 0)
            {
                continue;
            }

            var old = connection.ExecuteScalar<string>("SELECT value FROM logged_model_params WHERE model = @model AND key = @key", new { model, key });
            if (old != value)
            {
                throw RunLimits.Invalid(
                    $"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for logged model ID='{modelId}'. Attempted logging new value '{value}'.");
            }
        }
    }

    private static void WriteTags(DbConnection connection, long model, IReadOnlyList<KeyValuePair<string, string>> tags)
    {
        foreach (var (key, value) in tags)
        {
            connection.Execute(
                "INSERT INTO logged_model_tags (model, key, value) VALUES (@model, @key, @value) ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
                new { model, key, value });
        }
    }

    private static void CheckPairs(string what, IReadOnlyList<KeyValuePair<string, string>> pairs)
    {
        RunLimits.CheckCount($"{what}s of a logged model", pairs.Count, 1000);
        foreach (var (key, value) in pairs)
        {
            RunLimits.CheckKey(what, key);
            RunLimits.CheckLength($"The value of {what} '{key}'", value, ValueMax);
        }
    }

    // The characters that MLflow refuses: a name becomes part of paths and of models:/ addresses.
    private static void CheckName(string? name)
    {
        RunLimits.CheckLength("The logged model's 'name'", name, NameMax);
        if (name is not null && name.AsSpan().ContainsAny(NotInNames))
        {
            throw RunLimits.Invalid($"Invalid model name ('{name}') provided. It may not hold '/', ':', '.', '%', '\"' or \"'\".");
        }
    }

    private static string? OrNull(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static NodeRef Node(string modelId) => new(NodeKind, modelId);

    private sealed record ModelRow(
        long Id, string ModelId, long Experiment, string Name, string Status, string? ModelType, string? SourceRunId, long CreatedAtMs, long UpdatedAtMs);

    private sealed record MetricRow(
        long Model, string Key, string DatasetName, string DatasetDigest, string RunId, long AtMs, long Step, double Value, long IsNan)
    {
        public LoggedModelMetric ToMetric() => new(new MetricPoint(Key, IsNan != 0 ? double.NaN : Value, AtMs, Step), RunId, OrNull(DatasetName), OrNull(DatasetDigest));
    }
}
