using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>Owns <c>rollouts</c>, <c>rollout_steps</c> and <c>rollout_decisions</c>.</summary>
internal sealed class RolloutStore(Database database)
{
    /// <summary>Published when a rollout has ended, however it ended.</summary>
    public const string EndedTopic = "rollout.ended";

    private const string Columns =
        """
        id AS Id, model AS Model, version AS Version, stable_version AS StableVersion, spec_name AS SpecName, spec_version AS SpecVersion, status AS Status, step AS Step,
        step_started_at_ms AS StepStartedAtMs, requested_by AS RequestedBy, start_reason AS StartReason, started_at_ms AS StartedAtMs, ended_at_ms AS EndedAtMs,
        end_reason AS EndReason, restore_ms AS RestoreMs, paused_at_ms AS PausedAtMs, paused_by AS PausedBy, pause_reason AS PauseReason
        """;

    public RolloutRow? Find(string id) => database.Read(connection => Find(connection, id));

    public RolloutRow Get(string id) => Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no rollout '{id}'; GET /api/slipway/v1/rollouts lists them.");

    /// <summary>Newest first; of all models when <paramref name="model"/> is null.</summary>
    public IReadOnlyList<RolloutRow> List(string? model, int limit = 100) => database.Read(connection => connection.Query<Stored>(
        $"SELECT {Columns} FROM rollouts WHERE @model IS NULL OR model = @model ORDER BY started_at_ms DESC, id DESC LIMIT @limit", new { model, limit })
        .Select(row => row.ToRow()).ToList());

    public IReadOnlyList<RolloutRow> Running() => database.Read(connection => connection.Query<Stored>(
        $"SELECT {Columns} FROM rollouts WHERE status = 'running' ORDER BY id").Select(row => row.ToRow()).ToList());

    public IReadOnlyList<RolloutStepResponse> Steps(string id) => database.Read(connection => connection.Query<StoredStep>(
        """
        SELECT step AS Step, shadow AS Shadow, percent AS Percent, min_requests AS MinRequests, status AS Status, started_at_ms AS StartedAtMs, ended_at_ms AS EndedAtMs,
               requests AS Requests, errors AS Errors, stable_requests AS StableRequests, stable_errors AS StableErrors, gates AS Gates
          FROM rollout_steps WHERE rollout_id = @id ORDER BY step
        """, new { id }).Select(step => step.ToResponse()).ToList());

    public IReadOnlyList<RolloutDecisionResponse> Decisions(string id) => database.Read(connection => connection.Query<StoredDecision>(
        """
        SELECT seq AS Seq, at_ms AS AtMs, step AS Step, action AS Action, reason AS Reason, gates AS Gates, evidence AS Evidence, state AS State
          FROM rollout_decisions WHERE rollout_id = @id ORDER BY seq
        """, new { id }).Select(decision => decision.ToResponse()).ToList());

    /// <summary>The decision log as it is stored, oldest first; steps from 1.</summary>
    public IReadOnlyList<StoredLook> Looks(string id) => database.Read(connection => connection.Query<StoredDecision>(
        """
        SELECT seq AS Seq, at_ms AS AtMs, step AS Step, action AS Action, reason AS Reason, gates AS Gates, evidence AS Evidence, state AS State
          FROM rollout_decisions WHERE rollout_id = @id ORDER BY seq
        """, new { id }).Select(look => look.ToLook()).ToList());

