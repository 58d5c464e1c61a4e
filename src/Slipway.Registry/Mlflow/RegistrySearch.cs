using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Registry.Stages;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;
using Slipway.Tracking.Search;

namespace Slipway.Registry.Mlflow;

/// <summary>Reads models and versions in MLflow's shape: single ones, the newest of each stage, and pages of a search.</summary>
internal sealed class RegistrySearch(Database database)
{
    /// <summary>The tag that shows a version's semantic version to clients that know only numbers.</summary>
    public const string VersionTag = "slipway.version";

    private const string VersionColumns =
        """
        v.model AS Name, v.number AS Number, v.version AS Version, v.stage AS Stage, v.run_id AS RunId, v.description AS Description, v.tags AS Tags, v.source AS Source,
        v.served_path AS ServedPath, v.created_by AS CreatedBy, v.created_at_ms AS CreatedAtMs, v.updated_at_ms AS UpdatedAtMs, v.run_link AS RunLink,
        v.logged_model_id AS ModelId, v.status_message AS StatusMessage
        """;

    private static readonly Dictionary<string, FieldKind> Prefixes = new()
    {
        ["tags"] = FieldKind.Tag,
        ["tag"] = FieldKind.Tag,
        ["attributes"] = FieldKind.Attribute,
        ["attribute"] = FieldKind.Attribute,
        ["attr"] = FieldKind.Attribute,
    };

    private static readonly FilterFields ModelFields = new(Prefixes, Names("name"), new HashSet<string>());

    private static readonly FilterFields ModelOrders = new(
        Prefixes, Orders("name", "creation_timestamp", "last_updated_timestamp"), new HashSet<string>());

    private static readonly FilterFields VersionFields = new(Prefixes, Names("name", "version_number", "run_id", "source_path"), new HashSet<string> { "version_number" });

    private static readonly FilterFields VersionOrders = new(
        Prefixes, Orders("name", "version_number", "creation_timestamp", "last_updated_timestamp"), new HashSet<string>());

    /// <summary>A version by its number; null when there is none.</summary>
    public MlflowModelVersion? FindVersion(string model, long number) => database.Read(connection =>
        Load(connection, "WHERE v.model = @model AND v.number = @number AND v.deleted_at_ms IS NULL", new { model, number }).SingleOrDefault());

    /// <summary>The version an alias points at; null when there is none.</summary>
    public MlflowModelVersion? FindByAlias(string model, string alias) => database.Read(connection =>
        Load(connection,
            "WHERE v.model = @model AND v.version = (SELECT version FROM model_aliases WHERE model = @model AND alias = @alias) AND v.deleted_at_ms IS NULL",
            new { model, alias }).SingleOrDefault());

    /// <summary>The newest version of each of these stages, by number; null when there is no such model.</summary>
    public IReadOnlyList<MlflowModelVersion>? Latest(string model, IReadOnlyCollection<Stage> stages) => database.Read(connection =>
    {
        // One probe of the index for each stage; a model's versions may be many.
        var newest = stages.Select(stage =>
            $"(SELECT number FROM model_versions WHERE model = @model AND stage = '{StageRules.Name(stage)}' AND deleted_at_ms IS NULL ORDER BY number DESC LIMIT 1)");
        var versions = Load(connection, $"WHERE v.model = @model AND v.number IN ({string.Join(", ", newest)}) ORDER BY v.number", new { model });
        return versions.Count > 0 || connection.ExecuteScalar<bool>("SELECT EXISTS (SELECT 1 FROM models WHERE name = @model AND deleted_at_ms IS NULL)", new { model })
            ? versions : null;
    });

    /// <summary>A model; null when there is none.</summary>
    public MlflowRegisteredModel? FindModel(string name) => database.Read(connection =>
        LoadModels(connection, "WHERE m.name = @name AND m.deleted_at_ms IS NULL", new { name }).SingleOrDefault());

