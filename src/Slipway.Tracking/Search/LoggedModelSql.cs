namespace Slipway.Tracking.Search;

/// <summary>Turns clauses and order terms into SQL over <c>logged_models l</c>.</summary>
internal static class LoggedModelSql
{
    /// <summary>Fields of <c>logged-models/search</c>.</summary>
    public static FilterFields Fields { get; } = new(
        new Dictionary<string, FieldKind>
        {
            ["metrics"] = FieldKind.Metric,
            ["metric"] = FieldKind.Metric,
            ["params"] = FieldKind.Parameter,
            ["param"] = FieldKind.Parameter,
            ["tags"] = FieldKind.Tag,
            ["tag"] = FieldKind.Tag,
            ["attributes"] = FieldKind.Attribute,
            ["attribute"] = FieldKind.Attribute,
        },
        new Dictionary<string, string>
        {
            ["name"] = "name",
            ["model_id"] = "model_id",
            ["model_type"] = "model_type",
            ["status"] = "status",
            ["source_run_id"] = "source_run_id",
            ["creation_timestamp"] = "creation_timestamp",
            ["creation_timestamp_ms"] = "creation_timestamp",
            ["creation_time"] = "creation_timestamp",
            ["last_updated_timestamp"] = "last_updated_timestamp",
            ["last_updated_timestamp_ms"] = "last_updated_timestamp",
            ["last_updated_time"] = "last_updated_timestamp",
        },
        new HashSet<string> { "creation_timestamp", "last_updated_timestamp" });

    /// <summary>Adds the clauses and the choice of datasets.</summary>
    public static void AddFilter(SqlParts sql, IReadOnlyList<FilterClause> clauses, IReadOnlyList<DatasetChoice> datasets)
    {
        foreach (var clause in clauses)
        {
            sql.Conditions.Add(clause.Field.Kind switch
            {
                FieldKind.Metric =>
                    $"EXISTS (SELECT 1 FROM logged_model_metrics m WHERE m.model = l.id AND m.key = {sql.Parameter(clause.Field.Name)} AND {FilterSql.Metric(sql, clause)}{On(sql, "m", datasets)})",
                FieldKind.Parameter =>
                    $"EXISTS (SELECT 1 FROM logged_model_params c WHERE c.model = l.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {FilterSql.Compare(sql, "c.value", clause)})",
                FieldKind.Tag =>
                    $"EXISTS (SELECT 1 FROM logged_model_tags c WHERE c.model = l.id AND c.key = {sql.Parameter(clause.Field.Name)} AND {FilterSql.Compare(sql, "c.value", clause)})",
                _ => FilterSql.Compare(sql, Attribute(clause.Field.Name), clause.Field.Name is "status" ? WithOwnStatus(clause) : clause),
            });
        }

        if (datasets.Count > 0 && clauses.All(clause => clause.Field.Kind is not FieldKind.Metric))
        {
            sql.Conditions.Add($"EXISTS (SELECT 1 FROM logged_model_metrics m WHERE m.model = l.id{On(sql, "m", datasets)})");
        }
    }

