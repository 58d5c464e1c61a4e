using System.Globalization;
using Slipway.Native.DuckDb;

namespace Slipway.FeatureStore;

/// <summary>One feature table of a point-in-time join.</summary>
/// <param name="Relation">SQL of the table in the form that <see cref="PointInTimeSql.Normalize"/> makes.</param>
/// <param name="Keys">Feature column and the entity column it must equal; empty joins every row.</param>
/// <param name="Ttl">How old a value may be; null for any age.</param>
/// <param name="Features">Feature column and the name it has in the result.</param>
internal sealed record PointInTimeView(
    string Relation, IReadOnlyList<(string Feature, string Entity)> Keys, TimeSpan? Ttl, IReadOnlyList<(string Column, string Output)> Features);

/// <summary>
/// Writes the SQL of point-in-time retrieval: for each entity row the newest feature row known at its time, and never a later one.
/// </summary>
/// <remarks>
/// <para>
/// All instants are compared as whole nanoseconds since 1970 (BIGINT, years 1678 to 2261), whatever precision a column has, so that
/// nothing is rounded and a time to live is elapsed time.
/// </para>
/// <para>
/// A feature table is brought into normal form first: one row per key and instant from which it is the answer. Then an ASOF join
/// is exact. Without a filter by creation time a row is the answer from its event time on; with it, from the time at which both its
/// event had happened and it had been written, unless a row with a later event was known by then.
/// </para>
/// </remarks>
internal static class PointInTimeSql
{
    /// <summary>When the row becomes the answer, nanoseconds.</summary>
    public const string VisibleColumn = "__visible_ns";

    /// <summary>When its event happened, nanoseconds.</summary>
    public const string EventColumn = "__event_ns";

    /// <summary>How many rows were equally good; above 1 the last in the file was taken.</summary>
    public const string TiesColumn = "__ties";

    private const string RowColumn = "__row";
    private const string CreatedColumn = "__created_ns";

    /// <summary>SQL of an instant in nanoseconds. Types coarser than nanoseconds are all exact as TIMESTAMP.</summary>
    public static string Nanoseconds(string name, DuckDbType type) =>
        type == DuckDbType.TimestampNanos ? $"epoch_ns({Quote(name)})" : $"epoch_ns(CAST({Quote(name)} AS TIMESTAMP))";

    /// <summary>Brings a feature table into normal form.</summary>
    /// <param name="relation">SQL that can stand in FROM; its order decides ties.</param>
    /// <param name="keys">Join keys; rows where one is NULL match nothing and are left out.</param>
    /// <param name="eventNanoseconds">SQL of the event time; rows where it is NULL match nothing and are left out.</param>
    /// <param name="createdNanoseconds">SQL of the creation time, or null.</param>
    /// <param name="filterByCreated">Whether a row counts only once written; rows without a creation time never do then.</param>
    /// <param name="columns">The feature columns, and others to carry along.</param>
    public static string Normalize(
        string relation, IReadOnlyList<string> keys, string eventNanoseconds, string? createdNanoseconds, bool filterByCreated, IReadOnlyList<string> columns)
    {
        var filters = keys.Select(key => $"{Quote(key)} IS NOT NULL").Append($"{EventColumn} IS NOT NULL").ToList();
        if (filterByCreated && createdNanoseconds is not null)
        {
            filters.Add($"{CreatedColumn} IS NOT NULL");
        }

        var carried = string.Join(", ", keys.Concat(columns).Select(Quote));
        var byKey = string.Concat(keys.Select(key => $"{Quote(key)}, "));
        var rows =
            $"""
            SELECT {carried}, {eventNanoseconds} AS {EventColumn}, {createdNanoseconds ?? "NULL::BIGINT"} AS {CreatedColumn}, row_number() OVER () AS {RowColumn}
              FROM {relation}
            """;
        var candidates = $"SELECT *, count(*) OVER (PARTITION BY {byKey}{EventColumn}, {CreatedColumn}) AS {TiesColumn} FROM ({rows}) WHERE {string.Join(" AND ", filters)}";

        if (!filterByCreated || createdNanoseconds is null)
        {
            return $"""
                SELECT {carried}, {EventColumn} AS {VisibleColumn}, {EventColumn}, {TiesColumn} FROM ({candidates})
                QUALIFY row_number() OVER (PARTITION BY {byKey}{EventColumn} ORDER BY {CreatedColumn} DESC NULLS LAST, {RowColumn} DESC) = 1
                """;
        }

        // The best row so far, at each instant at which a row becomes known. Structs compare field by field, and the row number
        // is unique, so that no comparison ever reaches the values.
        var fields = string.Join(", ", keys.Concat(columns).Select(column => $"{Quote(column)} := {Quote(column)}"));
        var partition = keys.Count == 0 ? "" : $"PARTITION BY {string.Join(", ", keys.Select(Quote))} ";
        return $"""
            SELECT best.{string.Join(", best.", keys.Concat(columns).Select(Quote))}, {VisibleColumn}, best.{EventColumn} AS {EventColumn}, best.{TiesColumn} AS {TiesColumn}
              FROM (SELECT *, max(struct_pack(e := {EventColumn}, c := {CreatedColumn}, r := {RowColumn}, {EventColumn} := {EventColumn}, {TiesColumn} := {TiesColumn}, {fields}))
                           OVER ({partition}ORDER BY {VisibleColumn}) AS best
                      FROM (SELECT *, greatest({EventColumn}, {CreatedColumn}) AS {VisibleColumn} FROM ({candidates})))
            QUALIFY row_number() OVER (PARTITION BY {byKey}{VisibleColumn}) = 1
            """;
    }

