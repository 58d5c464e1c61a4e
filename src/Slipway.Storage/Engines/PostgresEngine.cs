using System.Data;
using System.Data.Common;
using System.Text.RegularExpressions;
using Dapper;
using Npgsql;
using Slipway.Contracts;
using Slipway.Storage.Backups;

namespace Slipway.Storage.Engines;

/// <summary>
/// A PostgreSQL schema that any number of servers share. Their writers take turns by an advisory lock, so that what a change reads
/// cannot move before it commits: the promise that SQLite's single writer gives.
/// </summary>
internal sealed partial class PostgresEngine : DatabaseEngine
{
    private const int OldestServer = 13;

    // One schema holds one Slipway; another schema of the same database has a lock of its own.
    private const string TakeTurn = "SELECT pg_advisory_xact_lock(hashtextextended('slipway ' || current_schema(), 0))";

    private static readonly TimeSpan ReaderWait = TimeSpan.FromSeconds(5);

    private readonly NpgsqlDataSource _readers;
    private readonly NpgsqlDataSource _writers;
    private readonly SemaphoreSlim _readerSlots;
    private NpgsqlConnection? _writer;
    private NpgsqlTransaction? _transaction;

    private PostgresEngine(PostgresSettings settings)
    {
        Location = settings.Location;
        _readers = Build(settings.Readers);
        _writers = Build(settings.Writer);
        _readerSlots = new SemaphoreSlim(settings.Readers.MaxPoolSize);
    }

    public override SqlDialect Dialect => SqlDialect.Postgres;

    public override string Location { get; }

    public override string Version => Read(connection => $"PostgreSQL {Scalar(connection, "SHOW server_version")}");

    public override long SizeBytes => Read(connection => (long)Scalar(connection,
        "SELECT coalesce(CAST(sum(pg_total_relation_size(c.oid)) AS BIGINT), 0) FROM pg_class c WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind = 'r'")!);

    /// <exception cref="SlipwayException">Unavailable: nobody answers; FailedPrecondition: it refuses us, or is no database that can serve.</exception>
    /// <param name="connectionString">As the user wrote it.</param>
    /// <param name="patient">For maintenance: no statement is given up because it takes long.</param>
    public static PostgresEngine Open(string connectionString, bool patient)
    {
        var engine = new PostgresEngine(PostgresSettings.Parse(connectionString, patient));
        try
        {
            engine.Connect();
            engine.CheckServer();
            return engine;
        }
        catch (Exception e)
        {
            engine.Dispose();
            if (e is SlipwayException)
            {
                throw;
            }

            throw StartFailure(e, engine.Location);
        }
    }

    public override DbConnection Begin()
    {
        var kept = _writer is not null;
        try
        {
            return BeginOn(_writer ?? Connect());
        }
        catch (Exception e) when (kept && EndsTransaction(e))
        {
            // The server was restarted since the last write. Nothing of this transaction has been done yet: once more, on a new connection.
            RollBack();
            return BeginOn(Connect());
        }
    }

    public override void Save() => _transaction!.Save("caller");

    public override void Undo() => _transaction!.Rollback("caller");

    public override void Release() => _transaction!.Release("caller");

    public override void Commit()
    {
        _transaction!.Commit();
        _transaction.Dispose();
        _transaction = null;
    }

    public override void RollBack()
    {
        try
        {
            _transaction?.Dispose();
        }
        catch (Exception e) when (e is DbException or InvalidOperationException)
        {
            // The connection is broken: the server has rolled back already.
        }

        _transaction = null;
        if (_writer is { State: not ConnectionState.Open })
        {
            _writer.Dispose();
            _writer = null;
        }
    }

    public override bool EndsTransaction(Exception failure) =>
        failure is NpgsqlException and not PostgresException
        || failure is PostgresException { SqlState: var state } && (IsAway(state)
            || state is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.InFailedSqlTransaction or PostgresErrorCodes.DiskFull)
        || _writer is { State: not ConnectionState.Open };

