using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Webhooks;
using Slipway.Storage;

namespace Slipway.Registry.Versions;

/// <summary>A model without its versions.</summary>
internal sealed record ModelRow(string Name, string Description, IReadOnlyDictionary<string, string> Tags, string CreatedBy, long CreatedAtMs, long UpdatedAtMs)
{
    /// <summary>MLflow keeps prompts as models with this tag.</summary>
    public const string PromptTag = "mlflow.prompt.is_prompt";

    public bool IsPrompt => IsPromptBy(Tags);

    public static bool IsPromptBy(IReadOnlyDictionary<string, string> tags) =>
        tags.TryGetValue(PromptTag, out var value) && value.Equals("true", StringComparison.OrdinalIgnoreCase);
}

/// <summary>The rows of <c>models</c>. A deleted model's row stays, so that its versions' numbers are never given again.</summary>
internal static class ModelTable
{
    public static ModelRow? Find(DbConnection connection, string name)
    {
        var row = connection.QueryFirstOrDefault<Row>(
            """
            SELECT name AS Name, description AS Description, tags AS Tags, created_by AS CreatedBy, created_at_ms AS CreatedAtMs, updated_at_ms AS UpdatedAtMs
              FROM models WHERE name = @name AND deleted_at_ms IS NULL
            """,
            new { name });
        return row is null ? null : new ModelRow(row.Name, row.Description, ParseTags(row.Tags), row.CreatedBy, row.CreatedAtMs, row.UpdatedAtMs);
    }

    /// <summary>Adds a model, or takes up the name of a deleted one, whose numbers go on.</summary>
    /// <exception cref="SlipwayException">AlreadyExists.</exception>
    public static void Insert(WriteTransaction transaction, ModelRow model)
    {
        var rows = transaction.Connection.Execute(
            """
            INSERT INTO models (name, description, tags, created_by, created_at_ms, updated_at_ms) VALUES (@Name, @Description, @tags, @CreatedBy, @now, @now)
            ON CONFLICT (name) DO UPDATE
               SET description = excluded.description, tags = excluded.tags, created_by = excluded.created_by,
                   created_at_ms = excluded.created_at_ms, updated_at_ms = excluded.updated_at_ms, deleted_at_ms = NULL
             WHERE models.deleted_at_ms IS NOT NULL
            """,
            new { model.Name, model.Description, tags = Json(model.Tags), model.CreatedBy, now = transaction.NowMs });
        if (rows == 0)
        {
            throw new SlipwayException(ErrorCode.AlreadyExists, $"Registered Model (name={model.Name}) already exists.");
        }

        WebhookEvents.ModelCreated(transaction, model);
    }

    /// <summary>Notes a change of the model, which its first version makes.</summary>
    public static void Ensure(WriteTransaction transaction, string name, string by)
    {
        if (!Touch(transaction, name))
        {
            Insert(transaction, new ModelRow(name, "", new Dictionary<string, string>(), by, transaction.NowMs, transaction.NowMs));
        }
    }

    /// <summary>Notes that the model or one of its versions changed now; false when there is no such model.</summary>
    public static bool Touch(WriteTransaction transaction, string name) => transaction.Connection.Execute(
        "UPDATE models SET updated_at_ms = @now WHERE name = @name AND deleted_at_ms IS NULL", new { name, now = transaction.NowMs }) == 1;

    public static void SetDescription(WriteTransaction transaction, string name, string description) => transaction.Connection.Execute(
        "UPDATE models SET description = @description, updated_at_ms = @now WHERE name = @name", new { name, description, now = transaction.NowMs });

    public static void SetTags(WriteTransaction transaction, string name, IReadOnlyDictionary<string, string> tags) => transaction.Connection.Execute(
        "UPDATE models SET tags = @tags WHERE name = @name", new { name, tags = Json(tags) });

    public static void MarkDeleted(WriteTransaction transaction, string name) => transaction.Connection.Execute(
        "UPDATE models SET deleted_at_ms = @now WHERE name = @name", new { name, now = transaction.NowMs });

    /// <summary>Models by name, prompts left out; only the one of that name when it is given.</summary>
    public static IReadOnlyList<ModelSummary> Summaries(DbConnection connection, string? name)
    {
        // Two texts: with "@name IS NULL OR" in one, the versions in staging of all models would be read for one of them.
        var staging = connection.Query<(string Model, string Version)>(
                $"""
                SELECT model, version FROM model_versions
                 WHERE stage = 'staging' AND deleted_at_ms IS NULL{(name is null ? "" : " AND model = @name")} ORDER BY model, number
                """,
                new { name })
            .ToLookup(row => row.Model, row => row.Version);
        return [.. connection.Query<SummaryRow>(
            $"""
            SELECT m.name AS Name, m.description AS Description, m.created_by AS CreatedBy, n.description AS NewestDescription, n.owner AS Owner,
                   (SELECT count(*) FROM model_versions c WHERE c.model = m.name AND c.deleted_at_ms IS NULL) AS Versions, n.version AS NewestVersion,
                   (SELECT version FROM model_versions p WHERE p.model = m.name AND p.stage = 'production' AND p.deleted_at_ms IS NULL) AS ProductionVersion,
                   m.created_at_ms AS CreatedAtMs, m.updated_at_ms AS UpdatedAtMs
              FROM models m LEFT JOIN model_versions n ON n.model = m.name
               AND n.number = (SELECT max(number) FROM model_versions x WHERE x.model = m.name AND x.deleted_at_ms IS NULL)
             WHERE m.deleted_at_ms IS NULL AND {(name is null ? $"NOT {IsPrompt(connection, "m.tags")}" : "m.name = @name")}
             ORDER BY m.name
            """,
            new { name })
        .Select(row => new ModelSummary(
            row.Name, row.Description.Length > 0 ? row.Description : row.NewestDescription ?? "", row.Owner ?? row.CreatedBy, (int)row.Versions, row.NewestVersion, row.ProductionVersion,
            [.. staging[row.Name]], DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs), DateTimeOffset.FromUnixTimeMilliseconds(row.UpdatedAtMs)))];
    }

    /// <summary>The condition that a column of tags says that its row is a prompt.</summary>
    public static string IsPrompt(DbConnection connection, string column) =>
        $"EXISTS (SELECT 1 FROM {SqlDialect.Of(connection).JsonEntries(column)} t WHERE t.key = '{ModelRow.PromptTag}' AND lower(t.value) = 'true')";

    public static IReadOnlyDictionary<string, string> ParseTags(string json) => JsonSerializer.Deserialize<Dictionary<string, string>>(json, JsonDefaults.Options)!;

    public static string Json(IReadOnlyDictionary<string, string> tags) => JsonSerializer.Serialize(tags, JsonDefaults.Options);

    private sealed record Row(string Name, string Description, string Tags, string CreatedBy, long CreatedAtMs, long UpdatedAtMs);

    // Properties, not a constructor: SQLite gives the sub-selects no type while there is no row, and Dapper then finds no constructor.
    private sealed record SummaryRow
    {
        public required string Name { get; init; }

        public required string Description { get; init; }

        public required string CreatedBy { get; init; }

        public string? NewestDescription { get; init; }

        public string? Owner { get; init; }

        public long Versions { get; init; }

        public string? NewestVersion { get; init; }

        public string? ProductionVersion { get; init; }

        public long CreatedAtMs { get; init; }

        public long UpdatedAtMs { get; init; }
    }
}
