using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking.Search;

namespace Slipway.Tracking;

/// <summary>Owns runs and all that hangs on them: metrics, parameters, tags, inputs, files, environments.</summary>
public sealed class RunStore(Database database, BlobStore blobs, ExperimentStore experiments)
{
    private const string RunNameTag = "mlflow.runName";

    /// <summary>The id of the experiment of this name, made when there is none; <c>0</c> is Default.</summary>
    public Task<string> GetOrCreateExperimentAsync(string name, Caller by, CancellationToken cancellationToken) =>
        experiments.GetOrCreateAsync(name, by, cancellationToken);

    /// <summary>All living experiments, newest change first.</summary>
    public IReadOnlyList<ExperimentRecord> ListExperiments() => experiments.List();

    /// <summary>Starts a run.</summary>
    /// <param name="experimentId">A living experiment.</param>
    /// <param name="name">Null: the tag mlflow.runName, else a name made from the id.</param>
    /// <param name="tags">First tags; null for none.</param>
    /// <param name="by">Who starts it.</param>
    /// <param name="cancellationToken">Cancels while the write waits.</param>
    /// <param name="startTime">Null for now.</param>
    /// <param name="userId">The name a client gives its user; null for the caller. The audit trail names the caller either way.</param>
    /// <exception cref="SlipwayException">NotFound: the experiment; InvalidArgument: it is deleted, or a tag is wrong.</exception>
    public async Task<RunRecord> CreateRunAsync(
        string experimentId, string? name, IReadOnlyDictionary<string, string>? tags, Caller by, CancellationToken cancellationToken, DateTimeOffset? startTime = null,
        string? userId = null)
    {
        var all = new Dictionary<string, string>(tags ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        foreach (var key in all.Keys)
        {
            RunLimits.CheckKey("tag", key);
        }

        RunLimits.CheckLength("The run's 'user_id'", userId, 256);
        var runId = Guid.NewGuid().ToString("N");
        var named = string.IsNullOrEmpty(name) ? all.GetValueOrDefault(RunNameTag) : name;
        all[RunNameTag] = RunLimits.Truncate(string.IsNullOrEmpty(named) ? $"run-{runId[..8]}" : named, RunLimits.RunTagValueMax);
        await database.WriteAsync(transaction =>
        {
            var experiment = ExperimentStore.DemandActive(transaction.Connection, experimentId);
            var run = transaction.Connection.ExecuteScalar<long>(
                """
                INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_at_ms, lifecycle_stage)
                VALUES (@runId, @experiment, @name, @user, 'RUNNING', @start, 'active') RETURNING id
                """,
                new { runId, experiment, name = all[RunNameTag], user = string.IsNullOrEmpty(userId) ? by.Name : userId, start = startTime?.ToUnixTimeMilliseconds() ?? transaction.NowMs });
            WriteTags(transaction.Connection, run, all);
            transaction.Audit(by, "run.created", Node(runId), after: new { experiment_id = experimentId, name = all[RunNameTag] });
        }, cancellationToken);
        return Get(runId);
    }

    /// <summary>Logs many things at once: all of them or, on any fault, none.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: a limit, a name, a parameter that has another value already, or a deleted run.</exception>
    public Task LogBatchAsync(
        string runId, IReadOnlyList<MetricPoint> metrics, IReadOnlyList<KeyValuePair<string, string>> parameters,
        IReadOnlyList<KeyValuePair<string, string>> tags, Caller by, CancellationToken cancellationToken)
    {
        RunLimits.CheckCount("metrics", metrics.Count, RunLimits.MetricsPerBatchMax);
        RunLimits.CheckCount("params", parameters.Count, RunLimits.ParametersPerBatchMax);
        RunLimits.CheckCount("tags", tags.Count, RunLimits.TagsPerBatchMax);
        RunLimits.CheckCount("metrics, params and tags together", metrics.Count + parameters.Count + tags.Count, RunLimits.EntitiesPerBatchMax);
        foreach (var point in metrics)
        {
            RunLimits.CheckKey("metric", point.Key);
            if (point.TimestampMs < 0)
            {
                throw RunLimits.Invalid($"The timestamp {point.TimestampMs} of metric '{point.Key}' must be Unix milliseconds, not negative.");
            }
        }

        foreach (var (key, _) in parameters)
        {
            RunLimits.CheckKey("param", key);
        }

        foreach (var (key, _) in tags)
        {
            RunLimits.CheckKey("tag", key);
        }

        return database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            WriteParameters(transaction.Connection, run, runId, parameters);
            WriteTags(transaction.Connection, run, tags);
            WriteMetrics(transaction.Connection, run, metrics);
        }, cancellationToken);
    }

    /// <summary>Removes one tag.</summary>
    /// <exception cref="SlipwayException">NotFound: the run, or it has no such tag.</exception>
    public Task DeleteTagAsync(string runId, string key, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            if (transaction.Connection.Execute("DELETE FROM tags WHERE run = @run AND key = @key", new { run, key }) == 0)
            {
                throw new SlipwayException(ErrorCode.NotFound, $"No tag with name: {key} in run with id {runId}.");
            }
        }, cancellationToken);

    /// <summary>Records that the run used a dataset; recording it again changes nothing.</summary>
    public Task LogInputAsync(string runId, RunInput input, Caller by, CancellationToken cancellationToken) =>
        LogInputsAsync(runId, [input], cancellationToken);

    /// <summary>Records several datasets in one step.</summary>
    public Task LogInputsAsync(string runId, IReadOnlyList<RunInput> inputs, CancellationToken cancellationToken)
    {
        RunLimits.CheckCount("datasets", inputs.Count, RunLimits.InputsMax);
        foreach (var input in inputs)
        {
            CheckInput(input);
        }

        return database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            foreach (var input in inputs)
            {
                transaction.Connection.Execute(
                    """
                    INSERT INTO run_inputs (run, name, digest, context, source_type, source, row_count, schema, profile, tags_json)
                    VALUES (@run, @Name, @Digest, @context, @SourceType, @Source, @Rows, @Schema, @Profile, @tags)
                    ON CONFLICT DO NOTHING
                    """,
                    new
                    {
                        run,
                        input.Name,
                        input.Digest,
                        context = input.Context ?? "",
                        input.SourceType,
                        input.Source,
                        input.Rows,
                        input.Schema,
                        input.Profile,
                        tags = JsonSerializer.Serialize(input.Tags ?? new Dictionary<string, string>()),
                    });
            }
        }, cancellationToken);
    }

    /// <summary>Stores a file of the run; the same path again replaces it.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: the path.</exception>
    public Task LogArtifactAsync(string runId, string path, ReadOnlyMemory<byte> content, Caller by, CancellationToken cancellationToken) =>
        LogArtifactAsync(runId, path, new MemoryStream(content.ToArray(), writable: false), by, cancellationToken);

    /// <summary>Streams a file of the run in; the same path again replaces it.</summary>
    public async Task<RunArtifact> LogArtifactAsync(
        string runId, string path, Stream content, Caller by, CancellationToken cancellationToken, long limitBytes = long.MaxValue)
    {
        var canonical = ArtifactPath.Parse(path);
        database.Read(connection => DemandActive(connection, runId)); // Before the bytes are read: they may be many.
        var blob = await blobs.PutAsync(content, cancellationToken, limitBytes);
        return await LinkArtifactAsync(runId, canonical, blob.Sha256, blob.SizeBytes, cancellationToken);
    }

    /// <summary>Names a blob that is stored already as a file of the run.</summary>
    public Task<RunArtifact> LinkArtifactAsync(string runId, string path, string sha256, long sizeBytes, CancellationToken cancellationToken)
    {
        var canonical = ArtifactPath.Parse(path);
        return database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            DemandNoClash(transaction.Connection, run, canonical);
            transaction.Connection.Execute(
                """
                INSERT INTO run_artifacts (run, path, sha256, size_bytes, created_at_ms) VALUES (@run, @canonical, @sha256, @sizeBytes, @now)
                ON CONFLICT (run, path) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes, created_at_ms = excluded.created_at_ms
                """,
                new { run, canonical, sha256, sizeBytes, now = transaction.NowMs });
            return new RunArtifact(canonical, sha256, sizeBytes);
        }, cancellationToken);
    }

    /// <summary>Removes a file, or a folder with all in it, from the run. The bytes stay as long as anything else names them.</summary>
    /// <exception cref="SlipwayException">NotFound: the run or the path.</exception>
    public Task DeleteArtifactAsync(string runId, string path, Caller by, CancellationToken cancellationToken)
    {
        var canonical = ArtifactPath.Parse(path);
        return database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            var rows = transaction.Connection.Execute(
                "DELETE FROM run_artifacts WHERE run = @run AND (path = @canonical OR (path > @canonical || '/' AND path < @canonical || '0'))", new { run, canonical });
            if (rows == 0)
            {
                throw NoArtifact(runId, path);
            }

            transaction.Audit(by, "run.artifact_deleted", Node(runId), before: new { path = canonical, files = rows });
        }, cancellationToken);
    }

    /// <summary>One file of the run.</summary>
    /// <exception cref="SlipwayException">NotFound: the run or the path; InvalidArgument: the path.</exception>
    public RunArtifact GetArtifact(string runId, string path)
    {
        var canonical = ArtifactPath.Parse(path);
        return database.Read(connection => connection.QueryFirstOrDefault<RunArtifact>(
            """
            SELECT path AS Path, sha256 AS Sha256, size_bytes AS SizeBytes FROM run_artifacts
             WHERE run = @run AND path = @canonical
            """,
            new { run = Number(connection, runId), canonical })) ?? throw NoArtifact(runId, path);
    }

    /// <summary>All files of the run by path.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public IReadOnlyList<RunArtifact> ListArtifacts(string runId) => database.Read(connection => Artifacts(connection, Number(connection, runId)));

    /// <summary>Every blob that a run rests on: its files and its environment.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string RunId, string Part, string Sha256)>(
            """
            SELECT r.run_id, a.path, a.sha256 FROM run_artifacts a JOIN runs r ON r.id = a.run
            UNION ALL
            SELECT r.run_id, 'environment', e.sha256 FROM run_environments e JOIN runs r ON r.id = e.run
            """)
        .Select(row => new BlobReference(new NodeRef(NodeKinds.Run, row.RunId), row.Part, row.Sha256)).ToList());

    /// <summary>Records where the run is computed; also as the tags under which MLflow's clients look for the commit.</summary>
    public async Task SetEnvironmentAsync(string runId, RunEnvironment environment, Caller by, CancellationToken cancellationToken)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(environment, JsonDefaults.Options);
        var blob = await blobs.PutAsync(json, cancellationToken);
        var tags = new Dictionary<string, string>();
        if (environment.Git is { } git)
        {
            tags["mlflow.source.git.commit"] = git.Commit;
            tags["mlflow.source.git.dirty"] = git.Dirty switch { true => "true", false => "false", null => "unknown" };
            if (git.RepositoryUrl is { } url)
            {
                tags["mlflow.source.git.repoURL"] = url;
            }
        }

        await database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            WriteTags(transaction.Connection, run, tags);
            transaction.Connection.Execute(
                """
                INSERT INTO run_environments (run, sha256, environment_json) VALUES (@run, @Sha256, @json)
                ON CONFLICT (run) DO UPDATE SET sha256 = excluded.sha256, environment_json = excluded.environment_json
                """,
                new { run, blob.Sha256, json = System.Text.Encoding.UTF8.GetString(json) });
        }, cancellationToken);
    }

    /// <summary>Ends the run now.</summary>
    public Task EndRunAsync(string runId, RunStatus status, Caller by, CancellationToken cancellationToken) =>
        UpdateAsync(runId, status, null, null, by, cancellationToken);

    /// <summary>Changes status, end or name; null leaves a value as it is. An end status without a time ends the run now.</summary>
    public Task UpdateAsync(string runId, RunStatus? status, long? endTimeMs, string? name, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            var before = transaction.Connection.QuerySingle<(string Status, long? EndMs)>("SELECT status, end_at_ms FROM runs WHERE id = @run", new { run });
            var ends = status is RunStatus.Finished or RunStatus.Failed or RunStatus.Killed;
            // A run that goes on again has no end.
            var end = status is RunStatus.Running or RunStatus.Scheduled ? null : endTimeMs ?? before.EndMs ?? (ends ? transaction.NowMs : null);
            var after = status is null ? before.Status : StatusText(status.Value);
            transaction.Connection.Execute("UPDATE runs SET status = @after, end_at_ms = @end WHERE id = @run", new { run, after, end });
            if (!string.IsNullOrEmpty(name))
            {
                WriteTags(transaction.Connection, run, [new(RunNameTag, RunLimits.Truncate(name, RunLimits.RunTagValueMax))]);
            }

            if (after != before.Status)
            {
                transaction.Audit(by, ends ? "run.ended" : "run.reopened", Node(runId), before: new { status = before.Status }, after: new { status = after });
            }
        }, cancellationToken);

    /// <summary>Moves the run to the bin, or back.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public Task SetDeletedAsync(string runId, bool deleted, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var (from, to) = deleted ? ("active", "deleted") : ("deleted", "active");
            var run = Number(transaction.Connection, runId);
            if (transaction.Connection.Execute("UPDATE runs SET lifecycle_stage = @to WHERE id = @run AND lifecycle_stage = @from", new { run, from, to }) > 0)
            {
                transaction.Audit(by, deleted ? "run.deleted" : "run.restored", Node(runId), before: new { stage = from }, after: new { stage = to });
            }
        }, cancellationToken);

    /// <summary>The whole record; null when there is no such run.</summary>
    public RunRecord? Find(string runId) => database.Read(connection =>
    {
        var run = connection.QueryFirstOrDefault<long?>("SELECT id FROM runs WHERE run_id = @runId", new { runId });
        if (run is not { } number)
        {
            return null;
        }

        var record = Load(connection, [number])[0];
        var environment = connection.QueryFirstOrDefault<(string Sha256, string Json)?>(
            "SELECT sha256, environment_json FROM run_environments WHERE run = @number", new { number });
        return record with
        {
            Environment = environment is { } found ? JsonSerializer.Deserialize<RunEnvironment>(found.Json, JsonDefaults.Options) : null,
            EnvironmentSha256 = environment?.Sha256,
            Artifacts = Artifacts(connection, number),
        };
    });

    /// <summary>The whole record.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public RunRecord Get(string runId) => Find(runId) ?? throw NoRun(runId);

    /// <summary>All points of a metric by step, then time; empty when it was never logged.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public IReadOnlyList<MetricPoint> MetricHistory(string runId, string key) => MetricHistory(runId, key, int.MaxValue, null).Items;

    /// <summary>One page of a metric's points by step, then time.</summary>
    public Page<MetricPoint> MetricHistory(string runId, string key, int max, string? pageToken)
    {
        var sql = new SqlParts();
        var keyset = new Keyset();
        keyset.Add("step", false);
        keyset.Add("at_ms", false);
        keyset.Add("value", false);
        keyset.Add("is_nan", false);
        var fingerprint = $"history\n{runId}\n{key}";
        return database.Read(connection =>
        {
            sql.Conditions.Add($"run = {sql.Parameter(Number(connection, runId))} AND key = {sql.Parameter(key)}");
            if (!string.IsNullOrEmpty(pageToken))
            {
                keyset.After(PageToken.Decode(pageToken, fingerprint, keyset.Count), sql);
            }

            var rows = connection.Query<(long Step, long AtMs, double Value, long IsNan)>(
                $"SELECT step, at_ms, value, is_nan FROM metric_points {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter((long)max + 1)}", sql.Parameters).AsList();
            var more = rows.Count > max;
            var page = more ? rows.GetRange(0, max) : rows;
            return new Page<MetricPoint>(
                page.ConvertAll(row => Point(key, row.Value, row.AtMs, row.Step, row.IsNan)),
                more ? PageToken.Encode(fingerprint, [page[^1].Step, page[^1].AtMs, page[^1].Value, page[^1].IsNan]) : null);
        });
    }

    /// <summary>One page of a search. Its records leave out environment and files; <see cref="Find"/> has them.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<RunRecord> Search(RunSearch search)
    {
        CheckMaxResults(search.MaxResults);
        var sql = new SqlParts();
        var experimentIds = search.ExperimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct().ToList();
        // One parameter for them all: binding is quadratic in the number of parameters, and a caller may name every experiment there is.
        sql.Conditions.Add($"r.experiment_id IN (SELECT value FROM json_each({sql.Parameter($"[{string.Join(',', experimentIds)}]")}))");
        sql.Conditions.Add(search.View switch
        {
            LifecycleView.Active => "r.lifecycle_stage = 'active'",
            LifecycleView.Deleted => "r.lifecycle_stage = 'deleted'",
            _ => "r.lifecycle_stage IN ('active', 'deleted')",
        });
        FilterSql.AddRunFilter(sql, FilterParser.Parse(search.Filter, FilterFields.Runs));
        var terms = (search.OrderBy ?? []).Select(term => FilterParser.ParseOrder(term, FilterFields.Runs)).ToList();
        RunLimits.CheckCount("order_by terms", terms.Count, 20);
        var keyset = FilterSql.RunOrder(sql, terms);
        var fingerprint = $"runs\n{string.Join(',', experimentIds)}\n{search.View}\n{search.Filter}\n{string.Join('\n', search.OrderBy ?? [])}";
        if (!string.IsNullOrEmpty(search.PageToken))
        {
            keyset.After(PageToken.Decode(search.PageToken, fingerprint, keyset.Count), sql);
        }

        return database.Read(connection =>
        {
            var text = $"SELECT r.id AS id, {keyset.Columns} FROM runs r {string.Join(' ', sql.Joins)} {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(search.MaxResults + 1)}";
            var (ids, next) = PageReader.Read(connection, text, sql, search.MaxResults, fingerprint);
            return new Page<RunRecord>(Load(connection, ids), next);
        });
    }

    internal static void CheckMaxResults(int maxResults)
    {
        if (maxResults is < 1 or > RunLimits.SearchResultsMax)
        {
            throw RunLimits.Invalid($"Invalid value {maxResults} for parameter 'max_results' supplied. It must be from 1 to {RunLimits.SearchResultsMax}.");
        }
    }

    // Called by the experiment store in its own transaction: the runs follow their experiment.
    internal static void MoveRuns(WriteTransaction transaction, long experiment, string stage) =>
        transaction.Connection.Execute("UPDATE runs SET lifecycle_stage = @stage WHERE experiment_id = @experiment", new { experiment, stage });

    internal static string StatusText(RunStatus status) => status.ToString().ToUpperInvariant();

    internal static SlipwayException NoRun(string? runId) => new(ErrorCode.NotFound, $"Run with id={runId} not found.");

    private static SlipwayException NoArtifact(string runId, string path) => new(ErrorCode.NotFound, $"Run {runId} has no artifact '{path}'.");

    private static NodeRef Node(string runId) => new(NodeKinds.Run, runId);

    private static long Number(SqliteConnection connection, string runId) =>
        connection.QueryFirstOrDefault<long?>("SELECT id FROM runs WHERE run_id = @runId", new { runId }) ?? throw NoRun(runId);

    private static long DemandActive(SqliteConnection connection, string runId) =>
        connection.QueryFirstOrDefault<(long Id, string Stage)?>("SELECT id, lifecycle_stage FROM runs WHERE run_id = @runId", new { runId }) switch
        {
            null => throw NoRun(runId),
            { Stage: "active" } run => run.Id,
            _ => throw RunLimits.Invalid($"The run {runId} must be in the 'active' state. Current state is deleted; restore it first."),
        };

    private static void WriteParameters(SqliteConnection connection, long run, string runId, IReadOnlyList<KeyValuePair<string, string>> parameters)
    {
        foreach (var (key, given) in parameters)
        {
            var value = RunLimits.Truncate(given, RunLimits.ParameterValueMax);
            if (connection.Execute("INSERT INTO params (run, key, value) VALUES (@run, @key, @value) ON CONFLICT DO NOTHING", new { run, key, value }) > 0)
            {
                continue;
            }

            var old = connection.ExecuteScalar<string>("SELECT value FROM params WHERE run = @run AND key = @key", new { run, key });
            if (old != value)
            {
                throw RunLimits.Invalid(
                    $"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run ID='{runId}'. Attempted logging new value '{value}'.");
            }
        }
    }

    private static void WriteTags(SqliteConnection connection, long run, IEnumerable<KeyValuePair<string, string>> tags)
    {
        foreach (var (key, given) in tags)
        {
            var value = RunLimits.Truncate(given, RunLimits.RunTagValueMax);
            connection.Execute(
                "INSERT INTO tags (run, key, value) VALUES (@run, @key, @value) ON CONFLICT (run, key) DO UPDATE SET value = excluded.value", new { run, key, value });
            if (key == RunNameTag && value.Length > 0)
            {
                connection.Execute("UPDATE runs SET name = @value WHERE id = @run", new { run, value });
            }
        }
    }

    private static void WriteMetrics(SqliteConnection connection, long run, IReadOnlyList<MetricPoint> metrics)
    {
        if (metrics.Count == 0)
        {
            return;
        }

        // Two statements made once for the whole batch; the second needs no read before it (the newest point wins).
        using var point = connection.CreateCommand();
        point.CommandText = "INSERT INTO metric_points (run, key, step, at_ms, value, is_nan) VALUES (@run, @key, @step, @at, @value, @nan) ON CONFLICT DO NOTHING";
        using var latest = connection.CreateCommand();
        latest.CommandText =
            """
            INSERT INTO latest_metrics (run, key, step, at_ms, value, is_nan) VALUES (@run, @key, @step, @at, @value, @nan)
            ON CONFLICT (run, key) DO UPDATE SET step = excluded.step, at_ms = excluded.at_ms, value = excluded.value, is_nan = excluded.is_nan
             WHERE (excluded.step, excluded.at_ms, excluded.value) > (step, at_ms, value)
            """;
        foreach (var command in (SqliteCommand[])[point, latest])
        {
            command.Parameters.AddWithValue("@run", run);
            var key = command.Parameters.Add("@key", SqliteType.Text);
            var step = command.Parameters.Add("@step", SqliteType.Integer);
            var at = command.Parameters.Add("@at", SqliteType.Integer);
            var value = command.Parameters.Add("@value", SqliteType.Real);
            var nan = command.Parameters.Add("@nan", SqliteType.Integer);
            command.Prepare();
            foreach (var metric in metrics)
            {
                key.Value = metric.Key;
                step.Value = metric.Step;
                at.Value = metric.TimestampMs;
                value.Value = double.IsNaN(metric.Value) ? 0.0 : Math.Clamp(metric.Value, -double.MaxValue, double.MaxValue);
                nan.Value = double.IsNaN(metric.Value) ? 1 : 0;
                command.ExecuteNonQuery();
            }
        }
    }

    private static void CheckInput(RunInput input)
    {
        if (string.IsNullOrEmpty(input.Name) || string.IsNullOrEmpty(input.Digest))
        {
            throw RunLimits.Invalid("A dataset input needs 'name' and 'digest'.");
        }

        RunLimits.CheckLength("A dataset's name", input.Name, 500);
        // MLflow allows 36; ours are whole SHA-256 digests.
        RunLimits.CheckLength("A dataset's digest", input.Digest, 64);
        RunLimits.CheckLength("A dataset's source", input.Source, 65_535);
        RunLimits.CheckLength("A dataset's schema", input.Schema, 1_048_575);
        RunLimits.CheckLength("A dataset's profile", input.Profile, 16_777_215);
        foreach (var (key, value) in (input.Tags ?? new Dictionary<string, string>()).Append(new("context", input.Context ?? "")))
        {
            RunLimits.CheckLength("An input tag's key", key, 255);
            RunLimits.CheckLength($"The value of input tag '{key}'", value, 500);
        }
    }

    // A client keeps files as files: a name cannot be a file and a folder at once.
    private static void DemandNoClash(SqliteConnection connection, long run, string path)
    {
        var parents = path.Split('/').SkipLast(1).Aggregate(new List<string>(), (all, part) => [.. all, all.Count == 0 ? part : $"{all[^1]}/{part}"]);
        var clash = connection.QueryFirstOrDefault<string>(
            "SELECT path FROM run_artifacts WHERE run = @run AND (path IN @parents OR (path > @path || '/' AND path < @path || '0')) LIMIT 1",
            new { run, path, parents });
        if (clash is not null)
        {
            throw RunLimits.Invalid($"Invalid path '{path}': the run already has '{clash}', and a name cannot be a file and a folder.");
        }
    }

    private static List<RunArtifact> Artifacts(SqliteConnection connection, long run) =>
        connection.Query<RunArtifact>("SELECT path AS Path, sha256 AS Sha256, size_bytes AS SizeBytes FROM run_artifacts WHERE run = @run ORDER BY path", new { run }).AsList();

    // The order of the ids is kept.
    private static List<RunRecord> Load(SqliteConnection connection, IReadOnlyList<long> runs)
    {
        var ids = new { ids = $"[{string.Join(',', runs)}]" };
        const string Chosen = "IN (SELECT value FROM json_each(@ids))";
        var rows = connection.Query<RunRow>(
            $"""
            SELECT id AS Id, run_id AS RunId, experiment_id AS Experiment, name AS Name, user_id AS UserId, status AS Status,
                   start_at_ms AS StartMs, end_at_ms AS EndMs, lifecycle_stage AS Stage
              FROM runs WHERE id {Chosen}
            """,
            ids).ToDictionary(row => row.Id);
        var metrics = connection.Query<(long Run, string Key, double Value, long AtMs, long Step, long IsNan)>(
            $"SELECT run, key, value, at_ms, step, is_nan FROM latest_metrics WHERE run {Chosen}", ids).ToLookup(row => row.Run);
        var parameters = connection.Query<(long Run, string Key, string Value)>($"SELECT run, key, value FROM params WHERE run {Chosen}", ids).ToLookup(row => row.Run);
        var tags = connection.Query<(long Run, string Key, string Value)>($"SELECT run, key, value FROM tags WHERE run {Chosen}", ids).ToLookup(row => row.Run);
        var inputs = connection.Query<InputRow>(
            $"""
            SELECT run AS Run, name AS Name, digest AS Digest, context AS Context, source_type AS SourceType, source AS Source, row_count AS RowCount,
                   schema AS Schema, profile AS Profile, tags_json AS TagsJson
              FROM run_inputs WHERE run {Chosen}
            """,
            ids).ToLookup(row => row.Run);
        return [.. runs.Select(id =>
        {
            var row = rows[id];
            return new RunRecord(
                row.RunId, ExperimentStore.Text(row.Experiment), row.Name, row.UserId, Enum.Parse<RunStatus>(row.Status, ignoreCase: true), row.StartMs, row.EndMs,
                row.Stage != "active",
                [.. metrics[id].Select(metric => Point(metric.Key, metric.Value, metric.AtMs, metric.Step, metric.IsNan))],
                parameters[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                tags[id].ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal),
                [.. inputs[id].Select(input => input.ToInput())], null, null, []);
        })];
    }

    private static MetricPoint Point(string key, double value, long atMs, long step, long isNan) => new(key, isNan != 0 ? double.NaN : value, atMs, step);

    private sealed record RunRow(long Id, string RunId, long Experiment, string Name, string UserId, string Status, long StartMs, long? EndMs, string Stage);

    private sealed record InputRow(
        long Run, string Name, string Digest, string Context, string SourceType, string Source, long? RowCount, string? Schema, string? Profile, string TagsJson)
    {
        public RunInput ToInput() => new(
            Name, Digest, Source, Context.Length == 0 ? null : Context, RowCount, SourceType, Schema, Profile,
            JsonSerializer.Deserialize<Dictionary<string, string>>(TagsJson));
    }
}
