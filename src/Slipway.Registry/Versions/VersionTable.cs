using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry.Versions;

/// <summary>The rows of <c>models</c>, <c>model_versions</c>, <c>model_version_files</c> and <c>model_aliases</c>.</summary>
internal static class VersionTable
{
    private const string Columns =
        """
        model AS Model, version AS Version, number AS Number, stage AS Stage, run_id AS RunId, bump AS Bump, bump_reason AS BumpReason,
        description AS Description, owner AS Owner, tags AS Tags, signature AS Signature, feature_schema AS FeatureSchema, datasets AS Datasets,
        baseline_sha256 AS BaselineSha256, environment_sha256 AS EnvironmentSha256, evaluation_report_sha256 AS EvaluationReportSha256,
        training_set_sha256 AS TrainingSetSha256, commit_id AS CommitId, pipeline_run_id AS PipelineRunId, parent_version AS ParentVersion,
        created_by AS CreatedBy, created_at_ms AS CreatedAtMs
        """;

    public static ModelVersionRecord? Find(SqliteConnection connection, string model, string version) =>
        Query(connection, "WHERE model = @model AND version = @version", new { model, version }).SingleOrDefault();

    public static ModelVersionRecord? FindByNumber(SqliteConnection connection, string model, long number) =>
        Query(connection, "WHERE model = @model AND number = @number", new { model, number }).SingleOrDefault();

    /// <summary>The newest version in the stage; production holds at most one.</summary>
    public static ModelVersionRecord? FindInStage(SqliteConnection connection, string model, Stage stage) =>
        Query(connection, "WHERE model = @model AND stage = @stage ORDER BY number DESC LIMIT 1", new { model, stage = StageRules.Name(stage) }).SingleOrDefault();

    public static ModelVersionRecord? FindByAlias(SqliteConnection connection, string model, string alias) =>
        Query(connection, "WHERE model = @model AND version = (SELECT version FROM model_aliases WHERE model = @model AND alias = @alias)", new { model, alias }).SingleOrDefault();

    public static ModelVersionRecord? Newest(SqliteConnection connection, string model) =>
        Query(connection, "WHERE model = @model ORDER BY number DESC LIMIT 1", new { model }).SingleOrDefault();

    /// <summary>Newest first.</summary>
    public static IReadOnlyList<ModelVersionRecord> Search(SqliteConnection connection, string? model, VersionSearch search) => Query(connection,
        """
        WHERE (@model IS NULL OR model = @model)
          AND (@stage IS NULL OR stage = @stage)
          AND (@owner IS NULL OR owner = @owner)
          AND (@runId IS NULL OR run_id = @runId)
          AND (@tagKey IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) t WHERE t.key = @tagKey AND (@tagValue IS NULL OR t.value = @tagValue)))
          AND (@approver IS NULL OR EXISTS (
                SELECT 1 FROM promotions p JOIN promotion_decisions d ON d.promotion_id = p.id
                 WHERE p.model = model_versions.model AND p.version = model_versions.version AND d.approved = 1 AND d.decided_by = @approver))
        ORDER BY model, number DESC
        """,
        new
        {
            model,
            stage = search.Stage is { } stage ? StageRules.Name(stage) : null,
            owner = search.Owner,
            runId = search.RunId,
            tagKey = search.TagKey,
            tagValue = search.TagValue,
            approver = search.Approver,
        });

