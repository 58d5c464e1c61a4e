using System.Data.Common;
using System.Runtime.CompilerServices;
using System.Text;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Slipway.Storage;

/// <summary>
/// A statement for the few queries that nearly every request runs: prepared once per connection, bound by number, read without an
/// object per row. Everything else uses Dapper, which reads better and costs several times as much.
/// </summary>
/// <remarks>One text serves both engines: its parameters are <c>$1</c>, <c>$2</c> and so on, first named in that order.</remarks>
/// <example><code>
/// using var tags = Statement.Of(connection, "SELECT key, value FROM tags WHERE run = $1");
/// tags.Bind(1, run);
/// while (tags.Step()) { … tags.Text(0) … }
/// </code></example>
public abstract class Statement : IDisposable
{
    private protected Statement()
    {
    }

    /// <summary>The statement of this text on this connection, with nothing bound. Dispose of it to give it back.</summary>
    public static Statement Of(DbConnection connection, string sql) =>
        connection is SqliteConnection sqlite ? SqliteStatements.Of(sqlite).Take(sql) : new AdoStatement(connection, sql);

    /// <summary>Binds a whole number; parameters count from 1.</summary>
    public abstract void Bind(int parameter, long value);

    /// <summary>Binds a real number, which may not be NaN.</summary>
    public abstract void Bind(int parameter, double value);

    /// <summary>Binds a text or null.</summary>
    public abstract void Bind(int parameter, string? value);

    /// <summary>Binds a whole number or null.</summary>
    public abstract void Bind(int parameter, long? value);

    /// <summary>Goes to the next row. The first call runs the statement.</summary>
    /// <returns>False when there is none.</returns>
    public abstract bool Step();

    /// <summary>Runs the statement to its end and makes it ready to be bound and run again.</summary>
    /// <returns>How many rows it changed.</returns>
    public abstract int Run();

    /// <summary>Whether the column of the row is null; columns count from 0.</summary>
    public abstract bool IsNull(int column);

    /// <summary>The column as a whole number.</summary>
    public abstract long Integer(int column);

    /// <summary>The column as a real number.</summary>
    public abstract double Real(int column);

    /// <summary>The column as text.</summary>
    public abstract string Text(int column);

    /// <summary>The column's text as UTF-8, valid until the next step.</summary>
    public abstract ReadOnlySpan<byte> Utf8(int column);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>
/// Several statements with the same parameters, run one after the other on one snapshot.
/// </summary>
/// <example><code>
/// using var batch = StatementBatch.Of(connection, texts);
/// batch.Bind(1, run);
/// var infos = batch.Next();
/// while (infos.Step()) { … }
/// </code></example>
public abstract class StatementBatch : IDisposable
{
    private protected StatementBatch()
    {
    }

    /// <summary>The statements of these texts on this connection, with nothing bound.</summary>
    public static StatementBatch Of(DbConnection connection, IReadOnlyList<string> texts) =>
        connection is SqliteConnection sqlite ? new SqliteBatch(sqlite, texts) : new AdoBatch(connection, texts);

    /// <summary>Binds a whole number in all of them; parameters count from 1.</summary>
    public abstract void Bind(int parameter, long value);

    /// <summary>Binds a text in all of them.</summary>
    public abstract void Bind(int parameter, string value);

    /// <summary>The next statement, to be stepped through. It is good until the call after, and needs no disposal.</summary>
    public abstract Statement Next();

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>In the process itself there is nothing to gain: each is bound when its turn comes.</summary>
internal sealed class SqliteBatch(SqliteConnection connection, IReadOnlyList<string> texts) : StatementBatch
{
    private readonly List<(int Parameter, long Number, string? Text)> _bound = [];
    private int _next;
    private Statement? _current;

    public override void Bind(int parameter, long value) => _bound.Add((parameter, value, null));

    public override void Bind(int parameter, string value) => _bound.Add((parameter, 0, value));

    public override Statement Next()
    {
        _current?.Dispose();
        _current = Statement.Of(connection, texts[_next++]);
        foreach (var (parameter, number, text) in _bound)
        {
            if (text is null)
            {
                _current.Bind(parameter, number);
            }
            else
            {
                _current.Bind(parameter, text);
            }
        }

        return _current;
    }

