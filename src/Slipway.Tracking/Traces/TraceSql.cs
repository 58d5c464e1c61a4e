using System.Data.Common;
using System.Text.RegularExpressions;
using Microsoft.Data.Sqlite;
using Slipway.Storage;
using Slipway.Tracking.Search;

namespace Slipway.Tracking.Traces;

/// <summary>Turns the clauses and orders of a search into SQL over <c>traces t</c>.</summary>
internal sealed class TraceSql(SqlDialect dialect)
{
    private const string MatchFunction = "slipway_matches";
    private readonly Dictionary<string, Regex> _patterns = new(StringComparer.Ordinal);

    public SqlParts Parts { get; } = new(dialect);

    /// <summary>Only traces of these experiments.</summary>
    public void AddExperiments(IReadOnlyList<string> experimentIds)
    {
        var ids = experimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1).Distinct().ToList();
        // Of one experiment the index gives the newest first; of several, the engine sorts.
        Parts.Conditions.Add(ids.Count == 1
            ? $"t.experiment_id = {Parts.Parameter(ids[0])}"
            : $"t.experiment_id {dialect.InNumbers(Parts.Parameter($"[{string.Join(',', ids)}]"))}");
    }

    public void AddFilter(IEnumerable<TraceClause> clauses)
    {
        var ofSpan = new List<string>();
        foreach (var clause in clauses)
        {
            if (clause.Field.Kind is TraceFieldKind.Span or TraceFieldKind.SpanAttribute)
            {
                ofSpan.Add(Span(clause));
            }
            else
            {
                Parts.Conditions.Add(Condition(clause));
            }
        }

        // One span must meet them all: an LLM span that failed, not an LLM span and somewhere a failure.
        if (ofSpan.Count > 0)
        {
            Parts.Conditions.Add($"EXISTS (SELECT 1 FROM spans s WHERE s.trace = t.id AND {string.Join(" AND ", ofSpan)})");
        }
    }

    public Keyset Order(IReadOnlyList<(TraceField Field, bool Descending)> terms)
    {
        var keyset = new Keyset();
        foreach (var (index, (field, descending)) in terms.Index())
        {
            if (field.Kind is TraceFieldKind.Tag or TraceFieldKind.Metadata or TraceFieldKind.Run)
            {
                var table = field.Kind is TraceFieldKind.Tag ? "trace_tags" : "trace_metadata";
                Parts.Joins.Add($"LEFT JOIN {table} o{index} ON o{index}.trace = t.id AND o{index}.key = {Parts.Parameter(field.Name)}");
                FilterSql.AddNullsLast(keyset, $"o{index}.value", descending);
            }
            else if (field.Name is "duration_ms" or "client_request_id")
            {
                FilterSql.AddNullsLast(keyset, Column(field), descending);
            }
            else
            {
                keyset.Add(Column(field), descending);
            }
        }

        keyset.Add("t.at_ms", true);
        keyset.Add("t.trace_id", false);
        return keyset;
    }

    /// <summary>Gives SQLite, which has no regular expressions, those of this search.</summary>
    public void Prepare(DbConnection connection)
    {
        if (_patterns.Count > 0 && connection is SqliteConnection sqlite)
        {
            sqlite.CreateFunction(MatchFunction, (string pattern, string? text) => text is not null && _patterns.TryGetValue(pattern, out var regex) && regex.IsMatch(text), isDeterministic: true);
        }
    }

    private string Condition(TraceClause clause)
    {
        var (kind, name) = clause.Field;
        switch (kind)
        {
            case TraceFieldKind.Text or TraceFieldKind.Number:
                return Compare(Column(clause.Field), clause);
            case TraceFieldKind.Run:
                var linked = $"EXISTS (SELECT 1 FROM trace_runs l WHERE l.trace_id = t.trace_id AND {Compare("l.run_id", clause)})";
                return $"({linked} OR EXISTS (SELECT 1 FROM trace_metadata c WHERE c.trace = t.id AND c.key = {Parts.Parameter(name)} AND {Compare("c.value", clause)}))";
            case TraceFieldKind.Tag or TraceFieldKind.Metadata:
                return Exists($"{(kind is TraceFieldKind.Tag ? "trace_tags" : "trace_metadata")} c WHERE c.trace = t.id AND c.key = {Parts.Parameter(name)}", "c", clause);
            default:
                var assessed = kind is TraceFieldKind.Feedback ? "feedback" : "expectation";
                return Exists($"assessments c WHERE c.trace = t.id AND c.kind = '{assessed}' AND c.name = {Parts.Parameter(name)} AND c.is_valid = 1", "c", clause);
        }
    }

    private string Span(TraceClause clause) => clause.Field.Kind is TraceFieldKind.Span
        ? Compare("s." + clause.Field.Name, clause)
        : Exists($"span_attributes c WHERE c.trace = s.trace AND c.span_id = s.span_id AND c.key = {Parts.Parameter(clause.Field.Name)}", "c", clause);

    private string Exists(string rows, string alias, TraceClause clause) => clause.Comparator switch
    {
        "IS NULL" => $"NOT EXISTS (SELECT 1 FROM {rows})",
        "IS NOT NULL" => $"EXISTS (SELECT 1 FROM {rows})",
        _ => $"EXISTS (SELECT 1 FROM {rows} AND {Compare(clause.Number is null ? alias + ".value" : alias + ".number", clause)})",
    };

    private string Compare(string expression, TraceClause clause)
    {
        if (clause.Comparator is not "RLIKE")
        {
            return FilterSql.Compare(Parts, expression, new FilterClause(default, clause.Comparator, clause.Number ?? 0, clause.Texts));
        }

        var pattern = clause.Texts[0];
        try
        {
            // Linear in the text, whatever the pattern: a caller's pattern must not be able to hold the server.
            _patterns[pattern] = new Regex(pattern, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw RunLimits.Invalid($"Invalid filter: '{(pattern.Length <= 60 ? pattern : pattern[..60] + "…")}' is not a regular expression that RLIKE takes; back references and look-around are not.");
        }

        return ReferenceEquals(dialect, SqlDialect.Sqlite)
            ? $"{MatchFunction}({Parts.Parameter(pattern)}, {expression})"
            : $"{expression} ~ {Parts.Parameter(pattern)}";
    }

    private static string Column(TraceField field) => field.Name is "end_ms" ? "(t.at_ms + COALESCE(t.duration_ms, 0))" : "t." + field.Name;
}
