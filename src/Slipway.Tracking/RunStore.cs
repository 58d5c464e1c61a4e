using System.Data;
using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking.Search;

namespace Slipway.Tracking;

/// <summary>Owns runs and all that hangs on them but their files: metrics, parameters, tags, inputs, environments.</summary>
public sealed class RunStore(Database database, BlobStore blobs, ExperimentStore experiments, ArtifactStore artifacts)
{
    internal const string RunNameTag = "mlflow.runName";

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
        string? userId = null) =>
        Get(await StartRunAsync(experimentId, name, tags, by, startTime, userId, cancellationToken));

    /// <summary>Starts a run and returns its id; see <see cref="CreateRunAsync"/>.</summary>
    internal async Task<string> StartRunAsync(
        string experimentId, string? name, IReadOnlyDictionary<string, string>? tags, Caller by, DateTimeOffset? startTime, string? userId,
        CancellationToken cancellationToken)
    {
        var all = new Dictionary<string, string>(tags ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        foreach (var key in all.Keys)
        {
            RunLimits.CheckKey("tag", key);
        }

        if (!string.IsNullOrEmpty(name) && all.GetValueOrDefault(RunNameTag) is { Length: > 0 } tagged && tagged != name)
        {
            throw RunLimits.Invalid(
                $"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='{name}', mlflow.runName='{tagged}').");
        }

        RunLimits.CheckLength("The run's 'user_id'", userId, 256);
        var runId = Guid.NewGuid().ToString("N");
        var named = string.IsNullOrEmpty(name) ? all.GetValueOrDefault(RunNameTag) : name;
        all[RunNameTag] = RunLimits.Truncate(string.IsNullOrEmpty(named) ? $"run-{runId[..8]}" : named, RunLimits.RunTagValueMax);
        await database.WriteAsync(transaction =>
        {
            var experiment = ExperimentStore.DemandActive(transaction.Connection, experimentId);
            var run = InsertRun(
                transaction.Connection, runId, experiment, all[RunNameTag], string.IsNullOrEmpty(userId) ? by.Name : userId, startTime?.ToUnixTimeMilliseconds() ?? transaction.NowMs);
            WriteTags(transaction.Connection, run, all);
            transaction.Audit(by, "run.created", Node(runId), after: new { experiment_id = experimentId, name = all[RunNameTag] });
        }, cancellationToken);
        return runId;
    }

    /// <summary>Logs many things at once: all of them or, on any fault, none.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: a limit, a name, a parameter that has another value already, or a deleted run.</exception>
    public Task LogBatchAsync(
        string runId, IReadOnlyList<MetricPoint> metrics, IReadOnlyList<KeyValuePair<string, string>> parameters,
        IReadOnlyList<KeyValuePair<string, string>> tags, Caller by, CancellationToken cancellationToken, IReadOnlyList<ModelMetricPoint>? ofModels = null)
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

        foreach (var metric in ofModels ?? [])
        {
            LoggedModelStore.CheckMetric(metric);
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (key, _) in parameters)
        {
            RunLimits.CheckKey("param", key);
            if (!names.Add(key))
            {
                throw RunLimits.Invalid($"Duplicate parameter keys have been submitted: '{key}'. The request may contain only one param value per param key.");
            }
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
            MetricRows.Write(transaction.Connection, run, metrics);
            LoggedModelStore.WriteMetrics(transaction.Connection, run, ofModels ?? []);
        }, cancellationToken);
    }

    /// <summary>Removes one tag.</summary>
    /// <exception cref="SlipwayException">NotFound: the run, or it has no such tag.</exception>
    public Task DeleteTagAsync(string runId, string key, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var run = DemandActive(transaction.Connection, runId);
            var before = transaction.Connection.ExecuteScalar<string>("DELETE FROM tags WHERE run = @run AND key = @key RETURNING value", new { run, key })
                ?? throw new SlipwayException(ErrorCode.NotFound, $"No tag with name: {key} in run with id {runId}.");
            transaction.Audit(by, "run.tag_deleted", Node(runId), before: new { key, value = before });
        }, cancellationToken);

    /// <summary>Records that the run used a dataset; recording it again changes nothing.</summary>
    public Task LogInputAsync(string runId, RunInput input, Caller by, CancellationToken cancellationToken) =>
        LogInputsAsync(runId, [input], cancellationToken);

    /// <summary>Records that the run produced logged models; recording the same again changes nothing.</summary>
    /// <exception cref="SlipwayException">NotFound: the run or a model; InvalidArgument: the run is deleted.</exception>
    public Task LogOutputsAsync(string runId, IReadOnlyList<ModelOutput> models, CancellationToken cancellationToken)
    {
        RunLimits.CheckCount("models", models.Count, RunLimits.InputsMax);
        return database.WriteAsync(transaction =>
            LoggedModelStore.LinkToRun(transaction, DemandActive(transaction.Connection, runId), runId, "output", models), cancellationToken);
    }

    /// <summary>Records several datasets, and the logged models of these ids, in one step.</summary>
    public Task LogInputsAsync(string runId, IReadOnlyList<RunInput> inputs, CancellationToken cancellationToken, IReadOnlyList<string>? models = null)
    {
        RunLimits.CheckCount("datasets", inputs.Count, RunLimits.InputsMax);
        RunLimits.CheckCount("models", models?.Count ?? 0, RunLimits.InputsMax);
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

                // Known by its digest, whoever logs it: the same rows are the same node.
                var trainingSet = new NodeRef(NodeKinds.TrainingSet, input.Digest);
                transaction.Link(
                    transaction.Knows(trainingSet) ? trainingSet : new NodeRef(NodeKinds.LoggedDataset, $"{input.Name}@{input.Digest}"),
                    input.Context is "train" or "training" ? "trained_on" : "used", Node(runId));
            }

            LoggedModelStore.LinkToRun(transaction, run, runId, "input", (models ?? []).Select(model => new ModelOutput(model, 0)));
        }, cancellationToken);
    }

    /// <summary>The datasets that runs of these experiments used, each once; at most 1000.</summary>
    public IReadOnlyList<(string ExperimentId, string Name, string Digest, string? Context)> DatasetsOf(IReadOnlyList<string> experimentIds)
    {
        var numbers = experimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct();
        return database.Read(connection => connection.Query<(long Experiment, string Name, string Digest, string Context)>(
                $"""
                SELECT DISTINCT r.experiment_id, i.name, i.digest, i.context FROM runs r JOIN run_inputs i ON i.run = r.id
                 WHERE r.experiment_id {SqlDialect.Of(connection).InNumbers("@ids")}
                 ORDER BY r.experiment_id, i.name, i.digest, i.context LIMIT 1000
                """,
                new { ids = $"[{string.Join(',', numbers)}]" })
            .Select(row => (ExperimentStore.Text(row.Experiment), row.Name, row.Digest, row.Context.Length == 0 ? null : row.Context)).ToList());
    }

    /// <summary>Stores a file of the run; see <see cref="ArtifactStore.LogAsync(string, string, ReadOnlyMemory{byte}, Caller, CancellationToken)"/>.</summary>
    public Task LogArtifactAsync(string runId, string path, ReadOnlyMemory<byte> content, Caller by, CancellationToken cancellationToken) =>
        artifacts.LogAsync(runId, path, content, by, cancellationToken);

    /// <summary>Names a blob that is stored already as a file of the run; see <see cref="ArtifactStore.LinkAsync"/>.</summary>
    public Task<RunArtifact> LinkArtifactAsync(string runId, string path, string sha256, long sizeBytes, CancellationToken cancellationToken) =>
        artifacts.LinkAsync(runId, path, sha256, sizeBytes, cancellationToken);

    /// <summary>Every blob that a run rests on: its files and its environment.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => [.. artifacts.ReferencedBlobs(), .. database.Read(connection => connection
        .Query<(string RunId, string Sha256)>("SELECT r.run_id, e.sha256 FROM run_environments e JOIN runs r ON r.id = e.run")
        .Select(row => new BlobReference(new NodeRef(NodeKinds.Run, row.RunId), "environment", row.Sha256)).ToList())];

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
            if (environment.Git is { } checkout)
            {
                transaction.Link(new NodeRef(NodeKinds.Commit, checkout.Commit), "ran_code_of", Node(runId));
            }

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
            if (ends)
            {
                MovingRuns.Remove(transaction.Connection, run);
            }

            if (!string.IsNullOrEmpty(name))
            {
                var named = transaction.Connection.ExecuteScalar<string>("SELECT value FROM tags WHERE run = @run AND key = @RunNameTag", new { run, RunNameTag });
                WriteTags(transaction.Connection, run, [new(RunNameTag, RunLimits.Truncate(name, RunLimits.RunTagValueMax))]);
                if (named != name)
                {
                    transaction.Audit(by, "run.renamed", Node(runId), before: new { name = named }, after: new { name });
                }
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
            Artifacts = ArtifactStore.Load(connection, ArtifactOwner.OfRun(number, runId)),
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
        var points = new List<MetricPoint>();
        var next = ReadHistory(runId, key, max, pageToken, (value, atMs, step) => points.Add(new MetricPoint(key, value, atMs, step)));
        return new Page<MetricPoint>(points, next);
    }

    /// <summary>One page of a search. Its records leave out environment and files; <see cref="Find"/> has them.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<RunRecord> Search(RunSearch search)
    {
        var query = new RunQuery(search, database.Dialect);
        return database.Read(connection =>
        {
            var (runs, next) = query.Read(connection);
            return new Page<RunRecord>(Load(connection, runs), next);
        });
    }

    /// <summary>One page of a search as runs' numbers, and the rows of the first <paramref name="rowsMax"/> of them as they were in the same moment.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    internal (List<long> Runs, string? Next, RunRows Rows) SearchRows(RunSearch search, int rowsMax)
    {
        var query = new RunQuery(search, database.Dialect);
        return database.Read(connection =>
        {
            var (runs, next) = query.Read(connection);
            return (runs, next, RunRows.Load(connection, runs.Count <= rowsMax ? runs : runs.GetRange(0, rowsMax)));
        });
    }

    /// <summary>The rows of these runs.</summary>
    internal RunRows Rows(IReadOnlyList<long> runs) => database.Read(connection => RunRows.Load(connection, runs));

    /// <summary>The rows of one run.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    internal RunRows Rows(string runId) => database.ReadOne(connection => RunRows.Load(connection, runId));

    /// <summary>Calls for each point of one page of a metric's history, by step, then time.</summary>
    /// <returns>The token of the next page, or null.</returns>
    internal string? ReadHistory(string runId, string key, int max, string? pageToken, Action<double, long, long> point) => database.Read(connection =>
    {
        var fingerprint = $"history\n{runId}\n{key}";
        var after = string.IsNullOrEmpty(pageToken) ? null : PageToken.Decode(pageToken, fingerprint, 4);
        if (after is not (null or [long, long, long or double, long]))
        {
            throw RunLimits.Invalid("'page_token' is not one this server gave; start the search again without it.");
        }

        var run = Number(connection, runId);
        // The order of the primary key, so that a page is one walk along it from where the last one ended.
        using var rows = Statement.Of(connection, after is null
            ? "SELECT step, at_ms, value, is_nan FROM metric_points WHERE run = $1 AND key = $2 ORDER BY step, at_ms, value, is_nan LIMIT $3"
            : "SELECT step, at_ms, value, is_nan FROM metric_points WHERE run = $1 AND key = $2 AND (step, at_ms, value, is_nan) > ($3, $4, $5, $6) ORDER BY step, at_ms, value, is_nan LIMIT $7");
        rows.Bind(1, run);
        rows.Bind(2, key);
        if (after is not null)
        {
            rows.Bind(3, (long)after[0]!);
            rows.Bind(4, (long)after[1]!);
            rows.Bind(5, Convert.ToDouble(after[2], System.Globalization.CultureInfo.InvariantCulture));
            rows.Bind(6, (long)after[3]!);
        }

        rows.Bind(after is null ? 3 : 7, (long)max + 1);
        (long Step, long AtMs, double Value, long IsNan) last = default;
        for (var count = 0; rows.Step(); count++)
        {
            if (count == max)
            {
                return PageToken.Encode(fingerprint, [last.Step, last.AtMs, last.Value, last.IsNan]);
            }

            last = (rows.Integer(0), rows.Integer(1), rows.Real(2), rows.Integer(3));
            point(last.IsNan != 0 ? double.NaN : last.Value, last.AtMs, last.Step);
        }

        return null;
    });

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

    internal static NodeRef Node(string runId) => new(NodeKinds.Run, runId);

    internal static long Number(DbConnection connection, string runId) =>
        connection.QueryFirstOrDefault<long?>("SELECT id FROM runs WHERE run_id = @runId", new { runId }) ?? throw NoRun(runId);

    internal static long DemandActive(DbConnection connection, string runId)
    {
        using var run = Statement.Of(connection, "SELECT id, lifecycle_stage FROM runs WHERE run_id = $1");
        run.Bind(1, runId);
        if (!run.Step())
        {
            throw NoRun(runId);
        }

        return run.Utf8(1).SequenceEqual("active"u8)
            ? run.Integer(0)
            : throw RunLimits.Invalid($"The run {runId} must be in the 'active' state. Current state is deleted; restore it first.");
    }

    private static long InsertRun(DbConnection connection, string runId, long experiment, string name, string user, long startMs)
    {
        using var run = Statement.Of(connection,
            """
            INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_at_ms, lifecycle_stage)
            VALUES ($1, $2, $3, $4, 'RUNNING', $5, 'active') RETURNING id
            """);
        run.Bind(1, runId);
        run.Bind(2, experiment);
        run.Bind(3, name);
        run.Bind(4, user);
        run.Bind(5, startMs);
        run.Step();
        var number = run.Integer(0);
        run.Step(); // SQLite ends the statement with the step after its last row.
        return number;
    }

    internal static void WriteParameters(DbConnection connection, long run, string runId, IReadOnlyList<KeyValuePair<string, string>> parameters)
    {
        if (parameters.Count == 0)
        {
            return;
        }

        using var insert = Statement.Of(connection, "INSERT INTO params (run, key, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
        foreach (var (key, given) in parameters)
        {
            var value = RunLimits.Truncate(given, RunLimits.ParameterValueMax);
            insert.Bind(1, run);
            insert.Bind(2, key);
            insert.Bind(3, value);
            if (insert.Run() > 0)
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

    internal static void WriteTags(DbConnection connection, long run, IReadOnlyCollection<KeyValuePair<string, string>> tags)
    {
        if (tags.Count == 0)
        {
            return;
        }

        using var upsert = Statement.Of(connection, "INSERT INTO tags (run, key, value) VALUES ($1, $2, $3) ON CONFLICT (run, key) DO UPDATE SET value = excluded.value");
        foreach (var (key, given) in tags)
        {
            var value = RunLimits.Truncate(given, RunLimits.RunTagValueMax);
            if (key == RunNameTag && value.Length == 0)
            {
                continue; // A run keeps its name.
            }

            upsert.Bind(1, run);
            upsert.Bind(2, key);
            upsert.Bind(3, value);
            upsert.Run();
            if (key == RunNameTag)
            {
                using var rename = Statement.Of(connection, "UPDATE runs SET name = $1 WHERE id = $2 AND name <> $1");
                rename.Bind(1, value);
                rename.Bind(2, run);
                rename.Run();
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

    // The order of the ids is kept.
    private static List<RunRecord> Load(DbConnection connection, IReadOnlyList<long> runs)
    {
        var rows = RunRows.Load(connection, runs);
        return [.. runs.Select(run => rows.Record(rows.IndexOf(run)))];
    }
}
