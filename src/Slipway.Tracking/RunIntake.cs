using System.Data.Common;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>
/// Takes in experiments and runs whose ids and times were decided elsewhere: on a machine without a server, or by another tracker.
/// Every call may be repeated: what is there already stays as it is.
/// </summary>
public sealed class RunIntake(Database database)
{
    /// <summary>Points per transaction: large enough for speed, small enough that other writers hardly wait.</summary>
    public const int PointsPerTransaction = 4000;

    private const int PairsMax = 10_000;
    private const long ExperimentIdMax = 999_999_999_999_999_999; // So that the ids after it are whole numbers too.
    private const long TimeMsMax = 253_402_300_799_999; // The end of year 9999.

    /// <summary>Makes the experiment, or completes the one of this name.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a name, id, time or tag.</exception>
    public Task<PutExperimentResult> PutExperimentAsync(PutExperiment given, Caller by, CancellationToken cancellationToken)
    {
        ExperimentStore.CheckName(given.Name);
        ExperimentStore.CheckTags(given.Tags);
        CheckPairs("tags", given.Tags);
        CheckTime("created_at_ms", given.CreatedAtMs);
        CheckTime("updated_at_ms", given.UpdatedAtMs);
        long? wanted = null;
        if (given.ExperimentId is { } text)
        {
            wanted = ExperimentStore.TryId(text, out var id) && id <= ExperimentIdMax
                ? id
                : throw RunLimits.Invalid($"'experiment_id' must be a whole number from 0 to {ExperimentIdMax}, not '{text}'; leave it out to get the next free one.");
        }

        return database.WriteAsync(transaction => PutExperiment(transaction, given, wanted, by), cancellationToken);
    }

    /// <summary>Makes the run, or completes it.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: an id, time, name or limit, or a parameter that has another value already; NotFound: the experiment; FailedPrecondition: the run belongs to another experiment.</exception>
    public Task<PutRunResult> PutRunAsync(string runId, PutRun given, Caller by, CancellationToken cancellationToken)
    {
        CheckRunId("run_id", runId);
        if (given.ParentRunId is { } parent)
        {
            CheckRunId("parent_run_id", parent);
        }

        if (given.ExperimentName is { } name)
        {
            ExperimentStore.CheckName(name);
        }

        CheckTime("start_time_ms", given.StartTimeMs);
        CheckTime("end_time_ms", given.EndTimeMs);
        RunLimits.CheckLength("The run's 'user_id'", given.UserId, 256);
        CheckPairs("tags", given.Tags);
        CheckPairs("parameters", given.Parameters);
        return database.WriteAsync(transaction => PutRun(transaction, runId, given, by), cancellationToken);
    }

    /// <summary>Adds points in one transaction; those that are there already are not doubled.</summary>
    /// <exception cref="SlipwayException">NotFound: the run; InvalidArgument: a key or a time.</exception>
    public Task AddMetricsAsync(string runId, IReadOnlyList<MetricPoint> points, CancellationToken cancellationToken)
    {
        string? checkedKey = null;
        foreach (var point in points)
        {
            if (!ReferenceEquals(point.Key, checkedKey))
            {
                RunLimits.CheckKey("metric", checkedKey = point.Key);
            }

            if (point.TimestampMs < 0)
            {
                throw RunLimits.Invalid($"The timestamp {point.TimestampMs} of metric '{point.Key}' must be Unix milliseconds, not negative.");
            }
        }

        return database.WriteAsync(
            transaction => MetricRows.Write(transaction.Connection, RunStore.Number(transaction.Connection, runId), points), cancellationToken);
    }

    /// <summary>How many points each metric of a run has.</summary>
    /// <exception cref="SlipwayException">NotFound: the run.</exception>
    public IReadOnlyList<MetricCount> CountMetrics(string runId) => database.Read(connection => connection
        .Query<(string Key, long Points)>(
            "SELECT key, count(*) FROM metric_points WHERE run = @run GROUP BY key ORDER BY key", new { run = RunStore.Number(connection, runId) })
        .Select(row => new MetricCount(row.Key, row.Points)).ToList());