    public override void Dispose() => _current?.Dispose();
}

/// <summary>The same over ADO.NET, one statement after the other.</summary>
/// <remarks>
/// Not as one <see cref="DbBatch"/>: Npgsql sends a batch of a synchronous caller from the thread pool, so that readers who hold a
/// connection would wait for a thread that those who wait for a connection occupy.
/// </remarks>
internal sealed class AdoBatch(DbConnection connection, IReadOnlyList<string> texts) : StatementBatch
{
    private readonly List<(System.Data.DbType Type, object Value)> _bound = [];
    private int _next;
    private DbCommand? _command;
    private DbDataReader? _reader;

    public override void Bind(int parameter, long value) => Set(parameter, System.Data.DbType.Int64, value);

    public override void Bind(int parameter, string value) => Set(parameter, System.Data.DbType.String, value);

    public override Statement Next()
    {
        Dispose();
        _command = connection.CreateCommand();
        _command.CommandText = texts[_next++];
        foreach (var (type, value) in _bound)
        {
            var parameter = _command.CreateParameter();
            (parameter.DbType, parameter.Value) = (type, value);
            _command.Parameters.Add(parameter);
        }

        _reader = _command.ExecuteReader();
        return new AdoStatement(_reader);
    }

    public override void Dispose()
    {
        _reader?.Dispose();
        _command?.Dispose();
    }

    private void Set(int parameter, System.Data.DbType type, object value)
    {
        while (_bound.Count < parameter)
        {
            _bound.Add((System.Data.DbType.Object, DBNull.Value));
        }

        _bound[parameter - 1] = (type, value);
    }
}

/// <summary>The prepared statements of one SQLite connection; they end with it.</summary>
internal sealed class SqliteStatements
{
    // Texts are written in the code, not made from requests: their number is bounded.
    private static readonly ConditionalWeakTable<SqliteConnection, SqliteStatements> All = [];

    private readonly SqliteConnection _connection;
    private readonly Dictionary<string, SqliteStatement> _statements = new(StringComparer.Ordinal);

    private SqliteStatements(SqliteConnection connection)
    {
        _connection = connection;
        connection.StateChange += (_, change) =>
        {
            if (change.CurrentState is System.Data.ConnectionState.Closed)
            {
                Clear();
            }
        };
    }

    public static SqliteStatements Of(SqliteConnection connection) => All.GetValue(connection, key => new SqliteStatements(key));

    public SqliteStatement Take(string sql)
    {
        if (!_statements.TryGetValue(sql, out var statement))
        {
            statement = new SqliteStatement(_connection.Handle!, sql);
            _statements.Add(sql, statement);
        }

        return statement.Take();
    }

    private void Clear()
    {
        foreach (var statement in _statements.Values)
        {
            statement.Finish();
        }

        _statements.Clear();
    }
}

/// <summary>A statement of SQLite's own, without ADO.NET around it.</summary>
internal sealed class SqliteStatement : Statement
{
    private readonly sqlite3 _database;
    private readonly sqlite3_stmt _statement;
    private bool _taken;

    public SqliteStatement(sqlite3 database, string sql)
    {
        _database = database;
        Check(raw.sqlite3_prepare_v2(database, sql, out _statement));
    }

    public SqliteStatement Take()
    {
        _taken = !_taken ? true : throw new InvalidOperationException("A statement is used once at a time: dispose of it before asking for it again.");
        return this;
    }

    public override void Bind(int parameter, long value) => Check(raw.sqlite3_bind_int64(_statement, parameter, value));

    public override void Bind(int parameter, long? value) =>
        Check(value is { } number ? raw.sqlite3_bind_int64(_statement, parameter, number) : raw.sqlite3_bind_null(_statement, parameter));

    public override void Bind(int parameter, double value) => Check(raw.sqlite3_bind_double(_statement, parameter, value));

    public override void Bind(int parameter, string? value)
    {
        switch (value)
        {
            case null:
                Check(raw.sqlite3_bind_null(_statement, parameter));
                break;
            case { Length: > 0 and <= 160 }:
                Span<byte> bytes = stackalloc byte[480];
                Check(raw.sqlite3_bind_text(_statement, parameter, bytes[..Encoding.UTF8.GetBytes(value, bytes)]));
                break;
            default:
                // An empty span would be bound as null.
                Check(raw.sqlite3_bind_text(_statement, parameter, value));
                break;
        }
    }

