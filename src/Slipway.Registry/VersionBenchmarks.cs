using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Storage;

namespace Slipway.Registry;

/// <summary>Measures each new version once, in a process of its own, one at a time and beside the requests.</summary>
internal sealed class VersionBenchmarks(ModelRegistry registry, Database database, TimeProvider clock, ILogger<VersionBenchmarks> logger) : BackgroundService
{
    // Events of other servers on the same database wake nobody here.
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(10);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var wake = new SemaphoreSlim(1, 1);
        void Wake()
        {
            try
            {
                wake.Release();
            }
            catch (SemaphoreFullException)
            {
                // It is awake already.
            }
        }

        database.EventsCommitted += Wake;
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                await wake.WaitAsync(LookAgain, stoppingToken);
                await MeasureAllAsync(stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // What is not measured yet is measured after the next start.
        }
        finally
        {
            database.EventsCommitted -= Wake;
        }
    }

    private async Task MeasureAllAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (registry.OwedBenchmark() is { } version)
            {
                await registry.MeasureAsync(version.Model, version.Version, clock, stoppingToken);
            }
        }
        catch (Exception e) when (!stoppingToken.IsCancellationRequested)
        {
            logger.LogError(e, "A version could not be measured; trying again");
        }
    }
}
