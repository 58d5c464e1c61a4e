using System.Globalization;

namespace Slipway.Native.DuckDb;

/// <summary>DuckDB's types, numbered as in its C header.</summary>
public enum DuckDbType
{
#pragma warning disable CS1591 // The names are SQL's own.
    Invalid = 0,
    Boolean = 1,
    TinyInt = 2,
    SmallInt = 3,
    Integer = 4,
    BigInt = 5,
    UTinyInt = 6,
    USmallInt = 7,
    UInteger = 8,
    UBigInt = 9,
    Float = 10,
    Double = 11,
    Timestamp = 12,
    Date = 13,
    Time = 14,
    Interval = 15,
    HugeInt = 16,
    Varchar = 17,
    Blob = 18,
    Decimal = 19,
    TimestampSeconds = 20,
    TimestampMillis = 21,
    TimestampNanos = 22,
    Enum = 23,
    List = 24,
    Struct = 25,
    Map = 26,
    Uuid = 27,
    Union = 28,
    Bit = 29,
    TimeTz = 30,
    TimestampTz = 31,
    UHugeInt = 32,
    Array = 33,
    Any = 34,
    Bignum = 35,
    SqlNull = 36,
#pragma warning restore CS1591
}

/// <summary>A column of a result.</summary>
/// <param name="Name">As in the SELECT list.</param>
/// <param name="Type">The logical type.</param>
/// <param name="TypeName">SQL's spelling, for example <c>DECIMAL(18,3)</c> or <c>DOUBLE[]</c>.</param>
public sealed record DuckDbColumn(string Name, DuckDbType Type, string TypeName);

/// <summary>A logical type read once, so that values need no native call to be understood.</summary>
internal sealed class DuckDbLogicalType
{
    private DuckDbLogicalType(DuckDbType type) => Type = type;

    internal DuckDbType Type { get; }

    /// <summary>What the vector holds: differs from <see cref="Type"/> for DECIMAL and ENUM.</summary>
    internal DuckDbType Physical { get; private init; }

    internal int Width { get; private init; }

    internal int Scale { get; private init; }

    internal string[] EnumValues { get; private init; } = [];

    internal (string Name, DuckDbLogicalType Type)[] Children { get; private init; } = [];

    /// <summary>Reads and frees a native logical type.</summary>
    internal static DuckDbLogicalType Take(nint native)
    {
        try
        {
            var type = (DuckDbType)DuckDbApi.duckdb_get_type_id(native);
            return type switch
            {
                DuckDbType.Decimal => new(type)
                {
                    Physical = (DuckDbType)DuckDbApi.duckdb_decimal_internal_type(native),
                    Width = DuckDbApi.duckdb_decimal_width(native),
                    Scale = DuckDbApi.duckdb_decimal_scale(native),
                },
                DuckDbType.Enum => new(type)
                {
                    Physical = (DuckDbType)DuckDbApi.duckdb_enum_internal_type(native),
                    EnumValues = [.. Enumerable.Range(0, (int)DuckDbApi.duckdb_enum_dictionary_size(native))
                        .Select(i => DuckDbApi.TakeText(DuckDbApi.duckdb_enum_dictionary_value(native, (ulong)i)))],
                },
                DuckDbType.List => new(type) { Physical = type, Children = [("", Take(DuckDbApi.duckdb_list_type_child_type(native)))] },
                DuckDbType.Struct => new(type)
                {
                    Physical = type,
                    Children = [.. Enumerable.Range(0, (int)DuckDbApi.duckdb_struct_type_child_count(native)).Select(i => (
                        DuckDbApi.TakeText(DuckDbApi.duckdb_struct_type_child_name(native, (ulong)i)),
                        Take(DuckDbApi.duckdb_struct_type_child_type(native, (ulong)i))))],
                },
                _ => new(type) { Physical = type },
            };
        }
        finally
        {
            DuckDbApi.duckdb_destroy_logical_type(ref native);
        }
    }

    public override string ToString() => Type switch
    {
        DuckDbType.Decimal => string.Create(CultureInfo.InvariantCulture, $"DECIMAL({Width},{Scale})"),
        DuckDbType.List => $"{Children[0].Type}[]",
        DuckDbType.Struct => $"STRUCT({string.Join(", ", Children.Select(c => $"{DuckDbIdentifier.Quote(c.Name)} {c.Type}"))})",
        DuckDbType.TimestampTz => "TIMESTAMP WITH TIME ZONE",
        DuckDbType.TimeTz => "TIME WITH TIME ZONE",
        DuckDbType.TimestampSeconds => "TIMESTAMP_S",
        DuckDbType.TimestampMillis => "TIMESTAMP_MS",
        DuckDbType.TimestampNanos => "TIMESTAMP_NS",
        _ => Type.ToString().ToUpperInvariant(),
    };
}
