using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Search;

namespace Slipway.Tracking;

/// <summary>What a column of a table of runs shows.</summary>
public enum RunColumnKind
{
    /// <summary>A field of the run itself, such as <c>user_id</c>.</summary>
    Attribute,

    /// <summary>The newest value of a metric.</summary>
    Metric,

    /// <summary>A parameter.</summary>
    Parameter,

    /// <summary>A tag.</summary>
    Tag,
}

/// <summary>A column of a table of runs, written as in a filter: <c>metrics.auc</c>, <c>params.depth</c>, <c>tags.team</c>, <c>attributes.user_id</c>.</summary>
/// <param name="Kind">Where the value comes from.</param>
/// <param name="Key">Its name there.</param>
public sealed record RunColumn(RunColumnKind Kind, string Key)
{
    /// <summary>Reads a column's text; null when it names no kind or no key.</summary>
    public static RunColumn? Parse(string text)
    {
        var dot = text.IndexOf('.', StringComparison.Ordinal);
        RunColumnKind? kind = dot < 0 ? null : text[..dot] switch
        {
            "metrics" => RunColumnKind.Metric,
            "params" => RunColumnKind.Parameter,
            "tags" => RunColumnKind.Tag,
            "attributes" => RunColumnKind.Attribute,
            _ => null,
        };
        var key = text[(dot + 1)..].Trim('`');
        return kind is { } known && key.Length > 0 ? new RunColumn(known, key) : null;
    }

    /// <summary>The column as a filter or an order names it, in back quotes: a key may hold any character.</summary>
    public string Term => $"{Prefix}.`{Key}`";

    private string Prefix => Kind switch { RunColumnKind.Metric => "metrics", RunColumnKind.Parameter => "params", RunColumnKind.Tag => "tags", _ => "attributes" };

    /// <inheritdoc/>
    public override string ToString() => $"{Prefix}.{Key}";
}

/// <summary>Which runs a table shows.</summary>
/// <param name="ExperimentIds">Only runs of these.</param>
/// <param name="Filter">In MLflow's grammar; null for all.</param>
/// <param name="OrderBy">Terms such as <c>metrics.auc DESC</c>; null for newest first.</param>
/// <param name="View">Living or deleted.</param>
/// <param name="TopLevel">Leave out runs that have a parent.</param>
public sealed record RunTableQuery(
    IReadOnlyList<string> ExperimentIds, string? Filter = null, IReadOnlyList<string>? OrderBy = null, LifecycleView View = LifecycleView.Active, bool TopLevel = false);

/// <summary>One row, with the chosen columns only.</summary>
/// <param name="RunId">32 hexadecimal digits.</param>
/// <param name="ExperimentId">Its experiment.</param>
/// <param name="Name">Need not be unique.</param>
/// <param name="UserId">Who started it.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="StartTimeMs">Unix milliseconds.</param>
/// <param name="EndTimeMs">Null until it has ended.</param>
/// <param name="NamesDataset">Whether it says what data it saw.</param>
/// <param name="ParentRunId">The run it belongs to; null for none.</param>
/// <param name="Children">Living runs that belong to it.</param>
/// <param name="Metrics">The newest values of the chosen metrics; NaN stays NaN.</param>
/// <param name="Texts">The chosen parameters and tags by column.</param>
public sealed record RunTableRow(
    string RunId, string ExperimentId, string Name, string UserId, RunStatus Status, long StartTimeMs, long? EndTimeMs, bool NamesDataset, string? ParentRunId,
    long Children, IReadOnlyDictionary<string, double> Metrics, IReadOnlyDictionary<RunColumn, string> Texts)
{
    /// <summary>Where clients put the files of the experiment's runs by themselves; null when they send them to the server.</summary>
    public string? ArtifactLocation { get; init; }

    /// <summary>What the column shows; null when the run has nothing there. A metric is in <see cref="Metrics"/>.</summary>
    public string? Text(RunColumn column) => column switch
    {
        { Kind: RunColumnKind.Metric } => Metrics.TryGetValue(column.Key, out var value) ? value.ToString("R", CultureInfo.InvariantCulture) : null,
        { Kind: RunColumnKind.Attribute } => column.Key switch
        {
            "run_id" => RunId,
            "run_name" => Name,
            "user_id" => UserId,
            "status" => RunStore.StatusText(Status),
            "start_time" => StartTimeMs.ToString(CultureInfo.InvariantCulture),
            "end_time" => EndTimeMs?.ToString(CultureInfo.InvariantCulture),
            "artifact_uri" => $"{ArtifactLocation ?? $"mlflow-artifacts:/{ExperimentId}"}/{RunId}/artifacts",
            _ => null,
        },
        _ => Texts.GetValueOrDefault(column),
    };
}

