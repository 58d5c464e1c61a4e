using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Registry.Webhooks;
using Slipway.Storage;

namespace Slipway.Registry.Versions;

/// <summary>The rows of <c>model_versions</c>, <c>model_version_files</c> and <c>model_aliases</c>.</summary>
internal static class VersionTable
{
    private const string Columns =
        """
        model AS Model, version AS Version, number AS Number, stage AS Stage, run_id AS RunId, bump AS Bump, bump_reason AS BumpReason,
        description AS Description, owner AS Owner, tags AS Tags, signature AS Signature, feature_schema AS FeatureSchema, datasets AS Datasets,
        baseline_sha256 AS BaselineSha256, environment_sha256 AS EnvironmentSha256, evaluation_report_sha256 AS EvaluationReportSha256,
        training_set_sha256 AS TrainingSetSha256, commit_id AS CommitId, pipeline_run_id AS PipelineRunId, parent_version AS ParentVersion,
        created_by AS CreatedBy, created_at_ms AS CreatedAtMs, format AS Format, served_path AS ServedPath, source AS Source, updated_at_ms AS UpdatedAtMs
        """;

    private const string Live = "deleted_at_ms IS NULL";

    public static ModelVersionRecord? Find(DbConnection connection, string model, string version) =>
        Query(connection, $"WHERE model = @model AND version = @version AND {Live}", new { model, version }).SingleOrDefault();

    public static Stage? StageOf(DbConnection connection, string model, string version) =>
        connection.QuerySingleOrDefault<string>($"SELECT stage FROM model_versions WHERE model = @model AND version = @version AND {Live}", new { model, version }) is { } stage ? StageRules.Parse(stage) : null;

    /// <summary>As <see cref="Find"/>, also of what has been deleted since.</summary>
    public static ModelVersionRecord? FindEver(DbConnection connection, string model, string version) =>
        Query(connection, "WHERE model = @model AND version = @version", new { model, version }).SingleOrDefault();

    public static ModelVersionRecord? FindByNumber(DbConnection connection, string model, long number) =>
        Query(connection, $"WHERE model = @model AND number = @number AND {Live}", new { model, number }).SingleOrDefault();

    /// <summary>The newest version in the stage; production holds at most one.</summary>
    public static ModelVersionRecord? FindInStage(DbConnection connection, string model, Stage stage) =>
        Query(connection, $"WHERE model = @model AND stage = @stage AND {Live} ORDER BY number DESC LIMIT 1", new { model, stage = StageRules.Name(stage) }).SingleOrDefault();

    public static ModelVersionRecord? FindByAlias(DbConnection connection, string model, string alias) =>
        Query(connection, "WHERE model = @model AND version = (SELECT version FROM model_aliases WHERE model = @model AND alias = @alias)", new { model, alias }).SingleOrDefault();

    public static ModelVersionRecord? Newest(DbConnection connection, string model) =>
        Query(connection, $"WHERE model = @model AND {Live} ORDER BY number DESC LIMIT 1", new { model }).SingleOrDefault();

    /// <summary>The version registered last, also when it has been deleted since: the next number and version follow from it.</summary>
    public static ModelVersionRecord? Last(DbConnection connection, string model) =>
        Query(connection, "WHERE model = @model ORDER BY number DESC LIMIT 1", new { model }).SingleOrDefault();