    public override Exception Explain(Exception failure) => failure switch
    {
        PostgresException { SqlState: PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter } =>
            new SlipwayException(ErrorCode.InvalidArgument, "A text holds the character NUL or a broken one; leave it out.", failure),
        PostgresException { SqlState: PostgresErrorCodes.ProgramLimitExceeded } =>
            new SlipwayException(ErrorCode.InvalidArgument, "A name or key is too long for the database's index; shorten it to at most 2000 bytes.", failure),
        PostgresException { SqlState: PostgresErrorCodes.DiskFull } => DiskFull(failure),
        PostgresException { SqlState: PostgresErrorCodes.QueryCanceled } or NpgsqlException { InnerException: TimeoutException } =>
            new SlipwayException(ErrorCode.Unavailable, "The database took too long; try again.", failure),
        PostgresException { SqlState: PostgresErrorCodes.TooManyConnections } =>
            new SlipwayException(ErrorCode.Unavailable, "The database takes no more connections now; try again.", failure),
        PostgresException { SqlState: var state } when IsAway(state) => Away(failure),
        PostgresException => failure,
        NpgsqlException => Away(failure),
        _ => failure,
    };

    public override SlipwayException Lost(Exception failure, bool committing)
    {
        // An answer of the server to COMMIT is certain; silence, or its shutdown, is not.
        if (committing && failure is NpgsqlException && failure is not PostgresException { Severity: "ERROR" })
        {
            return new SlipwayException(ErrorCode.Unavailable,
                "The connection to the database broke during the commit: the change is not known to be committed. Look whether it is there before you send it again.", failure);
        }

        return Explain(failure) as SlipwayException
            ?? new SlipwayException(ErrorCode.Unavailable, "The database could not commit; nothing was written. See the server's log, then try again.", failure);
    }

    public override T Read<T>(Func<DbConnection, T> query) => OnReader(connection =>
    {
        using var transaction = connection.BeginTransaction(IsolationLevel.RepeatableRead); // Travels with the first statement.
        var result = query(connection);
        transaction.Commit();
        return result;
    });

    public override T ReadOne<T>(Func<DbConnection, T> query) => OnReader(query);

    /// <remarks>
    /// The migrations are plain SQL in SQLite's spelling; these rules are all that PostgreSQL needs. Texts compare by their bytes
    /// on both, so that pages and names come in one order whatever the database's locale.
    /// </remarks>
    public override string Translate(string migration)
    {
        var sql = StorageWords().Replace(migration, "");
        sql = Identity().Replace(sql, "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY");
        sql = Word("INTEGER").Replace(sql, "BIGINT");
        sql = Word("REAL").Replace(sql, "DOUBLE PRECISION");
        sql = Word("BLOB").Replace(sql, "BYTEA");
        sql = TextColumn().Replace(sql, "TEXT COLLATE \"C\"");
        return sql.Replace("strftime('%s', 'now')", "extract(epoch FROM now())", StringComparison.Ordinal);
    }

    public override void MakeAppendOnly(DbConnection connection, string table, string key)
    {
        if (connection.ExecuteScalar<bool>(
            "SELECT to_regclass(@table) IS NULL OR EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(@table) AND tgname = @trigger AND tgenabled = 'A')",
            new { table, trigger = $"{table}_append_only" }))
        {
            return;
        }

        // ALWAYS: not even a session that plays a replica passes it by.
        connection.Execute(
            $"""
            CREATE OR REPLACE FUNCTION slipway_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
            CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION slipway_append_only();
            ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only
            """);
    }