/// <summary>Runs that share the value of a parameter, a tag or an attribute.</summary>
/// <param name="Value">What they share; null for those without it.</param>
/// <param name="Runs">How many.</param>
/// <param name="Metrics">Mean, lowest and highest newest value of each asked metric over the runs that have a number there.</param>
public sealed record RunGroup(string? Value, long Runs, IReadOnlyDictionary<string, RunGroupMetric> Metrics);

/// <summary>A metric over a group of runs; null where none has a number.</summary>
/// <param name="Mean">Arithmetic mean.</param>
/// <param name="Lowest">Smallest.</param>
/// <param name="Highest">Largest.</param>
public sealed record RunGroupMetric(double? Mean, double? Lowest, double? Highest);

/// <summary>A key that runs have, and how many of the newest runs have it.</summary>
/// <param name="Column">The column.</param>
/// <param name="Runs">Of the newest <see cref="RunTable.NewestMax"/>.</param>
/// <param name="HasCurve">Whether it is a metric with more than one step.</param>
public sealed record KnownColumn(RunColumn Column, long Runs, bool HasCurve);

/// <summary>What is wrong with a filter.</summary>
/// <param name="Message">One sentence.</param>
/// <param name="Number">Which clause, from 1.</param>
/// <param name="Clause">Its text.</param>
public sealed record FilterFault(string Message, int Number, string Clause);

/// <summary>Reads tables of runs: only the columns that are shown, page by page.</summary>
public sealed class RunTable(Database database)
{
    /// <summary>Known columns are taken from so many of the newest runs: to look at all would cost a scan of everything.</summary>
    public const int NewestMax = 500;

    /// <summary>Groups shown at most.</summary>
    public const int GroupsMax = 200;

    /// <summary>The tag with which MLflow's clients name the run that a run belongs to.</summary>
    public const string ParentTag = "mlflow.parentRunId";

    // Literal, so that the partial index on it can serve.
    private const string ParentOfTag = "t.key = 'mlflow.parentRunId'";
    internal const string IsTopLevel = $"NOT EXISTS (SELECT 1 FROM tags t WHERE t.run = r.id AND {ParentOfTag})";
    private const int CountedMax = 100_000;

