using System.Buffers.Binary;
using System.Text;

namespace Slipway.Native.DuckDb;

/// <summary>One column of one chunk: pointers into memory that DuckDB owns until the chunk is destroyed.</summary>
internal readonly unsafe struct DuckDbVector(DuckDbLogicalType type, nint vector)
{
    private readonly byte* data = DuckDbApi.duckdb_vector_get_data(vector);
    private readonly ulong* validity = DuckDbApi.duckdb_vector_get_validity(vector);

    internal DuckDbLogicalType Type { get; } = type;

    internal bool HasNulls => validity != null;

    internal bool IsNull(long row) => validity != null && (validity[row >> 6] & (1UL << (int)(row & 63))) == 0;

    internal ReadOnlySpan<T> Span<T>(int count)
        where T : unmanaged => new(data, count);

    internal T At<T>(long row)
        where T : unmanaged => ((T*)data)[row];

    /// <summary>VARCHAR and BLOB: up to 12 bytes lie inline, longer ones behind a pointer.</summary>
    internal ReadOnlySpan<byte> Bytes(long row)
    {
        var entry = data + row * 16;
        var length = *(uint*)entry;
        return new ReadOnlySpan<byte>(length <= 12 ? entry + 4 : *(byte**)(entry + 8), (int)length);
    }

    internal string Text(long row) => Type.Type == DuckDbType.Enum
        ? Type.EnumValues[(int)Integer(row)]
        : Encoding.UTF8.GetString(Bytes(row));

    /// <summary>Any integer type, BOOLEAN as 0 or 1.</summary>
    internal long Integer(long row) => Type.Physical switch
    {
        DuckDbType.Boolean => At<byte>(row),
        DuckDbType.TinyInt => At<sbyte>(row),
        DuckDbType.SmallInt => At<short>(row),
        DuckDbType.Integer or DuckDbType.Date => At<int>(row),
        DuckDbType.BigInt or DuckDbType.Timestamp or DuckDbType.TimestampTz or DuckDbType.Time or DuckDbType.TimestampSeconds
            or DuckDbType.TimestampMillis or DuckDbType.TimestampNanos => At<long>(row),
        DuckDbType.UTinyInt => At<byte>(row),
        DuckDbType.USmallInt => At<ushort>(row),
        DuckDbType.UInteger => At<uint>(row),
        DuckDbType.UBigInt => checked((long)At<ulong>(row)),
        DuckDbType.HugeInt => checked((long)At<Int128>(row)),
        DuckDbType.UHugeInt => checked((long)At<UInt128>(row)),
        _ => throw Unreadable("an integer"),
    };

    /// <summary>Any number, BOOLEAN as 0 or 1.</summary>
    internal double Number(long row) => Type.Type switch
    {
        DuckDbType.Double => At<double>(row),
        DuckDbType.Float => At<float>(row),
        DuckDbType.HugeInt => (double)At<Int128>(row),
        DuckDbType.UHugeInt => (double)At<UInt128>(row),
        DuckDbType.UBigInt => At<ulong>(row),
        DuckDbType.Decimal => (Type.Physical == DuckDbType.HugeInt ? (double)At<Int128>(row) : Integer(row)) / Math.Pow(10, Type.Scale),
        DuckDbType.Boolean or DuckDbType.TinyInt or DuckDbType.SmallInt or DuckDbType.Integer or DuckDbType.BigInt
            or DuckDbType.UTinyInt or DuckDbType.USmallInt or DuckDbType.UInteger => Integer(row),
        _ => throw Unreadable("a number"),
    };

    internal long Micros(long row) => Type.Type switch
    {
        DuckDbType.Timestamp or DuckDbType.TimestampTz => At<long>(row),
        DuckDbType.TimestampSeconds => checked(At<long>(row) * 1_000_000),
        DuckDbType.TimestampMillis => checked(At<long>(row) * 1_000),
        DuckDbType.TimestampNanos => (long)Math.Floor(At<long>(row) / 1_000m),
        DuckDbType.Date => At<int>(row) * 86_400_000_000L,
        _ => throw Unreadable("a timestamp"),
    };

    internal object? Value(long row) => IsNull(row) ? null : Type.Type switch
    {
        DuckDbType.SqlNull => null,
        DuckDbType.Boolean => At<byte>(row) != 0,
        DuckDbType.TinyInt => At<sbyte>(row),
        DuckDbType.SmallInt => At<short>(row),
        DuckDbType.Integer => At<int>(row),
        DuckDbType.BigInt => At<long>(row),
        DuckDbType.UTinyInt => At<byte>(row),
        DuckDbType.USmallInt => At<ushort>(row),
        DuckDbType.UInteger => At<uint>(row),
        DuckDbType.UBigInt => At<ulong>(row),
        DuckDbType.Float => At<float>(row),
        DuckDbType.Double => At<double>(row),
        DuckDbType.HugeInt => At<Int128>(row) is var wide && wide >= long.MinValue && wide <= long.MaxValue ? (object)(long)wide : (double)wide,
        DuckDbType.UHugeInt => At<UInt128>(row) is var big && big <= long.MaxValue ? (object)(long)big : (double)big,
        DuckDbType.Decimal => DecimalValue(row),
        DuckDbType.Timestamp or DuckDbType.TimestampTz or DuckDbType.TimestampSeconds or DuckDbType.TimestampMillis
            or DuckDbType.TimestampNanos => DuckDbTime.FromMicros(Micros(row)),
        DuckDbType.Date => DuckDbTime.FromDays(At<int>(row)),
        DuckDbType.Time => new TimeOnly(At<long>(row) * TimeSpan.TicksPerMicrosecond),
        DuckDbType.Varchar or DuckDbType.Enum => Text(row),
        DuckDbType.Blob => Bytes(row).ToArray(),
        DuckDbType.Uuid => UuidValue(row),
        DuckDbType.List => ListValue(row),
        DuckDbType.Struct => StructValue(row),
        _ => throw Unreadable("a value"),
    };

    // A DECIMAL has up to 38 digits, a decimal 96 bits.
    private object DecimalValue(long row)
    {
        var value = Type.Physical == DuckDbType.HugeInt ? At<Int128>(row) : Integer(row);
        var magnitude = (UInt128)Int128.Abs(value);
        return magnitude >> 96 == 0 && Type.Scale <= 28
            ? new decimal((int)magnitude, (int)(magnitude >> 32), (int)(magnitude >> 64), value < 0, (byte)Type.Scale)
            : Number(row);
    }

    // Stored as a 128-bit integer with the top bit flipped, so that it sorts.
    private Guid UuidValue(long row)
    {
        var bits = (UInt128)At<Int128>(row) ^ (UInt128.One << 127);
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, bits);
        return new Guid(bytes, bigEndian: true);
    }

    private object?[] ListValue(long row)
    {
        var (offset, length) = At<(ulong Offset, ulong Length)>(row);
        var child = new DuckDbVector(Type.Children[0].Type, DuckDbApi.duckdb_list_vector_get_child(vector));
        var values = new object?[length];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = child.Value((long)offset + i);
        }

        return values;
    }

    private Dictionary<string, object?> StructValue(long row)
    {
        var values = new Dictionary<string, object?>();
        for (var i = 0; i < Type.Children.Length; i++)
        {
            var (name, childType) = Type.Children[i];
            values[name] = new DuckDbVector(childType, DuckDbApi.duckdb_struct_vector_get_child(vector, (ulong)i)).Value(row);
        }

        return values;
    }

    private DuckDbException Unreadable(string what) => new($"A column of type {Type} cannot be read as {what}; cast it in the SQL.");
}
