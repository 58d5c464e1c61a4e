using System.Text.Json;
using Slipway.Contracts;
using Slipway.Datasets;
using Slipway.Native.DuckDb;

namespace Slipway.FeatureStore;

/// <summary>Checks SQL that users write, before it runs: one SELECT, with the columns that are expected of it.</summary>
internal static class FeatureViewSql
{
    /// <summary>Plans a view's SQL against an empty table with the dataset's declared columns.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: what is wrong with the SQL.</exception>
    public static void Check(DuckDbDatabase duckDb, FeatureViewDefinition view, DatasetDefinition source, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        var columns = string.Join(", ", source.Columns.Select(column => $"{DuckDbIdentifier.Quote(column.Name)} {ColumnTypes.Sql(column.Type)}"));
        connection.Execute($"CREATE TEMP TABLE source ({columns})", cancellationToken);
        Describe(connection, view, cancellationToken);
    }

    /// <summary>The columns of a view's SQL, checked against its definition. The connection must have a <c>source</c>.</summary>
    public static IReadOnlyList<DuckDbColumn> Describe(DuckDbConnection connection, FeatureViewDefinition view, CancellationToken cancellationToken)
    {
        var columns = Describe(connection, view.Sql!, $"'sql' of the feature view '{view.Name}'", cancellationToken);
        var timestamp = Find(columns, view.Timestamp, view, "timestamp");
        RequireTime(timestamp, view);
        if (view.Created is not null)
        {
            RequireTime(Find(columns, view.Created, view, "created time"), view);
        }

        foreach (var key in view.Keys)
        {
            Find(columns, key, view, "key");
        }

        foreach (var feature in view.Features)
        {
            var column = Find(columns, feature.Name, view, "feature");
            if (column.Type is DuckDbType.Varchar or DuckDbType.Blob or DuckDbType.List or DuckDbType.Struct or DuckDbType.Map || ColumnTypes.IsTime(ColumnTypes.NameOf(column)))
            {
                throw Invalid(view, $"yields '{feature.Name}' as {column.TypeName}, but a feature is a number or a condition");
            }
        }

        return columns;
    }

    /// <summary>The columns of one SELECT.</summary>
    /// <param name="connection">Where it would run.</param>
    /// <param name="sql">The text.</param>
    /// <param name="what">How to call it in the error.</param>
    /// <param name="cancellationToken">Interrupts the planning.</param>
    /// <exception cref="SlipwayException">InvalidArgument: not one SELECT, or DuckDB's reason.</exception>
    public static IReadOnlyList<DuckDbColumn> Describe(DuckDbConnection connection, string sql, string what, CancellationToken cancellationToken)
    {
        try
        {
            // Only SELECT can be serialised, and the count tells a second statement: nothing else gets past this.
            var parsed = JsonDocument.Parse(connection.QueryScalar<string>($"SELECT json_serialize_sql({DuckDbLiteral.Quote(sql)})", cancellationToken)!).RootElement;
            if (parsed.GetProperty("error").GetBoolean())
            {
                throw new DuckDbException(parsed.GetProperty("error_message").GetString()!);
            }

            if (parsed.GetProperty("statements").GetArrayLength() != 1)
            {
                throw new DuckDbException("One SELECT is expected, not several statements.");
            }

            using var reader = connection.Query($"SELECT * FROM (\n{TrimEnd(sql)}\n) LIMIT 0", cancellationToken);
            return reader.Columns;
        }
        catch (DuckDbException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{what} cannot be run: {FirstLine(e.Message)}", e);
        }
    }

    /// <summary>The text without the semicolon that would end a subquery early.</summary>
    public static string TrimEnd(string sql) => sql.TrimEnd().TrimEnd(';');

    private static DuckDbColumn Find(IReadOnlyList<DuckDbColumn> columns, string name, FeatureViewDefinition view, string role) =>
        columns.FirstOrDefault(column => column.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw Invalid(view, $"yields no column '{name}' for the {role}; it yields {string.Join(", ", columns.Select(column => column.Name))}");

    private static void RequireTime(DuckDbColumn column, FeatureViewDefinition view)
    {
        if (!ColumnTypes.IsTime(ColumnTypes.NameOf(column)))
        {
            throw Invalid(view, $"yields '{column.Name}' as {column.TypeName}, but a timestamp is needed");
        }
    }

    private static SlipwayException Invalid(FeatureViewDefinition view, string fault) =>
        new(ErrorCode.InvalidArgument, $"'sql' of the feature view '{view.Name}' {fault}.");

    private static string FirstLine(string message)
    {
        var line = message.Split('\n', 2)[0].Trim();
        return line.EndsWith('.') ? line : $"{line}.";
    }
}