    /// <summary>Joins entity rows with the newest known row of each view; one output row per entity row, in their order.</summary>
    /// <param name="entityRelation">SQL that can stand in FROM; its order is kept.</param>
    /// <param name="entityNanoseconds">SQL of the entity row's instant; NULL matches nothing.</param>
    /// <param name="views">The feature tables in normal form.</param>
    /// <param name="keep">Entity columns of the result.</param>
    /// <param name="computed">Further columns: SQL over the entity row (written with the prefix <c>entity.</c>) and their names.</param>
    /// <param name="order">The result's features in order; null lists each view's after the other, then the computed ones.</param>
    /// <param name="withTies">Adds <c>__ties_0</c>, <c>__ties_1</c> …: per view how many rows shared the winning rank, 0 for no candidate.</param>
    public static string Retrieve(
        string entityRelation, string entityNanoseconds, IReadOnlyList<PointInTimeView> views, IReadOnlyList<string> keep,
        IReadOnlyList<(string Sql, string Output)> computed, IReadOnlyList<string>? order = null, bool withTies = false)
    {
        // An instant of NULL may match nothing, but DuckDB's ASOF join can pair it with a row; one before all others cannot.
        var features = new List<(string Output, string Sql)>();
        var joins = new List<string>();
        for (var i = 0; i < views.Count; i++)
        {
            var view = views[i];
            var alias = string.Create(CultureInfo.InvariantCulture, $"view{i}");
            var conditions = view.Keys
                .Select(key => $"entity.{Quote(key.Entity)} = {alias}.{Quote(key.Feature)}")
                .Append($"entity.__asof_ns >= {alias}.{VisibleColumn}");
            joins.Add($"ASOF LEFT JOIN {view.Relation} AS {alias} ON {string.Join(" AND ", conditions)}");

            // The winner has the newest event of all candidates: when it is too old, so is every other one.
            var alive = view.Ttl is { } ttl
                ? string.Create(CultureInfo.InvariantCulture, $"{alias}.{EventColumn} >= entity.__entity_ns - {ttl.Ticks * 100}")
                : null;
            features.AddRange(view.Features.Select(feature => (feature.Output, Alive(alive, $"{alias}.{Quote(feature.Column)}"))));
            if (withTies)
            {
                features.Add(($"__ties_{i.ToString(CultureInfo.InvariantCulture)}", $"coalesce({Alive(alive, $"{alias}.{TiesColumn}")}, 0)"));
            }
        }

        features.AddRange(computed.Select(column => (column.Output, column.Sql)));
        var selected = order is null ? features : [.. order.Select(name => features.First(feature => feature.Output == name))];
        var list = keep.Select(column => $"entity.{Quote(column)}").Concat(selected.Select(feature => $"{feature.Sql} AS {Quote(feature.Output)}"));
        return $"""
            SELECT {string.Join(",\n       ", list)}
              FROM (SELECT *, row_number() OVER () AS __entity_row, {entityNanoseconds} AS __entity_ns, coalesce(__entity_ns, {-long.MaxValue}) AS __asof_ns
                      FROM {entityRelation}) AS entity
              {string.Join("\n  ", joins)}
             ORDER BY entity.__entity_row
            """;

        static string Alive(string? condition, string value) => condition is null ? value : $"CASE WHEN {condition} THEN {value} END";
    }

    private static string Quote(string name) => DuckDbIdentifier.Quote(name);
}