    /// <summary>One page of rows.</summary>
    /// <param name="query">Which runs.</param>
    /// <param name="columns">What to read of each.</param>
    /// <param name="max">1 to 1000.</param>
    /// <param name="pageToken">From the page before; null for the first.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, order or token.</exception>
    public Page<RunTableRow> Page(RunTableQuery query, IReadOnlyList<RunColumn> columns, int max, string? pageToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(max, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(max, 1000);
        var search = new RunQuery(new RunSearch(query.ExperimentIds, query.Filter, query.OrderBy, max, pageToken, query.View), database.Dialect, query.TopLevel);
        return database.Read(connection =>
        {
            var (ids, next) = search.Read(connection);
            return new Page<RunTableRow>(Load(connection, ids, columns), next);
        });
    }

    /// <summary>The living runs that belong to a run, oldest first.</summary>
    public IReadOnlyList<RunTableRow> Children(string runId, IReadOnlyList<RunColumn> columns, int max) => database.Read(connection =>
    {
        var ids = connection.Query<long>(
            $"""
            SELECT r.id FROM tags t JOIN runs r ON r.id = t.run
             WHERE {ParentOfTag} AND t.value = @runId AND r.lifecycle_stage = 'active' ORDER BY r.start_at_ms, r.id LIMIT @max
            """,
            new { runId, max }).AsList();
        return Load(connection, ids, columns);
    });

    /// <summary>How many runs the query finds; null when to count them would take too long.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the filter.</exception>
    public long? Count(RunTableQuery query)
    {
        var all = Conditions(query with { Filter = null, TopLevel = false });
        var sql = Conditions(query);
        return database.Read(connection =>
        {
            var whole = connection.ExecuteScalar<long>($"SELECT count(*) FROM runs r {all.Where}", all.Parameters);
            return string.IsNullOrWhiteSpace(query.Filter) && !query.TopLevel ? whole
                : whole > CountedMax ? (long?)null
                : connection.ExecuteScalar<long>($"SELECT count(*) FROM runs r {sql.Where}", sql.Parameters);
        });
    }

    /// <summary>The runs in groups, largest first.</summary>
    /// <param name="query">Which runs; their order does not matter.</param>
    /// <param name="by">A parameter, a tag or an attribute in text.</param>
    /// <param name="metrics">Metrics to sum up, at most 8.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the filter, or <paramref name="by"/> cannot group.</exception>
    public IReadOnlyList<RunGroup> Groups(RunTableQuery query, RunColumn by, IReadOnlyList<string> metrics)
    {
        var asked = metrics.Distinct().Take(8).ToList();
        var sql = Conditions(query);
        var value = by switch
        {
            { Kind: RunColumnKind.Parameter or RunColumnKind.Tag } => "g.value",
            { Kind: RunColumnKind.Attribute, Key: "user_id" } => "r.user_id",
            { Kind: RunColumnKind.Attribute, Key: "status" } => "r.status",
            { Kind: RunColumnKind.Attribute, Key: "run_name" } => "r.name",
            _ => throw RunLimits.Invalid($"Runs cannot be grouped by '{by}'; group them by a parameter, a tag, or one of the attributes user_id, status and run_name."),
        };
        if (value == "g.value")
        {
            sql.Joins.Add($"LEFT JOIN {(by.Kind is RunColumnKind.Tag ? "tags" : "params")} g ON g.run = r.id AND g.key = {sql.Parameter(by.Key)}");
        }

        foreach (var (i, metric) in asked.Index())
        {
            sql.Joins.Add($"LEFT JOIN latest_metrics m{i} ON m{i}.run = r.id AND m{i}.is_nan = 0 AND m{i}.key = {sql.Parameter(metric)}");
        }

        var figures = string.Concat(asked.Select((_, i) => $", avg(m{i}.value), min(m{i}.value), max(m{i}.value)"));
        return database.Read(connection =>
        {
            using var reader = connection.ExecuteReader(
                $"""
                SELECT {value}, count(*){figures} FROM runs r {string.Join(' ', sql.Joins)} {sql.Where}
                 GROUP BY {value} ORDER BY count(*) DESC, {value} LIMIT {GroupsMax}
                """, sql.Parameters);
            var groups = new List<RunGroup>();
            while (reader.Read())
            {
                double? Figure(int column) => reader.IsDBNull(column) ? null : reader.GetDouble(column);
                groups.Add(new RunGroup(
                    reader.IsDBNull(0) ? null : reader.GetString(0), reader.GetInt64(1),
                    asked.Select((metric, i) => (metric, Of: new RunGroupMetric(Figure(2 + i * 3), Figure(3 + i * 3), Figure(4 + i * 3))))
                        .ToDictionary(pair => pair.metric, pair => pair.Of, StringComparer.Ordinal)));
            }

            return groups;
        });
    }

    /// <summary>The keys that the newest runs have, most frequent first.</summary>
    public IReadOnlyList<KnownColumn> KnownColumns(IReadOnlyList<string> experimentIds, LifecycleView view = LifecycleView.Active)
    {
        var sql = Conditions(new RunTableQuery(experimentIds, View: view));
        var newest = $"IN (SELECT id FROM (SELECT r.id FROM runs r {sql.Where} ORDER BY r.start_at_ms DESC, r.run_id LIMIT {NewestMax}) newest)";
        return database.Read(connection =>
        {
            var known = new List<KnownColumn>();
            foreach (var (kind, table, curve) in new[]
            {
                (RunColumnKind.Metric, "latest_metrics", "max(step)"), (RunColumnKind.Parameter, "params", "0"), (RunColumnKind.Tag, "tags", "0"),
            })
            {
                using var reader = connection.ExecuteReader($"SELECT key, count(*), {curve} FROM {table} WHERE run {newest} GROUP BY key ORDER BY count(*) DESC, key", sql.Parameters);
                while (reader.Read())
                {
                    known.Add(new KnownColumn(new RunColumn(kind, reader.GetString(0)), reader.GetInt64(1), Convert.ToInt64(reader.GetValue(2), CultureInfo.InvariantCulture) > 0));
                }
            }

            return known;
        });
    }

    /// <summary>What is wrong with a filter and in which clause; null when it can be read.</summary>
    public static FilterFault? Explain(string filter)
    {
        string message;
        try
        {
            FilterParser.Parse(filter, FilterFields.Runs);
            return null;
        }
        catch (SlipwayException e)
        {
            message = e.Message;
        }

        var clauses = Clauses(filter);
        foreach (var (i, clause) in clauses.Index())
        {
            try
            {
                if (string.IsNullOrWhiteSpace(clause))
                {
                    return new FilterFault("Nothing stands between two ANDs, or after the last; write a comparison there or take the AND away.", i + 1, "");
                }

                FilterParser.Parse(clause, FilterFields.Runs);
            }
            catch (SlipwayException e)
            {
                return new FilterFault(e.Message, i + 1, clause.Trim());
            }
        }

        return new FilterFault(message, clauses.Count, clauses[^1].Trim());
    }

    // Cuts at each AND that is not within quotes.
    private static List<string> Clauses(string filter)
    {
        var clauses = new List<string>();
        var (from, quote) = (0, '\0');
        for (var i = 0; i < filter.Length; i++)
        {
            if (quote != '\0')
            {
                quote = filter[i] == quote ? '\0' : quote;
            }
            else if (filter[i] is '\'' or '"' or '`')
            {
                quote = filter[i];
            }
            else if (i > 0 && i + 3 <= filter.Length && char.IsWhiteSpace(filter[i - 1]) && (i + 3 == filter.Length || char.IsWhiteSpace(filter[i + 3]))
                     && filter.AsSpan(i, 3).Equals("AND", StringComparison.OrdinalIgnoreCase))
            {
                clauses.Add(filter[from..i]);
                from = i + 3;
            }
        }

        clauses.Add(filter[from..]);
        return clauses;
    }

    private SqlParts Conditions(RunTableQuery query)
    {
        var sql = new SqlParts(database.Dialect);
        var experiments = query.ExperimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct().ToList();
        // A single one is compared directly: its index then also gives the order.
        sql.Conditions.Add(experiments.Count == 1
            ? $"r.experiment_id = {sql.Parameter(experiments[0])}"
            : $"r.experiment_id {database.Dialect.InNumbers(sql.Parameter(JsonSerializer.Serialize(experiments)))}");
        sql.Conditions.Add(query.View is LifecycleView.Deleted ? "r.lifecycle_stage = 'deleted'" : "r.lifecycle_stage = 'active'");
        if (query.TopLevel)
        {
            sql.Conditions.Add(IsTopLevel);
        }

        FilterSql.AddRunFilter(sql, FilterParser.Parse(query.Filter, FilterFields.Runs));
        return sql;
    }

    private List<RunTableRow> Load(DbConnection connection, List<long> runs, IReadOnlyList<RunColumn> columns)
    {
        if (runs.Count == 0)
        {
            return [];
        }

        var chosen = database.Dialect.InNumbers("@ids");
        var ids = new { ids = JsonSerializer.Serialize(runs) };
        var rows = connection.Query<Row>(
            $"""
            SELECT r.id AS Id, r.run_id AS RunId, r.experiment_id AS Experiment, r.name AS Name, r.user_id AS UserId, r.status AS Status, r.start_at_ms AS StartMs,
                   r.end_at_ms AS EndMs, CASE WHEN EXISTS (SELECT 1 FROM run_inputs i WHERE i.run = r.id) THEN 1 ELSE 0 END AS NamesDataset,
                   (SELECT t.value FROM tags t WHERE t.run = r.id AND {ParentOfTag}) AS ParentRunId,
                   (SELECT e.artifact_location FROM experiments e WHERE e.id = r.experiment_id) AS ArtifactLocation
              FROM runs r WHERE r.id {chosen}
            """, ids).ToDictionary(row => row.Id);
        var children = connection.Query<(string Parent, long Count)>(
            $"""
            SELECT t.value, count(*) FROM tags t JOIN runs c ON c.id = t.run
             WHERE {ParentOfTag} AND t.value {database.Dialect.InTexts("@parents")} AND c.lifecycle_stage = 'active' GROUP BY t.value
            """,
            new { parents = JsonSerializer.Serialize(rows.Values.Select(row => row.RunId)) }).ToDictionary(row => row.Parent, row => row.Count, StringComparer.Ordinal);
        var metrics = Keys(RunColumnKind.Metric) is { } metricKeys
            ? connection.Query<(long Run, string Key, double Value, long IsNan)>(
                $"SELECT run, key, value, is_nan FROM latest_metrics WHERE run {chosen} AND key {database.Dialect.InTexts("@metricKeys")}", new { ids.ids, metricKeys }).ToLookup(row => row.Run)
            : null;
        var texts = new List<(long Run, RunColumn Column, string Value)>();
        foreach (var (kind, table) in new[] { (RunColumnKind.Parameter, "params"), (RunColumnKind.Tag, "tags") })
        {
            if (Keys(kind) is { } keys)
            {
                texts.AddRange(connection.Query<(long Run, string Key, string Value)>(
                    $"SELECT run, key, value FROM {table} WHERE run {chosen} AND key {database.Dialect.InTexts("@keys")}", new { ids.ids, keys })
                    .Select(row => (row.Run, new RunColumn(kind, row.Key), row.Value)));
            }
        }

        var textsOf = texts.ToLookup(text => text.Run);
        return runs.ConvertAll(id =>
        {
            var row = rows[id];
            return new RunTableRow(
                row.RunId, ExperimentStore.Text(row.Experiment), row.Name, row.UserId, Enum.Parse<RunStatus>(row.Status, ignoreCase: true), row.StartMs, row.EndMs,
                row.NamesDataset != 0, row.ParentRunId, children.GetValueOrDefault(row.RunId),
                metrics?[id].ToDictionary(metric => metric.Key, metric => metric.IsNan != 0 ? double.NaN : metric.Value, StringComparer.Ordinal) ?? [],
                textsOf[id].ToDictionary(text => text.Column, text => text.Value))
            {
                ArtifactLocation = row.ArtifactLocation,
            };
        });

        string? Keys(RunColumnKind kind)
        {
            var keys = columns.Where(column => column.Kind == kind).Select(column => column.Key).Distinct().ToList();
            return keys.Count == 0 ? null : JsonSerializer.Serialize(keys);
        }
    }

    private sealed class Row
    {
        public long Id { get; init; }

        public string RunId { get; init; } = "";

        public long Experiment { get; init; }

        public string Name { get; init; } = "";

        public string UserId { get; init; } = "";

        public string Status { get; init; } = "";

        public long StartMs { get; init; }

        public long? EndMs { get; init; }

        public long NamesDataset { get; init; }

        public string? ParentRunId { get; init; }

        public string? ArtifactLocation { get; init; }
    }
}