    /// <summary>Newest first.</summary>
    public static IReadOnlyList<ModelVersionRecord> Search(DbConnection connection, string? model, VersionSearch search) => Query(connection,
        $"""
        WHERE {Live}
          AND (@model IS NULL OR model = @model)
          AND (@stage IS NULL OR stage = @stage)
          AND (@owner IS NULL OR owner = @owner)
          AND (@runId IS NULL OR run_id = @runId)
          AND (@tagKey IS NULL OR EXISTS (SELECT 1 FROM {SqlDialect.Of(connection).JsonEntries("tags")} t WHERE t.key = @tagKey AND (@tagValue IS NULL OR t.value = @tagValue)))
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

    public static void Insert(WriteTransaction transaction, ModelVersionRecord version)
    {
        ModelTable.Ensure(transaction, version.Model, version.CreatedBy);
        transaction.Connection.Execute(
            """
            INSERT INTO model_versions (
                model, version, number, stage, run_id, bump, bump_reason, description, owner, tags, signature, feature_schema, datasets,
                baseline_sha256, environment_sha256, evaluation_report_sha256, training_set_sha256, commit_id, pipeline_run_id, parent_version,
                created_by, created_at_ms, format, served_path, source, updated_at_ms)
            VALUES (
                @Model, @Version, @Number, @Stage, @RunId, @Bump, @BumpReason, @Description, @Owner, @Tags, @Signature, @FeatureSchema, @Datasets,
                @BaselineSha256, @EnvironmentSha256, @EvaluationReportSha256, @TrainingSetSha256, @CommitId, @PipelineRunId, @ParentVersion,
                @CreatedBy, @CreatedAtMs, @Format, @ServedPath, @Source, @UpdatedAtMs)
            """,
            new VersionRow(
                version.Model, version.Version, version.Number, StageRules.Name(version.Stage), version.RunId, version.Bump, version.BumpReason,
                version.Description, version.Owner, Json(version.Tags), Json(version.Signature), Json(version.FeatureSchema), Json(version.Datasets),
                version.BaselineSha256, version.EnvironmentSha256, version.EvaluationReportSha256, version.TrainingSetSha256, version.Commit,
                version.PipelineRunId, version.ParentVersion, version.CreatedBy, transaction.NowMs, FormatName(version.Format), version.ServedPath, version.Source, transaction.NowMs));
        transaction.Connection.Execute(
            "INSERT INTO model_version_files (model, version, path, sha256, size_bytes) VALUES (@Model, @Version, @Path, @Sha256, @SizeBytes)",
            version.Files.Select(file => new { version.Model, version.Version, file.Path, file.Sha256, file.SizeBytes }));
        WebhookEvents.VersionCreated(transaction, version, ModelRow.IsPromptBy(version.Tags) || ModelTable.Find(transaction.Connection, version.Model)!.IsPrompt);
    }

    public static void SetDescription(WriteTransaction transaction, ModelVersionRecord version, string description) => Set(transaction, version, "description", description);

    public static void SetTags(WriteTransaction transaction, ModelVersionRecord version, IReadOnlyDictionary<string, string> tags) => Set(transaction, version, "tags", Json(tags));

    /// <summary>Notes a change of what points at the version.</summary>
    public static void Touch(WriteTransaction transaction, ModelVersionRecord version) => Set(transaction, version, "model", version.Model);

    /// <summary>Takes the version out of every answer; its number, files and history stay.</summary>
    public static void MarkDeleted(WriteTransaction transaction, ModelVersionRecord version)
    {
        transaction.Connection.Execute("DELETE FROM model_aliases WHERE model = @Model AND version = @Version", version);
        transaction.Connection.Execute(
            "UPDATE model_versions SET deleted_at_ms = @now WHERE model = @Model AND version = @Version", new { version.Model, version.Version, now = transaction.NowMs });
    }

    private static void Set(WriteTransaction transaction, ModelVersionRecord version, string column, string value) => transaction.Connection.Execute(
        $"UPDATE model_versions SET {column} = @value, updated_at_ms = @now WHERE model = @Model AND version = @Version",
        new { version.Model, version.Version, value, now = transaction.NowMs });

    private static List<ModelVersionRecord> Query(DbConnection connection, string where, object parameters)
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
            UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.UpdatedAtMs),
            Format = Enum.Parse<ModelFormat>(row.Format, ignoreCase: true),
            ServedPath = row.ServedPath,
            Source = row.Source,
            Aliases = connection.Query<string>("SELECT alias FROM model_aliases WHERE model = @Model AND version = @Version ORDER BY alias", row).AsList(),
        });
    }

    private static string FormatName(ModelFormat format) => format.ToString().ToLowerInvariant();

    private static string Json<T>(T value) => JsonSerializer.Serialize(value, JsonDefaults.Options);

    private static T Parse<T>(string json) => JsonSerializer.Deserialize<T>(json, JsonDefaults.Options)!;

    private sealed record VersionRow(
        string Model, string Version, long Number, string Stage, string? RunId, string Bump, string BumpReason, string Description, string Owner,
        string Tags, string Signature, string FeatureSchema, string Datasets, string? BaselineSha256, string? EnvironmentSha256,
        string? EvaluationReportSha256, string? TrainingSetSha256, string? CommitId, string? PipelineRunId, string? ParentVersion, string CreatedBy,
        long CreatedAtMs, string Format, string? ServedPath, string? Source, long UpdatedAtMs);
}