    public override bool Step() => raw.sqlite3_step(_statement) switch
    {
        raw.SQLITE_ROW => true,
        raw.SQLITE_DONE => false,
        var fault => throw Fault(fault),
    };

    public override int Run()
    {
        while (Step())
        {
        }

        var changes = raw.sqlite3_changes(_database);
        _ = raw.sqlite3_reset(_statement);
        return changes;
    }

    public override bool IsNull(int column) => raw.sqlite3_column_type(_statement, column) == raw.SQLITE_NULL;

    public override long Integer(int column) => raw.sqlite3_column_int64(_statement, column);

    public override double Real(int column) => raw.sqlite3_column_double(_statement, column);

    public override string Text(int column) => Encoding.UTF8.GetString(Utf8(column));

    // The text's own bytes: the database is kept in UTF-8.
    public override ReadOnlySpan<byte> Utf8(int column) => raw.sqlite3_column_blob(_statement, column);

    public override void Dispose()
    {
        _ = raw.sqlite3_reset(_statement); // An open row would hold the reader's snapshot; the fault it may repeat was told by Step.
        _ = raw.sqlite3_clear_bindings(_statement);
        _taken = false;
    }

    public void Finish() => _statement.Dispose();

    private void Check(int result)
    {
        if (result != raw.SQLITE_OK)
        {
            throw Fault(result);
        }
    }

    private SqliteException Fault(int result)
    {
        var message = raw.sqlite3_errmsg(_database).utf8_to_string();
        var extended = raw.sqlite3_extended_errcode(_database);
        _ = raw.sqlite3_reset(_statement);
        return new SqliteException($"SQLite Error {result}: '{message}'.", result, extended);
    }
}

/// <summary>The same over ADO.NET, for PostgreSQL, whose driver keeps prepared statements by their text.</summary>
internal sealed class AdoStatement : Statement
{
    private readonly DbCommand? _command;
    private DbDataReader? _reader;
    private byte[] _utf8 = [];

    /// <summary>One result of a batch, whose reader belongs to the batch.</summary>
    public AdoStatement(DbDataReader reader) => _reader = reader;

    public AdoStatement(DbConnection connection, string sql)
    {
        _command = connection.CreateCommand();
        _command.CommandText = sql;
    }

    public override void Bind(int parameter, long value) => Set(parameter, System.Data.DbType.Int64, value);

    public override void Bind(int parameter, long? value) => Set(parameter, System.Data.DbType.Int64, (object?)value ?? DBNull.Value);

    public override void Bind(int parameter, double value) => Set(parameter, System.Data.DbType.Double, value);

    public override void Bind(int parameter, string? value) => Set(parameter, System.Data.DbType.String, (object?)value ?? DBNull.Value);

    public override bool Step()
    {
        _reader ??= _command!.ExecuteReader();
        return _reader.Read();
    }

    public override int Run() => _command!.ExecuteNonQuery();

    public override bool IsNull(int column) => _reader!.IsDBNull(column);

    // A literal or CASE of small numbers is an int4 in PostgreSQL.
    public override long Integer(int column) => _reader!.GetFieldType(column) == typeof(int) ? _reader.GetInt32(column) : _reader.GetInt64(column);

    public override double Real(int column) => _reader!.GetDouble(column);

    public override string Text(int column) => _reader!.GetString(column);

    public override ReadOnlySpan<byte> Utf8(int column)
    {
        var text = _reader!.GetString(column);
        var most = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_utf8.Length < most)
        {
            _utf8 = new byte[most];
        }

        return _utf8.AsSpan(0, Encoding.UTF8.GetBytes(text, _utf8));
    }

    public override void Dispose()
    {
        if (_command is not null)
        {
            _reader?.Dispose();
            _command.Dispose();
        }
    }

    private void Set(int parameter, System.Data.DbType type, object value)
    {
        while (_command!.Parameters.Count < parameter)
        {
            _command.Parameters.Add(_command.CreateParameter()); // Without a name: the driver then counts them, as the text does.
        }

        var slot = _command.Parameters[parameter - 1];
        slot.DbType = type;
        slot.Value = value;
    }
}
