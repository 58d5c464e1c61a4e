namespace Slipway.Native.DuckDb;

/// <summary>
/// Reads a result chunk by chunk (up to 2048 rows). Spans point into DuckDB's memory and end with the chunk.
/// </summary>
/// <remarks>
/// Where the column has exactly the type asked for, a span is a view; otherwise numbers are converted into a buffer that
/// the reader keeps. In a view the value of a NULL row is undefined: ask <see cref="IsNull"/>.
/// </remarks>
public sealed class DuckDbReader : IDisposable
{
    private readonly DuckDbConnection connection;
    private readonly DuckDbStatementHandle statement;
    private readonly DuckDbInterrupt? interrupt;
    private readonly CancellationToken ct;
    private readonly DuckDbLogicalType[] types;
    private readonly DuckDbVector[] vectors;
    private readonly Array?[] converted;
    private DuckDbResult result;
    private nint chunk;
    private bool disposed;

    internal DuckDbReader(
        DuckDbConnection connection, DuckDbStatementHandle statement, DuckDbInterrupt? interrupt, DuckDbResult result, CancellationToken ct)
    {
        this.connection = connection;
        this.statement = statement;
        this.interrupt = interrupt;
        this.result = result;
        this.ct = ct;

        var count = (int)DuckDbApi.duckdb_column_count(ref result);
        types = new DuckDbLogicalType[count];
        vectors = new DuckDbVector[count];
        converted = new Array?[count];
        var columns = new DuckDbColumn[count];
        for (var i = 0; i < count; i++)
        {
            types[i] = DuckDbLogicalType.Take(DuckDbApi.duckdb_column_logical_type(ref result, (ulong)i));
            columns[i] = new DuckDbColumn(DuckDbApi.Text(DuckDbApi.duckdb_column_name(ref result, (ulong)i)), types[i].Type, types[i].ToString());
        }

        Columns = columns;
    }

    /// <summary>The columns of the result.</summary>
    public IReadOnlyList<DuckDbColumn> Columns { get; }

    /// <summary>Rows in the present chunk.</summary>
    public int RowCount { get; private set; }

    internal nint Chunk => chunk != 0 ? chunk : throw new InvalidOperationException("There is no chunk to append: NextChunk was not called yet, or returned false.");

    /// <summary>The position of a column by name.</summary>
    /// <exception cref="DuckDbException">The result has no such column.</exception>
    public int Ordinal(string name)
    {
        for (var i = 0; i < Columns.Count; i++)
        {
            if (Columns[i].Name.Equals(name, StringComparison.OrdinalIgnoreCase))
            {
                return i;
            }
        }

        throw new DuckDbException($"The result has no column '{name}'; it has {string.Join(", ", Columns.Select(c => c.Name))}.");
    }

    /// <summary>Moves to the next chunk; false at the end.</summary>
    /// <exception cref="DuckDbException">The statement failed while its rows were read.</exception>
    /// <exception cref="OperationCanceledException">The token given to the query was cancelled.</exception>
    public bool NextChunk()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        FreeChunk();
        ct.ThrowIfCancellationRequested();
        chunk = DuckDbApi.duckdb_fetch_chunk(result);
        if (chunk == 0)
        {
            // The fetch itself reports a failure only by returning nothing.
            DuckDbConnection.Check(DuckDbApi.duckdb_result_error(ref result) == 0 ? 0 : 1, ref result, ct);
            return false;
        }

        RowCount = (int)DuckDbApi.duckdb_data_chunk_get_size(chunk);
        for (var i = 0; i < vectors.Length; i++)
        {
            vectors[i] = new DuckDbVector(types[i], DuckDbApi.duckdb_data_chunk_get_vector(chunk, (ulong)i));
        }

