using System.Data.Common;
using Slipway.Storage;

namespace Slipway.Tracking.Search;

/// <summary>A search for runs as SQL.</summary>
internal sealed class RunQuery
{
    /// <summary>Sorting fewer runs than this costs less than walking an index that other experiments' runs are in too.</summary>
    public const int ManyRuns = 20_000;

    private readonly SqlDialect _dialect;
    private readonly RunSearch _search;
    private readonly bool _topLevel;
    private readonly IReadOnlyList<FilterClause> _clauses;
    private readonly IReadOnlyList<OrderTerm> _order;
    private readonly List<long> _experimentIds;
    private readonly IReadOnlyList<object?>? _after;
    private readonly string _fingerprint;

    /// <param name="search">What to find.</param>
    /// <param name="dialect">How the database's SQL differs.</param>
    /// <param name="topLevel">Leave out runs that belong to another run.</param>
    /// <exception cref="Slipway.Contracts.SlipwayException">InvalidArgument: the filter, order, number of results or token.</exception>
    public RunQuery(RunSearch search, SqlDialect dialect, bool topLevel = false)
    {
        RunStore.CheckMaxResults(search.MaxResults);
        _search = search;
        _dialect = dialect;
        _topLevel = topLevel;
        _experimentIds = search.ExperimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct().ToList();
        _clauses = [.. FilterParser.Parse(search.Filter, FilterFields.Runs)];
        _order = [.. (search.OrderBy ?? []).Select(term => FilterParser.ParseOrder(term, FilterFields.Runs))];
        RunLimits.CheckCount("order_by terms", _order.Count, 20);
        var terms = FilterSql.RunOrder(new SqlParts(dialect), _order).Count;
        _fingerprint = $"runs\n{string.Join(',', _experimentIds)}\n{search.View}\n{topLevel}\n{search.Filter}\n{string.Join('\n', search.OrderBy ?? [])}";
        _after = string.IsNullOrEmpty(search.PageToken) ? null : PageToken.Decode(search.PageToken, _fingerprint, terms);
    }

    /// <summary>How many runs an experiment has before its order is walked; tests lower it.</summary>
    public int WalkFrom { get; init; } = ManyRuns;

    /// <summary>With so few, looking each of them up and sorting costs less than walking all runs in order; tests lower it.</summary>
    public int FewRuns { get; init; } = 5000;

    /// <summary>The page's runs in order, and the token of the next page or null.</summary>
    public (List<long> Runs, string? Next) Read(DbConnection connection)
    {
        var few = FewestRuns(connection);
        return few is { Count: 0 } ? ([], null) : PageReader.Page(Rows(connection, few), _search.MaxResults, _fingerprint);
    }

    private IEnumerable<(long Id, object?[] Place)> Rows(DbConnection connection, List<long>? few)
    {
        if (few is null && _order.Count > 0 && RunWalk.CanWalk(_order[0]) && HasMany(connection))
        {
            return new RunWalk(_order, _clauses, sql => AddFilter(sql, null), _dialect, _after, _search.MaxResults + 1).Rows(connection);
        }

        var sql = new SqlParts(_dialect);
        var keyset = FilterSql.RunOrder(sql, _order);
        AddFilter(sql, few);
        if (_after is not null)
        {
            keyset.After(_after, sql);
        }

        return PageReader.Rows(
            connection, $"SELECT r.id AS id, {keyset.Columns} FROM runs r {string.Join(' ', sql.Joins)} {sql.Where} {keyset.OrderBy} LIMIT {sql.Parameter(_search.MaxResults + 1)}", sql);
    }

    private void AddFilter(SqlParts sql, List<long>? few)
    {
        sql.Conditions.Add(_search.View switch
        {
            LifecycleView.Active => "r.lifecycle_stage = 'active'",
            LifecycleView.Deleted => "r.lifecycle_stage = 'deleted'",
            _ => "r.lifecycle_stage IN ('active', 'deleted')",
        });
        if (_topLevel)
        {
            sql.Conditions.Add(RunTable.IsTopLevel);
        }

        FilterSql.AddRunFilter(sql, _clauses);
        if (few is not null)
        {
            sql.Conditions.Add($"r.id {_dialect.InNumbers(sql.Parameter($"[{string.Join(',', few)}]"))}");
        }

        // One experiment is the rule, and its index then gives the order; the plus sign keeps the engine from using it where the few runs
        // are known. More are one parameter: binding is quadratic in the number of parameters, and a caller may name every experiment there is.
        var experiment = few is null ? "r.experiment_id" : "+r.experiment_id";
        sql.Conditions.Add(_experimentIds.Count == 1
            ? $"{experiment} = {sql.Parameter(_experimentIds[0])}"
            : $"{experiment} {_dialect.InNumbers(sql.Parameter($"[{string.Join(',', _experimentIds)}]"))}");
    }

