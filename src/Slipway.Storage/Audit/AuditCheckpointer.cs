using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Slipway.Storage.Audit;

/// <summary>Signs a checkpoint every so many rows or so much time, and at shutdown.</summary>
internal sealed class AuditCheckpointer(
    AuditCheckpoints checkpoints, AuditTrail trail, Leases leases, StorageOptions options, TimeProvider clock, ILogger<AuditCheckpointer> logger) : BackgroundService
{
    private const string LeaseName = "audit-checkpoints";

    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PauseAfterFault = TimeSpan.FromMinutes(10);

    private DateTimeOffset _pausedUntil;

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await TryAsync(atOnce: true, cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Tick < options.Audit.CheckpointInterval ? Tick : options.Audit.CheckpointInterval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            if (clock.GetUtcNow() >= _pausedUntil)
            {
                await TryAsync(atOnce: false, stoppingToken);
            }
        }
    }

    private async Task TryAsync(bool atOnce, CancellationToken cancellationToken)
    {
        try
        {
            if (IsDue(atOnce) && await leases.TryAcquireAsync(LeaseName, TimeSpan.FromMinutes(1), cancellationToken) is { } lease)
            {
                if (await checkpoints.WriteAsync(cancellationToken) is { } written)
                {
                    logger.LogInformation("Audit checkpoint: {Checkpoint}", AuditSeal.Line(written));
                }

                await leases.ReleaseAsync(lease, cancellationToken);
            }
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // An escaped exception would stop the whole host.
            _pausedUntil = clock.GetUtcNow() + PauseAfterFault;
            logger.LogError(e, "The audit checkpoint could not be signed; the next attempt is in {Pause}", PauseAfterFault);
        }
    }

    private bool IsDue(bool atOnce)
    {
        var (newest, last) = (trail.Position().Seq, checkpoints.Newest()?.Seq ?? 0);
        return newest > last && (atOnce || newest - last >= options.Audit.CheckpointRows
            || clock.GetUtcNow() - trail.Find(last + 1)!.At >= options.Audit.CheckpointInterval);
    }
}
