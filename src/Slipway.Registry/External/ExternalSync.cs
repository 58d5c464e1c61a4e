using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Registry.Stages;
using Slipway.Storage;

namespace Slipway.Registry.External;

/// <summary>Keeps the mirror fresh, and sends decisions that could not be sent at once.</summary>
internal sealed class ExternalSync(ExternalRegistry registry, ExternalRegistryOptions options, Outbox outbox, TimeProvider clock, ILogger<ExternalSync> logger) : BackgroundService
{
    private static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(30);

    // A database that mirrors another server stops the start, not the first pass.
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await registry.OpenAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var failures = 0;
        long? passedAt = null;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (passedAt is null || clock.GetElapsedTime(passedAt.Value) >= options.Interval)
                {
                    await registry.SyncAsync(full: false, stoppingToken);
                    passedAt = clock.GetTimestamp();
                }
                else
                {
                    await registry.PushAsync(stoppingToken);
                }

                failures = 0;
                await outbox.WaitAsync(ExternalRegistry.OutboxReader, [StageTable.Topic, ModelRegistry.AliasChangedTopic], options.Interval - clock.GetElapsedTime(passedAt.Value), clock, stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                failures = Math.Min(failures + 1, 16);
                var pause = TimeSpan.FromSeconds(Math.Min(PauseMax.TotalSeconds, Math.Pow(2, failures - 1)));
                if (e is SlipwayException { Code: ErrorCode.Unavailable })
                {
                    logger.LogWarning("{Reason} Next attempt in {Pause}.", e.Message, pause);
                }
                else
                {
                    logger.LogError(e, "A pass over the MLflow server failed; next attempt in {Pause}", pause);
                }

                await Task.Delay(pause, clock, stoppingToken);
            }
        }
    }
}
