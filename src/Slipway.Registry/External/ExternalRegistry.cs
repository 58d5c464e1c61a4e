using System.Collections.Concurrent;
using System.Data.Common;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry.External;

/// <summary>
/// Mirrors an MLflow server's registry into this one's tables, so that gates, approvals, audit and lineage work on it unchanged, and
/// writes what they decide back.
/// </summary>
/// <remarks>
/// The MLflow server has the last word on where a version stands: what is changed there by hand is taken over, audited and told as
/// drift. A decision made here is an event of the outbox, written in the decision's own transaction; it is sent until the server has
/// confirmed it or is found to have been changed meanwhile.
/// </remarks>
public sealed partial class ExternalRegistry : IDisposable
{
    internal const string OutboxReader = "external-registry";

    private const string Reader = OutboxReader;
    private const int ListedMax = 100;
    private static readonly TimeSpan ReaderWaitsMax = TimeSpan.FromSeconds(10);

    private static readonly Caller By = new(MirrorTable.Outside, null);
    private static readonly string[] Topics = [StageTable.Topic, ModelRegistry.AliasChangedTopic];

    private readonly ExternalRegistryOptions _options;
    private readonly MlflowServer _server;
    private readonly VersionFactsReader _facts;
    private readonly Database _database;
    private readonly Outbox _outbox;
    private readonly Leases _leases;
    private readonly TimeProvider _clock;
    private readonly ILogger<ExternalRegistry> _logger;
    private readonly SemaphoreSlim _passing = new(1);
    private readonly SemaphoreSlim _pushing = new(1);
    private readonly ConcurrentDictionary<string, string> _skipped = new(StringComparer.Ordinal);
    private volatile ExternalSyncProgress? _progress;
    private volatile bool _opened;
    private long _writesSent;
    private long _lookedAt;

    internal ExternalRegistry(
        ExternalRegistryOptions options, MlflowServer server, VersionFactsReader facts, Database database, Outbox outbox, Leases leases, TimeProvider clock, ILogger<ExternalRegistry> logger)
    {
        _options = options;
        _server = server;
        _facts = facts;
        _database = database;
        _outbox = outbox;
        _leases = leases;
        _clock = clock;
        _logger = logger;
    }

    /// <summary>Whether the model is kept on the external server.</summary>
    public bool Mirrors(string model) => _database.Read(connection => MirrorTable.IsMirrored(connection, model));

    /// <summary>How old the mirror is; null before its first pass.</summary>
    internal (bool Reachable, double? AgeSeconds) Freshness()
    {
        var syncedAtMs = _database.Read(connection => MirrorTable.State(connection)?.SyncedAtMs);
        return (_server.Fault is null, syncedAtMs is { } ms ? Math.Max(0, (_clock.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(ms)).TotalSeconds) : null);
    }

    /// <summary>How the mirror stands.</summary>
    public ExternalRegistryStatus Status()
    {
        var progress = _progress;
        var (reachable, age) = Freshness();
        return _database.Read(connection =>
        {
            var (models, versions) = MirrorTable.Count(connection);
            var syncedAt = MirrorTable.State(connection)?.SyncedAtMs is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : (DateTimeOffset?)null;
            return new ExternalRegistryStatus(
                "mlflow", _options.Address.ToString(), reachable, _server.Fault, syncedAt, age,
                _passing.CurrentCount == 0, (int)models, (int)versions, Pending(connection).Count, MirrorTable.Drift(connection), MirrorTable.Incomplete(connection, ListedMax),
                [.. _skipped.OrderBy(skip => skip.Key, StringComparer.Ordinal).Take(ListedMax).Select(skip => $"{skip.Key}: {skip.Value}")],
                progress?.Report(Interlocked.Read(ref _writesSent)));
        });
    }

    /// <summary>Remembers the server's address, or refuses to mix the versions of two servers.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: the mirror was made from another address.</exception>
    public async Task OpenAsync(CancellationToken cancellationToken)
    {
        if (_opened)
        {
            return;
        }

        var address = _options.Address.ToString();
        await _database.WriteAsync(transaction =>
        {
            var state = MirrorTable.State(transaction.Connection);
            if (state is null)
            {
                MirrorTable.SaveState(transaction, new MirrorState(address, 0, null, null));
                // What was decided before there was an external server is no news to it.
                Outbox.Acknowledge(transaction, Reader, Outbox.Newest(transaction.Connection));
                transaction.Audit(Caller.System("registry"), "external_registry.attached", new NodeRef("external_registry", address));
            }
            else if (state.Address != address)
            {
                if (_options.MovedFrom?.TrimEnd('/') != state.Address.TrimEnd('/'))
                {
                    throw new SlipwayException(ErrorCode.FailedPrecondition,
                        $"The registry here mirrors the MLflow server at {state.Address}, not {address}; if it is the same server under a new address, start once with --registry-moved-from {state.Address}, else use another data folder.");
                }

                MirrorTable.SaveState(transaction, state with { Address = address, FullAtMs = null });
                transaction.Audit(Caller.System("registry"), "external_registry.moved", new NodeRef("external_registry", address), null, new { state.Address }, new { address });
            }
        }, cancellationToken);
        _opened = true;
    }

