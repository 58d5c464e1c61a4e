using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Reproductions;
using Slipway.Pipelines.Stages;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Pipelines.Runs;

/// <summary>A finished stage of an earlier run.</summary>
internal sealed record StoredStage(string RunId, string Name, IReadOnlyList<PipelineArtifact> Outputs, StageOutcome Outcome, CacheKeyParts? Parts);

/// <summary>A run that waits for a worker, or was interrupted.</summary>
internal sealed record WaitingRun(string Id, string Pipeline, string DefinitionYaml, string? OnlyStage, string CreatedBy, long Resumes, string Model, string? ReproducesVersion);

/// <summary>Owns <c>pipeline_runs</c>, <c>pipeline_stages</c>, <c>go_no_go</c> and <c>test_evaluations</c>.</summary>
internal sealed class PipelineStore(Database database)
{
    private const string RunColumns =
        """
        r.id AS Id, r.pipeline AS Pipeline, r.definition_version AS DefinitionVersion, r.model AS Model, r.trigger_kind AS TriggerKind, r.reason AS Reason,
        r.parameters_json AS ParametersJson, r.status AS Status, r.verdict AS Verdict, r.verdict_reason AS VerdictReason, r.error AS Error,
        r.model_version AS ModelVersion, r.reproduces_version AS ReproducesVersion, r.created_by AS CreatedBy, r.created_at_ms AS CreatedAtMs, r.started_at_ms AS StartedAtMs, r.finished_at_ms AS FinishedAtMs,
        g.metric AS Metric, g.minimum AS Minimum, g.must_beat_baselines AS MustBeatBaselines, g.production_tolerance AS ProductionTolerance, g.set_at_ms AS SetAtMs
        """;

    /// <summary>Stores a run with its threshold and pending stages, its audit row in the same transaction.</summary>
    public Task CreateAsync(
        string id, PipelineDefinition pipeline, long definitionVersion, string trigger, string reason, string? onlyStage, Caller by, CancellationToken cancellationToken,
        string? reproducesVersion = null) =>
        database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute(
                """
                INSERT INTO pipeline_runs (id, pipeline, definition_version, model, trigger_kind, reason, parameters_json, definition_yaml, only_stage, reproduces_version, status, created_by, created_at_ms)
                VALUES (@id, @Name, @definitionVersion, @Model, @trigger, @reason, @parameters, @Yaml, @onlyStage, @reproducesVersion, 'queued', @by, @now)
                """,
                new { id, pipeline.Name, definitionVersion, pipeline.Model, trigger, reason, parameters = Json(pipeline.Parameters), pipeline.Yaml, onlyStage, reproducesVersion, by = by.Name, now = transaction.NowMs });
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

