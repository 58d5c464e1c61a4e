namespace Slipway.Tracking.Search;

/// <summary>Turns clauses and order terms into SQL over the tables of runs or experiments.</summary>
internal static class FilterSql
{
    /// <summary>Adds the clauses over <c>runs r</c>.</summary>
    public static void AddRunFilter(SqlParts sql, IEnumerable<FilterClause> clauses)
    {
        foreach (var clause in clauses)
        {
            // One indexed probe per run and clause; no joins that multiply rows.
            sql.Conditions.Add(clause.Field.Kind switch
            {
                FieldKind.Metric => $"EXISTS (SELECT 1 FROM latest_metrics m WHERE m.run = r.id AND m.key = {sql.Parameter(clause.Field.Name)} AND {Metric(sql, clause)})",
                FieldKind.Parameter => $"EXISTS (SELECT 1 FROM params c WHERE c.run = r.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {Compare(sql, "c.value", clause)})",
                FieldKind.Tag => $"EXISTS (SELECT 1 FROM tags c WHERE c.run = r.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {Compare(sql, "c.value", clause)})",
                FieldKind.Dataset => $"EXISTS (SELECT 1 FROM run_inputs c WHERE c.run = r.id AND {Compare(sql, "c." + clause.Field.Name, clause)})",
                _ => Compare(sql, RunAttribute(clause.Field.Name), clause),
            });
        }
    }

    /// <summary>Adds the clauses over <c>experiments e</c>.</summary>
    public static void AddExperimentFilter(SqlParts sql, IEnumerable<FilterClause> clauses)
    {
        foreach (var clause in clauses)
        {
            sql.Conditions.Add(clause.Field.Kind is FieldKind.Tag
                ? $"EXISTS (SELECT 1 FROM experiment_tags c WHERE c.experiment_id = e.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {Compare(sql, "c.value", clause)})"
                : Compare(sql, ExperimentAttribute(clause.Field.Name), clause));
        }
    }

    /// <summary>The order of runs: the caller's terms with nulls last, then newest start, then id.</summary>
    /// <param name="sql">Takes the joins.</param>
    /// <param name="terms">The caller's terms, those that <paramref name="begun"/> has left out.</param>
    /// <param name="begun">An order to go on with; null for a new one.</param>
    public static Keyset RunOrder(SqlParts sql, IEnumerable<OrderTerm> terms, Keyset? begun = null)
    {
        var keyset = begun ?? new Keyset();
        foreach (var (index, term) in terms.Index())
        {
            var alias = $"o{index + (begun is null ? 0 : 1)}";
            switch (term.Field.Kind)
            {
                case FieldKind.Metric:
                    sql.Joins.Add($"LEFT JOIN latest_metrics {alias} ON {alias}.run = r.id AND {alias}.key = {sql.Parameter(term.Field.Name)}");
                    keyset.Add($"(CASE WHEN {alias}.run IS NULL THEN 2 WHEN {alias}.is_nan <> 0 THEN 1 ELSE 0 END)", false);
                    keyset.Add($"{alias}.value", term.Descending);
                    break;
                case FieldKind.Parameter or FieldKind.Tag:
                    var table = term.Field.Kind is FieldKind.Tag ? "tags" : "params";
                    sql.Joins.Add($"LEFT JOIN {table} {alias} ON {alias}.run = r.id AND {alias}.key = {sql.Parameter(term.Field.Name)}");
                    AddNullsLast(keyset, $"{alias}.value", term.Descending);
                    break;
                case FieldKind.Dataset:
                    throw RunLimits.Invalid("Invalid order_by: runs cannot be ordered by datasets; use metrics, params, tags or attributes.");
                case FieldKind.Attribute when term.Field.Name != "end_time":
                    keyset.Add(RunAttribute(term.Field.Name), term.Descending); // Never null, so that an index can give the order.
                    break;
                default:
                    AddNullsLast(keyset, RunAttribute(term.Field.Name), term.Descending);
                    break;
            }
        }

        keyset.Add("r.start_at_ms", true);
        keyset.Add("r.run_id", false);
        return keyset;
    }

    /// <summary>The order of experiments: the caller's terms, or newest change first; then id.</summary>
    public static Keyset ExperimentOrder(IReadOnlyList<OrderTerm> terms)
    {
        var keyset = new Keyset();
        foreach (var term in terms)
        {
            if (term.Field.Kind is not FieldKind.Attribute)
            {
                throw RunLimits.Invalid("Invalid order_by: experiments are ordered by name, experiment_id, creation_time or last_update_time.");
            }

            keyset.Add(ExperimentAttribute(term.Field.Name), term.Descending);
        }

        if (terms.Count == 0)
        {
            keyset.Add("e.updated_at_ms", true);
        }

        keyset.Add("e.id", false);
        return keyset;
    }

    internal static void AddNullsLast(Keyset keyset, string expression, bool descending)
    {
        keyset.Add($"(CASE WHEN {expression} IS NULL THEN 1 ELSE 0 END)", false);
        keyset.Add(expression, descending);
    }

    private static string RunAttribute(string name) => name switch
    {
        "run_id" => "r.run_id",
        "run_name" => "r.name",
        "status" => "r.status",
        "artifact_uri" => "(coalesce((SELECT e.artifact_location FROM experiments e WHERE e.id = r.experiment_id), 'mlflow-artifacts:/' || r.experiment_id) || '/' || r.run_id || '/artifacts')",
        "user_id" => "r.user_id",
        "start_time" => "r.start_at_ms",
        "end_time" => "r.end_at_ms",
        _ => throw new System.Diagnostics.UnreachableException(name),
    };

    private static string ExperimentAttribute(string name) => name switch
    {
        "name" => "e.name",
        "experiment_id" => "e.id",
        "creation_time" => "e.created_at_ms",
        "last_update_time" => "e.updated_at_ms",
        _ => throw new System.Diagnostics.UnreachableException(name),
    };

    // NaN is stored beside a zero; it differs from every number and is neither less nor more than any.
    internal static string Metric(SqlParts sql, FilterClause clause) =>
        clause.Comparator is "!=" ? $"(m.is_nan <> 0 OR m.value <> {sql.Parameter(clause.Number)})" : $"m.is_nan = 0 AND m.value {clause.Comparator} {sql.Parameter(clause.Number)}";

    internal static string Compare(SqlParts sql, string expression, FilterClause clause) => clause.Comparator switch
    {
        "LIKE" => sql.Dialect.Like(expression, sql.Parameter(sql.Dialect.LikePattern(clause.Texts[0]))),
        "ILIKE" => sql.Dialect.LikeIgnoringCase(expression, sql.Parameter(clause.Texts[0])),
        "IN" or "NOT IN" => $"{expression} {clause.Comparator} ({string.Join(", ", clause.Texts.Select(sql.Parameter))})",
        var comparator => $"{expression} {(comparator is "!=" ? "<>" : comparator)} {sql.Parameter(clause.Texts.Count == 0 ? clause.Number : clause.Texts[0])}",
    };
}
