using System.Data.Common;
using Slipway.Storage;

namespace Slipway.Tracking.Search;

/// <summary>
/// Reads runs in the order of a metric, a parameter, a tag or their end along the index of its values, so that a page costs the rows it
/// walks past and not a sort of all runs. The order falls into stretches, one after the other: runs with a value, for a metric those
/// whose value is NaN, and runs without one.
/// </summary>
internal sealed class RunWalk
{
    private readonly OrderTerm _first;
    private readonly IReadOnlyList<OrderTerm> _others;
    private readonly IReadOnlyList<FilterClause> _clauses;
    private readonly Action<SqlParts> _filter;
    private readonly SqlDialect _dialect;
    private readonly IReadOnlyList<object?>? _after;
    private readonly int _rowsMax;

    /// <param name="terms">The order; its first term is one that <see cref="CanWalk"/>.</param>
    /// <param name="clauses">The clauses of the filter: those on the first term's metric bound the walk.</param>
    /// <param name="filter">Adds which runs pass, these clauses among it.</param>
    /// <param name="dialect">How the database's SQL differs.</param>
    /// <param name="after">The place of the last row of the page before; null for the first page.</param>
    /// <param name="rowsMax">Rows of a page and the first of the next.</param>
    public RunWalk(IReadOnlyList<OrderTerm> terms, IReadOnlyList<FilterClause> clauses, Action<SqlParts> filter, SqlDialect dialect, IReadOnlyList<object?>? after, int rowsMax)
    {
        _first = terms[0];
        _others = [.. terms.Skip(1)];
        _clauses = clauses;
        _filter = filter;
        _dialect = dialect;
        _after = after;
        _rowsMax = rowsMax;
    }

    private bool IsMetric => _first.Field.Kind is FieldKind.Metric;

    /// <summary>Whether an index has the order of this term.</summary>
    public static bool CanWalk(OrderTerm term) => term.Field.Kind is FieldKind.Metric or FieldKind.Parameter or FieldKind.Tag
        || term.Field is { Kind: FieldKind.Attribute, Name: "end_time" };

    /// <summary>The rows in order; a stretch is asked for only when those before it were not enough.</summary>
    public IEnumerable<(long Id, object?[] Place)> Rows(DbConnection connection)
    {
        // The place begins with the number of its stretch, as it does where all runs are sorted: tokens of one are good for the other.
        var missing = IsMetric ? 2 : 1;
        for (var stretch = _after is null ? 0 : Convert.ToInt32(_after[0], System.Globalization.CultureInfo.InvariantCulture); stretch <= missing; stretch++)
        {
            var sql = new SqlParts(_dialect);
            var text = stretch == missing ? Missing(sql, stretch) : IsMetric ? Metric(sql, stretch) : Present(sql, stretch);
            foreach (var row in PageReader.Rows(connection, text, sql))
            {
                yield return row;
            }
        }
    }

    // The engines take tables joined by CROSS JOIN in the order in which they are written, or find a better one by their statistics.
    private string Metric(SqlParts sql, int stretch)
    {
        var keyset = Order(sql, stretch, keyset => keyset.Add("o0.value", _first.Descending));
        sql.Conditions.Insert(0, $"o0.key = {sql.Parameter(_first.Field.Name)} AND o0.is_nan = {stretch} AND r.id = o0.run");
        foreach (var clause in _clauses.Where(clause => stretch == 0 && clause.Field == _first.Field && clause.Comparator != "!="))
        {
            sql.Conditions.Add($"o0.value {clause.Comparator} {sql.Parameter(clause.Number)}");
        }

        string Rows(string from, string condition) =>
            $"SELECT * FROM (SELECT r.id AS id, {keyset.Columns} FROM {from} CROSS JOIN runs r {string.Join(' ', sql.Joins)} {sql.Where} AND {condition} {keyset.OrderBy} LIMIT {_rowsMax})";
        return $"""
            SELECT * FROM ({Rows("latest_metrics o0", "o0.is_resting = 1")} resting
             UNION ALL {Rows("moving_runs w CROSS JOIN latest_metrics o0", "o0.is_resting = 0 AND o0.run = w.run")} moving) found
            {keyset.OrderByColumns} LIMIT {_rowsMax}
            """;
    }

    private string Present(SqlParts sql, int stretch)
    {
        var ofEnd = _first.Field.Kind is FieldKind.Attribute;
        var keyset = Order(sql, stretch, keyset =>
        {
            if (ofEnd)
            {
                keyset.Add("r.end_at_ms", _first.Descending);
            }
            else
            {
                keyset.Add("o0.value", _first.Descending, "substr({0}, 1, 200)");
            }
        });
        sql.Conditions.Insert(0, ofEnd ? "r.end_at_ms IS NOT NULL" : $"o0.key = {sql.Parameter(_first.Field.Name)} AND r.id = o0.run");
        return Select(ofEnd ? "runs r" : $"{Table} o0 CROSS JOIN runs r", sql, keyset);
    }

    private string Missing(SqlParts sql, int stretch)
    {
        var keyset = Order(sql, stretch, keyset => keyset.AddFixed("NULL"));
        sql.Conditions.Insert(0, _first.Field.Kind is FieldKind.Attribute
            ? "r.end_at_ms IS NULL"
            : $"NOT EXISTS (SELECT 1 FROM {Table} o0 WHERE o0.run = r.id AND o0.key = {sql.Parameter(_first.Field.Name)})");
        return Select("runs r", sql, keyset);
    }

    private string Table => _first.Field.Kind switch { FieldKind.Metric => "latest_metrics", FieldKind.Tag => "tags", _ => "params" };

    private Keyset Order(SqlParts sql, int stretch, Action<Keyset> addFirst)
    {
        var keyset = new Keyset();
        keyset.AddFixed($"{stretch}");
        addFirst(keyset);
        FilterSql.RunOrder(sql, _others, keyset);
        _filter(sql);
        if (_after is not null && Convert.ToInt32(_after[0], System.Globalization.CultureInfo.InvariantCulture) == stretch)
        {
            keyset.After(_after, sql);
        }

        return keyset;
    }

    private string Select(string from, SqlParts sql, Keyset keyset) =>
        $"SELECT r.id AS id, {keyset.Columns} FROM {from} {string.Join(' ', sql.Joins)} {sql.Where} {keyset.OrderBy} LIMIT {_rowsMax}";
}
