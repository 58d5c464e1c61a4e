using System.Data.Common;
using System.Globalization;
using System.Runtime.CompilerServices;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Cli.Import;

/// <summary>The database of an MLflow server, 1.x to 3.x, read in short pages so that MLflow can go on writing.</summary>
internal sealed class SqlMlflowSource : IMlflowSource
{
    internal const string ContextTag = "mlflow.data.context";
    private const int RunsPerPage = 200;
    private const int PointsPerPage = 5_000;

    private static readonly string[] Needed = ["experiments", "runs", "metrics", "params", "tags"];

    // Tables and columns came over the years; a table that is absent holds nothing.
    private static readonly (string Kind, string Table, string Sql)[] Counts =
    [
        (Kinds.Experiments, "experiments", "SELECT count(*) FROM experiments"),
        (Kinds.ExperimentTags, "experiment_tags", "SELECT count(*) FROM experiment_tags"),
        (Kinds.Runs, "runs", "SELECT count(*) FROM runs"),
        (Kinds.Parameters, "params", "SELECT count(*) FROM params"),
        (Kinds.Tags, "tags", "SELECT count(*) FROM tags"),
        (Kinds.Points, "metrics", "SELECT count(*) FROM metrics"),
        (Kinds.Latest, "latest_metrics", "SELECT count(*) FROM latest_metrics"),
        (Kinds.Inputs, "inputs", "SELECT count(*) FROM inputs WHERE source_type = 'DATASET' AND destination_type = 'RUN'"),
        (Kinds.ModelLinks, "inputs", "SELECT count(*) FROM inputs WHERE NOT (source_type = 'DATASET' AND destination_type = 'RUN')"),
        (Kinds.LoggedModels, "logged_models", "SELECT count(*) FROM logged_models"),
        (Kinds.RegisteredModels, "registered_models", "SELECT count(*) FROM registered_models"),
        (Kinds.ModelVersions, "model_versions", "SELECT count(*) FROM model_versions"),
        (Kinds.Traces, "trace_info", "SELECT count(*) FROM trace_info"),
        (Kinds.Assessments, "assessments", "SELECT count(*) FROM assessments"),
        (Kinds.EvaluationDatasets, "evaluation_datasets", "SELECT count(*) FROM evaluation_datasets"),
    ];

    private readonly SourceDatabase _database;
    private readonly ILookup<string, string> _tables;

    private SqlMlflowSource(SourceDatabase database, ILookup<string, string> tables, string description)
    {
        _database = database;
        _tables = tables;
        Description = description;
    }

    public string Description { get; }

