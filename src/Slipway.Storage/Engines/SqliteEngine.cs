using System.Collections.Concurrent;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;
using Slipway.Native.Sqlite;
using Slipway.Storage.Backups;

namespace Slipway.Storage.Engines;

/// <summary>One file with a write-ahead log, <c>synchronous=FULL</c>: what is committed survives power loss.</summary>
internal sealed class SqliteEngine : DatabaseEngine
{
    private const int IoError = 10;
    private const int Full = 13;
    private const int NotADatabase = 26;

    private readonly string _connectionString;
    private readonly ConcurrentBag<SqliteConnection> _readers = [];
    private readonly SqliteConnection _writer;
    private volatile bool _disposed;

    private SqliteEngine(string path)
    {
        SqliteLibrary.Initialize();
        Location = path;
        _connectionString = new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString();
        _writer = OpenConnection();
    }

    public override SqlDialect Dialect => SqlDialect.Sqlite;

    public override string Location { get; }

    public override string Version => SqliteLibrary.Description;

    public override long SizeBytes => new FileInfo(Location).Length;

    /// <exception cref="SlipwayException">FailedPrecondition: the file is not ours.</exception>
    public static SqliteEngine Open(string path)
    {
        PrivateFiles.CreateDirectory(Path.GetDirectoryName(path)!);
        MakePrivate(path);
        try
        {
            return new SqliteEngine(path);
        }
        catch (SqliteException e) when (e.SqliteErrorCode == NotADatabase)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' is not an SQLite database; move it away or name another file with --database.", e);
        }
    }

    public override DbConnection Begin()
    {
        Run(_writer, "BEGIN IMMEDIATE");
        return _writer;
    }

    public override void Save() => Run(_writer, "SAVEPOINT caller");

    public override void Undo() => Run(_writer, "ROLLBACK TO caller");

    public override void Release() => Run(_writer, "RELEASE caller");

    public override void Commit() => Run(_writer, "COMMIT");

    public override void RollBack()
    {
        try
        {
            Run(_writer, "ROLLBACK");
        }
        catch (SqliteException)
        {
            // SQLite has rolled back by itself after some faults; there is nothing left to undo then.
        }
    }

    public override bool EndsTransaction(Exception failure) => failure is SqliteException { SqliteErrorCode: IoError or Full };

    public override Exception Explain(Exception failure) => failure;

    public override SlipwayException Lost(Exception failure, bool committing) => failure is SqliteException { SqliteErrorCode: Full }
        ? new SlipwayException(ErrorCode.Unavailable, $"The disk that holds '{Location}' is full; free some space and try again. Nothing was written.", failure)
        : new SlipwayException(ErrorCode.Unavailable, "The database could not commit; nothing was written. See the server's log, then try again.", failure);

    public override T Read<T>(Func<DbConnection, T> query)
    {
        if (!_readers.TryTake(out var connection))
        {
            connection = OpenConnection();
            Execute(connection, "PRAGMA query_only=ON");
        }

        var reusable = false;
        try
        {
            Run(connection, "BEGIN");
            var result = query(connection);
            Run(connection, "COMMIT");
            reusable = true;
            return result;
        }
        catch (SlipwayException)
        {
            // "Not found" and the like: nothing is wrong with the connection.
            Run(connection, "ROLLBACK");
            reusable = true;
            throw;
        }
        finally
        {
            if (reusable && !_disposed)
            {
                _readers.Add(connection);
            }
            else
            {
                connection.Dispose();
            }
        }
    }

    // STRICT only guards against values of a wrong type; a library without it (before 3.37) holds the same tables.
    public override string Translate(string migration) => System.Version.Parse(_writer.ServerVersion) >= new Version(3, 37)
        ? migration
        : migration.Replace(") STRICT, WITHOUT ROWID", ") WITHOUT ROWID", StringComparison.Ordinal).Replace(") STRICT", ")", StringComparison.Ordinal);

    public override void MakeAppendOnly(DbConnection connection, string table, string key)
    {
        if (connection.ExecuteScalar<long>("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = @table", new { table }) == 0)
        {
            return;
        }

        // INSERT OR REPLACE removes a row without asking the trigger for deletions.
        connection.Execute(
            $"""
            CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
            CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
            CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})
            BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
            """);
    }

    public override IReadOnlyList<TableShape> Tables(DbConnection connection) =>
        [.. connection.Query<string>("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name").ToList().Select(name =>
        {
            var columns = connection.Query<(string Name, string Type, long Key)>("SELECT name, type, pk FROM pragma_table_info(@name) ORDER BY cid", new { name }).ToList();
            return new TableShape(
                name, [.. columns.Select(column => new TableColumn(column.Name, TypeOf(column.Type)))],
                [.. columns.Where(column => column.Key > 0).OrderBy(column => column.Key).Select(column => column.Name)],
                [.. connection.Query<string>("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(@name)", new { name })]);
        })];

    public override void Export(DbConnection connection, TableShape table, TextWriter rows)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {table.ColumnList} FROM {table.Name} ORDER BY {string.Join(", ", table.Key)}";
        using var reader = command.ExecuteReader();
        while (reader.Read())
        {
            for (var i = 0; i < table.Columns.Count; i++)
            {
                if (i > 0)
                {
                    rows.Write('\t');
                }

                CopyText.Write(rows, reader.IsDBNull(i) ? null : table.Columns[i].Type is ColumnType.Real ? reader.GetDouble(i) : reader.GetValue(i));
            }

            rows.Write('\n');
        }
    }

    public override void Import(DbConnection connection, TableShape table, TextReader rows)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"INSERT INTO {table.Name} ({table.ColumnList}) VALUES ({string.Join(", ", table.Columns.Select((_, i) => $"@p{i}"))})";
        var parameters = table.Columns.Select((_, i) =>
        {
            var parameter = command.CreateParameter();
            parameter.ParameterName = $"@p{i}";
            command.Parameters.Add(parameter);
            return parameter;
        }).ToList();
        while (rows.ReadLine() is { } row)
        {
            var fields = row.Split('\t');
            if (fields.Length != parameters.Count)
            {
                throw new FormatException($"A row of {table.Name} has {fields.Length} fields, not {parameters.Count}.");
            }

            for (var i = 0; i < fields.Length; i++)
            {
                parameters[i].Value = CopyText.Read(fields[i], table.Columns[i].Type) ?? DBNull.Value;
            }

            command.ExecuteNonQuery();
        }
    }

    // Only AUTOINCREMENT remembers numbers of deleted rows; the other tables go by what they hold.
    public override long? Counter(DbConnection connection, TableShape table) =>
        connection.ExecuteScalar<long>("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'") == 0 ? null
            : connection.ExecuteScalar<long?>("SELECT seq FROM sqlite_sequence WHERE name = @Name", new { table.Name });

    public override void SetCounter(DbConnection connection, TableShape table, long given) =>
        connection.Execute("UPDATE sqlite_sequence SET seq = @given WHERE name = @Name AND seq < @given", new { table.Name, given });

    public override void Dispose()
    {
        _disposed = true;
        _writer.Dispose();
        while (_readers.TryTake(out var reader))
        {
            reader.Dispose();
        }
    }

    // SQLite makes its files readable for all. It holds password hashes; the log and its index get the rights of the file itself.
    private static void MakePrivate(string path)
    {
        // One that is there is never opened here: closing it again would drop the locks of other connections of this process.
        if (!Path.Exists(path))
        {
            try
            {
                new FileStream(path, PrivateFiles.Options(FileMode.CreateNew, FileAccess.Write)).Dispose(); // An empty file is an empty database.
            }
            catch (IOException) when (Path.Exists(path))
            {
                // Another process was first.
            }
        }

        foreach (var file in (string[])[path, path + "-wal", path + "-shm"])
        {
            try
            {
                if (File.Exists(file) && PrivateFiles.IsOpenToOthers(file))
                {
                    PrivateFiles.Restrict(file); // Made by an earlier build.
                }
            }
            catch (UnauthorizedAccessException)
            {
                // It belongs to somebody else, who said who may read it.
            }
        }
    }

    // Prepared once: each request runs two of these.
    private static void Run(SqliteConnection connection, string sql)
    {
        using var statement = Statement.Of(connection, sql);
        statement.Run();
    }

    private static ColumnType TypeOf(string type) => type switch
    {
        "INTEGER" => ColumnType.Integer,
        "REAL" => ColumnType.Real,
        "BLOB" => ColumnType.Bytes,
        _ => ColumnType.Text,
    };

    private SqliteConnection OpenConnection()
    {
        var connection = new SqliteConnection(_connectionString);
        try
        {
            connection.Open();
            // What was replaced or deleted does not linger in its page: some of it was secret.
            // A page that many commits change is copied back once per checkpoint: 16 MB of log between two of them.
            Execute(connection, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=4000; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=FAST; PRAGMA busy_timeout=10000; PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }
}