    /// <summary>Refuses what would change a mirrored model here alone.</summary>
    internal void DemandOwn(string model) => _database.Read(connection =>
    {
        DemandOwn(connection, model);
        return true;
    });

    /// <inheritdoc cref="DemandOwn(string)"/>
    internal void DemandOwn(DbConnection connection, string model)
    {
        if (MirrorTable.IsMirrored(connection, model))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Model '{model}' is kept on the MLflow server at {_options.Address}; register or change it there, and it appears here within {_options.Interval.TotalSeconds:0} seconds.");
        }
    }

    /// <summary>What could not be copied of a version; null when it is whole, or this server's own.</summary>
    internal string? MissingOf(ModelVersionRecord version) =>
        _database.Read(connection => MirrorTable.Find(connection, version.Model, version.Version)) is { Missing.Length: > 0 } row ? row.Missing : null;

    /// <summary>
    /// Brings a model up to date before a decision on it: what was decided before is sent, what was changed by hand is taken over, and
    /// what is missing of the version is copied.
    /// </summary>
    /// <exception cref="SlipwayException">Unavailable: the external server cannot be asked, so that nothing may be decided.</exception>
    internal async Task PrepareAsync(string model, string? reference, CancellationToken cancellationToken)
    {
        await OpenAsync(cancellationToken);
        if (_database.Read(connection => MirrorTable.IsOwn(connection, model)))
        {
            return;
        }

        // A decision of somebody else may come in between; that one is sent as well.
        for (var pushes = 0; ;)
        {
            await PushAsync(cancellationToken);
            if (!_database.Read(connection => Pending(connection).Contains(model)))
            {
                break;
            }

            if (++pushes == 3)
            {
                throw new SlipwayException(ErrorCode.Unavailable, $"An earlier change of '{model}' is still on its way to the MLflow server at {_options.Address}; try again.");
            }
        }

        await PullModelAsync(model, cancellationToken);
        if (reference is not null && _database.Read(connection => ModelRegistry.Resolve(connection, model, reference)) is { } version)
        {
            await CompleteAsync(version, cancellationToken);
        }
    }

    /// <summary>As <see cref="PrepareAsync"/>, for a reader, who is answered from the mirror when the server is down.</summary>
    internal async Task TryPrepareAsync(string model, string reference, CancellationToken cancellationToken)
    {
        try
        {
            await PrepareAsync(model, reference, cancellationToken);
        }
        catch (SlipwayException e)
        {
            _logger.LogInformation("{Model} is answered from the mirror: {Reason}", model, e.Message);
        }
    }

    /// <summary>Sends what was just decided.</summary>
    /// <param name="model">Model.</param>
    /// <param name="overruled">Whether the external server's own state has been taken over since.</param>
    /// <param name="cancellationToken">The decision is sent all the same.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: the server refused it or had been changed by hand meanwhile.</exception>
    internal async Task ConfirmAsync(string model, Func<DbConnection, bool> overruled, CancellationToken cancellationToken)
    {
        if (!Mirrors(model))
        {
            return;
        }

        try
        {
            // The caller's going away must not leave a decision half sent, though the background would finish it.
            await PushAsync(CancellationToken.None);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.Unavailable)
        {
            _logger.LogWarning("A decision on {Model} waits for the MLflow server: {Reason}", model, e.Message);
            return;
        }

        cancellationToken.ThrowIfCancellationRequested();
        if (_database.Read(overruled))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The MLflow server at {_options.Address} did not take the change of '{model}', because it refused it or had been changed by hand meanwhile; the audit trail has the details. The server's state was left as it is and taken over here.");
        }
    }

    /// <summary>Looks for changes because a reader asked for what is not here; at most once a second (less often from one that is down), and a server that is down is no fault.</summary>
    internal async Task FreshenAsync(CancellationToken cancellationToken)
    {
        var now = _clock.GetTimestamp();
        var before = Interlocked.Read(ref _lookedAt);
        // Of a server that is known to be down the next reader need not wait to hear it again.
        var interval = _server.Fault is null ? _options.DemandInterval : _options.DemandIntervalWhenDown;
        if ((before != 0 && _clock.GetElapsedTime(before, now) < interval) || Interlocked.CompareExchange(ref _lookedAt, now, before) != before)
        {
            return;
        }

        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(ReaderWaitsMax);
            await SyncAsync(full: false, limit.Token);
        }
        catch (Exception e) when (e is SlipwayException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            _logger.LogInformation("The MLflow server could not be asked for what is not here: {Reason}", e.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _passing.Dispose();
        _pushing.Dispose();
    }

    // Models with decisions that the server has not confirmed.
    private static List<string> Pending(DbConnection connection) => Decisions(connection, Outbox.Place(connection, Reader) ?? 0);

    private static List<string> Decisions(DbConnection connection, long after) =>
        [.. Outbox.After(connection, after, Topics).Select(Decision.Of).OfType<Decision>().Select(decision => decision.Model)];
}