    private static PutExperimentResult PutExperiment(WriteTransaction transaction, PutExperiment given, long? wanted, Caller by)
    {
        var connection = transaction.Connection;
        var found = FindExperiment(connection, given.Name);
        var id = found ?? InsertExperiment(transaction, given, wanted, by);
        var changes = 0;
        foreach (var (key, value) in given.Tags ?? new Dictionary<string, string>())
        {
            if (connection.QueryFirstOrDefault<string>("SELECT value FROM experiment_tags WHERE experiment_id = @id AND key = @key", new { id, key }) != value)
            {
                ExperimentStore.WriteTag(connection, id, key, value);
                changes++;
            }
        }

        if (found is not null)
        {
            var before = connection.QuerySingle<(string Stage, long CreatedAtMs, long UpdatedAtMs)>(
                "SELECT lifecycle_stage, created_at_ms, updated_at_ms FROM experiments WHERE id = @id", new { id });
            var stage = Stage(given.Deleted) ?? before.Stage;
            var created = given.CreatedAtMs ?? before.CreatedAtMs;
            changes += stage != before.Stage || created != before.CreatedAtMs ? 1 : 0;
            var updated = given.UpdatedAtMs ?? (changes > 0 ? transaction.NowMs : before.UpdatedAtMs);
            if ((stage, created, updated) != before)
            {
                connection.Execute(
                    "UPDATE experiments SET lifecycle_stage = @stage, created_at_ms = @created, updated_at_ms = @updated WHERE id = @id", new { id, stage, created, updated });
            }

            if (stage != before.Stage)
            {
                transaction.Audit(by, stage == "deleted" ? "experiment.deleted" : "experiment.restored", ExperimentStore.Node(id), before: new { stage = before.Stage }, after: new { stage });
            }
        }

        return new PutExperimentResult(ExperimentStore.Text(id), found is null);
    }

    private static long? FindExperiment(DbConnection connection, string name) =>
        connection.QueryFirstOrDefault<long?>("SELECT id FROM experiments WHERE name = @name", new { name });

    private static long InsertExperiment(WriteTransaction transaction, PutExperiment given, long? wanted, Caller by)
    {
        var connection = transaction.Connection;
        var row = new
        {
            wanted,
            name = given.Name,
            stage = Stage(given.Deleted) ?? "active",
            created = given.CreatedAtMs ?? transaction.NowMs,
            updated = given.UpdatedAtMs ?? given.CreatedAtMs ?? transaction.NowMs,
        };
        long? id = null;
        if (wanted is not null)
        {
            id = connection.QueryFirstOrDefault<long?>(
                """
                INSERT INTO experiments (id, name, lifecycle_stage, created_at_ms, updated_at_ms) VALUES (@wanted, @name, @stage, @created, @updated)
                ON CONFLICT (id) DO NOTHING RETURNING id
                """, row);
            if (id is not null && SqlDialect.Of(connection).FollowHighestId("experiments") is { } follow)
            {
                connection.Execute(follow);
            }
        }

        id ??= connection.QuerySingle<long>(
            "INSERT INTO experiments (name, lifecycle_stage, created_at_ms, updated_at_ms) VALUES (@name, @stage, @created, @updated) RETURNING id", row);
        transaction.Audit(by, "experiment.created", ExperimentStore.Node(id.Value), after: new { name = given.Name });
        return id.Value;
    }

    private static PutRunResult PutRun(WriteTransaction transaction, string runId, PutRun given, Caller by)
    {
        var connection = transaction.Connection;
        var experiment = Experiment(transaction, runId, given, by);
        var found = connection.QueryFirstOrDefault<RunRow>(
            """
            SELECT id AS Id, experiment_id AS Experiment, name AS Name, user_id AS UserId, status AS Status, start_at_ms AS StartMs, end_at_ms AS EndMs, lifecycle_stage AS Stage
              FROM runs WHERE run_id = @runId
            """, new { runId });
        if (found is not null && experiment is { } other && found.Experiment != other)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Run {runId} belongs to experiment {found.Experiment}, not to {other}; leave 'experiment_id' and 'experiment_name' out, or give the run another id.");
        }

        var before = found ?? InsertRun(transaction, runId, experiment, given, by);
        var after = Complete(before, given, transaction.NowMs);
        if (after != before)
        {
            connection.Execute(
                """
                UPDATE runs SET name = @Name, user_id = @UserId, status = @Status, start_at_ms = @StartMs, end_at_ms = @EndMs, lifecycle_stage = @Stage
                 WHERE id = @Id
                """, after);
            if (after.Status != before.Status)
            {
                transaction.Audit(by, after.Status is "RUNNING" or "SCHEDULED" ? "run.reopened" : "run.ended", RunStore.Node(runId), before: new { status = before.Status }, after: new { status = after.Status });
            }

            if (after.Stage != before.Stage)
            {
                transaction.Audit(by, after.Stage == "deleted" ? "run.deleted" : "run.restored", RunStore.Node(runId), before: new { stage = before.Stage }, after: new { stage = after.Stage });
            }
        }

        RunStore.WriteParameters(connection, after.Id, runId, [.. given.Parameters ?? new Dictionary<string, string>()]);
        var tags = new Dictionary<string, string>(given.Tags ?? new Dictionary<string, string>(), StringComparer.Ordinal) { [RunStore.RunNameTag] = after.Name };
        if (given.ParentRunId is { } parent)
        {
            tags["mlflow.parentRunId"] = parent;
        }

