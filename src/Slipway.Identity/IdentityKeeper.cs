using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Identity.Keys;
using Slipway.Identity.Sessions;
using Slipway.Storage;

namespace Slipway.Identity;

/// <summary>Notices what other servers change, and writes down when keys and sessions were last used: once a minute and at the end.</summary>
internal sealed class IdentityKeeper(Database database, IdentityDirectory directory, SessionStore sessions, TimeProvider clock, ILogger<IdentityKeeper> logger) : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SaveEvery = TimeSpan.FromMinutes(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // An SQLite database has one server, which knows its own changes.
        var shared = database.Dialect == SqlDialect.Postgres;
        using var timer = new PeriodicTimer(shared ? Tick : SaveEvery, clock);
        var savedAt = clock.GetTimestamp();
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    if (shared)
                    {
                        directory.Refresh();
                    }

                    if (!shared || clock.GetElapsedTime(savedAt) >= SaveEvery)
                    {
                        savedAt = clock.GetTimestamp();
                        await SaveAsync(stoppingToken);
                    }
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    logger.LogError(e, "Users could not be looked at or their use not be noted; next attempt in {Interval}", timer.Period);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The host stops.
        }
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        try
        {
            await SaveAsync(cancellationToken);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            logger.LogWarning(e, "When keys and sessions were last used could not be noted at the end");
        }
    }

    private async Task SaveAsync(CancellationToken cancellationToken)
    {
        var (uses, seen) = (directory.TakeUses(), sessions.TakeSeen());
        if (uses.Count + seen.Count > 0)
        {
            await database.WriteAsync(transaction =>
            {
                KeyStore.SaveUse(transaction, uses);
                SessionStore.SaveSeen(transaction, seen);
            }, cancellationToken);
        }
    }
}