    /// <summary>Stores a rollout that begins with its first step.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: one is running for the model.</exception>
    public Task<RolloutRow> CreateAsync(string id, RolloutSpec spec, long specVersion, string version, string stableVersion, string reason, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            var connection = transaction.Connection;
            RefuseSecond(connection, spec.Model);
            var now = transaction.NowMs;
            connection.Execute(
                """
                INSERT INTO rollouts (id, model, version, stable_version, spec_name, spec_version, status, step, step_started_at_ms, requested_by, start_reason, started_at_ms)
                VALUES (@id, @model, @version, @stableVersion, @specName, @specVersion, 'running', 0, @now, @by, @reason, @now)
                """,
                new { id, model = spec.Model, version, stableVersion, specName = spec.Name, specVersion, now, by = by.Name, reason });
            foreach (var (step, index) in spec.Steps.Select((step, index) => (step, index)))
            {
                connection.Execute(
                    """
                    INSERT INTO rollout_steps (rollout_id, step, shadow, percent, min_requests, status, started_at_ms)
                    VALUES (@id, @index, @Shadow, @Percent, @MinRequests, @status, @startedAt)
                    """,
                    new { id, index, step.Shadow, step.Percent, step.MinRequests, status = index == 0 ? "running" : "pending", startedAt = index == 0 ? now : (long?)null });
            }

            var row = Find(connection, id)!;
            transaction.Audit(by, "rollout.started", row.Node, reason, null,
                new { row.Model, row.Version, row.StableVersion, spec = $"{spec.Name}@{specVersion}", steps = spec.Steps.Select(step => step.ToString()), spec.Alpha });
            transaction.Link(row.VersionNode, "rolls_out", row.Node);
            transaction.Link(new NodeRef(NodeKinds.Definition, $"{RolloutSpec.Kind}/{spec.Name}@{specVersion}"), "follows", row.Node);
            return row;
        }, cancellationToken);

    /// <summary>What a running rollout had counted when it was last kept; null when it never was.</summary>
    public CountedStep? Counted(string id) => database.Read(connection => connection.ExecuteScalar<string?>("SELECT counted FROM rollouts WHERE id = @id", new { id })) is { } json
        ? JsonSerializer.Deserialize<CountedStep>(json, JsonDefaults.Options) : null;

    /// <summary>Keeps what a running rollout has counted. Counters are no change of state: what is decided from them has its audit row.</summary>
    public Task KeepCountsAsync(string id, CountedStep counted, Lease lease, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            Leases.Demand(transaction, lease);
            transaction.Connection.Execute(
                "UPDATE rollouts SET counted = @json WHERE id = @id AND status = 'running' AND step = @Step", new { id, counted.Step, json = JsonSerializer.Serialize(counted, JsonDefaults.Options) });
        }, cancellationToken);

    /// <summary>Throws while the model has a running rollout.</summary>
    public void RefuseSecond(string model) => database.Read<object?>(connection =>
    {
        RefuseSecond(connection, model);
        return null;
    });

    /// <summary>Writes a decision and what follows from it, with its audit rows, in one transaction.</summary>
    /// <param name="row">The rollout as it was when the decision was made.</param>
    /// <param name="decision">The decision.</param>
    /// <param name="evidence">What it was made from.</param>
    /// <param name="at">When the rules were asked; null when the decision is not theirs.</param>
    /// <param name="lease">Fences off a controller that has lost its lease.</param>
    /// <param name="restoreMs">For a rollback: from the detected breach to restored routes.</param>
    /// <param name="cancellationToken">Cancels while the change still waits.</param>
    public Task<RolloutRow> RecordAsync(RolloutRow row, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset? at, Lease lease, double? restoreMs, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            Leases.Demand(transaction, lease);
            DemandRunning(transaction.Connection, row);
            var by = Caller.System("rollouts");
            AddDecision(transaction, row, decision, evidence, at);
            UpdateStep(transaction, row, decision, evidence);
            switch (decision.Action)
            {
                case RolloutAction.Hold:
                    break;
                case RolloutAction.Advance:
                    EnterNext(transaction, row);
                    transaction.Audit(by, "rollout.advanced", row.Node, decision.Reason, new { step = row.Step + 1 }, new { step = row.Step + 2 });
                    break;
                case RolloutAction.Complete:
                    End(transaction, row, RolloutStatus.Completed, decision.Reason, null);
                    transaction.Audit(by, "rollout.completed", row.Node, decision.Reason, new { production = row.StableVersion }, new { production = row.Version });
                    break;
                case RolloutAction.RollBack:
                    End(transaction, row, RolloutStatus.RolledBack, decision.Reason, restoreMs);
                    var breaches = decision.Gates.Where(gate => gate.Verdict == GateVerdict.Breached);
                    transaction.Audit(by, "rollout.rolled_back", row.Node, decision.Reason,
                        new { step = row.Step + 1, row.Version }, new { serving = row.StableVersion, restore_ms = restoreMs, breaches });
                    // Whoever looks at the version, and not at the rollout, must see why it is not in production.
                    transaction.Audit(by, "model_version.rollout_failed", row.VersionNode, decision.Reason, null, new { rollout = row.Id, step = row.Step + 1, restore_ms = restoreMs });
                    break;
            }

            return Find(transaction.Connection, row.Id)!;
        }, cancellationToken);

    /// <summary>Ends a rollout on a person's word.</summary>
    public Task<RolloutRow> AbortAsync(RolloutRow row, string reason, double restoreMs, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            DemandRunning(transaction.Connection, row);
            transaction.Connection.Execute(
                "UPDATE rollout_steps SET status = 'stopped', ended_at_ms = @now WHERE rollout_id = @Id AND status = 'running'", new { row.Id, now = transaction.NowMs });
            End(transaction, row, RolloutStatus.Aborted, reason, restoreMs);
            transaction.Audit(by, "rollout.aborted", row.Node, reason, new { step = row.Step + 1, row.Version }, new { serving = row.StableVersion, restore_ms = restoreMs });
            transaction.Audit(by, "model_version.rollout_aborted", row.VersionNode, reason, null, new { rollout = row.Id, step = row.Step + 1 });
            return Find(transaction.Connection, row.Id)!;
        }, cancellationToken);

    /// <summary>Keeps a rollout in its step, or (without a reason to pause) lets it go on.</summary>
    public Task<RolloutRow> PauseAsync(RolloutRow row, bool pause, string reason, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            DemandRunning(transaction.Connection, row);
            transaction.Connection.Execute(
                "UPDATE rollouts SET paused_at_ms = @at, paused_by = @by, pause_reason = @why WHERE id = @Id",
                new { row.Id, at = pause ? transaction.NowMs : (long?)null, by = pause ? by.Name : null, why = pause ? reason : null });
            transaction.Audit(by, pause ? "rollout.paused" : "rollout.resumed", row.Node, reason, new { step = row.Step + 1, paused = !pause }, new { step = row.Step + 1, paused = pause });
            return Find(transaction.Connection, row.Id)!;
        }, cancellationToken);

    /// <summary>Enters the next step, or ends as completed, on a person's word.</summary>
    public Task<RolloutRow> PromoteAsync(RolloutRow row, RolloutDecision decision, RolloutEvidence evidence, string reason, Caller by, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            DemandRunning(transaction.Connection, row);
            AddDecision(transaction, row, decision, evidence, null);
            UpdateStep(transaction, row, decision, evidence);
            var unmet = decision.Gates.Where(gate => gate.Verdict != GateVerdict.Quiet);
            if (decision.Action == RolloutAction.Advance)
            {
                EnterNext(transaction, row);
                transaction.Audit(by, "rollout.promoted", row.Node, reason, new { step = row.Step + 1, unmet }, new { step = row.Step + 2 });
            }
            else
            {
                End(transaction, row, RolloutStatus.Completed, decision.Reason, null);
                transaction.Audit(by, "rollout.promoted", row.Node, reason, new { step = row.Step + 1, production = row.StableVersion, unmet }, new { production = row.Version });
            }

            return Find(transaction.Connection, row.Id)!;
        }, cancellationToken);

    private static void EnterNext(WriteTransaction transaction, RolloutRow row) => transaction.Connection.Execute(
        """
        UPDATE rollouts SET step = @next, step_started_at_ms = @now WHERE id = @Id;
        UPDATE rollout_steps SET status = 'running', started_at_ms = @now WHERE rollout_id = @Id AND step = @next;
        """,
        new { row.Id, next = row.Step + 1, now = transaction.NowMs });

    private static void End(WriteTransaction transaction, RolloutRow row, RolloutStatus status, string reason, double? restoreMs)
    {
        transaction.Connection.Execute(
            "UPDATE rollouts SET status = @status, ended_at_ms = @now, end_reason = @reason, restore_ms = @restoreMs WHERE id = @Id",
            new { row.Id, status = Name(status), now = transaction.NowMs, reason, restoreMs });
        transaction.Publish(EndedTopic, new { rollout = row.Id, row.Model, row.Version, status, reason });
    }

    private static void AddDecision(WriteTransaction transaction, RolloutRow row, RolloutDecision decision, RolloutEvidence evidence, DateTimeOffset? at) =>
        transaction.Connection.Execute(
            """
            INSERT INTO rollout_decisions (rollout_id, seq, at_ms, step, action, reason, gates, evidence, state)
            VALUES (@Id, (SELECT coalesce(max(seq), 0) + 1 FROM rollout_decisions WHERE rollout_id = @Id), @now, @Step, @action, @reason, @gates, @evidence, @state)
            """,
            new
            {
                row.Id,
                now = transaction.NowMs,
                row.Step,
                action = Name(decision.Action),
                reason = decision.Reason,
                gates = Json(decision.Gates),
                evidence = Json(evidence),
                state = at is { } moment ? Json(new DecisionMoment(RolloutState.Of(row), moment)) : null,
            });

    private static void UpdateStep(WriteTransaction transaction, RolloutRow row, RolloutDecision decision, RolloutEvidence evidence) =>
        transaction.Connection.Execute(
            """
            UPDATE rollout_steps
               SET requests = @requests, errors = @errors, stable_requests = @stableRequests, stable_errors = @stableErrors, gates = @gates,
                   status = @status, ended_at_ms = @endedAt
             WHERE rollout_id = @Id AND step = @Step
            """,
            new
            {
                row.Id,
                row.Step,
                requests = evidence.Candidate.Requests,
                errors = evidence.Candidate.Errors,
                stableRequests = evidence.Stable.Requests,
                stableErrors = evidence.Stable.Errors,
                gates = Json(decision.Gates),
                status = decision.Action switch { RolloutAction.Hold => "running", RolloutAction.RollBack => "stopped", _ => "passed" },
                endedAt = decision.Action == RolloutAction.Hold ? (long?)null : transaction.NowMs,
            });

    private static void RefuseSecond(DbConnection connection, string model)
    {
        var other = connection.ExecuteScalar<string?>("SELECT id FROM rollouts WHERE model = @model AND status = 'running'", new { model });
        if (other is not null)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {other} of '{model}' is still running; wait for its end or abort it first.");
        }
    }

    private static void DemandRunning(DbConnection connection, RolloutRow row)
    {
        var now = Find(connection, row.Id);
        if (now is not { Status: RolloutStatus.Running } || now.Step != row.Step || now.Pause != row.Pause)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"Rollout {row.Id} has ended, moved on, or was paused or resumed in the meantime; look again.");
        }
    }

    private static RolloutRow? Find(DbConnection connection, string id) =>
        connection.QueryFirstOrDefault<Stored>($"SELECT {Columns} FROM rollouts WHERE id = @id", new { id })?.ToRow();

    private static string Json<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);

    private static string Name<T>(T value) where T : struct, Enum => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());

    private static T Parse<T>(string name) where T : struct, Enum => Enum.Parse<T>(name.Replace("_", "", StringComparison.Ordinal), ignoreCase: true);

    private static DateTimeOffset? Instant(long? ms) => ms is { } value ? DateTimeOffset.FromUnixTimeMilliseconds(value) : null;

    private sealed record Stored(
        string Id, string Model, string Version, string StableVersion, string SpecName, long SpecVersion, string Status, long Step, long StepStartedAtMs,
        string RequestedBy, string StartReason, long StartedAtMs, long? EndedAtMs, string? EndReason, double? RestoreMs,
        long? PausedAtMs, string? PausedBy, string? PauseReason)
    {
        public RolloutRow ToRow() => new(
            Id, Model, Version, StableVersion, SpecName, SpecVersion, Parse<RolloutStatus>(Status), (int)Step, DateTimeOffset.FromUnixTimeMilliseconds(StepStartedAtMs),
            RequestedBy, StartReason, DateTimeOffset.FromUnixTimeMilliseconds(StartedAtMs), Instant(EndedAtMs), EndReason, RestoreMs,
            Instant(PausedAtMs) is { } at ? new RolloutPause(at, PausedBy!, PauseReason!) : null);
    }

    private sealed record StoredStep(
        long Step, long Shadow, double Percent, long MinRequests, string Status, long? StartedAtMs, long? EndedAtMs,
        long Requests, long Errors, long StableRequests, long StableErrors, string Gates)
    {
        public RolloutStepResponse ToResponse() => new(
            (int)Step + 1, Shadow != 0, Percent, MinRequests, Parse<RolloutStepStatus>(Status), Instant(StartedAtMs), Instant(EndedAtMs),
            Requests, Errors, StableRequests, StableErrors, JsonSerializer.Deserialize<List<RolloutGateReading>>(Gates, JsonDefaults.Options)!);
    }

    private sealed record StoredDecision(long Seq, long AtMs, long Step, string Action, string Reason, string Gates, string Evidence, string? State)
    {
        public StoredLook ToLook() => new(Seq, DateTimeOffset.FromUnixTimeMilliseconds(AtMs), (int)Step + 1, Parse<RolloutAction>(Action), Reason, Gates, Evidence, State);

        public RolloutDecisionResponse ToResponse() => new(
            Seq, DateTimeOffset.FromUnixTimeMilliseconds(AtMs), (int)Step + 1, Parse<RolloutAction>(Action), Reason,
            JsonSerializer.Deserialize<List<RolloutGateReading>>(Gates, JsonDefaults.Options)!, JsonSerializer.Deserialize<JsonElement>(Evidence));
    }
}