    /// <summary>The caller's terms with nulls last, then newest first.</summary>
    public static Keyset Order(SqlParts sql, IEnumerable<LoggedModelOrder> terms)
    {
        var keyset = new Keyset();
        foreach (var (index, term) in terms.Index())
        {
            var alias = $"o{index}";
            var field = ParseField(term.Field);
            switch (field.Kind)
            {
                case FieldKind.Metric:
                    // The newest value; of values equally new the one of the last run and dataset, so that a model has one place in the order.
                    var datasets = term.Dataset is null ? [] : (DatasetChoice[])[term.Dataset];
                    sql.Joins.Add(
                        $"""
                        LEFT JOIN logged_model_metrics {alias} ON {alias}.model = l.id AND {alias}.key = {sql.Parameter(field.Name)}{On(sql, alias, datasets)}
                         AND NOT EXISTS (SELECT 1 FROM logged_model_metrics n WHERE n.model = {alias}.model AND n.key = {alias}.key{On(sql, "n", datasets)}
                          AND (n.at_ms, n.step, n.run, n.dataset_name, n.dataset_digest) > ({alias}.at_ms, {alias}.step, {alias}.run, {alias}.dataset_name, {alias}.dataset_digest))
                        """);
                    keyset.Add($"(CASE WHEN {alias}.model IS NULL THEN 2 WHEN {alias}.is_nan <> 0 THEN 1 ELSE 0 END)", false);
                    keyset.Add($"{alias}.value", term.Descending);
                    break;
                case FieldKind.Parameter or FieldKind.Tag:
                    var table = field.Kind is FieldKind.Tag ? "logged_model_tags" : "logged_model_params";
                    sql.Joins.Add($"LEFT JOIN {table} {alias} ON {alias}.model = l.id AND {alias}.key = {sql.Parameter(field.Name)}");
                    AddNullsLast(keyset, $"{alias}.value", term.Descending);
                    break;
                default:
                    AddNullsLast(keyset, Attribute(field.Name), term.Descending);
                    break;
            }
        }

        keyset.Add("l.created_at_ms", true);
        keyset.Add("l.id", true);
        return keyset;
    }

    // What follows the first dot is the whole name, whatever it holds: "metrics.val loss".
    private static Field ParseField(string text)
    {
        var dot = text.IndexOf('.', StringComparison.Ordinal);
        var (kind, name) = dot < 0 ? (FieldKind.Attribute, text)
            : Fields.Prefixes.TryGetValue(text[..dot], out var known) ? (known, text[(dot + 1)..])
            : throw RunLimits.Invalid($"Invalid order by field name: '{text}'. It must be an attribute, or begin with 'metrics.', 'params.' or 'tags.'.");
        name = name is ['`', .., '`'] or ['"', .., '"'] ? name[1..^1] : name;
        return kind is not FieldKind.Attribute ? new Field(kind, name)
            : Fields.Attributes.TryGetValue(name, out var attribute) ? new Field(kind, attribute)
            : throw RunLimits.Invalid($"Invalid order by field name: '{text}'. Known are {string.Join(", ", Fields.Attributes.Values.Distinct().Order(StringComparer.Ordinal))}.");
    }

    private static string On(SqlParts sql, string alias, IReadOnlyList<DatasetChoice> datasets) => datasets.Count == 0
        ? ""
        : $" AND ({string.Join(" OR ", datasets.Select(dataset => dataset.Digest is null
            ? $"{alias}.dataset_name = {sql.Parameter(dataset.Name)}"
            : $"({alias}.dataset_name = {sql.Parameter(dataset.Name)} AND {alias}.dataset_digest = {sql.Parameter(dataset.Digest)})"))})";

    private static void AddNullsLast(Keyset keyset, string expression, bool descending)
    {
        keyset.Add($"(CASE WHEN {expression} IS NULL THEN 1 ELSE 0 END)", false);
        keyset.Add(expression, descending);
    }

    // The wire says LOGGED_MODEL_READY, MLflow's Python client READY.
    private static FilterClause WithOwnStatus(FilterClause clause) => clause with
    {
        Texts = [.. clause.Texts.Select(text => text.StartsWith(LoggedModelStore.StatusPrefix, StringComparison.Ordinal) ? text[LoggedModelStore.StatusPrefix.Length..] : text)],
    };

    private static string Attribute(string name) => name switch
    {
        "name" => "l.name",
        "model_id" => "l.model_id",
        "model_type" => "l.model_type",
        "status" => "l.status",
        "source_run_id" => "l.source_run_id",
        "creation_timestamp" => "l.created_at_ms",
        "last_updated_timestamp" => "l.updated_at_ms",
        _ => throw new System.Diagnostics.UnreachableException(name),
    };
}
