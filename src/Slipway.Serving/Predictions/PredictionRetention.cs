using System.Globalization;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Serving.Queues;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Predictions;

/// <summary>Deletes logged predictions that are older than their model's definition keeps them: once an hour, whole segments, the last of whose predictions is too old.</summary>
internal sealed class PredictionRetention(PredictionLog log, DefinitionStore definitions, Database database, TimeProvider clock, ILogger<PredictionRetention> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromHours(1);
    private static readonly TimeSpan FlushesEvery = TimeSpan.FromDays(1);

    private DateTimeOffset _flushedAt = clock.GetUtcNow();

    /// <summary>Deletes what is too old now; returns how many segments.</summary>
    public async Task<int> ExpireAsync(CancellationToken cancellationToken)
    {
        var deleted = 0;
        foreach (var definition in definitions.List(ServingKind.Name))
        {
            var (model, settings) = ServingKind.Parse(DefinitionYaml.Parse(definition.Yaml));
            if (settings.Log.Keep is not { } keep)
            {
                continue;
            }

            if (clock.GetUtcNow() - _flushedAt >= FlushesEvery)
            {
                // A model that is asked little never fills a segment, and what is in none is not deleted.
                await log.FlushAsync(cancellationToken);
                _flushedAt = clock.GetUtcNow();
            }

            var before = clock.GetUtcNow() - keep;
            if (log.Expire(model, before) is > 0 and var segments)
            {
                deleted += segments;
                await database.WriteAsync(
                    transaction => transaction.Audit(
                        Caller.System("serving"), "predictions.expired", new NodeRef(NodeKinds.Model, model),
                        string.Create(CultureInfo.InvariantCulture, $"{segments} segments, whose predictions are all from before {before:yyyy-MM-dd HH:mm} UTC, were deleted: its definition keeps them {keep.TotalDays:0.#} days")),
                    cancellationToken);
            }
        }

        return deleted;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await ExpireAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "Old predictions could not be deleted; trying again in {Hours} h", Interval.TotalHours);
            }
        }
    }
}
