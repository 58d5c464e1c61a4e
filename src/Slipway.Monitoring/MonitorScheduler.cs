using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Monitoring.Definitions;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring;

/// <summary>Settings of the monitors' scheduler.</summary>
public sealed class MonitoringOptions
{
    /// <summary>How often the scheduler looks whether a window has closed; a look costs a few microseconds when none has.</summary>
    public TimeSpan Tick { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>How often labels are looked for when no window closes.</summary>
    public TimeSpan LabelInterval { get; set; } = TimeSpan.FromSeconds(30);
}

/// <summary>Runs every monitor on the event-time schedule of its cadence; never on the path of a prediction.</summary>
internal sealed class MonitorScheduler(
    DefinitionStore definitions, MonitorRunner runner, MonitoringOptions options, TimeProvider clock, ILogger<MonitorScheduler> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(options.Tick, clock);
        var labelsAt = clock.GetTimestamp();
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            var withLabels = clock.GetElapsedTime(labelsAt) >= options.LabelInterval;
            labelsAt = withLabels ? clock.GetTimestamp() : labelsAt;
            foreach (var name in Names())
            {
                try
                {
                    await runner.RunAsync(name, withLabels, stoppingToken);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    // One monitor's fault must not stop the others, nor the host.
                    logger.LogError(e, "Monitor {Monitor} could not be evaluated; the next attempt is in {Tick}", name, options.Tick);
                }
            }
        }
    }

    private List<string> Names()
    {
        try
        {
            return [.. definitions.List(MonitorDefinition.Kind).Select(definition => definition.Name)];
        }
        catch (Exception e)
        {
            logger.LogError(e, "The monitors could not be listed");
            return [];
        }
    }
}
