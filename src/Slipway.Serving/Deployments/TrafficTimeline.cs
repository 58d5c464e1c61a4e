using System.Collections.Concurrent;
using Microsoft.Extensions.Hosting;
using Slipway.Contracts.Serving;

namespace Slipway.Serving.Deployments;

/// <summary>Traffic of each arm in intervals of two seconds, in memory, for the charts: the last three hours of two arms.</summary>
internal sealed class TrafficTimeline(ModelRouter router, TimeProvider clock) : BackgroundService
{
    private const int PointsMax = 3 * 1800 * 2;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, Queue<TrafficPoint>> _points = new(StringComparer.Ordinal);
    private readonly Dictionary<LoadedModel, (ArmSnapshot Before, DateTimeOffset At)> _before = [];
    private readonly Lock _sampling = new();

    /// <summary>A model's points, oldest first; the last one is the interval that is still running.</summary>
    public IReadOnlyList<TrafficPoint> Points(string model)
    {
        lock (_sampling)
        {
            List<TrafficPoint> points = [.. _points.GetValueOrDefault(model) ?? []];
            foreach (var arm in Arms(router.Find(model)))
            {
                var (before, at) = _before.TryGetValue(arm.Model, out var seen) ? seen : (null, clock.GetUtcNow());
                Add(points, arm, at, before);
            }

            return points;
        }
    }

    /// <summary>Ends the running interval of every arm.</summary>
    internal void Sample()
    {
        lock (_sampling)
        {
            var now = clock.GetUtcNow();
            var live = router.Tables.SelectMany(table => Arms(table).Select(arm => (table.Model, Arm: arm))).ToList();
            foreach (var (model, arm) in live)
            {
                var (before, at) = _before.TryGetValue(arm.Model, out var seen) ? seen : (null, now - Interval);
                var added = new List<TrafficPoint>(1);
                var snapshot = Add(added, arm, at, before);
                _before[arm.Model] = (snapshot, now);
                var points = _points.GetOrAdd(model, _ => new Queue<TrafficPoint>());
                added.ForEach(points.Enqueue);
                while (points.Count > PointsMax)
                {
                    points.Dequeue();
                }
            }

            foreach (var gone in _before.Keys.Except(live.Select(entry => entry.Arm.Model)).ToList())
            {
                _before.Remove(gone);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            Sample();
        }
    }

    private static ArmSnapshot Add(List<TrafficPoint> points, Arm arm, DateTimeOffset at, ArmSnapshot? before)
    {
        var now = arm.Model.Statistics.Snapshot();
        var window = before is null ? now : now.Since(before);
        points.Add(new TrafficPoint(
            at, arm.Name, arm.Version, window.Requests, window.Errors,
            window.Latency.QuantileUs(0.5) / 1000, window.Latency.QuantileUs(0.95) / 1000, window.Latency.QuantileUs(0.99) / 1000));
        return now;
    }

    private static IEnumerable<Arm> Arms(RouteTable? table) => new[] { table?.Stable, table?.Candidate }.OfType<Arm>();
}
