using System.Globalization;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts.Serving;

namespace Slipway.Serving.Slos;

/// <summary>
/// Counts every ten seconds what came of the requests of models that have objectives, and looks every half minute how fast their budgets are spent. A killed process
/// loses the counts of the last ten seconds; nothing of it is on the way of a request.
/// </summary>
internal sealed class SloEvaluator(ModelRouter router, SloStore store, SloReports reports, TimeProvider clock, ILogger<SloEvaluator> logger) : BackgroundService
{
    private const int LooksEvery = 3;
    private const int ForgetsEvery = 360;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    private Dictionary<LoadedModel, (ArmSnapshot Arm, long Refused)> _before = [];
    private IReadOnlyList<SloSpec> _specs = [];

    /// <summary>Adds what happened since the last call that could.</summary>
    internal async Task CountAsync(CancellationToken cancellationToken)
    {
        _specs = store.Specs();
        var live = router.Tables.SelectMany(table => new[] { table.Stable, table.Candidate }.OfType<Arm>()).Select(arm => arm.Model).ToHashSet();
        var counts = new Dictionary<string, SloCount>(StringComparer.Ordinal);
        var seen = new Dictionary<LoadedModel, (ArmSnapshot Arm, long Refused)>();

        // A version that has left is counted once more: its last requests came after the last look.
        foreach (var model in live.Concat(_before.Keys).ToHashSet())
        {
            var now = model.Statistics.Snapshot();
            var refused = model.Statistics.Refused;
            var before = _before.GetValueOrDefault(model); // Nothing, of one that was loaded since.
            if (_specs.FirstOrDefault(spec => spec.Model == model.Model) is { } spec)
            {
                var since = before.Arm is { } earlier ? now.Since(earlier) : now;
                var slow = spec.SlowMs is { } limit ? since.Latency.NonEmptyBuckets().Where(bucket => bucket.ToUs > limit * 1000).Sum(bucket => bucket.Count) : 0;
                var sum = counts.GetValueOrDefault(model.Model);
                counts[model.Model] = new SloCount(sum.Total + since.Requests, sum.Failed + since.Errors, sum.Slow + slow, sum.Refused + refused - before.Refused);
            }

            if (live.Contains(model))
            {
                seen[model] = (now, refused);
            }
        }

        var happened = counts.Where(entry => entry.Value.Total > 0).ToDictionary(StringComparer.Ordinal);
        if (happened.Count > 0)
        {
            await store.AddAsync(clock.GetUtcNow(), happened, cancellationToken);
        }

        _before = seen; // Only now: what could not be stored is counted next time.
    }

    /// <summary>Opens and closes alerts.</summary>
    internal async Task LookAsync(CancellationToken cancellationToken)
    {
        foreach (var spec in _specs)
        {
            var open = store.Open(spec.Model);
            var objectives = reports.Of(spec).Objectives;
            foreach (var objective in objectives)
            {
                var level = reports.Decide(spec, objective.Name);
                if (level != open.GetValueOrDefault(objective.Name).Level)
                {
                    await store.SetAsync(spec.Model, objective.Name, level, Reason(objective, level), cancellationToken);
                }
            }

            // An objective that is promised no more has no alert.
            foreach (var gone in open.Keys.Except(objectives.Select(objective => objective.Name)))
            {
                await store.SetAsync(spec.Model, gone, SloAlertLevel.None, "the objective is not in the definition any more", cancellationToken);
            }
        }
    }

    /// <summary>Counts to the end, once no more requests come.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        try
        {
            await CountAsync(cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            logger.LogError(e, "The last requests could not be counted for the objectives");
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        for (var turn = 0; await timer.WaitForNextTickAsync(stoppingToken); turn++)
        {
            try
            {
                await CountAsync(stoppingToken);
                if (turn % LooksEvery == 0)
                {
                    await LookAsync(stoppingToken);
                }

                if (turn % ForgetsEvery == 0)
                {
                    foreach (var spec in _specs)
                    {
                        await store.ForgetAsync(spec.Model, clock.GetUtcNow() - spec.Window - TimeSpan.FromDays(1), stoppingToken);
                    }
                }
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "The objectives could not be counted or looked at; trying again in {Seconds} s", Interval.TotalSeconds);
            }
        }
    }

    private static string Reason(SloObjectiveReport objective, SloAlertLevel level)
    {
        if (objective.Burn.FirstOrDefault(pair => pair.Level == level) is not { } pair)
        {
            return $"{objective.Name} is kept again: {objective.Says}";
        }

        return string.Create(
            CultureInfo.InvariantCulture,
            $"{objective.Name} burns its budget {pair.Long:0.#} times too fast over {pair.LongMinutes} minutes and {pair.Short:0.#} times over {pair.ShortMinutes} (limit {pair.Limit:0.#}); {objective.BudgetLeft ?? 1:0%} of it is left: {objective.Says}");
    }
}
