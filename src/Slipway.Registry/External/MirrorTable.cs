using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry.External;

/// <summary>How far the mirror is.</summary>
internal sealed record MirrorState(string Address, long WatermarkMs, long? SyncedAtMs, long? FullAtMs);

/// <summary>A mirrored version: what the server last said of it, and where it stands here.</summary>
/// <param name="ExternalStage"><c>deleted</c>, or a stage's name.</param>
/// <param name="LocalStage">A stage's name.</param>
/// <param name="CreatedAtMs">When the server made the version.</param>
internal sealed record MirrorRow(
    string Model, string Version, long Number, string ExternalStage, long UpdatedAtMs, string Missing, string LocalStage, string Description, string Tags, long CreatedAtMs)
{
    public const string Deleted = "deleted";

    /// <summary>Whether the server's version is this one: when a model is deleted and made again, MLflow counts from 1 again.</summary>
    public bool Is(ExternalVersion external) => external.CreationTimestamp is null || external.CreationTimestamp == CreatedAtMs;

    public NodeRef Node => ModelVersionNode.Of(Model, Version);
}

/// <summary>The rows of <c>external_registry</c> and <c>external_versions</c>.</summary>
internal static class MirrorTable
{
    private const string Columns =
        """
        SELECT e.model AS Model, e.version AS Version, e.number AS Number, e.stage AS ExternalStage, e.updated_at_ms AS UpdatedAtMs, e.missing AS Missing,
               v.stage AS LocalStage, v.description AS Description, v.tags AS Tags, v.created_at_ms AS CreatedAtMs
          FROM external_versions e JOIN model_versions v ON v.model = e.model AND v.version = e.version
        """;

    /// <summary>Who did what was done on the external server, whose own users it does not tell.</summary>
    public const string Outside = "system:mlflow";

    public static MirrorState? State(DbConnection connection) => connection.QueryFirstOrDefault<MirrorState>(
        "SELECT address AS Address, watermark_ms AS WatermarkMs, synced_at_ms AS SyncedAtMs, full_at_ms AS FullAtMs FROM external_registry WHERE id = 1");

    public static void SaveState(WriteTransaction transaction, MirrorState state) => transaction.Connection.Execute(
        """
        INSERT INTO external_registry (id, address, watermark_ms, synced_at_ms, full_at_ms) VALUES (1, @Address, @WatermarkMs, @SyncedAtMs, @FullAtMs)
        ON CONFLICT (id) DO UPDATE SET address = excluded.address, watermark_ms = excluded.watermark_ms, synced_at_ms = excluded.synced_at_ms, full_at_ms = excluded.full_at_ms
        """,
        state);

    /// <summary>By number.</summary>
    public static List<MirrorRow> Of(DbConnection connection, string model) =>
        connection.Query<MirrorRow>($"{Columns} WHERE e.model = @model ORDER BY e.number", new { model }).AsList();

    public static MirrorRow? Find(DbConnection connection, string model, string version) =>
        connection.QueryFirstOrDefault<MirrorRow>($"{Columns} WHERE e.model = @model AND e.version = @version", new { model, version });

    public static bool IsMirrored(DbConnection connection, string model) => connection.ExecuteScalar<bool>(
        "SELECT EXISTS (SELECT 1 FROM external_versions WHERE model = @model)", new { model });

    /// <summary>Whether the model was registered on this server.</summary>
    public static bool IsOwn(DbConnection connection, string model) => connection.ExecuteScalar<bool>(
        """
        SELECT EXISTS (SELECT 1 FROM model_versions v WHERE v.model = @model
                          AND NOT EXISTS (SELECT 1 FROM external_versions e WHERE e.model = v.model AND e.version = v.version))
        """,
        new { model });

    public static HashSet<(string Model, int Number)> Living(DbConnection connection) => connection
        .Query<(string Model, long Number)>("SELECT model, number FROM external_versions WHERE stage <> 'deleted'").Select(row => (row.Model, (int)row.Number)).ToHashSet();

    public static (long Models, long Versions) Count(DbConnection connection) =>
        connection.QuerySingle<(long, long)>("SELECT count(DISTINCT model), count(*) FROM external_versions WHERE stage <> 'deleted'");

    public static List<IncompleteVersion> Incomplete(DbConnection connection, int limit) => connection
        .Query<(string Model, string Version, string Missing)>(
            "SELECT model, version, missing FROM external_versions WHERE missing <> '' AND stage <> 'deleted' ORDER BY model, number LIMIT @limit", new { limit })
        .Select(row => new IncompleteVersion(row.Model, row.Version, row.Missing)).ToList();

