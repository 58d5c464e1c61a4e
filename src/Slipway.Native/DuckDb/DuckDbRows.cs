using System.Text;

namespace Slipway.Native.DuckDb;

/// <summary>A chunk of rows being written, value by value in column order; a value costs no native call, text one.</summary>
public abstract unsafe class DuckDbRows
{
    private readonly DuckDbType[] types;
    private readonly nint[] vectors;
    private readonly byte*[] data;
    private readonly ulong*[] validity;
    private int column;
    private bool open;

    private protected DuckDbRows(DuckDbType[] types)
    {
        this.types = types;
        vectors = new nint[types.Length];
        data = new byte*[types.Length];
        validity = new ulong*[types.Length];
    }

    /// <summary>Rows ended so far.</summary>
    public long RowsAppended { get; private protected set; }

    /// <summary>Rows that a chunk takes.</summary>
    private protected static int Capacity { get; } = (int)DuckDbApi.duckdb_vector_size();

    /// <summary>Rows ended in the present chunk.</summary>
    private protected int Row { get; private set; }

    /// <summary>Some columns of a row have values, and others not yet.</summary>
    private protected bool IsInRow => column != 0;

    /// <summary>Appends NULL.</summary>
    public void AppendNull()
    {
        var at = Next();
        if (validity[at] == null)
        {
            DuckDbApi.duckdb_vector_ensure_validity_writable(vectors[at]);
            validity[at] = DuckDbApi.duckdb_vector_get_validity(vectors[at]);
        }

        validity[at][Row >> 6] &= ~(1UL << (Row & 63));
    }

    /// <summary>Appends NULL to each of so many columns.</summary>
    public void AppendNulls(int count)
    {
        for (var i = 0; i < count; i++)
        {
            AppendNull();
        }
    }

    /// <summary>Appends to a BOOLEAN column.</summary>
    public void AppendBool(bool value)
    {
        var at = Next(DuckDbType.Boolean);
        data[at][Row] = value ? (byte)1 : (byte)0;
    }

    /// <summary>Appends to an integer column, or to DOUBLE or FLOAT.</summary>
    /// <exception cref="OverflowException">The column's type is too small for the value.</exception>
    public void AppendInt64(long value)
    {
        var at = Next();
        switch (types[at])
        {
            case DuckDbType.BigInt: ((long*)data[at])[Row] = value; break;
            case DuckDbType.Integer: ((int*)data[at])[Row] = checked((int)value); break;
            case DuckDbType.SmallInt: ((short*)data[at])[Row] = checked((short)value); break;
            case DuckDbType.TinyInt: ((sbyte*)data[at])[Row] = checked((sbyte)value); break;
            case DuckDbType.UBigInt: ((ulong*)data[at])[Row] = checked((ulong)value); break;
            case DuckDbType.UInteger: ((uint*)data[at])[Row] = checked((uint)value); break;
            case DuckDbType.USmallInt: ((ushort*)data[at])[Row] = checked((ushort)value); break;
            case DuckDbType.UTinyInt: data[at][Row] = checked((byte)value); break;
            case DuckDbType.HugeInt: ((Int128*)data[at])[Row] = value; break;
            case DuckDbType.Double: ((double*)data[at])[Row] = value; break;
            case DuckDbType.Float: ((float*)data[at])[Row] = value; break;
            default: throw Mismatch(at, "an integer");
        }
    }

    /// <summary>Appends to a DOUBLE or FLOAT column.</summary>
    public void AppendDouble(double value)
    {
        var at = Next();
        switch (types[at])
        {
            case DuckDbType.Double: ((double*)data[at])[Row] = value; break;
            case DuckDbType.Float: ((float*)data[at])[Row] = (float)value; break;
            default: throw Mismatch(at, "a floating-point number");
        }
    }

    /// <summary>Appends one value to each of as many DOUBLE columns, NaN as NULL.</summary>
    public void AppendDoubles(ReadOnlySpan<float> values)
    {
        foreach (var value in values)
        {
            if (float.IsNaN(value))
            {
                AppendNull();
            }
            else
            {
                ((double*)data[Next(DuckDbType.Double)])[Row] = value;
            }
        }
    }