    /// <summary>A page of models; prompts only when the filter names the tag that makes a model one.</summary>
    public (IReadOnlyList<MlflowRegisteredModel> Models, string? Next) SearchModels(string? filter, IReadOnlyList<string> orderBy, int max, string? pageToken, ResourceFilter? visible) =>
        database.Read(connection =>
        {
            var sql = new SqlParts(database.Dialect);
            sql.Conditions.Add("m.deleted_at_ms IS NULL");
            AddVisible(sql, "m.name", visible);
            var clauses = FilterParser.Parse(filter, ModelFields);
            AddFilter(connection, sql, clauses, "m.tags", _ => "m.name", versionColumn: null);
            var keyset = Order(orderBy, ModelOrders, name => name switch { "name" => "m.name", "creation_timestamp" => "m.created_at_ms", _ => "m.updated_at_ms" });
            keyset.Add("m.name", false);
            var (keys, next) = Page(connection, sql, keyset, "SELECT m.name", "FROM models m", max, pageToken, $"models {filter} {string.Join(',', orderBy)}");
            var names = keys.Select(row => (string)row[0]!).ToList();
            var models = LoadModels(connection, $"WHERE m.name {database.Dialect.InTexts("@names")}", new { names = JsonSerializer.Serialize(names) }).ToDictionary(model => model.Name);
            return ((IReadOnlyList<MlflowRegisteredModel>)names.ConvertAll(name => models[name]), next);
        });

    // In the query, so that no page has a gap and no count tells what is left out.
    private void AddVisible(SqlParts sql, string column, ResourceFilter? visible)
    {
        if (visible is not null)
        {
            sql.Conditions.Add($"{(visible.Only ? "" : "NOT ")}({column} {database.Dialect.InTexts(sql.Parameter(JsonSerializer.Serialize(visible.Names)))})");
        }
    }

    /// <summary>A page of versions, newest change first unless asked otherwise.</summary>
    public (IReadOnlyList<MlflowModelVersion> Versions, string? Next) SearchVersions(string? filter, IReadOnlyList<string> orderBy, int max, string? pageToken, ResourceFilter? visible) =>
        database.Read(connection =>
        {
            var sql = new SqlParts(database.Dialect);
            sql.Conditions.Add("v.deleted_at_ms IS NULL");
            AddVisible(sql, "v.model", visible);
            var clauses = FilterParser.Parse(filter, VersionFields);
            AddFilter(connection, sql, clauses, "v.tags", VersionAttribute, "v.version");
            var keyset = Order(orderBy, VersionOrders, name => name switch
            {
                "name" => "v.model",
                "version_number" => "v.number",
                "creation_timestamp" => "v.created_at_ms",
                _ => "v.updated_at_ms",
            });
            if (orderBy.Count == 0)
            {
                keyset.Add("v.updated_at_ms", true);
            }

            keyset.Add("v.model", false);
            keyset.Add("v.number", true);
            var (keys, next) = Page(connection, sql, keyset, "SELECT v.model, v.number", "FROM model_versions v", max, pageToken, $"versions {filter} {string.Join(',', orderBy)}");
            var found = new Dictionary<(string, long), MlflowModelVersion>();
            foreach (var group in keys.GroupBy(row => (string)row[0]!))
            {
                var numbers = JsonSerializer.Serialize(group.Select(row => Convert.ToInt64(row[1], CultureInfo.InvariantCulture)));
                foreach (var version in Load(connection, $"WHERE v.model = @model AND v.number {database.Dialect.InNumbers("@numbers")}", new { model = group.Key, numbers }))
                {
                    found[(version.Name, long.Parse(version.Version, CultureInfo.InvariantCulture))] = version;
                }
            }

            return ((IReadOnlyList<MlflowModelVersion>)keys.ConvertAll(row => found[((string)row[0]!, Convert.ToInt64(row[1], CultureInfo.InvariantCulture))]), next);
        });

    private static Dictionary<string, string> Names(params string[] names) => names.ToDictionary(name => name);