        return RowCount > 0;
    }

    /// <summary>Whether the value is NULL.</summary>
    public bool IsNull(int column, int row)
    {
        CheckRow(row);
        return At(column).IsNull(row);
    }

    /// <summary>Whether the present chunk may hold a NULL in this column; false spares the test per row.</summary>
    public bool MayHaveNulls(int column) => At(column).HasNulls;

    /// <summary>Any integer type; DATE as days, timestamps as they are stored.</summary>
    public ReadOnlySpan<long> Int64(int column) => At(column).Type.Physical is DuckDbType.BigInt or DuckDbType.Timestamp or DuckDbType.TimestampTz
        ? At(column).Span<long>(RowCount)
        : Convert(column, static (in vector, row) => vector.Integer(row));

    /// <summary>Any integer type whose values fit; DATE as days since 1970-01-01.</summary>
    public ReadOnlySpan<int> Int32(int column) => At(column).Type.Physical is DuckDbType.Integer or DuckDbType.Date
        ? At(column).Span<int>(RowCount)
        : Convert(column, static (in vector, row) => checked((int)vector.Integer(row)));

    /// <summary>Any number, DECIMAL and HUGEINT included.</summary>
    public ReadOnlySpan<double> Double(int column) => At(column).Type.Type == DuckDbType.Double
        ? At(column).Span<double>(RowCount)
        : Convert(column, static (in vector, row) => vector.Number(row));

    /// <summary>Any number, rounded to single precision.</summary>
    public ReadOnlySpan<float> Float(int column) => At(column).Type.Type == DuckDbType.Float
        ? At(column).Span<float>(RowCount)
        : Convert(column, static (in vector, row) => (float)vector.Number(row));

    /// <summary>BOOLEAN only.</summary>
    public ReadOnlySpan<bool> Bool(int column) => At(column).Type.Type == DuckDbType.Boolean
        ? At(column).Span<bool>(RowCount)
        : throw new DuckDbException($"Column '{Columns[column].Name}' is {Columns[column].TypeName}, not BOOLEAN.");

    /// <summary>Every timestamp type and DATE, as microseconds since 1970-01-01 UTC.</summary>
    public ReadOnlySpan<long> TimestampMicros(int column) => At(column).Type.Type is DuckDbType.Timestamp or DuckDbType.TimestampTz
        ? At(column).Span<long>(RowCount)
        : Convert(column, static (in vector, row) => vector.Micros(row));

    /// <summary>The UTF-8 text of a VARCHAR, or the bytes of a BLOB, where DuckDB keeps them; empty for NULL.</summary>
    public ReadOnlySpan<byte> Utf8(int column, int row)
    {
        CheckRow(row);
        if (At(column).Type.Type is not (DuckDbType.Varchar or DuckDbType.Blob))
        {
            throw new DuckDbException($"Column '{Columns[column].Name}' is {Columns[column].TypeName}, not VARCHAR.");
        }

        return At(column).IsNull(row) ? [] : At(column).Bytes(row);
    }

    /// <summary>The text of a VARCHAR or ENUM; null for NULL.</summary>
    public string? String(int column, int row)
    {
        CheckRow(row);
        if (At(column).Type.Type is not (DuckDbType.Varchar or DuckDbType.Enum))
        {
            throw new DuckDbException($"Column '{Columns[column].Name}' is {Columns[column].TypeName}, not VARCHAR.");
        }

        return At(column).IsNull(row) ? null : At(column).Text(row);
    }

    /// <summary>
    /// Any number as float into every <paramref name="stride"/>-th place, NULL as NaN: fills one column of a row-major matrix.
    /// </summary>
    public void CopyFloats(int column, Span<float> destination, int stride)
    {
        ref readonly var vector = ref At(column);
        for (var row = 0; row < RowCount; row++)
        {
            destination[row * stride] = vector.IsNull(row) ? float.NaN : (float)vector.Number(row);
        }
    }

    /// <summary>
    /// The boxed value, null for NULL: integers and floats as they are; HUGEINT as long, or double beyond its range; DECIMAL as
    /// decimal; timestamps as <see cref="DateTimeOffset"/> in UTC; DATE as <see cref="DateOnly"/>; TIME as <see cref="TimeOnly"/>;
    /// VARCHAR and ENUM as string; BLOB as byte[]; UUID as <see cref="Guid"/>; lists as object?[]; structs as dictionaries.
    /// </summary>
    public object? Value(int column, int row)
    {
        CheckRow(row);
        return At(column).Value(row);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (disposed)
        {
            return;
        }

        disposed = true;
        FreeChunk();
        DuckDbApi.duckdb_destroy_result(ref result);
        statement.Dispose();
        interrupt?.Dispose();
        connection.Leave();
    }

    private ref readonly DuckDbVector At(int column)
    {
        if (chunk == 0)
        {
            throw new InvalidOperationException("There is no chunk to read: NextChunk was not called yet, or returned false.");
        }

        return ref vectors[column];
    }

    private delegate T Conversion<T>(in DuckDbVector vector, long row);

    private ReadOnlySpan<T> Convert<T>(int column, Conversion<T> conversion)
    {
        if (converted[column] is not T[] buffer || buffer.Length < RowCount)
        {
            converted[column] = buffer = new T[Math.Max(RowCount, 2048)];
        }

        ref readonly var vector = ref At(column);
        for (var row = 0; row < RowCount; row++)
        {
            buffer[row] = vector.IsNull(row) ? default! : conversion(vector, row);
        }

        return buffer.AsSpan(0, RowCount);
    }

    private void CheckRow(int row) => ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)RowCount, nameof(row));

    private void FreeChunk()
    {
        RowCount = 0;
        if (chunk != 0)
        {
            DuckDbApi.duckdb_destroy_data_chunk(ref chunk);
        }
    }
}