    public override IReadOnlyList<TableShape> Tables(DbConnection connection)
    {
        const string Ours = "n.nspname = current_schema()";
        var columns = connection.Query<(string Table, string Column, string Type)>(
            $"""
            SELECT c.relname, a.attname, CAST(a.atttypid AS regtype) || '' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE {Ours} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum
            """).ToLookup(row => row.Table);
        var keys = connection.Query<(string Table, string Column)>(
            $"""
            SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
             WHERE {Ours} ORDER BY c.relname, array_position(CAST(i.indkey AS smallint[]), a.attnum)
            """).ToLookup(row => row.Table, row => row.Column);
        var references = connection.Query<(string Table, string Parent)>(
            $"""
            SELECT DISTINCT c.relname, p.relname AS parent FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid
              JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {Ours} AND f.contype = 'f'
            """).ToLookup(row => row.Table, row => row.Parent);
        return [.. columns.Select(table => new TableShape(
            table.Key, [.. table.Select(row => new TableColumn(row.Column, TypeOf(row.Type)))], [.. keys[table.Key]], [.. references[table.Key]]))];
    }

    public override void Export(DbConnection connection, TableShape table, TextWriter rows)
    {
        using var reader = ((NpgsqlConnection)connection).BeginTextExport(
            $"COPY (SELECT {table.ColumnList} FROM {table.Name} ORDER BY {string.Join(", ", table.Key)}) TO STDOUT");
        Pump(reader, rows);
    }

    public override void Import(DbConnection connection, TableShape table, TextReader rows)
    {
        using var writer = ((NpgsqlConnection)connection).BeginTextImport($"COPY {table.Name} ({table.ColumnList}) FROM STDIN");
        Pump(rows, writer);
    }

    public override long? Counter(DbConnection connection, TableShape table) => CounterOf(connection, table) is { } counter
        ? connection.ExecuteScalar<long?>($"SELECT CASE WHEN is_called THEN last_value END FROM {counter.Sequence}")
        : null;

    public override void SetCounter(DbConnection connection, TableShape table, long given)
    {
        if (CounterOf(connection, table) is { } counter)
        {
            // setval takes no 0: a counter that has given nothing stays as it is.
            connection.Execute(
                $"SELECT setval(CAST(@Sequence AS regclass), n) FROM (SELECT greatest(coalesce(max({counter.Column}), 0), @given) AS n FROM {table.Name}) m WHERE n > 0",
                new { counter.Sequence, given });
        }
    }

    public override void Dispose()
    {
        _transaction?.Dispose();
        _writer?.Dispose();
        _readers.Dispose();
        _writers.Dispose();
        _readerSlots.Dispose();
    }

    private static (string Sequence, string Column)? CounterOf(DbConnection connection, TableShape table) =>
        connection.QueryFirstOrDefault<(string, string)?>(
            """
            SELECT pg_get_serial_sequence(@Name, a.attname), a.attname FROM pg_attribute a
             WHERE a.attrelid = CAST(@Name AS regclass) AND a.attidentity <> '' LIMIT 1
            """,
            new { table.Name });

    private static ColumnType TypeOf(string type) => type switch
    {
        "bigint" => ColumnType.Integer,
        "double precision" => ColumnType.Real,
        "bytea" => ColumnType.Bytes,
        _ => ColumnType.Text,
    };

    private static void Pump(TextReader from, TextWriter to)
    {
        var buffer = new char[32 * 1024];
        while (from.Read(buffer) is > 0 and var read)
        {
            to.Write(buffer.AsSpan(0, read));
        }
    }

    // All our types are built in: the catalogue of types, which grows with every table of every schema, is not read at start.
    private static NpgsqlDataSource Build(NpgsqlConnectionStringBuilder settings) =>
        new NpgsqlSlimDataSourceBuilder(settings.ToString()).EnableTransportSecurity().EnableArrays().ConfigureTypeLoading(types => types.EnableTypeLoading(false)).Build();

    private T OnReader<T>(Func<NpgsqlConnection, T> query)
    {
        if (!_readerSlots.Wait(ReaderWait))
        {
            throw new SlipwayException(ErrorCode.Unavailable, "All connections to the database are busy; try again.");
        }

        try
        {
            using var connection = _readers.OpenConnection();
            return query(connection);
        }
        catch (DbException e) when (Explain(e) is SlipwayException explained)
        {
            throw explained;
        }
        finally
        {
            _readerSlots.Release();
        }
    }

