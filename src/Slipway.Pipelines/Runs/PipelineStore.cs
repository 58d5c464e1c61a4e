using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Stages;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Pipelines.Runs;

/// <summary>A finished stage of an earlier run.</summary>
internal sealed record StoredStage(string RunId, IReadOnlyList<PipelineArtifact> Outputs, StageOutcome Outcome, CacheKeyParts? Parts);

/// <summary>A run that waits for a worker, or was interrupted.</summary>
internal sealed record WaitingRun(string Id, string Pipeline, string DefinitionYaml, string? OnlyStage, string CreatedBy, long Resumes);

/// <summary>Owns <c>pipeline_runs</c>, <c>pipeline_stages</c>, <c>go_no_go</c> and <c>test_evaluations</c>.</summary>
internal sealed class PipelineStore(Database database)
{
    private const string RunColumns =
        """
        r.id AS Id, r.pipeline AS Pipeline, r.definition_version AS DefinitionVersion, r.model AS Model, r.trigger_kind AS TriggerKind, r.reason AS Reason,
        r.parameters_json AS ParametersJson, r.status AS Status, r.verdict AS Verdict, r.verdict_reason AS VerdictReason, r.error AS Error,
        r.model_version AS ModelVersion, r.created_by AS CreatedBy, r.created_at_ms AS CreatedAtMs, r.started_at_ms AS StartedAtMs, r.finished_at_ms AS FinishedAtMs,
        g.metric AS Metric, g.minimum AS Minimum, g.must_beat_baselines AS MustBeatBaselines, g.production_tolerance AS ProductionTolerance, g.set_at_ms AS SetAtMs
        """;