    /// <summary>Appends to a VARCHAR column; null is NULL.</summary>
    public void AppendString(string? value)
    {
        if (value is null)
        {
            AppendNull();
            return;
        }

        var at = Next(DuckDbType.Varchar);
        var length = Encoding.UTF8.GetMaxByteCount(value.Length);
        var utf8 = length <= 512 ? stackalloc byte[length] : new byte[length];
        Assign(at, utf8[..Encoding.UTF8.GetBytes(value, utf8)]);
    }

    /// <summary>Appends UTF-8 text to a VARCHAR column. It must be valid UTF-8.</summary>
    public void AppendUtf8(ReadOnlySpan<byte> value) => Assign(Next(DuckDbType.Varchar), value);

    /// <summary>Appends to a BLOB column.</summary>
    public void AppendBytes(ReadOnlySpan<byte> value) => Assign(Next(DuckDbType.Blob), value);

    /// <summary>Appends to a TIMESTAMP or TIMESTAMP WITH TIME ZONE column.</summary>
    public void AppendTimestamp(DateTimeOffset value) => AppendTimestampMicros(DuckDbTime.ToMicros(value));

    /// <summary>Appends microseconds since 1970-01-01 UTC to a TIMESTAMP or TIMESTAMP WITH TIME ZONE column.</summary>
    public void AppendTimestampMicros(long micros)
    {
        var at = Next();
        if (types[at] is not (DuckDbType.Timestamp or DuckDbType.TimestampTz))
        {
            throw Mismatch(at, "a timestamp");
        }

        ((long*)data[at])[Row] = micros;
    }

    /// <summary>Appends to a DATE column.</summary>
    public void AppendDate(DateOnly value)
    {
        var at = Next(DuckDbType.Date);
        ((int*)data[at])[Row] = DuckDbTime.ToDays(value);
    }

    /// <summary>Ends the row.</summary>
    /// <exception cref="InvalidOperationException">Some columns have no value yet.</exception>
    public void EndRow()
    {
        if (column != types.Length)
        {
            throw new InvalidOperationException($"The row has {column} values; the table has {types.Length} columns.");
        }

        column = 0;
        Row++;
        RowsAppended++;
        if (Row == Capacity)
        {
            OnFull();
        }
    }

    /// <summary>The chunk takes no further row.</summary>
    private protected abstract void OnFull();

    /// <summary>Goes on in an empty chunk.</summary>
    private protected void Begin(nint chunk)
    {
        for (var i = 0; i < types.Length; i++)
        {
            vectors[i] = DuckDbApi.duckdb_data_chunk_get_vector(chunk, (ulong)i);
            data[i] = DuckDbApi.duckdb_vector_get_data(vectors[i]);
            validity[i] = null;
        }

        Row = 0;
        column = 0;
        open = true;
    }

    /// <summary>Takes no further value.</summary>
    private protected void End() => open = false;

    private protected void ThrowUnlessBetweenRows()
    {
        ObjectDisposedException.ThrowIf(!open, this);
        if (IsInRow)
        {
            throw new InvalidOperationException("The last row was not ended.");
        }
    }

    private int Next()
    {
        ObjectDisposedException.ThrowIf(!open, this);
        return column < types.Length ? column++ : throw new InvalidOperationException($"The table has only {types.Length} columns.");
    }

    private int Next(DuckDbType expected)
    {
        var at = Next();
        return types[at] == expected ? at : throw Mismatch(at, expected.ToString().ToUpperInvariant());
    }

    // The column is given back, so that the caller may append something that fits.
    private DuckDbException Mismatch(int at, string what)
    {
        column--;
        return new DuckDbException($"Column {at + 1} of the table is {types[at].ToString().ToUpperInvariant()}; {what} was appended.");
    }

    private void Assign(int at, ReadOnlySpan<byte> bytes)
    {
        byte empty = 0;
        fixed (byte* p = bytes)
        {
            DuckDbApi.duckdb_vector_assign_string_element_len(vectors[at], (ulong)Row, p == null ? &empty : p, (ulong)bytes.Length);
        }
    }
}