    /// <summary>Looks at the database and finds out which MLflow wrote it.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: no MLflow wrote it; Unavailable.</exception>
    public static async Task<SqlMlflowSource> OpenAsync(SourceDatabase database, CancellationToken ct)
    {
        var tables = await database.TablesAsync(ct);
        var missing = Needed.Where(table => !tables.Contains(table)).ToList();
        if (missing.Count > 0)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"This {database.Engine} database is not one of MLflow's tracking server: it has no table {string.Join(", ", missing)}. Name the one given to 'mlflow server --backend-store-uri'.");
        }

        var schema = "";
        if (tables.Contains("alembic_version"))
        {
            await using var connection = await database.OpenAsync(ct);
            schema = await connection.ExecuteScalarAsync<string?>("SELECT version_num FROM alembic_version") ?? "";
        }

        var version = tables.Contains("logged_models") ? "3.x" : tables.Contains("inputs") || tables["runs"].Contains("deleted_time") ? "2.x" : "1.x";
        return new SqlMlflowSource(database, tables, $"MLflow database of version {version} ({database.Engine}{(schema.Length > 0 ? $", schema {schema}" : "")})");
    }

    public async Task<IReadOnlyDictionary<string, long>> CountAsync(CancellationToken ct)
    {
        await using var connection = await _database.OpenAsync(ct);
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (kind, table, sql) in Counts)
        {
            counts[kind] = _tables.Contains(table) ? await connection.ExecuteScalarAsync<long>(new CommandDefinition(sql, commandTimeout: 0, cancellationToken: ct)) : 0;
        }

        return counts;
    }

    public async Task<IReadOnlyList<SourceExperiment>> ExperimentsAsync(CancellationToken ct)
    {
        await using var connection = await _database.OpenAsync(ct);
        var tags = (_tables.Contains("experiment_tags")
                ? await connection.QueryAsync<(long Id, string Key, string? Value)>("SELECT CAST(experiment_id AS BIGINT), key, value FROM experiment_tags")
                : []).ToLookup(tag => tag.Id);
        var rows = await connection.QueryAsync<ExperimentRow>(
            $"""
            SELECT CAST(experiment_id AS BIGINT) AS Id, name AS Name, lifecycle_stage AS Stage, artifact_location AS ArtifactLocation,
                   {Column("experiments", "creation_time")} AS CreatedAtMs, {Column("experiments", "last_update_time")} AS UpdatedAtMs,
                   {Column("experiments", "workspace")} AS Workspace
              FROM experiments ORDER BY experiment_id
            """);
        return [.. rows.Select(row => new SourceExperiment(
            row.Id.ToString(CultureInfo.InvariantCulture),
            // Names are unique in a workspace only.
            row.Workspace is null or "" or "default" ? row.Name : $"{row.Workspace}/{row.Name}",
            row.Stage == "deleted", row.CreatedAtMs, row.UpdatedAtMs, row.ArtifactLocation,
            tags[row.Id].ToDictionary(tag => tag.Key, tag => tag.Value ?? "", StringComparer.Ordinal)))];
    }

    public async IAsyncEnumerable<IReadOnlyList<SourceRun>> RunPagesAsync([EnumeratorCancellation] CancellationToken ct)
    {
        var after = "";
        while (true)
        {
            IReadOnlyList<SourceRun> page;
            await using (var connection = await _database.OpenAsync(ct))
            {
                page = await ReadRunsAsync(connection, after);
            }

            if (page.Count == 0)
            {
                yield break;
            }

            yield return page;
            after = page[^1].RunId;
        }
    }

    public async IAsyncEnumerable<IReadOnlyList<MetricPoint>> PointPagesAsync(SourceRun run, [EnumeratorCancellation] CancellationToken ct)
    {
        const string Columns = "key, value, CAST(timestamp AS BIGINT), CAST(step AS BIGINT), CAST(CASE WHEN is_nan THEN 1 ELSE 0 END AS BIGINT)";
        await using var connection = await _database.OpenAsync(ct);
        if (!_database.IsSqlite)
        {
            // One statement is one snapshot, and its rows arrive as they are read.
            await using var all = Command(connection, $"SELECT {Columns} FROM metrics WHERE run_uuid = @run", ("@run", run.RunId));
            await using var reader = await all.ExecuteReaderAsync(ct);
            while (await ReadPointsAsync(reader, ct) is { Count: > 0 } page)
            {
                yield return page;
            }

            yield break;
        }

        // Pages, since a reader that stays open would keep MLflow from writing. Every index holds the row's number behind its own columns:
        // going on after the last number costs nothing.
        var last = long.MinValue;
        while (true)
        {
            List<MetricPoint> page;
            await using (var next = Command(
                connection, $"SELECT {Columns}, rowid FROM metrics WHERE run_uuid = @run AND rowid > @last ORDER BY rowid LIMIT {PointsPerPage}", ("@run", run.RunId), ("@last", last)))
            await using (var reader = await next.ExecuteReaderAsync(ct))
            {
                page = [];
                while (await reader.ReadAsync(ct))
                {
                    page.Add(Point(reader));
                    last = reader.GetInt64(5);
                }
            }

            if (page.Count == 0)
            {
                yield break;
            }

            yield return page;
        }
    }

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    private static async Task<List<MetricPoint>> ReadPointsAsync(DbDataReader reader, CancellationToken ct)
    {
        var page = new List<MetricPoint>();
        while (page.Count < PointsPerPage && await reader.ReadAsync(ct))
        {
            page.Add(Point(reader));
        }

        return page;
    }

    private static MetricPoint Point(DbDataReader reader) =>
        new(reader.GetString(0), reader.GetInt64(4) != 0 || reader.IsDBNull(1) ? double.NaN : reader.GetDouble(1), reader.GetInt64(2), reader.IsDBNull(3) ? 0 : reader.GetInt64(3));

    private static DbCommand Command(DbConnection connection, string sql, params (string Name, object Value)[] parameters)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        command.CommandTimeout = 0;
        foreach (var (name, value) in parameters)
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = name;
            parameter.Value = value;
            command.Parameters.Add(parameter);
        }

        return command;
    }

    // A page of runs and what hangs on them: everything between two run ids, so that no list of ids is sent.
    private async Task<IReadOnlyList<SourceRun>> ReadRunsAsync(DbConnection connection, string after)
    {
        var rows = (await connection.QueryAsync<RunRow>(
            $"""
            SELECT run_uuid AS RunId, CAST(experiment_id AS BIGINT) AS Experiment, {Column("runs", "name")} AS Name, user_id AS UserId, status AS Status,
                   CAST(start_time AS BIGINT) AS StartMs, CAST(end_time AS BIGINT) AS EndMs, lifecycle_stage AS Stage, artifact_uri AS ArtifactUri
              FROM runs WHERE run_uuid > @after ORDER BY run_uuid LIMIT {RunsPerPage}
            """,
            new { after })).AsList();
        if (rows.Count == 0)
        {
            return [];
        }

        var range = new { after, last = rows[^1].RunId };
        const string InRange = "run_uuid > @after AND run_uuid <= @last";
        var parameters = (await connection.QueryAsync<(string Run, string Key, string? Value)>($"SELECT run_uuid, key, value FROM params WHERE {InRange}", range)).ToLookup(row => row.Run);
        var tags = (await connection.QueryAsync<(string Run, string Key, string? Value)>($"SELECT run_uuid, key, value FROM tags WHERE {InRange}", range)).ToLookup(row => row.Run);
        var points = (await connection.QueryAsync<(string Run, long Count)>(
            new CommandDefinition($"SELECT run_uuid, count(*) FROM metrics WHERE {InRange} GROUP BY run_uuid", range, commandTimeout: 0))).ToDictionary(row => row.Run, row => row.Count);
        var latest = (_tables.Contains("latest_metrics")
            ? await connection.QueryAsync<(string Run, string Key, double? Value, long? AtMs, long Step, long IsNan)>(
                $"""
                SELECT run_uuid, key, value, CAST(timestamp AS BIGINT), CAST(step AS BIGINT), CAST(CASE WHEN is_nan THEN 1 ELSE 0 END AS BIGINT)
                  FROM latest_metrics WHERE {InRange} ORDER BY run_uuid, key
                """,
                range)
            : []).ToLookup(row => row.Run);
        var inputs = _tables.Contains("inputs") ? await ReadInputsAsync(connection, range) : Array.Empty<(string Run, RunInput Input)>().ToLookup(row => row.Run, row => row.Input);

        return [.. rows.Select(row => new SourceRun(
            row.RunId, row.Experiment.ToString(CultureInfo.InvariantCulture), row.Name, row.UserId, Status(row.Status), row.StartMs, row.EndMs, row.Stage == "deleted", row.ArtifactUri,
            parameters[row.RunId].ToDictionary(pair => pair.Key, pair => pair.Value ?? "", StringComparer.Ordinal),
            tags[row.RunId].ToDictionary(pair => pair.Key, pair => pair.Value ?? "", StringComparer.Ordinal),
            [.. inputs[row.RunId]],
            [.. latest[row.RunId].Select(point => new MetricPoint(point.Key, point.IsNan != 0 || point.Value is null ? double.NaN : point.Value.Value, point.AtMs ?? 0, point.Step))])
        {
            Points = points.GetValueOrDefault(row.RunId),
        })];
    }

    private static async Task<ILookup<string, RunInput>> ReadInputsAsync(DbConnection connection, object range)
    {
        const string Joined = "inputs i JOIN datasets d ON d.dataset_uuid = i.source_id";
        const string Chosen = "i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id > @after AND i.destination_id <= @last";
        var rows = (await connection.QueryAsync<InputRow>(
            $"""
            SELECT i.input_uuid AS InputId, i.destination_id AS Run, d.name AS Name, d.digest AS Digest, d.dataset_source_type AS SourceType, d.dataset_source AS Source,
                   d.dataset_schema AS Schema, d.dataset_profile AS Profile
              FROM {Joined} WHERE {Chosen}
            """,
            range)).AsList();
        var tags = (await connection.QueryAsync<(string Input, string Name, string? Value)>(
            $"SELECT t.input_uuid, t.name, t.value FROM {Joined} JOIN input_tags t ON t.input_uuid = i.input_uuid WHERE {Chosen}", range)).ToLookup(row => row.Input);
        return rows.ToLookup(row => row.Run, row =>
        {
            var all = tags[row.InputId].ToDictionary(tag => tag.Name, tag => tag.Value ?? "", StringComparer.Ordinal);
            all.Remove(ContextTag, out var use);
            return new RunInput(row.Name, row.Digest, row.Source, use, null, row.SourceType, row.Schema, row.Profile, all);
        });
    }

    private static RunStatus Status(string? text) => Enum.TryParse<RunStatus>(text, ignoreCase: true, out var status) ? status : RunStatus.Finished;

    private string Column(string table, string column) => _tables[table].Contains(column) ? column : "NULL";

    private sealed class ExperimentRow
    {
        public long Id { get; init; }

        public string Name { get; init; } = "";

        public string? Stage { get; init; }

        public string? ArtifactLocation { get; init; }

        public long? CreatedAtMs { get; init; }

        public long? UpdatedAtMs { get; init; }

        public string? Workspace { get; init; }
    }

    private sealed class RunRow
    {
        public string RunId { get; init; } = "";

        public long Experiment { get; init; }

        public string? Name { get; init; }

        public string? UserId { get; init; }

        public string? Status { get; init; }

        public long? StartMs { get; init; }

        public long? EndMs { get; init; }

        public string? Stage { get; init; }

        public string? ArtifactUri { get; init; }
    }

    private sealed class InputRow
    {
        public string InputId { get; init; } = "";

        public string Run { get; init; } = "";

        public string Name { get; init; } = "";

        public string Digest { get; init; } = "";

        public string SourceType { get; init; } = "";

        public string Source { get; init; } = "";

        public string? Schema { get; init; }

        public string? Profile { get; init; }
    }
}