            transaction.Link(new NodeRef(NodeKinds.Definition, $"{PipelineKind.Name}/{pipeline.Name}@{definitionVersion}"), "follows", Node(id));
            transaction.Audit(by, "pipeline_run.requested", Node(id), reason, null, new { pipeline = pipeline.Name, definition_version = definitionVersion, trigger, pipeline.Parameters, pipeline.GoNoGo });
        }, cancellationToken);

    /// <summary>One run; null when there is none.</summary>
    public PipelineRun? Find(string id) => database.Read(connection => Runs(connection, "r.id = @id", new { id, limit = 1 }).FirstOrDefault());

    /// <summary>The pipeline file of a run, with its parameters filled in.</summary>
    public string DefinitionYaml(string id) => database.Read(connection => connection.QuerySingle<string>("SELECT definition_yaml FROM pipeline_runs WHERE id = @id", new { id }));

    /// <summary>The runs that built a version again, newest first; at most 100.</summary>
    public IReadOnlyList<Reproduction> Reproductions(string model, string version, string? originalRunId) => database.Read(connection => connection
        .Query<(string Id, string? Result, string? Error, string By, long CreatedAtMs, long? FinishedAtMs)>(
            """
            SELECT id, reproduction_json, error, created_by, created_at_ms, finished_at_ms FROM pipeline_runs
             WHERE model = @model AND reproduces_version = @version ORDER BY created_at_ms DESC, id DESC LIMIT 100
            """, new { model, version })
        .Select(row =>
        {
            // A run that was given up without a comparison, such as after two stops of the server, has an error only.
            var result = row.Result is { } json ? Parse<ReproductionResult>(json)
                : row.FinishedAtMs is null ? new ReproductionResult(ReproductionOutcome.Running, "The stages are waiting or at work.", [])
                : new ReproductionResult(ReproductionOutcome.NotReproducible, row.Error ?? "The run ended without a comparison.", []);
            return new Reproduction(
                model, version, result.Outcome, result.Summary, originalRunId, row.Id, result.Checks, row.By, Instant(row.CreatedAtMs)!.Value, Instant(row.FinishedAtMs));
        }).ToList());

    /// <summary>Newest first.</summary>
    public IReadOnlyList<PipelineRun> List(string? pipeline, int limit) => database.Read(connection =>
        Runs(connection, "(@pipeline IS NULL OR r.pipeline = @pipeline)", new { pipeline, limit = Math.Clamp(limit, 1, 1000) }));

    /// <summary>The run to work on next: one that was interrupted before one that waits, oldest first.</summary>
    public WaitingRun? Next() => database.Read(connection => connection.QueryFirstOrDefault<WaitingRun>(
        """
        SELECT id AS Id, pipeline AS Pipeline, definition_yaml AS DefinitionYaml, only_stage AS OnlyStage, created_by AS CreatedBy, resumes AS Resumes,
               model AS Model, reproduces_version AS ReproducesVersion
          FROM pipeline_runs WHERE status IN ('running', 'queued')
         ORDER BY CASE status WHEN 'queued' THEN 1 ELSE 0 END, created_at_ms, id LIMIT 1
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
        string runId, int position, string? cacheKey, StoredStage? cachedFrom, IReadOnlyList<PipelineArtifact> outputs, StageOutcome outcome, IReadOnlyList<LineageEdge> edges,
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
                    cachedFromRun = cachedFrom?.RunId,
                    outcome.Message,
                    wallSeconds,
                    cpuSeconds,
                    now = transaction.NowMs,
                    status = cachedFrom is null ? "succeeded" : "cached",
                    outputs = Json(outputs),
                    outcome = Json(outcome),
                });
            LinkStage(transaction, runId, position, cachedFrom, edges);
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

    /// <summary>Ends a run, its audit row in the same transaction; of a reproduction also what came of it, with a row about the version.</summary>
    public Task EndAsync(
        string runId, PipelineRunStatus status, string? error, Caller by, Lease lease, CancellationToken cancellationToken, ReproductionResult? reproduction = null) =>
        FencedAsync(lease, transaction =>
        {
            transaction.Connection.Execute("UPDATE pipeline_runs SET status = @status, error = @error, reproduction_json = @result, finished_at_ms = @now WHERE id = @runId",
                new { runId, status = Text(status), error, result = reproduction is null ? null : Json(reproduction), now = transaction.NowMs });
            var (pipeline, model, verdict, version, reproduces) = transaction.Connection.QuerySingle<(string, string, string?, string?, string?)>(
                "SELECT pipeline, model, verdict, model_version, reproduces_version FROM pipeline_runs WHERE id = @runId", new { runId });
            transaction.Audit(by, $"pipeline_run.{Text(status)}", Node(runId), error, null, new { pipeline, verdict, model_version = version });
            if (reproduction is not null)
            {
                transaction.Audit(by, "model_version.reproduction", ModelVersionNode.Of(model, reproduces!), null, null, new { reproduction.Outcome, reproduction.Summary, run = runId });
            }

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
    /// <returns>Looks so far, this one included; looks of the same run count once, and a reproduction, from which nobody chooses, does not count.</returns>
    public Task<int> CountTestEvaluationAsync(string testSetSha256, string runId, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        transaction.Connection.Execute(
            """
            INSERT INTO test_evaluations (test_set_sha256, run_id, evaluated_at_ms)
            SELECT @testSetSha256, id, @now FROM pipeline_runs WHERE id = @runId AND reproduces_version IS NULL ON CONFLICT DO NOTHING
            """,
            new { testSetSha256, runId, now = transaction.NowMs });
        return transaction.Connection.ExecuteScalar<int>("SELECT count(*) FROM test_evaluations WHERE test_set_sha256 = @testSetSha256", new { testSetSha256 });
    }, cancellationToken);

    internal static NodeRef Node(string runId) => new(NodeKinds.PipelineRun, runId);

    internal static NodeRef StageNode(string runId, string stage) => new(NodeKinds.PipelineStage, $"{runId}/{stage}");

    // A stage taken from the cache has made nothing itself: what it stands for was made by the stage that ran.
    private static void LinkStage(WriteTransaction transaction, string runId, int position, StoredStage? cachedFrom, IReadOnlyList<LineageEdge> edges)
    {
        var stage = StageNode(runId, transaction.Connection.QuerySingle<string>(
            "SELECT name FROM pipeline_stages WHERE run_id = @runId AND position = @position", new { runId, position }));
        transaction.Link(Node(runId), "part_of", stage);
        foreach (var edge in edges)
        {
            transaction.Link(edge.From, edge.Relation, edge.To);
        }

        if (cachedFrom is not null)
        {
            transaction.Link(StageNode(cachedFrom.RunId, cachedFrom.Name), "reused_by", stage);
        }
    }

    // A worker whose lease has passed on must not write over the next worker's rows.
    private Task FencedAsync(Lease lease, Action<WriteTransaction> work, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        Leases.Demand(transaction, lease);
        work(transaction);
    }, cancellationToken);

    private static List<PipelineRun> Runs(DbConnection connection, string where, object parameters)
    {
        var rows = connection.Query<RunRow>(
            $"SELECT {RunColumns} FROM pipeline_runs r LEFT JOIN go_no_go g ON g.run_id = r.id WHERE {where} ORDER BY r.created_at_ms DESC, r.id DESC LIMIT @limit", parameters).AsList();
        var stages = connection.Query<StageRow>(
            $"""
            SELECT run_id AS RunId, name AS Name, uses AS Uses, status AS Status, message AS Message, attempts AS Attempts, cache_note AS CacheNote,
                   cached_from_run AS CachedFromRun, inputs_json AS InputsJson, outputs_json AS OutputsJson, started_at_ms AS StartedAtMs,
                   finished_at_ms AS FinishedAtMs, wall_seconds AS WallSeconds, cpu_seconds AS CpuSeconds
              FROM pipeline_stages WHERE run_id {SqlDialect.Of(connection).InTexts("@ids")} ORDER BY run_id, position
            """,
            new { ids = JsonSerializer.Serialize(rows.Select(row => row.Id)) }).ToLookup(row => row.RunId, StringComparer.Ordinal);
        return [.. rows.Select(row => row.ToRun([.. stages[row.Id].Select(stage => stage.ToStage())]))];
    }

    private static List<StoredStage> Stored(DbConnection connection, string where, object parameters) =>
        [.. connection.Query<(string RunId, string Name, string Outputs, string? Outcome, string? Parts)>(
                $"SELECT run_id, name, outputs_json, outcome_json, cache_parts FROM pipeline_stages WHERE {where}", parameters)
            .Select(row => new StoredStage(row.RunId, row.Name, Parse<List<PipelineArtifact>>(row.Outputs), row.Outcome is null ? new StageOutcome() : Parse<StageOutcome>(row.Outcome),
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
        public string? ReproducesVersion { get; init; }
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
                CreatedBy, Instant(CreatedAtMs)!.Value, Instant(StartedAtMs), Instant(FinishedAtMs), progress, stages)
            {
                Reproduces = ReproducesVersion,
            };
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
