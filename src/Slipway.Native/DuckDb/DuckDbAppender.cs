using System.Text;

namespace Slipway.Native.DuckDb;

/// <summary>
/// Appends rows to a table, value by value in column order. Values gather in a chunk of 2048 rows, so that a value costs no
/// native call. <see cref="Close"/> makes the rows stay; disposing without it drops the rows not yet flushed.
/// </summary>
/// <remarks>Appends flush in parts: for all or nothing, begin a transaction on the connection first.</remarks>
public sealed unsafe class DuckDbAppender : IDisposable
{
    private readonly DuckDbAppenderHandle handle;
    private readonly DuckDbType[] types;
    private readonly nint[] vectors;
    private readonly byte*[] data;
    private readonly ulong*[] validity;
    private readonly int capacity = (int)DuckDbApi.duckdb_vector_size();
    private nint chunk;
    private int row;
    private int column;
    private bool closed;

    private DuckDbAppender(DuckDbAppenderHandle handle)
    {
        this.handle = handle;
        var count = (int)DuckDbApi.duckdb_appender_column_count(handle);
        types = new DuckDbType[count];
        vectors = new nint[count];
        data = new byte*[count];
        validity = new ulong*[count];

        var native = stackalloc nint[count];
        for (var i = 0; i < count; i++)
        {
            native[i] = DuckDbApi.duckdb_appender_column_type(handle, (ulong)i);
            types[i] = (DuckDbType)DuckDbApi.duckdb_get_type_id(native[i]);
        }

        chunk = DuckDbApi.duckdb_create_data_chunk(native, (ulong)count);
        for (var i = 0; i < count; i++)
        {
            DuckDbApi.duckdb_destroy_logical_type(ref native[i]);
        }

        PointAtChunk();
    }

    /// <summary>Rows ended so far.</summary>
    public long RowsAppended { get; private set; }

    internal static DuckDbAppender Create(DuckDbConnectionHandle connection, string table, string? schema)
    {
        var state = DuckDbApi.duckdb_appender_create(connection, schema, table, out var native);
        var handle = new DuckDbAppenderHandle(native);
        if (state != 0)
        {
            var message = DuckDbApi.Text(DuckDbApi.duckdb_appender_error(handle));
            handle.Dispose();
            throw new DuckDbException(message);
        }

        return new DuckDbAppender(handle);
    }

    /// <summary>Appends NULL.</summary>
    public void AppendNull()
    {
        var at = Next();
        if (validity[at] == null)
        {
            DuckDbApi.duckdb_vector_ensure_validity_writable(vectors[at]);
            validity[at] = DuckDbApi.duckdb_vector_get_validity(vectors[at]);
        }

        validity[at][row >> 6] &= ~(1UL << (row & 63));
    }

    /// <summary>Appends to a BOOLEAN column.</summary>
    public void AppendBool(bool value)
    {
        var at = Next(DuckDbType.Boolean);
        data[at][row] = value ? (byte)1 : (byte)0;
    }

    /// <summary>Appends to an integer column, or to DOUBLE or FLOAT.</summary>
    /// <exception cref="OverflowException">The column's type is too small for the value.</exception>
    public void AppendInt64(long value)
    {
        var at = Next();
        switch (types[at])
        {
            case DuckDbType.BigInt: ((long*)data[at])[row] = value; break;
            case DuckDbType.Integer: ((int*)data[at])[row] = checked((int)value); break;
            case DuckDbType.SmallInt: ((short*)data[at])[row] = checked((short)value); break;
            case DuckDbType.TinyInt: ((sbyte*)data[at])[row] = checked((sbyte)value); break;
            case DuckDbType.UBigInt: ((ulong*)data[at])[row] = checked((ulong)value); break;
            case DuckDbType.UInteger: ((uint*)data[at])[row] = checked((uint)value); break;
            case DuckDbType.USmallInt: ((ushort*)data[at])[row] = checked((ushort)value); break;
            case DuckDbType.UTinyInt: data[at][row] = checked((byte)value); break;
            case DuckDbType.HugeInt: ((Int128*)data[at])[row] = value; break;
            case DuckDbType.Double: ((double*)data[at])[row] = value; break;
            case DuckDbType.Float: ((float*)data[at])[row] = value; break;
            default: throw Mismatch(at, "an integer");
        }
    }

    /// <summary>Appends to a DOUBLE or FLOAT column.</summary>
    public void AppendDouble(double value)
    {
        var at = Next();
        switch (types[at])
        {
            case DuckDbType.Double: ((double*)data[at])[row] = value; break;
            case DuckDbType.Float: ((float*)data[at])[row] = (float)value; break;
            default: throw Mismatch(at, "a floating-point number");
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

        ((long*)data[at])[row] = micros;
    }

    /// <summary>Appends to a DATE column.</summary>
    public void AppendDate(DateOnly value)
    {
        var at = Next(DuckDbType.Date);
        ((int*)data[at])[row] = DuckDbTime.ToDays(value);
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
        row++;
        RowsAppended++;
        if (row == capacity)
        {
            FlushChunk();
        }
    }

    /// <summary>Appends a reader's present chunk as it is, whatever its types; the table has the reader's columns.</summary>
    /// <exception cref="DuckDbException">The columns or their types differ.</exception>
    public void AppendChunk(DuckDbReader reader)
    {
        ObjectDisposedException.ThrowIf(chunk == 0 || closed, this);
        if (column != 0)
        {
            throw new InvalidOperationException("The last row was not ended.");
        }

        FlushChunk();
        Check(DuckDbApi.duckdb_append_data_chunk(handle, reader.Chunk));
        RowsAppended += reader.RowCount;
    }

    /// <summary>Flushes everything. The rows are part of the connection's transaction, or durable without one.</summary>
    /// <exception cref="DuckDbException">A constraint of the table is broken; DuckDB's message.</exception>
    public void Close()
    {
        ObjectDisposedException.ThrowIf(chunk == 0, this);
        if (column != 0)
        {
            throw new InvalidOperationException("The last row was not ended.");
        }

        FlushChunk();
        closed = true;
        Check(DuckDbApi.duckdb_appender_close(handle));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (chunk != 0)
        {
            DuckDbApi.duckdb_destroy_data_chunk(ref chunk);
            handle.Dispose();
        }
    }

    private int Next()
    {
        ObjectDisposedException.ThrowIf(chunk == 0 || closed, this);
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
            DuckDbApi.duckdb_vector_assign_string_element_len(vectors[at], (ulong)row, p == null ? &empty : p, (ulong)bytes.Length);
        }
    }

    private void FlushChunk()
    {
        if (row > 0)
        {
            DuckDbApi.duckdb_data_chunk_set_size(chunk, (ulong)row);
            Check(DuckDbApi.duckdb_append_data_chunk(handle, chunk));
            DuckDbApi.duckdb_data_chunk_reset(chunk);
            row = 0;
            PointAtChunk();
        }
    }

    // A reset chunk may have new buffers.
    private void PointAtChunk()
    {
        for (var i = 0; i < types.Length; i++)
        {
            vectors[i] = DuckDbApi.duckdb_data_chunk_get_vector(chunk, (ulong)i);
            data[i] = DuckDbApi.duckdb_vector_get_data(vectors[i]);
            validity[i] = null;
        }
    }

    private void Check(int state)
    {
        if (state != 0)
        {
            throw new DuckDbException(DuckDbApi.Text(DuckDbApi.duckdb_appender_error(handle)));
        }
    }
}