    /// <summary>Stores a run with its threshold and pending stages, its audit row in the same transaction.</summary>
    public Task CreateAsync(
        string id, PipelineDefinition pipeline, long definitionVersion, string trigger, string reason, string? onlyStage, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute(
                """
                INSERT INTO pipeline_runs (id, pipeline, definition_version, model, trigger_kind, reason, parameters_json, definition_yaml, only_stage, status, created_by, created_at_ms)
                VALUES (@id, @Name, @definitionVersion, @Model, @trigger, @reason, @parameters, @Yaml, @onlyStage, 'queued', @by, @now)
                """,
                new { id, pipeline.Name, definitionVersion, pipeline.Model, trigger, reason, parameters = Json(pipeline.Parameters), pipeline.Yaml, onlyStage, by = by.Name, now = transaction.NowMs });
            if (pipeline.GoNoGo is { } threshold)
            {
                transaction.Connection.Execute(
                    """
                    INSERT INTO go_no_go (run_id, metric, minimum, must_beat_baselines, production_tolerance, set_at_ms)
                    VALUES (@id, @Metric, @Minimum, @MustBeatBaselines, @ProductionTolerance, @now)
                    """,
                    new { id, threshold.Metric, threshold.Minimum, threshold.MustBeatBaselines, threshold.ProductionTolerance, now = transaction.NowMs });
            }

            foreach (var (position, stage) in pipeline.Stages.Index())
            {
                transaction.Connection.Execute(
                    "INSERT INTO pipeline_stages (run_id, position, pipeline, name, uses, status) VALUES (@id, @position, @pipeline, @name, @uses, 'pending')",
                    new { id, position, pipeline = pipeline.Name, name = stage.Name, uses = stage.Kind.Uses });
            }

            transaction.Audit(by, "pipeline_run.requested", Node(id), reason, null, new { pipeline = pipeline.Name, definition_version = definitionVersion, trigger, pipeline.Parameters, pipeline.GoNoGo });
        }, cancellationToken);

    /// <summary>One run; null when there is none.</summary>
    public PipelineRun? Find(string id) => database.Read(connection => Runs(connection, "r.id = @id", new { id, limit = 1 }).FirstOrDefault());

    /// <summary>Newest first.</summary>
    public IReadOnlyList<PipelineRun> List(string? pipeline, int limit) => database.Read(connection =>
        Runs(connection, "(@pipeline IS NULL OR r.pipeline = @pipeline)", new { pipeline, limit = Math.Clamp(limit, 1, 1000) }));

    /// <summary>The run to work on next: one that was interrupted before one that waits, oldest first.</summary>
    public WaitingRun? Next() => database.Read(connection => connection.QueryFirstOrDefault<WaitingRun>(
        """
        SELECT id AS Id, pipeline AS Pipeline, definition_yaml AS DefinitionYaml, only_stage AS OnlyStage, created_by AS CreatedBy, resumes AS Resumes
          FROM pipeline_runs WHERE status IN ('running', 'queued')
         ORDER BY status = 'queued', created_at_ms, rowid LIMIT 1
        """));

    /// <summary>Marks a run as at work; its unfinished stages are pending again.</summary>
    public Task BeginAsync(WaitingRun run, bool resumed, Lease lease, CancellationToken cancellationToken) => FencedAsync(lease, transaction =>
    {
        transaction.Connection.Execute(
            "UPDATE pipeline_runs SET status = 'running', started_at_ms = coalesce(started_at_ms, @now), resumes = resumes + @resumed WHERE id = @Id",
            new { run.Id, now = transaction.NowMs, resumed });
        transaction.Connection.Execute(
            "UPDATE pipeline_stages SET status = 'pending', message = NULL WHERE run_id = @Id AND status = 'running'", new { run.Id });
        transaction.Audit(new Caller(run.CreatedBy, null), resumed ? "pipeline_run.resumed" : "pipeline_run.started", Node(run.Id),
            resumed ? "The server stopped while the run was at work; finished stages are taken from the cache." : null);
    }, cancellationToken);

    /// <summary>Records that a stage begins, with what it reads and what the cache said.</summary>
    public Task StageStartedAsync(
        string runId, int position, CacheKeyParts parts, string cacheNote, IReadOnlyList<PipelineArtifact> inputs, Lease lease, CancellationToken cancellationToken) =>
        FencedAsync(lease, transaction => transaction.Connection.Execute(
            """
            UPDATE pipeline_stages
               SET status = 'running', cache_parts = @parts, cache_note = @cacheNote, inputs_json = @inputs, started_at_ms = @now, attempts = attempts + 1
             WHERE run_id = @runId AND position = @position
            """,
            new { runId, position, parts = parts.Json, cacheNote, inputs = Json(inputs), now = transaction.NowMs }), cancellationToken);

    /// <summary>Counts one more attempt.</summary>
    public Task StageRetriedAsync(string runId, int position, string message, Lease lease, CancellationToken cancellationToken) =>
        FencedAsync(lease, transaction => transaction.Connection.Execute(
            "UPDATE pipeline_stages SET attempts = attempts + 1, message = @message WHERE run_id = @runId AND position = @position",
            new { runId, position, message }), cancellationToken);

    /// <summary>Records a stage's outputs; from now on they are in the cache when <paramref name="cacheKey"/> is given.</summary>
    public Task StageFinishedAsync(
        string runId, int position, string? cacheKey, string? cachedFromRun, IReadOnlyList<PipelineArtifact> outputs, StageOutcome outcome,
        double wallSeconds, double cpuSeconds, Caller by, Lease lease, CancellationToken cancellationToken) =>
        FencedAsync(lease, transaction =>
        {
            transaction.Connection.Execute(
                """
                UPDATE pipeline_stages
                   SET status = @status, message = @Message, cache_key = @cacheKey, cached_from_run = @cachedFromRun, outputs_json = @outputs,
                       outcome_json = @outcome, finished_at_ms = @now, wall_seconds = @wallSeconds, cpu_seconds = @cpuSeconds
                 WHERE run_id = @runId AND position = @position
                """,
                new
                {
                    runId,
                    position,
                    cacheKey,
                    cachedFromRun,
                    outcome.Message,
                    wallSeconds,
                    cpuSeconds,
                    now = transaction.NowMs,
                    status = cachedFromRun is null ? "succeeded" : "cached",
                    outputs = Json(outputs),
                    outcome = Json(outcome),
                });
            if (outcome.Verdict is not null)
            {
                transaction.Connection.Execute("UPDATE pipeline_runs SET verdict = @Verdict, verdict_reason = @VerdictReason WHERE id = @runId",
                    new { outcome.Verdict, outcome.VerdictReason, runId });
                transaction.Audit(by, "pipeline_run.judged", Node(runId), outcome.VerdictReason, null, new { outcome.Verdict });
            }

            if (outcome.ModelVersion is not null)
            {
                transaction.Connection.Execute("UPDATE pipeline_runs SET model_version = @ModelVersion WHERE id = @runId", new { outcome.ModelVersion, runId });
            }
        }, cancellationToken);

    /// <summary>Records that a stage was not run, or failed.</summary>
    public Task StageEndedAsync(string runId, int position, PipelineStageStatus status, string message, Lease lease, CancellationToken cancellationToken) =>
        FencedAsync(lease, transaction => transaction.Connection.Execute(
            "UPDATE pipeline_stages SET status = @status, message = @message, finished_at_ms = @now WHERE run_id = @runId AND position = @position",
            new { runId, position, status = Text(status), message, now = transaction.NowMs }), cancellationToken);

    /// <summary>Ends a run, its audit row in the same transaction.</summary>
    public Task EndAsync(string runId, PipelineRunStatus status, string? error, Caller by, Lease lease, CancellationToken cancellationToken) =>
        FencedAsync(lease, transaction =>
        {
            transaction.Connection.Execute("UPDATE pipeline_runs SET status = @status, error = @error, finished_at_ms = @now WHERE id = @runId",
                new { runId, status = Text(status), error, now = transaction.NowMs });
            var (pipeline, verdict, version) = transaction.Connection.QuerySingle<(string, string?, string?)>(
                "SELECT pipeline, verdict, model_version FROM pipeline_runs WHERE id = @runId", new { runId });
            transaction.Audit(by, $"pipeline_run.{Text(status)}", Node(runId), error, null, new { pipeline, verdict, model_version = version });
            transaction.Publish("pipelines.run_ended", new { id = runId, pipeline, status = Text(status), verdict, model_version = version });
        }, cancellationToken);

    /// <summary>Finished stages with this key, newest first.</summary>
    public IReadOnlyList<StoredStage> FinishedWithKey(string key) => database.Read(connection => Stored(connection,
        "cache_key = @key AND status = 'succeeded' ORDER BY finished_at_ms DESC LIMIT 5", new { key }));

    /// <summary>The newest finished run of a stage; null when there is none.</summary>
    public StoredStage? NewestFinished(string pipeline, string stage) => database.Read(connection => Stored(connection,
        "pipeline = @pipeline AND name = @stage AND status IN ('succeeded', 'cached') ORDER BY finished_at_ms DESC LIMIT 1", new { pipeline, stage })).FirstOrDefault();

    /// <summary>Every blob that a stage wrote.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => database.Read(connection => connection
        .Query<(string RunId, string Stage, string Outputs)>("SELECT run_id, name, outputs_json FROM pipeline_stages")
        .SelectMany(row => Parse<List<PipelineArtifact>>(row.Outputs).Select(output => new BlobReference(Node(row.RunId), $"{row.Stage}/{output.Name}", output.Sha256)))
        .ToList());

    /// <summary>Counts one look at a test split.</summary>
    /// <returns>Looks so far, this one included; looks of the same run count once.</returns>
    public Task<int> CountTestEvaluationAsync(string testSetSha256, string runId, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        transaction.Connection.Execute(
            "INSERT INTO test_evaluations (test_set_sha256, run_id, evaluated_at_ms) VALUES (@testSetSha256, @runId, @now) ON CONFLICT DO NOTHING",
            new { testSetSha256, runId, now = transaction.NowMs });
        return transaction.Connection.ExecuteScalar<int>("SELECT count(*) FROM test_evaluations WHERE test_set_sha256 = @testSetSha256", new { testSetSha256 });
    }, cancellationToken);

    internal static NodeRef Node(string runId) => new(NodeKinds.PipelineRun, runId);

    // A worker whose lease has passed on must not write over the next worker's rows.
    private Task FencedAsync(Lease lease, Action<WriteTransaction> work, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        Leases.Demand(transaction, lease);
        work(transaction);
    }, cancellationToken);

    private static List<PipelineRun> Runs(SqliteConnection connection, string where, object parameters)
    {
        var rows = connection.Query<RunRow>(
            $"SELECT {RunColumns} FROM pipeline_runs r LEFT JOIN go_no_go g ON g.run_id = r.id WHERE {where} ORDER BY r.created_at_ms DESC, r.rowid DESC LIMIT @limit", parameters).AsList();
        var stages = connection.Query<StageRow>(
            """
            SELECT run_id AS RunId, name AS Name, uses AS Uses, status AS Status, message AS Message, attempts AS Attempts, cache_note AS CacheNote,
                   cached_from_run AS CachedFromRun, inputs_json AS InputsJson, outputs_json AS OutputsJson, started_at_ms AS StartedAtMs,
                   finished_at_ms AS FinishedAtMs, wall_seconds AS WallSeconds, cpu_seconds AS CpuSeconds
              FROM pipeline_stages WHERE run_id IN @ids ORDER BY run_id, position
            """,
            new { ids = rows.Select(row => row.Id) }).ToLookup(row => row.RunId, StringComparer.Ordinal);
        return [.. rows.Select(row => row.ToRun([.. stages[row.Id].Select(stage => stage.ToStage())]))];
    }

    private static List<StoredStage> Stored(SqliteConnection connection, string where, object parameters) =>
        [.. connection.Query<(string RunId, string Outputs, string? Outcome, string? Parts)>(
                $"SELECT run_id, outputs_json, outcome_json, cache_parts FROM pipeline_stages WHERE {where}", parameters)
            .Select(row => new StoredStage(row.RunId, Parse<List<PipelineArtifact>>(row.Outputs), row.Outcome is null ? new StageOutcome() : Parse<StageOutcome>(row.Outcome),
                row.Parts is null ? null : Parse<CacheKeyParts>(row.Parts)))];

    private static string Json<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);

    private static T Parse<T>(string json) => JsonSerializer.Deserialize<T>(json, JsonDefaults.Options)!;

    private static string Text<T>(T status) where T : struct, Enum => JsonNamingPolicy.SnakeCaseLower.ConvertName(status.ToString());

    private static DateTimeOffset? Instant(long? ms) => ms is { } value ? DateTimeOffset.FromUnixTimeMilliseconds(value) : null;

    private sealed record RunRow
    {
        public required string Id { get; init; }
        public required string Pipeline { get; init; }
        public long DefinitionVersion { get; init; }
        public required string Model { get; init; }
        public required string TriggerKind { get; init; }
        public required string Reason { get; init; }
        public required string ParametersJson { get; init; }
        public required string Status { get; init; }
        public string? Verdict { get; init; }
        public string? VerdictReason { get; init; }
        public string? Error { get; init; }
        public string? ModelVersion { get; init; }
        public required string CreatedBy { get; init; }
        public long CreatedAtMs { get; init; }
        public long? StartedAtMs { get; init; }
        public long? FinishedAtMs { get; init; }
        public string? Metric { get; init; }
        public double? Minimum { get; init; }
        public bool? MustBeatBaselines { get; init; }
        public double? ProductionTolerance { get; init; }
        public long? SetAtMs { get; init; }

        public PipelineRun ToRun(IReadOnlyList<PipelineStage> stages)
        {
            var status = Enum.Parse<PipelineRunStatus>(Status, ignoreCase: true);
            var done = stages.Count(stage => stage.Status is not (PipelineStageStatus.Pending or PipelineStageStatus.Running));
            var progress = new PipelineProgress(
                stages.FirstOrDefault(stage => stage.Status == PipelineStageStatus.Running)?.Name,
                stages.Count == 0 || FinishedAtMs is not null ? 1 : (double)done / stages.Count,
                status switch
                {
                    PipelineRunStatus.Queued => "waits for the runs before it",
                    PipelineRunStatus.Running => "at work",
                    PipelineRunStatus.Failed => Error ?? "failed",
                    PipelineRunStatus.Rejected => VerdictReason ?? "not good enough",
                    _ => ModelVersion is null ? "done" : $"registered {Model} {ModelVersion}",
                });
            return new PipelineRun(
                Id, Pipeline, DefinitionVersion, Model, TriggerKind, Reason, Parse<Dictionary<string, string>>(ParametersJson), status, Verdict, VerdictReason, Error,
                Metric is null ? null : new GoNoGo(Metric, Minimum!.Value, MustBeatBaselines!.Value, ProductionTolerance), Instant(SetAtMs), ModelVersion,
                CreatedBy, Instant(CreatedAtMs)!.Value, Instant(StartedAtMs), Instant(FinishedAtMs), progress, stages);
        }
    }

    private sealed record StageRow
    {
        public required string RunId { get; init; }
        public required string Name { get; init; }
        public required string Uses { get; init; }
        public required string Status { get; init; }
        public string? Message { get; init; }
        public int Attempts { get; init; }
        public string? CacheNote { get; init; }
        public string? CachedFromRun { get; init; }
        public required string InputsJson { get; init; }
        public required string OutputsJson { get; init; }
        public long? StartedAtMs { get; init; }
        public long? FinishedAtMs { get; init; }
        public double? WallSeconds { get; init; }
        public double? CpuSeconds { get; init; }

        public PipelineStage ToStage() => new(
            Name, Uses, Enum.Parse<PipelineStageStatus>(Status, ignoreCase: true), Message, Attempts, CacheNote, CachedFromRun,
            Parse<List<PipelineArtifact>>(InputsJson), Parse<List<PipelineArtifact>>(OutputsJson), Instant(StartedAtMs), Instant(FinishedAtMs), WallSeconds, CpuSeconds);
    }
}
