namespace Slipway.Native.DuckDb;

/// <summary>
/// Appends rows to a table. Values gather in a chunk of 2048 rows. <see cref="Close"/> makes the rows stay; disposing without it
/// drops the rows not yet flushed.
/// </summary>
/// <remarks>Appends flush in parts: for all or nothing, begin a transaction on the connection first.</remarks>
public sealed unsafe class DuckDbAppender : DuckDbRows, IDisposable
{
    private readonly DuckDbAppenderHandle handle;
    private nint chunk;

    private DuckDbAppender(DuckDbAppenderHandle handle, DuckDbType[] types, nint chunk)
        : base(types)
    {
        this.handle = handle;
        this.chunk = chunk;
        Begin(chunk);
    }

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

        var count = (int)DuckDbApi.duckdb_appender_column_count(handle);
        var types = new DuckDbType[count];
        var logical = stackalloc nint[count];
        for (var i = 0; i < count; i++)
        {
            logical[i] = DuckDbApi.duckdb_appender_column_type(handle, (ulong)i);
            types[i] = (DuckDbType)DuckDbApi.duckdb_get_type_id(logical[i]);
        }

        var chunk = DuckDbApi.duckdb_create_data_chunk(logical, (ulong)count);
        for (var i = 0; i < count; i++)
        {
            DuckDbApi.duckdb_destroy_logical_type(ref logical[i]);
        }

        return new DuckDbAppender(handle, types, chunk);
    }

    /// <summary>Appends a reader's present chunk as it is, whatever its types; the table has the reader's columns.</summary>
    /// <exception cref="DuckDbException">The columns or their types differ.</exception>
    public void AppendChunk(DuckDbReader reader)
    {
        ThrowUnlessBetweenRows();
        Flush();
        Check(DuckDbApi.duckdb_append_data_chunk(handle, reader.Chunk));
        RowsAppended += reader.RowCount;
    }

    /// <summary>Flushes everything. The rows are part of the connection's transaction, or durable without one.</summary>
    /// <exception cref="DuckDbException">A constraint of the table is broken; DuckDB's message.</exception>
    public void Close()
    {
        ThrowUnlessBetweenRows();
        Flush();
        End();
        Check(DuckDbApi.duckdb_appender_close(handle));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (chunk != 0)
        {
            End();
            DuckDbApi.duckdb_destroy_data_chunk(ref chunk);
            handle.Dispose();
        }
    }

    private protected override void OnFull() => Flush();

    private void Flush()
    {
        if (Row > 0)
        {
            DuckDbApi.duckdb_data_chunk_set_size(chunk, (ulong)Row);
            Check(DuckDbApi.duckdb_append_data_chunk(handle, chunk));
            DuckDbApi.duckdb_data_chunk_reset(chunk);
            Begin(chunk); // A reset chunk may have new buffers.
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