    private NpgsqlConnection Connect()
    {
        var connection = _writers.OpenConnection();
        try
        {
            // A cluster may be set to acknowledge before its log is on disk; an acknowledged write of ours must be there.
            Execute(connection, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'");
        }
        catch
        {
            connection.Dispose();
            throw;
        }

        return _writer = connection;
    }

    private NpgsqlConnection BeginOn(NpgsqlConnection connection)
    {
        _transaction = connection.BeginTransaction(IsolationLevel.ReadCommitted);
        Execute(connection, TakeTurn); // First, so that every later statement sees what the writer before has committed.
        return connection;
    }

    private void CheckServer()
    {
        var writer = _writer!;
        if (writer.PostgreSqlVersion.Major < OldestServer)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{Location} runs PostgreSQL {writer.PostgreSqlVersion}; Slipway needs {OldestServer} or newer.");
        }

        if (Scalar(writer, "SHOW server_encoding") is not "UTF8")
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{Location} does not store texts as UTF-8; create the database with ENCODING 'UTF8'.");
        }

        if (Scalar(writer, "SELECT current_schema()") is null or DBNull)
        {
            var schema = new NpgsqlConnectionStringBuilder(writer.ConnectionString).SearchPath?.Split(',')[0].Trim(' ', '"');
            if (string.IsNullOrEmpty(schema))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"{Location} has no schema to work in; name one with search_path=NAME in --database.");
            }

            Execute(writer, $"CREATE SCHEMA IF NOT EXISTS {new NpgsqlCommandBuilder().QuoteIdentifier(schema)}");
        }
    }

    private static bool IsAway(string state) =>
        state.StartsWith("08", StringComparison.Ordinal)
        || state is PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow or PostgresErrorCodes.TooManyConnections;

    private static SlipwayException Away(Exception failure) =>
        new(ErrorCode.Unavailable, "The database cannot be reached; nothing was written. Try again in a moment.", failure);

    private static SlipwayException DiskFull(Exception failure) =>
        new(ErrorCode.Unavailable, "The database's disk is full; free some space and try again. Nothing was written.", failure);

    private static SlipwayException StartFailure(Exception failure, string location) => failure switch
    {
        PostgresException { SqlState: PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification } =>
            new SlipwayException(ErrorCode.FailedPrecondition, $"{location} refuses the user or the password; correct them in --database or SLIPWAY_DATABASE.", failure),
        PostgresException { SqlState: PostgresErrorCodes.InvalidCatalogName } =>
            new SlipwayException(ErrorCode.FailedPrecondition, $"{location} does not exist; create it first, for example with createdb.", failure),
        PostgresException other => new SlipwayException(ErrorCode.FailedPrecondition, $"{location} cannot be used: {other.MessageText.TrimEnd('.')}.", failure),
        NpgsqlException => new SlipwayException(ErrorCode.Unavailable,
            $"{location} cannot be reached ({(failure.InnerException ?? failure).Message.TrimEnd('.')}); start it, or correct --database.", failure),
        _ => new SlipwayException(ErrorCode.FailedPrecondition, $"{location} cannot be used: {failure.Message.TrimEnd('.')}.", failure),
    };

    private static Regex Word(string word) => new($@"\b{word}\b", RegexOptions.CultureInvariant);

    [GeneratedRegex(@"(?<=\))\s*STRICT(, WITHOUT ROWID)?|(?<=\)) WITHOUT ROWID")]
    private static partial Regex StorageWords();

    [GeneratedRegex(@"\bINTEGER\s+PRIMARY KEY(\s+AUTOINCREMENT)?")]
    private static partial Regex Identity();

    // Not in CAST(x AS TEXT), which takes no collation.
    [GeneratedRegex(@"(?<!\bAS\s+)\bTEXT\b")]
    private static partial Regex TextColumn();
}
