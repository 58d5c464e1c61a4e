using System.Runtime.CompilerServices;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Slipway.Serving.Queues;

/// <summary>Lets versions that have answered nothing for as long as their model's <c>scaling</c> says give their memory back.</summary>
/// <remarks>It compares counters once a second, so that no request has to note its time.</remarks>
internal sealed class IdleVersions(PinnedVersions pinned, TimeProvider clock, ILogger<IdleVersions> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly ConditionalWeakTable<LoadedModel, Seen> _seen = [];

    /// <summary>Looks at all versions in memory.</summary>
    public void Look()
    {
        foreach (var model in pinned.AllInMemory)
        {
            if (model is { Scaling: { ToZero: true } scaling, Idle: { IsAsleep: false } session })
            {
                Look(model, scaling, session);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                Look();
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogError(e, "Looking for idle versions failed; the next look is in a second");
            }
        }
    }

    private void Look(LoadedModel model, ScalingPolicy scaling, IdleSession session)
    {
        var (now, served) = (clock.GetTimestamp(), model.Served + session.Wakes);
        var seen = _seen.GetValue(model, _ => new Seen());
        if (seen.Served != served || model.Queue is { Running: > 0 } or { Waiting: > 0 })
        {
            (seen.Served, seen.At) = (served, now);
        }
        else if (clock.GetElapsedTime(seen.At, now) >= scaling.Idle && session.TrySleep())
        {
            logger.LogInformation("Version {Version} of {Model} has answered nothing for {Idle} and was given back; the next request loads it", model.Version, model.Model, scaling.Idle);
        }
    }

    private sealed class Seen
    {
        public long Served { get; set; } = -1;

        public long At { get; set; }
    }
}