    /// <summary>Versions in staging or production whose last change of stage was made outside.</summary>
    public static List<ExternalDrift> Drift(DbConnection connection) => connection
        .Query<(string Model, string Version, long Number, string Stage, string Reason, long AtMs)>(
            """
            SELECT v.model, v.version, v.number, v.stage, h.reason, h.at_ms
              FROM model_versions v
              JOIN external_versions e ON e.model = v.model AND e.version = v.version
              JOIN stage_history h ON h.seq = (SELECT max(seq) FROM stage_history x WHERE x.model = v.model AND x.version = v.version)
             WHERE v.stage IN ('staging', 'production') AND h.cause = @cause
             ORDER BY v.model, v.number
            """,
            new { cause = StageTable.ExternalChange })
        .Select(row => new ExternalDrift(row.Model, row.Version, (int)row.Number, StageRules.Parse(row.Stage), row.Reason, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)))
        .ToList();

    /// <summary>Whether a version's last change of stage was made outside.</summary>
    public static bool IsOverruled(DbConnection connection, string model, string version) =>
        connection.QueryFirstOrDefault<string>("SELECT cause FROM stage_history WHERE model = @model AND version = @version ORDER BY seq DESC LIMIT 1", new { model, version }) == StageTable.ExternalChange;

    /// <summary>Whether an alias stands where it was put outside, or is gone.</summary>
    public static bool IsAliasOverruled(DbConnection connection, string model, string alias) =>
        connection.QueryFirstOrDefault<string>("SELECT set_by FROM model_aliases WHERE model = @model AND alias = @alias", new { model, alias }) is null or Outside;

    public static void Insert(WriteTransaction transaction, ModelVersionRecord version, ExternalVersion external, string missing)
    {
        transaction.Connection.Execute(
            "UPDATE model_versions SET created_at_ms = @created, status_message = @message WHERE model = @Model AND version = @Version",
            new { version.Model, version.Version, created = version.CreatedAt.ToUnixTimeMilliseconds(), message = Message(missing) });
        transaction.Connection.Execute(
            "INSERT INTO external_versions (model, version, number, stage, updated_at_ms, missing) VALUES (@Model, @Version, @Number, @stage, @updated, @missing)",
            new { version.Model, version.Version, version.Number, stage = StageRules.Name(external.Stage), updated = external.UpdatedMs, missing });
    }

    public static void SetSeen(WriteTransaction transaction, MirrorRow row, string stage, long updatedMs) => transaction.Connection.Execute(
        "UPDATE external_versions SET stage = @stage, updated_at_ms = @updatedMs WHERE model = @Model AND version = @Version",
        new { row.Model, row.Version, stage, updatedMs });

    public static void SetText(WriteTransaction transaction, MirrorRow row, string description, string tags) => transaction.Connection.Execute(
        "UPDATE model_versions SET description = @description, tags = @tags, updated_at_ms = @now WHERE model = @Model AND version = @Version",
        new { row.Model, row.Version, description, tags, now = transaction.NowMs });

    /// <summary>Fills in what could not be copied when the version was first seen; what was copied then stays.</summary>
    public static void Complete(WriteTransaction transaction, MirrorRow row, VersionFacts facts)
    {
        transaction.Connection.Execute(
            """
            UPDATE model_versions
               SET format = @format, served_path = @ServedPath, signature = @signature, feature_schema = @features, baseline_sha256 = @BaselineSha256,
                   environment_sha256 = @EnvironmentSha256, evaluation_report_sha256 = @EvaluationReportSha256, commit_id = @Commit, run_id = @RunId,
                   datasets = @datasets, status_message = @message, updated_at_ms = @now
             WHERE model = @Model AND version = @Version
            """,
            new
            {
                row.Model,
                row.Version,
                format = facts.Format.ToString().ToLowerInvariant(),
                facts.ServedPath,
                signature = Json(facts.Signature),
                features = Json(facts.FeatureSchema),
                facts.BaselineSha256,
                facts.EnvironmentSha256,
                facts.EvaluationReportSha256,
                facts.Commit,
                facts.RunId,
                datasets = Json(facts.Datasets),
                message = Message(facts.Missing),
                now = transaction.NowMs,
            });
        transaction.Connection.Execute(
            "INSERT INTO model_version_files (model, version, path, sha256, size_bytes) VALUES (@Model, @Version, @Path, @Sha256, @SizeBytes) ON CONFLICT DO NOTHING",
            facts.Files.Select(file => new { row.Model, row.Version, file.Path, file.Sha256, file.SizeBytes }));
        transaction.Connection.Execute(
            "UPDATE external_versions SET missing = @Missing WHERE model = @Model AND version = @Version", new { row.Model, row.Version, facts.Missing });
    }

    public static Dictionary<string, string> Aliases(DbConnection connection, string model) => connection
        .Query<(string Alias, string Version)>("SELECT alias, version FROM model_aliases WHERE model = @model", new { model })
        .ToDictionary(row => row.Alias, row => row.Version, StringComparer.Ordinal);

    public static void SetAlias(WriteTransaction transaction, string model, string alias, string version, Caller by) => transaction.Connection.Execute(
        """
        INSERT INTO model_aliases (model, alias, version, set_by, set_at_ms) VALUES (@model, @alias, @version, @by, @now)
        ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version, set_by = excluded.set_by, set_at_ms = excluded.set_at_ms
        """,
        new { model, alias, version, by = by.Name, now = transaction.NowMs });

    public static void RemoveAlias(WriteTransaction transaction, string model, string alias) =>
        transaction.Connection.Execute("DELETE FROM model_aliases WHERE model = @model AND alias = @alias", new { model, alias });

    private static string? Message(string missing) => missing.Length == 0 ? null : $"Not mirrored whole: {missing}.";

    public static string Json<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);
}
