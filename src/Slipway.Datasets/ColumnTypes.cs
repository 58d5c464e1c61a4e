using Slipway.Native.DuckDb;

namespace Slipway.Datasets;

/// <summary>The names of column types in definition files, and their SQL spelling.</summary>
public static class ColumnTypes
{
    private static readonly Dictionary<string, string> SqlByName = new(StringComparer.Ordinal)
    {
        ["string"] = "VARCHAR",
        ["boolean"] = "BOOLEAN",
        ["int32"] = "INTEGER",
        ["int64"] = "BIGINT",
        ["float32"] = "FLOAT",
        ["float64"] = "DOUBLE",
        ["timestamp"] = "TIMESTAMP",
        ["date"] = "DATE",
    };

    /// <summary>The names a definition may use.</summary>
    public static IReadOnlyCollection<string> Names => SqlByName.Keys;

    /// <summary>Whether a definition may use the name.</summary>
    public static bool IsKnown(string type) => SqlByName.ContainsKey(type);

    /// <summary>Whether values are numbers.</summary>
    public static bool IsNumber(string type) => type is "int32" or "int64" || IsFloat(type);

    /// <summary>Whether values are instants or dates.</summary>
    public static bool IsTime(string type) => type is "timestamp" or "date";

    /// <summary>The SQL type behind a known name.</summary>
    public static string Sql(string type) => SqlByName[type];

    /// <summary>The name of a result column's type. All precisions of a timestamp are one type here: comparisons are by instant.</summary>
    public static string NameOf(DuckDbColumn column) => column.Type switch
    {
        DuckDbType.Varchar or DuckDbType.Enum => "string",
        DuckDbType.Boolean => "boolean",
        DuckDbType.Integer => "int32",
        DuckDbType.BigInt => "int64",
        DuckDbType.Float => "float32",
        DuckDbType.Double => "float64",
        DuckDbType.Timestamp or DuckDbType.TimestampTz or DuckDbType.TimestampSeconds or DuckDbType.TimestampMillis or DuckDbType.TimestampNanos => "timestamp",
        DuckDbType.Date => "date",
        _ => column.TypeName,
    };

    internal static bool IsFloat(string type) => type is "float32" or "float64";
}