    private static Dictionary<string, string> Orders(params string[] names) => new(Names(names)) { ["timestamp"] = "last_updated_timestamp" };

    private static string VersionAttribute(string name) => name switch
    {
        "name" => "v.model",
        "version_number" => "v.number",
        "run_id" => "v.run_id",
        _ => "v.source",
    };

    private static void AddFilter(
        DbConnection connection, SqlParts sql, IReadOnlyList<FilterClause> clauses, string tags, Func<string, string> attribute, string? versionColumn)
    {
        foreach (var clause in clauses)
        {
            sql.Conditions.Add(clause.Field switch
            {
                { Kind: FieldKind.Tag, Name: VersionTag } when versionColumn is not null => FilterSql.Compare(sql, versionColumn, clause),
                { Kind: FieldKind.Tag } when IsFalsePrompt(clause) => $"NOT {ModelTable.IsPrompt(connection, tags)}",
                { Kind: FieldKind.Tag } =>
                    $"EXISTS (SELECT 1 FROM {sql.Dialect.JsonEntries(tags)} t WHERE t.key = {sql.Parameter(clause.Field.Name)} AND {FilterSql.Compare(sql, "t.value", clause)})",
                _ => FilterSql.Compare(sql, attribute(clause.Field.Name), clause),
            });
        }

        if (!clauses.Any(clause => clause.Field is { Kind: FieldKind.Tag, Name: ModelRow.PromptTag }))
        {
            sql.Conditions.Add($"NOT {ModelTable.IsPrompt(connection, tags)}");
        }
    }

    // MLflow takes these for "is no prompt", though what is none bears no such tag.
    private static bool IsFalsePrompt(FilterClause clause) => clause.Field.Name == ModelRow.PromptTag
        && ((clause.Comparator == "!=" && clause.Texts[0] == "true") || (clause.Comparator == "=" && clause.Texts[0] == "false"));

    private static Keyset Order(IReadOnlyList<string> terms, FilterFields fields, Func<string, string> column)
    {
        var keyset = new Keyset();
        var seen = new HashSet<string>();
        foreach (var text in terms)
        {
            var term = FilterParser.ParseOrder(text, fields);
            if (term.Field.Kind is not FieldKind.Attribute)
            {
                throw RunLimits.Invalid($"Invalid order_by: '{text}' is not one of {string.Join(", ", fields.Attributes.Values.Distinct())}.");
            }

            if (!seen.Add(term.Field.Name))
            {
                throw RunLimits.Invalid($"`order_by` contains duplicate fields: {string.Join(", ", terms)}");
            }

            keyset.Add(column(term.Field.Name), term.Descending);
        }

        return keyset;
    }

    private static (List<object?[]> Keys, string? Next) Page(
        DbConnection connection, SqlParts sql, Keyset keyset, string select, string from, int max, string? pageToken, string fingerprint)
    {
        if (!string.IsNullOrEmpty(pageToken))
        {
            keyset.After(PageToken.Decode(pageToken, fingerprint, keyset.Count), sql);
        }

        var rows = new List<object?[]>();
        using var reader = connection.ExecuteReader(
            $"{select}, {keyset.Columns} {from} {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(max + 1)}", sql.Parameters);
        while (reader.Read())
        {
            if (rows.Count == max)
            {
                return (rows, PageToken.Encode(fingerprint, rows[^1][^keyset.Count..]));
            }

            var row = new object?[reader.FieldCount];
            for (var i = 0; i < row.Length; i++)
            {
                row[i] = reader.IsDBNull(i) ? null : reader.GetValue(i);
            }

            rows.Add(row);
        }

        return (rows, null);
    }