    private bool HasMany(DbConnection connection)
    {
        using var rows = Statement.Of(connection,
            $"SELECT count(*) FROM (SELECT 1 AS one FROM runs WHERE experiment_id {_dialect.InNumbers("$1")} LIMIT $2) counted");
        rows.Bind(1, $"[{string.Join(',', _experimentIds)}]");
        rows.Bind(2, (long)WalkFrom);
        return rows.Step() && rows.Integer(0) >= WalkFrom;
    }

    /// <summary>The runs that pass one of the clauses, where an index tells that they are few; null where none is known to leave only few.</summary>
    private List<long>? FewestRuns(DbConnection connection)
    {
        List<long>? fewest = null;
        foreach (var clause in _clauses)
        {
            var runs = clause.Field.Kind is FieldKind.Metric ? RunsByMetric(connection, clause) : RunsByText(connection, clause);
            if (runs is not null && (fewest is null || runs.Count < fewest.Count))
            {
                fewest = runs;
            }
        }

        return fewest;
    }

    private List<long>? RunsByMetric(DbConnection connection, FilterClause clause)
    {
        if (clause.Comparator == "!=")
        {
            return null;
        }

        // One order of the union is not asked for: the moving runs are few, and those that rest come along the index up to the limit.
        var passes = $"key = $1 AND is_nan = 0 AND value {clause.Comparator} $2";
        using var rows = Statement.Of(connection,
            $"""
            SELECT run FROM latest_metrics WHERE {passes} AND is_resting = 1
             UNION ALL SELECT m.run FROM moving_runs w CROSS JOIN latest_metrics m WHERE m.run = w.run AND {passes} AND is_resting = 0
             LIMIT $3
            """);
        rows.Bind(1, clause.Field.Name);
        rows.Bind(2, clause.Number);
        rows.Bind(3, FewRuns + 1L);
        return Few(rows);
    }

    private List<long>? RunsByText(DbConnection connection, FilterClause clause)
    {
        if (clause.Comparator != "=")
        {
            return null;
        }

        // BETWEEN, since SQLite would put an equal value into the expression and then not see the index.
        var sql = clause.Field switch
        {
            { Kind: FieldKind.Parameter } => "SELECT run FROM params WHERE key = $1 AND substr(value, 1, 200) = substr($2, 1, 200) AND value BETWEEN $2 AND $2 LIMIT $3",
            { Kind: FieldKind.Tag } => "SELECT run FROM tags WHERE key = $1 AND substr(value, 1, 200) = substr($2, 1, 200) AND value BETWEEN $2 AND $2 LIMIT $3",
            { Kind: FieldKind.Dataset, Name: "digest" } => "SELECT run FROM run_inputs WHERE digest = $1 AND digest = $2 LIMIT $3",
            { Kind: FieldKind.Attribute, Name: "run_name" } when _experimentIds.Count == 1 => "SELECT id FROM runs WHERE experiment_id = CAST($1 AS BIGINT) AND name = $2 LIMIT $3",
            _ => null,
        };
        if (sql is null)
        {
            return null;
        }

        using var rows = Statement.Of(connection, sql);
        rows.Bind(1, clause.Field.Kind switch
        {
            FieldKind.Attribute => ExperimentStore.Text(_experimentIds[0]),
            FieldKind.Dataset => clause.Texts[0],
            _ => clause.Field.Name,
        });
        rows.Bind(2, clause.Texts[0]);
        rows.Bind(3, FewRuns + 1L);
        return Few(rows);
    }

    private List<long>? Few(Statement rows)
    {
        var runs = new List<long>();
        while (rows.Step())
        {
            runs.Add(rows.Integer(0));
        }

        return runs.Count <= FewRuns ? runs : null;
    }
}
