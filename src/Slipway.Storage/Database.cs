using System.Data.Common;
using System.Threading.Channels;
using Dapper;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Storage.Audit;
using Slipway.Storage.Engines;

namespace Slipway.Storage;

/// <summary>
/// The database, SQLite or PostgreSQL: one writer that commits in groups, readers on connections of their own.
/// </summary>
/// <remarks>
/// A write is acknowledged after the commit that holds it is on disk, so that it survives power loss. All writes that wait while a
/// commit is under way share the next one: one fsync for many callers. Each runs in a savepoint of its own, so that one caller's
/// failure undoes only that caller's work. The writers of all servers that share a PostgreSQL database take turns, so that what a
/// change reads stays true until it commits.
/// </remarks>
public sealed class Database : IAsyncDisposable
{
    private const int GroupMax = 512;

    private readonly DatabaseEngine _engine;
    private readonly TimeProvider _clock;
    private readonly ILogger<Database> _logger;
    private readonly AuditRedaction _redaction;
    private readonly Channel<Write> _writes = Channel.CreateBounded<Write>(new BoundedChannelOptions(8192) { SingleReader = true });
    private readonly Task _loop;
    private volatile bool _disposed;

    static Database()
    {
        SqlMapper.RemoveTypeMap(typeof(bool)); // Dapper's own mapping would come first.
        SqlMapper.AddTypeHandler(new FlagHandler());
    }

    private Database(DatabaseEngine engine, TimeProvider clock, ILogger<Database> logger, AuditRedaction redaction)
    {
        _engine = engine;
        _clock = clock;
        _logger = logger;
        _redaction = redaction;
        _loop = Task.Factory.StartNew(WriteLoop, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
    }

    /// <summary>The database file, or the server's host and database; holds no password.</summary>
    public string Location => _engine.Location;

    /// <summary>How this database's SQL differs.</summary>
    public SqlDialect Dialect => _engine.Dialect;

    /// <summary>Raised on the writer's thread after a group of this server that published events has committed. Handlers must only signal.</summary>
    public event Action? EventsCommitted;

    /// <summary>Opens the database, making the file when there is none, and brings its schema up to date.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it is not ours, or was written by a newer build; Unavailable: it cannot be reached.</exception>
    public static Database Open(StorageOptions options, IEnumerable<MigrationSet> migrations, TimeProvider clock, ILogger<Database> logger)
    {
        var engine = OpenEngine(options);
        try
        {
            Migrator.Apply(engine, migrations, clock);
            return new Database(engine, clock, logger, new AuditRedaction(options.Audit.RedactedFields));
        }
        catch
        {
            engine.Dispose();
            throw;
        }
    }

    internal static DatabaseEngine OpenEngine(StorageOptions options, bool patient = false) =>
        options.PostgresConnection is { } connection ? PostgresEngine.Open(connection, patient) : SqliteEngine.Open(options.DatabasePath);

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
    public T Read<T>(Func<DbConnection, T> query)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _engine.Read(query);
    }

    /// <summary>
    /// Runs a query that asks PostgreSQL a single statement, which is a snapshot by itself: what a transaction around it would cost, a message to the
    /// server and its answer, is saved.
    /// </summary>
    public T ReadOne<T>(Func<DbConnection, T> query)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _engine.ReadOne(query);
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
        _engine.Dispose();
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
        var alone = group.Count == 1;
        var published = false;
        var committing = false;
        try
        {
            var connection = _engine.Begin();
            var now = _clock.GetUtcNow();
            for (var i = 0; i < group.Count; i++)
            {
                if (!alone)
                {
                    _engine.Save();
                }

                try
                {
                    var transaction = new WriteTransaction(connection, now, _redaction);
                    outcomes[i] = (group[i].Work(transaction), null);
                    published |= transaction.HasPublished;
                }
                catch (Exception e) when (!_engine.EndsTransaction(e))
                {
                    // The caller's own failure: undo its part, keep the others'. What ends the whole transaction is met below.
                    outcomes[i] = (null, _engine.Explain(e));
                    if (!alone)
                    {
                        _engine.Undo();
                    }
                }

                if (!alone)
                {
                    _engine.Release();
                }
            }

            if (alone && outcomes[0].Error is not null)
            {
                _engine.RollBack();
            }
            else
            {
                committing = true;
                _engine.Commit();
            }
        }
        catch (Exception e)
        {
            _logger.LogError(e, "A group of {Count} writes could not be committed", group.Count);
            _engine.RollBack();
            var reason = _engine.Lost(e, committing);
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

    private sealed record Write(Func<WriteTransaction, object?> Work, TaskCompletionSource<object?> Completion, CancellationToken CancellationToken);
}