    private static List<MlflowRegisteredModel> LoadModels(DbConnection connection, string where, object parameters)
    {
        var models = connection.Query<ModelColumns>(
            $"""
            SELECT m.name AS Name, m.description AS Description, m.tags AS Tags, m.created_by AS CreatedBy, m.created_at_ms AS CreatedAtMs, m.updated_at_ms AS UpdatedAtMs
              FROM models m {where}
            """,
            parameters).AsList();
        if (models.Count == 0)
        {
            return [];
        }

        var dialect = SqlDialect.Of(connection);
        var names = new { names = JsonSerializer.Serialize(models.Select(model => model.Name)) };
        var latest = Load(connection,
            $"""
            JOIN (SELECT model, stage, max(number) AS number FROM model_versions
                   WHERE model {dialect.InTexts("@names")} AND deleted_at_ms IS NULL GROUP BY model, stage) n ON n.model = v.model AND n.number = v.number
            ORDER BY v.number
            """,
            names).ToLookup(version => version.Name);
        var aliases = connection.Query<(string Model, string Alias, long Number)>(
            $"""
            SELECT a.model, a.alias, v.number FROM model_aliases a JOIN model_versions v ON v.model = a.model AND v.version = a.version
             WHERE a.model {dialect.InTexts("@names")} ORDER BY a.alias
            """,
            names).ToLookup(row => row.Model, row => new MlflowAlias(row.Alias, row.Number.ToString(CultureInfo.InvariantCulture)));
        return models.ConvertAll(model => new MlflowRegisteredModel(
            model.Name, model.CreatedAtMs, model.UpdatedAtMs, model.CreatedBy, OrNull(model.Description), MlflowHttp.OrNull(latest[model.Name]),
            MlflowHttp.Tags(ModelTable.ParseTags(model.Tags)), MlflowHttp.OrNull(aliases[model.Name])));
    }

    private static List<MlflowModelVersion> Load(DbConnection connection, string where, object parameters)
    {
        var rows = connection.Query<VersionColumnsRow>($"SELECT {VersionColumns} FROM model_versions v {where}", parameters).AsList();
        var aliases = rows.Count == 0 ? null : connection.Query<(string Model, string Version, string Alias)>(
                rows.Count == 1
                    ? "SELECT model, version, alias FROM model_aliases WHERE model = @Name AND version = @Version ORDER BY alias"
                    : $"SELECT model, version, alias FROM model_aliases WHERE model {SqlDialect.Of(connection).InTexts("@names")} ORDER BY alias",
                rows.Count == 1 ? rows[0] : new { names = JsonSerializer.Serialize(rows.Select(row => row.Name).Distinct()) })
            .ToLookup(row => (row.Model, row.Version), row => row.Alias);
        return rows.ConvertAll(row => new MlflowModelVersion(
            row.Name, row.Number.ToString(CultureInfo.InvariantCulture), row.CreatedAtMs, row.UpdatedAtMs, row.CreatedBy, StageName(StageRules.Parse(row.Stage)),
            OrNull(row.Description), row.Source ?? (row.RunId is null ? null : $"runs:/{row.RunId}/{row.ServedPath}"), row.RunId, "READY", row.StatusMessage,
            [.. ModelTable.ParseTags(row.Tags).Select(tag => new MlflowTag(tag.Key, tag.Value)), new MlflowTag(VersionTag, row.Version)], row.RunLink,
            MlflowHttp.OrNull(aliases![(row.Name, row.Version)]), row.ModelId));
    }

    /// <summary>MLflow's name of a stage.</summary>
    public static string StageName(Stage stage) => stage is Stage.Development ? "None" : stage.ToString();

    private static string? OrNull(string text) => text.Length == 0 ? null : text;

    private sealed record ModelColumns(string Name, string Description, string Tags, string CreatedBy, long CreatedAtMs, long UpdatedAtMs);

    private sealed record VersionColumnsRow(
        string Name, long Number, string Version, string Stage, string? RunId, string Description, string Tags, string? Source, string? ServedPath, string CreatedBy,
        long CreatedAtMs, long UpdatedAtMs, string? RunLink, string? ModelId, string? StatusMessage);
}
