using System.Collections.Concurrent;
using System.Threading.Channels;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.Sqlite;

namespace Slipway.Storage;

/// <summary>
/// The SQLite database: one writer that commits in groups, readers on connections of their own.
/// </summary>
/// <remarks>
/// A write is acknowledged after the commit that holds it, with <c>synchronous=FULL</c>, so that it survives power loss. All
/// writes that wait while a commit is under way share the next one: one fsync for many callers. Each runs in a savepoint of
/// its own, so that one caller's failure undoes only that caller's work.
/// </remarks>
public sealed class Database : IAsyncDisposable
{
    private const int GroupMax = 512;

    private readonly string _connectionString;
    private readonly TimeProvider _clock;
    private readonly ILogger<Database> _logger;
    private readonly Channel<Write> _writes = Channel.CreateBounded<Write>(new BoundedChannelOptions(8192) { SingleReader = true });
    private readonly ConcurrentBag<SqliteConnection> _readers = [];
    private readonly SqliteConnection _writer;
    private readonly Task _loop;
    private volatile bool _disposed;

    private Database(string path, TimeProvider clock, ILogger<Database> logger)
    {
        SqliteLibrary.Initialize();
        Path = path;
        _clock = clock;
        _logger = logger;
        _connectionString = new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString();
        _writer = OpenConnection();
        _loop = Task.Factory.StartNew(WriteLoop, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
    }

    /// <summary>The database file.</summary>
    public string Path { get; }

    /// <summary>Raised on the writer's thread after a group that published events has committed. Handlers must only signal.</summary>
    public event Action? EventsCommitted;

    /// <summary>Opens or makes the database file and brings its schema up to date.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the file is not ours, or was written by a newer build.</exception>
    public static Database Open(StorageOptions options, IEnumerable<MigrationSet> migrations, TimeProvider clock, ILogger<Database> logger)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(options.DatabasePath)!);
        Database? database = null;
        try
        {
            database = new Database(options.DatabasePath, clock, logger);
            Migrator.Apply(database._writer, migrations, clock);
            return database;
        }
        catch (SqliteException e) when (e.SqliteErrorCode == 26)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"'{options.DatabasePath}' is not an SQLite database; move it away or name another file with --database.", e);
        }
    }

    /// <summary>Runs a change in the next group commit and returns once it is durable.</summary>
    /// <param name="work">Runs on the writer's thread; must not block on anything but the database. When it throws, its changes are undone and the exception reaches the caller.</param>
    /// <param name="cancellationToken">Cancels while the change still waits; a change under way is finished.</param>
    public async Task<T> WriteAsync<T>(Func<WriteTransaction, T> work, CancellationToken cancellationToken)
    {
        var completion = new TaskCompletionSource<object?>(TaskCreationOptions.RunContinuationsAsynchronously);
        await _writes.Writer.WriteAsync(new Write(transaction => work(transaction), completion, cancellationToken), cancellationToken);
        return (T)(await completion.Task)!;
    }

    /// <summary>Runs a change that returns nothing; see the other overload.</summary>
    public Task WriteAsync(Action<WriteTransaction> work, CancellationToken cancellationToken) =>
        WriteAsync<object?>(transaction => { work(transaction); return null; }, cancellationToken);

    /// <summary>Runs a query on a reader connection: a consistent snapshot that never waits for the writer.</summary>
    public T Read<T>(Func<SqliteConnection, T> query)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_readers.TryTake(out var connection))
        {
            connection = OpenConnection();
            Execute(connection, "PRAGMA query_only=ON");
        }

        var reusable = false;
        try
        {
            // One transaction, so that several statements of a query see one state.
            Execute(connection, "BEGIN");
            var result = query(connection);
            Execute(connection, "COMMIT");
            reusable = true;
            return result;
        }
        catch (SlipwayException)
        {
            // "Not found" and the like: nothing is wrong with the connection.
            Execute(connection, "ROLLBACK");
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

    /// <summary>Finishes the waiting writes and closes the file.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _writes.Writer.TryComplete();
        await _loop;
        _writer.Dispose();
        while (_readers.TryTake(out var reader))
        {
            reader.Dispose();
        }
    }

    private SqliteConnection OpenConnection()
    {
        var connection = new SqliteConnection(_connectionString);
        connection.Open();
        Execute(connection, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=10000; PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY");
        return connection;
    }

    private async Task WriteLoop()
    {
        var group = new List<Write>(GroupMax);
        while (await _writes.Reader.WaitToReadAsync())
        {
            group.Clear();
            while (group.Count < GroupMax && _writes.Reader.TryRead(out var write))
            {
                if (write.CancellationToken.IsCancellationRequested)
                {
                    write.Completion.TrySetCanceled(write.CancellationToken);
                }
                else
                {
                    group.Add(write);
                }
            }

            if (group.Count > 0)
            {
                Commit(group);
            }
        }
    }

    private void Commit(List<Write> group)
    {
        var outcomes = new (object? Result, Exception? Error)[group.Count];
        var published = false;
        try
        {
            Execute(_writer, "BEGIN IMMEDIATE");
            var now = _clock.GetUtcNow();
            for (var i = 0; i < group.Count; i++)
            {
                Execute(_writer, "SAVEPOINT caller");
                try
                {
                    var transaction = new WriteTransaction(_writer, now);
                    outcomes[i] = (group[i].Work(transaction), null);
                    published |= transaction.HasPublished;
                }
                catch (Exception e) when (e is not SqliteException { SqliteErrorCode: 10 or 13 })
                {
                    // The caller's own failure: undo its part, keep the others'. I/O errors and a full disk end the whole group below.
                    outcomes[i] = (null, e);
                    Execute(_writer, "ROLLBACK TO caller");
                }

                Execute(_writer, "RELEASE caller");
            }

            Execute(_writer, "COMMIT");
        }
        catch (Exception e)
        {
            _logger.LogError(e, "A group of {Count} writes could not be committed", group.Count);
            TryRollback();
            var reason = e is SqliteException { SqliteErrorCode: 13 }
                ? new SlipwayException(ErrorCode.Unavailable, $"The disk that holds '{Path}' is full; free some space and try again. Nothing was written.", e)
                : new SlipwayException(ErrorCode.Unavailable, "The database could not commit; nothing was written. See the server's log, then try again.", e);
            foreach (var write in group)
            {
                write.Completion.TrySetException(reason);
            }

            return;
        }

        for (var i = 0; i < group.Count; i++)
        {
            if (outcomes[i].Error is { } error)
            {
                group[i].Completion.TrySetException(error);
            }
            else
            {
                group[i].Completion.TrySetResult(outcomes[i].Result);
            }
        }

        if (published)
        {
            try
            {
                EventsCommitted?.Invoke();
            }
            catch (Exception e)
            {
                _logger.LogError(e, "A listener to committed events failed"); // It must not end the loop that all writes go through.
            }
        }
    }

    private void TryRollback()
    {
        try
        {
            Execute(_writer, "ROLLBACK");
        }
        catch (SqliteException e)
        {
            // SQLite has rolled back by itself after some faults; there is nothing left to undo then.
            _logger.LogDebug(e, "Rollback after a failed commit");
        }
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private sealed record Write(Func<WriteTransaction, object?> Work, TaskCompletionSource<object?> Completion, CancellationToken CancellationToken);
}