        RunStore.WriteTags(connection, after.Id, tags);
        return new PutRunResult(runId, ExperimentStore.Text(after.Experiment), found is null);
    }

    private static long? Experiment(WriteTransaction transaction, string runId, PutRun given, Caller by)
    {
        if (given.ExperimentId is { } text)
        {
            return ExperimentStore.TryId(text, out var id) && transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM experiments WHERE id = @id", new { id }) > 0
                ? id
                : throw ExperimentStore.NoExperiment(text);
        }

        // A run that exists knows its experiment, also when that has been renamed since.
        if (given.ExperimentName is not { } name || transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM runs WHERE run_id = @runId", new { runId }) > 0)
        {
            return null;
        }

        return FindExperiment(transaction.Connection, name) ?? InsertExperiment(transaction, new PutExperiment { Name = name }, null, by);
    }

    private static RunRow InsertRun(WriteTransaction transaction, string runId, long? experiment, PutRun given, Caller by)
    {
        var start = given.StartTimeMs ?? transaction.NowMs;
        var name = string.IsNullOrEmpty(given.Name) ? given.Tags?.GetValueOrDefault(RunStore.RunNameTag) : given.Name;
        var row = new RunRow
        {
            Experiment = experiment ?? throw RunLimits.Invalid($"Run {runId} is new and needs its experiment: give 'experiment_id' or 'experiment_name'."),
            Name = RunLimits.Truncate(string.IsNullOrEmpty(name) ? $"run-{runId[..8]}" : name, RunLimits.RunTagValueMax),
            UserId = string.IsNullOrEmpty(given.UserId) ? by.Name : given.UserId,
            Status = "RUNNING",
            StartMs = start,
            Stage = "active",
        };
        var number = transaction.Connection.QuerySingle<long>(
            """
            INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_at_ms, lifecycle_stage)
            VALUES (@runId, @Experiment, @Name, @UserId, @Status, @StartMs, @Stage) RETURNING id
            """,
            new { runId, row.Experiment, row.Name, row.UserId, row.Status, row.StartMs, row.Stage });
        transaction.Audit(by, "run.created", RunStore.Node(runId), after: new { experiment_id = ExperimentStore.Text(row.Experiment), name = row.Name });
        return row with { Id = number };
    }

    // A run that goes on again has no end; an end without a time is now, unless it is known already.
    private static RunRow Complete(RunRow before, PutRun given, long nowMs)
    {
        var status = given.Status is { } wanted ? RunStore.StatusText(wanted) : before.Status;
        return before with
        {
            Name = string.IsNullOrEmpty(given.Name) ? before.Name : RunLimits.Truncate(given.Name, RunLimits.RunTagValueMax),
            UserId = string.IsNullOrEmpty(given.UserId) ? before.UserId : given.UserId,
            Status = status,
            StartMs = given.StartTimeMs ?? before.StartMs,
            EndMs = status is "RUNNING" or "SCHEDULED" ? null : given.EndTimeMs ?? before.EndMs ?? nowMs,
            Stage = Stage(given.Deleted) ?? before.Stage,
        };
    }

    private static string? Stage(bool? deleted) => deleted switch { true => "deleted", false => "active", null => null };

    private static void CheckRunId(string field, string runId)
    {
        if (runId.Length != 32 || !runId.All(c => char.IsAsciiDigit(c) || c is >= 'a' and <= 'f'))
        {
            throw RunLimits.Invalid($"'{field}' must be 32 hexadecimal digits in lower case, such as a GUID without hyphens.");
        }
    }

    private static void CheckTime(string field, long? ms)
    {
        if (ms is < 0 or > TimeMsMax)
        {
            throw RunLimits.Invalid($"'{field}' must be Unix milliseconds from 0 to {TimeMsMax}, not {ms}.");
        }
    }

    private static void CheckPairs(string field, IReadOnlyDictionary<string, string>? pairs)
    {
        RunLimits.CheckCount(field, pairs?.Count ?? 0, PairsMax);
        foreach (var (key, value) in pairs ?? new Dictionary<string, string>())
        {
            RunLimits.CheckKey(field == "tags" ? "tag" : "param", key);
            if (value is null || value.Contains('\0', StringComparison.Ordinal))
            {
                throw RunLimits.Invalid($"'{field}.{key}' must be a text without NUL characters.");
            }
        }
    }

    private sealed record RunRow
    {
        public long Id { get; init; }

        public long Experiment { get; init; }

        public string Name { get; init; } = "";

        public string UserId { get; init; } = "";

        public string Status { get; init; } = "";

        public long StartMs { get; init; }

        public long? EndMs { get; init; }

        public string Stage { get; init; } = "";
    }
}