    public static IReadOnlyList<ModelSummary> Summaries(SqliteConnection connection) => connection
        .Query<SummaryRow>(
            """
            SELECT m.name AS Name, n.description AS Description, n.owner AS Owner, n.number AS Versions, n.version AS NewestVersion,
                   (SELECT version FROM model_versions p WHERE p.model = m.name AND p.stage = 'production') AS ProductionVersion,
                   (SELECT group_concat(version) FROM (SELECT version FROM model_versions s WHERE s.model = m.name AND s.stage = 'staging' ORDER BY number)) AS StagingVersions,
                   m.created_at_ms AS CreatedAtMs, m.updated_at_ms AS UpdatedAtMs
              FROM models m JOIN model_versions n ON n.model = m.name AND n.number = (SELECT max(number) FROM model_versions x WHERE x.model = m.name)
             ORDER BY m.name
            """)
        .Select(row => new ModelSummary(row.Name, row.Description, row.Owner, (int)row.Versions, row.NewestVersion, row.ProductionVersion,
            row.StagingVersions?.Split(',') ?? [], DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs), DateTimeOffset.FromUnixTimeMilliseconds(row.UpdatedAtMs)))
        .ToList();

    public static void Insert(WriteTransaction transaction, ModelVersionRecord version)
    {
        transaction.Connection.Execute(
            """
            INSERT INTO models (name, created_by, created_at_ms, updated_at_ms) VALUES (@model, @by, @now, @now)
            ON CONFLICT (name) DO UPDATE SET updated_at_ms = excluded.updated_at_ms
            """,
            new { model = version.Model, by = version.CreatedBy, now = transaction.NowMs });
        transaction.Connection.Execute(
            """
            INSERT INTO model_versions (
                model, version, number, stage, run_id, bump, bump_reason, description, owner, tags, signature, feature_schema, datasets,
                baseline_sha256, environment_sha256, evaluation_report_sha256, training_set_sha256, commit_id, pipeline_run_id, parent_version,
                created_by, created_at_ms)
            VALUES (
                @Model, @Version, @Number, @Stage, @RunId, @Bump, @BumpReason, @Description, @Owner, @Tags, @Signature, @FeatureSchema, @Datasets,
                @BaselineSha256, @EnvironmentSha256, @EvaluationReportSha256, @TrainingSetSha256, @CommitId, @PipelineRunId, @ParentVersion,
                @CreatedBy, @CreatedAtMs)
            """,
            new VersionRow(
                version.Model, version.Version, version.Number, StageRules.Name(version.Stage), version.RunId, version.Bump, version.BumpReason,
                version.Description, version.Owner, Json(version.Tags), Json(version.Signature), Json(version.FeatureSchema), Json(version.Datasets),
                version.BaselineSha256, version.EnvironmentSha256, version.EvaluationReportSha256, version.TrainingSetSha256, version.Commit,
                version.PipelineRunId, version.ParentVersion, version.CreatedBy, transaction.NowMs));
        transaction.Connection.Execute(
            "INSERT INTO model_version_files (model, version, path, sha256, size_bytes) VALUES (@Model, @Version, @Path, @Sha256, @SizeBytes)",
            version.Files.Select(file => new { version.Model, version.Version, file.Path, file.Sha256, file.SizeBytes }));
    }

    private static List<ModelVersionRecord> Query(SqliteConnection connection, string where, object parameters)
    {
        var rows = connection.Query<VersionRow>($"SELECT {Columns} FROM model_versions {where}", parameters).AsList();
        return rows.ConvertAll(row => new ModelVersionRecord
        {
            Model = row.Model,
            Version = row.Version,
            Number = (int)row.Number,
            Stage = StageRules.Parse(row.Stage),
            RunId = row.RunId,
            Bump = row.Bump,
            BumpReason = row.BumpReason,
            Description = row.Description,
            Owner = row.Owner,
            Tags = Parse<Dictionary<string, string>>(row.Tags),
            Files = connection.Query<(string Path, string Sha256, long SizeBytes)>(
                    "SELECT path, sha256, size_bytes FROM model_version_files WHERE model = @Model AND version = @Version ORDER BY path", row)
                .Select(file => new ArtifactFile(file.Path, file.Sha256, file.SizeBytes)).ToList(),
            Signature = Parse<ModelSignature>(row.Signature),
            FeatureSchema = Parse<FeatureSchema>(row.FeatureSchema),
            BaselineSha256 = row.BaselineSha256,
            EnvironmentSha256 = row.EnvironmentSha256,
            EvaluationReportSha256 = row.EvaluationReportSha256,
            TrainingSetSha256 = row.TrainingSetSha256,
            Datasets = Parse<List<DatasetRef>>(row.Datasets),
            Commit = row.CommitId,
            PipelineRunId = row.PipelineRunId,
            ParentVersion = row.ParentVersion,
            CreatedBy = row.CreatedBy,
            CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs),
            Aliases = connection.Query<string>("SELECT alias FROM model_aliases WHERE model = @Model AND version = @Version ORDER BY alias", row).AsList(),
        });
    }

    private static string Json<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);

    private static T Parse<T>(string json) => JsonSerializer.Deserialize<T>(json, JsonDefaults.Options)!;

    private sealed record VersionRow(
        string Model, string Version, long Number, string Stage, string RunId, string Bump, string BumpReason, string Description, string Owner,
        string Tags, string Signature, string FeatureSchema, string Datasets, string BaselineSha256, string EnvironmentSha256,
        string? EvaluationReportSha256, string? TrainingSetSha256, string? CommitId, string? PipelineRunId, string? ParentVersion, string CreatedBy,
        long CreatedAtMs);

    // Properties, not a constructor: SQLite gives the sub-selects no type while there is no row, and Dapper then finds no constructor.
    private sealed record SummaryRow
    {
        public required string Name { get; init; }

        public required string Description { get; init; }

        public required string Owner { get; init; }

        public long Versions { get; init; }

        public required string NewestVersion { get; init; }

        public string? ProductionVersion { get; init; }

        public string? StagingVersions { get; init; }

        public long CreatedAtMs { get; init; }

        public long UpdatedAtMs { get; init; }
    }
}
