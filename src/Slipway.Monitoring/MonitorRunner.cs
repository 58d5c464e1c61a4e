using System.Collections.Concurrent;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Alerts;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;
using Slipway.Monitoring.Performance;
using Slipway.Native.DuckDb;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring;

/// <summary>Evaluates the windows of a monitor that have closed since the last time, and those that late labels touch.</summary>
internal sealed class MonitorRunner(
    Database database, DefinitionStore definitions, Leases leases, PredictionLog predictions, LabelLog labels, DuckDbDatabase duckDb, BaselineSource baselines,
    WindowWriter writer, ActionStarter actions, DriftGauges gauges)
{
    private const int WindowsPerTransaction = 24;
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<string, Held> _held = new(StringComparer.Ordinal);

    /// <summary>One pass over a monitor.</summary>
    /// <param name="name">The monitor.</param>
    /// <param name="withLabels">Look for late labels even when no window has closed.</param>
    /// <param name="cancellationToken">Stops between batches; what is stored stays.</param>
    /// <returns>What was done; null when another server is at work on this monitor.</returns>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<MonitorRunReport?> RunAsync(string name, bool withLabels, CancellationToken cancellationToken)
    {
        var definition = definitions.Find(MonitorDefinition.Kind, name)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no monitor '{name}'; GET /api/slipway/v1/monitors lists them.");
        var held = _held.GetOrAdd(name, _ => new Held());
        await held.Gate.WaitAsync(cancellationToken);
        try
        {
            if (held.DefinitionVersion != definition.Version)
            {
                held.Use(definition, predictions, duckDb, baselines);
            }

            // Most looks find nothing to do; they write nothing, not even a lease.
            var watermark = predictions.Watermark(held.Monitor!.Model);
            var report = new MonitorRunReport(name, watermark, 0, 0, 0, 0, 0);
            var state = database.Read(connection => MonitorState.Load(connection, name));
            if (watermark is not { } newest || (!withLabels && Floor(newest.ToUnixTimeMilliseconds(), held.Monitor.CadenceMs) <= state.DriftEndMs))
            {
                return report;
            }

            if (await leases.TryAcquireAsync($"monitor:{name}", LeaseTime, cancellationToken) is not { } lease)
            {
                return null;
            }

            try
            {
                return await RunAsync(held, definition.Version, newest, report, lease, cancellationToken);
            }
            finally
            {
                await leases.ReleaseAsync(lease, CancellationToken.None);
            }
        }
        finally
        {
            held.Gate.Release();
        }
    }

    private async Task<MonitorRunReport> RunAsync(
        Held held, long definitionVersion, DateTimeOffset watermark, MonitorRunReport report, Lease lease, CancellationToken cancellationToken)
    {
        var monitor = held.Monitor!;
        var state = database.Read(connection => MonitorState.Load(connection, monitor.Name));
        var closedUntil = Floor(watermark.ToUnixTimeMilliseconds(), monitor.CadenceMs);
        if (closedUntil > state.DriftEndMs)
        {
            report = await RunDriftAsync(held, definitionVersion, state, closedUntil, report, lease, cancellationToken);
        }

        if (monitor.Performance is { } performance)
        {
            report = await RunPerformanceAsync(monitor, performance, report, lease, cancellationToken);
        }

        await actions.StartPendingAsync(monitor.Name, cancellationToken);
        return report;
    }

    private async Task<MonitorRunReport> RunDriftAsync(
        Held held, long definitionVersion, MonitorState state, long closedUntil, MonitorRunReport report, Lease lease, CancellationToken cancellationToken)
    {
        var monitor = held.Monitor!;
        await predictions.FlushAsync(cancellationToken);
        var from = state.DriftEndMs == MonitorState.Never ? MonitorState.Never : Floor(state.DriftEndMs, monitor.CadenceMs) + monitor.CadenceMs - monitor.ReachMs;
        await Task.Run(() => held.Buckets!.Read(from, cancellationToken), cancellationToken);
        var windows = held.Buckets!.Windows(Floor(state.DriftEndMs, monitor.CadenceMs), closedUntil)
            .Select(window => (window, DriftEvaluation.Evaluate(window.Layout, window.Reference, window.Counts, window.Rows, monitor)));
        foreach (var batch in windows.Chunk(WindowsPerTransaction))
        {
            // A long catch-up outlives a lease; renewing keeps the token.
            await leases.TryAcquireAsync(lease.Name, LeaseTime, cancellationToken);
            var outcome = await writer.WriteDriftAsync(monitor, definitionVersion, batch, lease, cancellationToken);
            report = Add(report, outcome) with { WindowsEvaluated = report.WindowsEvaluated + batch.Length };
            gauges.Set(monitor, batch[^1].window, batch[^1].Item2);
        }

        return report;
    }

    private async Task<MonitorRunReport> RunPerformanceAsync(
        MonitorDefinition monitor, PerformanceDefinition performance, MonitorRunReport report, Lease lease, CancellationToken cancellationToken)
    {
        await labels.FlushAsync(cancellationToken);
        var state = database.Read(connection => MonitorState.Load(connection, monitor.Name));
        var known = database.Read(connection => connection
            .Query<string>("SELECT segment FROM monitor_label_segments WHERE monitor = @Name", new { monitor.Name }).ToHashSet(StringComparer.Ordinal));
        var unseen = labels.Segments(monitor.Model).Where(path => !known.Contains(Path.GetFileName(path))).ToList();
        if (unseen.Count == 0 && state.PerformanceEndMs >= state.DriftEndMs)
        {
            return report;
        }

        if (unseen.Count > 0)
        {
            // A label may come before its prediction's row is in a segment; once it counts as seen, that row must be there.
            await predictions.FlushAsync(cancellationToken);
        }

        await leases.TryAcquireAsync(lease.Name, LeaseTime, cancellationToken);
        var joined = new LabelledBuckets(monitor, performance, predictions, labels, duckDb);
        var results = await Task.Run(() => Evaluate(monitor, performance, joined, unseen, state, cancellationToken), cancellationToken);
        var outcome = await writer.WritePerformanceAsync(monitor, results, state.DriftEndMs, [.. unseen.Select(path => Path.GetFileName(path))], lease, cancellationToken);
        return Add(report, outcome) with { PerformanceWindows = results.Count };
    }

    private List<PerformanceResult> Evaluate(
        MonitorDefinition monitor, PerformanceDefinition performance, LabelledBuckets joined, List<string> unseen, MonitorState state, CancellationToken cancellationToken)
    {
        var touched = joined.Touched(unseen, cancellationToken);
        var (windowMs, everyMs) = ((long)performance.Window.TotalMilliseconds, (long)performance.Every.TotalMilliseconds);
        var from = touched.Count > 0 ? Math.Min(touched[0], state.PerformanceEndMs) : state.PerformanceEndMs;
        var ends = database.Read(connection => connection.Query<long>(
            "SELECT window_end_ms FROM monitor_windows WHERE monitor = @Name AND window_end_ms > @from AND window_end_ms % @everyMs = 0 ORDER BY window_end_ms",
            new { monitor.Name, from, everyMs }).ToList());
        var due = ends.Where(end => end > state.PerformanceEndMs || IsTouched(touched, end - windowMs, end)).ToList();
        var results = new List<PerformanceResult>(due.Count);
        foreach (var window in joined.Windows(due, cancellationToken))
        {
            if (baselines.Find(monitor.Model, window.Version) is { } layout)
            {
                var readings = window.Counts.Readings(performance, layout.Baseline.Performance, window.Predictions);
                results.Add(new PerformanceResult(window.EndMs, window.Version, window.Predictions, window.Counts.Rows, readings));
            }
        }

        return results;
    }

    // Whether a touched step starts in [from, to).
    private static bool IsTouched(IReadOnlyList<long> touched, long from, long to)
    {
        var (low, high) = (0, touched.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = touched[middle] < from ? (middle + 1, high) : (low, middle);
        }

        return low < touched.Count && touched[low] < to;
    }

    private static MonitorRunReport Add(MonitorRunReport report, AlertTable.Outcome outcome) => report with
    {
        AlertsOpened = report.AlertsOpened + outcome.Opened,
        AlertsClosed = report.AlertsClosed + outcome.Closed,
        ActionsDecided = report.ActionsDecided + outcome.Actions,
    };

    private static long Floor(long value, long unit) => value - (value % unit + unit) % unit;

    /// <summary>What a monitor keeps in memory between passes.</summary>
    private sealed class Held
    {
        public SemaphoreSlim Gate { get; } = new(1, 1);

        public long DefinitionVersion { get; private set; }

        public MonitorDefinition? Monitor { get; private set; }

        public BucketStore? Buckets { get; private set; }

        public void Use(Definition definition, PredictionLog predictions, DuckDbDatabase duckDb, BaselineSource baselines)
        {
            var monitor = MonitorDefinition.Parse(DefinitionYaml.Parse(definition.Yaml));
            Buckets = new BucketStore(monitor, predictions, duckDb, version => baselines.Find(monitor.Model, version));
            Monitor = monitor;
            DefinitionVersion = definition.Version;
        }
    }
}
