using System.Globalization;
using System.Text;

namespace Slipway.Native.DuckDb;

/// <summary>
/// A connection to a <see cref="DuckDbDatabase"/>. Any thread may use it, one at a time; an open reader occupies it.
/// </summary>
/// <remarks>
/// Parameters are <c>?</c> or <c>$1</c> and may be null, string, bool, integers, float, double, <see cref="DateTimeOffset"/>
/// (bound as TIMESTAMP in UTC), <see cref="DateOnly"/>, <see cref="Guid"/> and byte[].
/// </remarks>
public sealed class DuckDbConnection : IDisposable
{
    private readonly DuckDbConnectionHandle handle;
    private int busy;

    internal DuckDbConnection(DuckDbConnectionHandle handle) => this.handle = handle;

    /// <summary>Runs a statement (several, separated by semicolons, if there are no parameters) and returns the rows it changed.</summary>
    /// <exception cref="DuckDbException">DuckDB's message.</exception>
    public long Execute(string sql, params object?[] parameters) => Execute(sql, CancellationToken.None, parameters);

    /// <summary>As <see cref="Execute(string, object?[])"/>; cancelling interrupts the statement.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public long Execute(string sql, CancellationToken ct, params object?[] parameters)
    {
        ct.ThrowIfCancellationRequested();
        Enter();
        DuckDbResult result = default;
        try
        {
            using var interrupt = DuckDbInterrupt.Watch(handle, ct);
            DuckDbIdentifier.RefuseNul(sql);
            if (parameters.Length == 0)
            {
                Check(DuckDbApi.duckdb_query(handle, sql, out result), ref result, ct);
            }
            else
            {
                using var statement = Prepare(sql, parameters);
                Check(DuckDbApi.duckdb_execute_prepared(statement, out result), ref result, ct);
            }

            return (long)DuckDbApi.duckdb_rows_changed(ref result);
        }
        finally
        {
            DuckDbApi.duckdb_destroy_result(ref result);
            Leave();
        }
    }

    /// <summary>
    /// Runs one statement and streams its rows in chunks. Dispose the reader before the next statement on this connection.
    /// </summary>
    /// <exception cref="DuckDbException">DuckDB's message.</exception>
    public DuckDbReader Query(string sql, params object?[] parameters) => Query(sql, CancellationToken.None, parameters);

    /// <summary>As <see cref="Query(string, object?[])"/>; cancelling interrupts the statement, also between chunks.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public DuckDbReader Query(string sql, CancellationToken ct, params object?[] parameters)
    {
        ct.ThrowIfCancellationRequested();
        Enter();
        DuckDbInterrupt? interrupt = null;
        DuckDbStatementHandle? statement = null;
        DuckDbResult result = default;
        try
        {
            interrupt = DuckDbInterrupt.Watch(handle, ct);
            statement = Prepare(sql, parameters);
            Check(DuckDbApi.duckdb_execute_prepared_streaming(statement, out result), ref result, ct);
            return new DuckDbReader(this, statement, interrupt, result, ct);
        }
        catch
        {
            DuckDbApi.duckdb_destroy_result(ref result);
            statement?.Dispose();
            interrupt?.Dispose();
            Leave();
            throw;
        }
    }

    /// <summary>All rows as boxed values (see <see cref="DuckDbReader.Value"/>). For small results.</summary>
    public IReadOnlyList<object?[]> QueryRows(string sql, params object?[] parameters) => QueryRows(sql, CancellationToken.None, parameters);

    /// <summary>As <see cref="QueryRows(string, object?[])"/>, with cancellation.</summary>
    public IReadOnlyList<object?[]> QueryRows(string sql, CancellationToken ct, params object?[] parameters)
    {
        using var reader = Query(sql, ct, parameters);
        var rows = new List<object?[]>();
        while (reader.NextChunk())
        {
            for (var row = 0; row < reader.RowCount; row++)
            {
                var values = new object?[reader.Columns.Count];
                for (var column = 0; column < values.Length; column++)
                {
                    values[column] = reader.Value(column, row);
                }

                rows.Add(values);
            }
        }

        return rows;
    }

    /// <summary>The first column of the first row, converted; the default of <typeparamref name="T"/> for NULL or no row.</summary>
    public T? QueryScalar<T>(string sql, params object?[] parameters) => QueryScalar<T>(sql, CancellationToken.None, parameters);

    /// <summary>As <see cref="QueryScalar{T}(string, object?[])"/>, with cancellation.</summary>
    public T? QueryScalar<T>(string sql, CancellationToken ct, params object?[] parameters)
    {
        using var reader = Query(sql, ct, parameters);
        return reader.NextChunk() && reader.RowCount > 0 ? ConvertTo<T>(reader.Value(0, 0)) : default;
    }

    /// <summary>Starts appending rows to a table. The appender occupies nothing: other statements may run beside it.</summary>
    /// <exception cref="DuckDbException">There is no such table.</exception>
    public DuckDbAppender Append(string table, string? schema = null) => DuckDbAppender.Create(handle, table, schema);

    /// <summary>
    /// Registers a source of rows, to be read once as <c>FROM name()</c>: <paramref name="next"/> writes one row and ends it, or returns false at the end.
    /// It runs inside the statement, on one thread, and must not use the connection.
    /// </summary>
    /// <returns>The name.</returns>
    /// <exception cref="ArgumentException">A column's type is not a plain one, such as DECIMAL or a list.</exception>
    public string RegisterSource(IReadOnlyList<(string Name, DuckDbType Type)> columns, Func<DuckDbRows, bool> next)
    {
        // A streamed result leaves its transaction open until the next statement, which would take a source registered inside it away.
        Execute("SELECT NULL");
        return DuckDbSource.Register(handle, columns, next);
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    internal void Leave() => Volatile.Write(ref busy, 0);

    /// <summary>
    /// Where nobody has cancelled: a thread of the statement failed, the others were interrupted, and of a streamed result DuckDB then now and then keeps what these said.
    /// </summary>
    internal const string ReasonLost = "The statement failed in one of several threads, and DuckDB told only that it stopped the others; run it again to learn why.";

    /// <summary>Throws what DuckDB said about a failed result, or that the caller cancelled.</summary>
    internal static void Check(int state, ref DuckDbResult result, CancellationToken ct)
    {
        if (state != 0)
        {
            var message = DuckDbApi.Text(DuckDbApi.duckdb_result_error(ref result));
            ct.ThrowIfCancellationRequested();
            throw new DuckDbException(message.StartsWith("INTERRUPT Error", StringComparison.Ordinal) ? ReasonLost : message);
        }
    }

    private void Enter()
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        if (Interlocked.Exchange(ref busy, 1) != 0)
        {
            throw new InvalidOperationException(
                "This DuckDB connection is running a statement or has an open reader; dispose the reader or open another connection.");
        }
    }

    private DuckDbStatementHandle Prepare(string sql, object?[] parameters)
    {
        DuckDbIdentifier.RefuseNul(sql);
        var state = DuckDbApi.duckdb_prepare(handle, sql, out var prepared);
        var statement = new DuckDbStatementHandle(prepared);
        try
        {
            if (state != 0)
            {
                throw new DuckDbException(DuckDbApi.Text(DuckDbApi.duckdb_prepare_error(statement)));
            }

            var expected = DuckDbApi.duckdb_nparams(statement);
            if (expected != (ulong)parameters.Length)
            {
                throw new ArgumentException($"The statement has {expected} parameters; {parameters.Length} values were given.", nameof(parameters));
            }

            for (var i = 0; i < parameters.Length; i++)
            {
                if (Bind(statement, (ulong)i + 1, parameters[i]) != 0)
                {
                    throw new DuckDbException($"DuckDB did not accept the value of parameter {i + 1}.");
                }
            }

            return statement;
        }
        catch
        {
            statement.Dispose();
            throw;
        }
    }

    private static unsafe int Bind(DuckDbStatementHandle statement, ulong index, object? value)
    {
        switch (value)
        {
            case null or DBNull:
                return DuckDbApi.duckdb_bind_null(statement, index);
            case string text:
                var utf8 = Encoding.UTF8.GetBytes(text);
                fixed (byte* p = utf8)
                {
                    byte empty = 0;
                    return DuckDbApi.duckdb_bind_varchar_length(statement, index, p == null ? &empty : p, (ulong)utf8.Length);
                }

            case bool flag:
                return DuckDbApi.duckdb_bind_boolean(statement, index, flag);
            case long or int or short or sbyte or byte or ushort or uint or ulong:
                return DuckDbApi.duckdb_bind_int64(statement, index, Convert.ToInt64(value, CultureInfo.InvariantCulture));
            case double number:
                return DuckDbApi.duckdb_bind_double(statement, index, number);
            case float number:
                return DuckDbApi.duckdb_bind_double(statement, index, number);
            case DateTimeOffset instant:
                return DuckDbApi.duckdb_bind_timestamp(statement, index, DuckDbTime.ToMicros(instant));
            case DateOnly date:
                return DuckDbApi.duckdb_bind_date(statement, index, DuckDbTime.ToDays(date));
            case Guid id:
                return Bind(statement, index, id.ToString());
            case byte[] bytes:
                fixed (byte* p = bytes)
                {
                    byte empty = 0;
                    return DuckDbApi.duckdb_bind_blob(statement, index, p == null ? &empty : p, (ulong)bytes.Length);
                }

            default:
                throw new ArgumentException($"A {value.GetType().Name} cannot be a DuckDB parameter.", nameof(value));
        }
    }

    private static T? ConvertTo<T>(object? value)
    {
        if (value is null)
        {
            return default;
        }

        if (value is T same)
        {
            return same;
        }

        var target = Nullable.GetUnderlyingType(typeof(T)) ?? typeof(T);
        return (T)Convert.ChangeType(value, target, CultureInfo.InvariantCulture);
    }
}
