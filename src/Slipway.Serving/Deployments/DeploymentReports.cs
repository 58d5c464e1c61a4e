using System.Diagnostics.Metrics;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Registry;
using Slipway.Serving.Folder;
using Slipway.Serving.Predictions;
using Slipway.Serving.Queues;
using Slipway.Serving.Rollouts;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Deployments;

/// <summary>What runs now, put together from the routes, the counters and the records; the same figures as gauges of the meter <c>Slipway.Serving</c>.</summary>
public sealed class DeploymentReports : IDisposable
{
    private readonly ModelRouter _router;
    private readonly ModelRegistry _registry;
    private readonly DeploymentStore _deployments;
    private readonly PredictionLog _log;
    private readonly Deployer _deployer;
    private readonly ModelFolder _folder;
    private readonly TrafficTimeline _timeline;
    private readonly RolloutController _rollouts;
    private readonly DefinitionStore _definitions;
    private readonly Meter _meter;

    internal DeploymentReports(
        ModelRouter router, ModelRegistry registry, DeploymentStore deployments, PredictionLog log, Deployer deployer, ModelFolder folder, TrafficTimeline timeline,
        RolloutController rollouts, PinnedVersions pinned, DefinitionStore definitions, IMeterFactory meters)
    {
        (_router, _registry, _deployments, _log, _deployer, _folder, _timeline, _rollouts, _definitions) =
            (router, registry, deployments, log, deployer, folder, timeline, rollouts, definitions);
        _meter = meters.Create("Slipway.Serving");
        _meter.CreateObservableCounter("slipway.serving.requests", () => Measure(snapshot => snapshot.Requests), "{request}", "Requests answered or failed by a version");
        _meter.CreateObservableCounter("slipway.serving.errors", () => Measure(snapshot => snapshot.Errors), "{request}", "Requests that a version failed");
        _meter.CreateObservableCounter("slipway.serving.rows", () => Measure(snapshot => snapshot.Rows), "{row}", "Rows scored");
        foreach (var quantile in new[] { 0.5, 0.95, 0.99 })
        {
            _meter.CreateObservableGauge(
                $"slipway.serving.latency_p{quantile * 100:0}", () => Measure(snapshot => snapshot.Latency.QuantileUs(quantile) / 1e6), "s", "Latency quantile since the version was loaded");
        }

        _meter.CreateObservableGauge("slipway.serving.queue_depth", () => MeasureQueue(queue => queue.Waiting), "{request}", "Requests that wait for a run: what to scale on");
        _meter.CreateObservableGauge("slipway.serving.in_flight", () => MeasureQueue(queue => queue.Running), "{request}", "Runs under way");
        _meter.CreateObservableGauge("slipway.serving.concurrency", () => MeasureQueue(queue => queue.Running + queue.Waiting), "{request}", "Requests that run or wait: what the target of a scaling policy is about");
        _meter.CreateObservableGauge("slipway.serving.loaded", () => MeasureVersions(pinned, model => model.Idle is { IsAsleep: true } ? 0 : 1), "{version}", "1 while a version is in memory, 0 while it sleeps");
        _meter.CreateObservableCounter("slipway.serving.wakes", () => MeasureVersions(pinned, model => model.Idle?.Wakes ?? 0), "{load}", "Times that a version was loaded again because it was asked for");
        _meter.CreateObservableCounter("slipway.serving.rejected", () => MeasureQueue(queue => queue.Rejected), "{request}", "Requests refused because too many waited");
        _meter.CreateObservableCounter("slipway.serving.expired", () => MeasureQueue(queue => queue.Expired), "{request}", "Requests that waited too long and were not run");
        _meter.CreateObservableCounter("slipway.serving.batched", () => MeasureQueue(queue => queue.Together), "{request}", "Requests that went along in the run of another");
        _meter.CreateObservableCounter("slipway.serving.cache_hits", () => MeasureQueue(queue => queue.Cache?.Hits ?? 0), "{request}", "Requests answered from kept answers");
        _meter.CreateObservableCounter("slipway.serving.cache_misses", () => MeasureQueue(queue => queue.Cache?.Misses ?? 0), "{request}", "Requests for which no answer was kept");
        _meter.CreateObservableCounter("slipway.serving.predictions_dropped", () => log.Dropped, "{request}", "Requests answered but not logged");
    }

    /// <summary>Every model that has a route or whose production version could not be loaded.</summary>
    public IReadOnlyList<DeploymentSummary> List() =>
        [.. _router.Tables.Select(table => table.Model).Union(_deployer.Failures.Keys).Order(StringComparer.Ordinal).Select(Summary)];

    /// <summary>One model.</summary>
    /// <exception cref="SlipwayException">NotFound: no such model.</exception>
    public DeploymentReport Get(string model)
    {
        if (_router.Find(model) is null && _registry.ListVersions(model).Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"Model '{model}' is not registered; GET /api/slipway/v1/models lists those that are.");
        }

        var serving = _definitions.Find(ServingKind.Name, model)?.Yaml;
        return new DeploymentReport(Summary(model), _deployments.List(model), _timeline.Points(model), _log.Written, _log.Dropped)
        {
            Serving = serving,
            Scaling = serving is not null && ScalingPolicy.In(serving) is { } policy ? new ScalingReport(policy.Min, policy.Max, policy.Target, policy.Idle.TotalSeconds) : null,
        };
    }

    /// <summary>Whether every production version answers, every candidate of a running rollout, and every model of the model repository.</summary>
    public bool IsReady => _deployer.Started && _deployer.Failures.Count == 0 && _folder.IsReady && _rollouts.IsRouted;

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private DeploymentSummary Summary(string model)
    {
        var table = _router.Find(model);
        var arms = new List<ArmReport>();
        if (table?.Stable is { } stable)
        {
            arms.Add(Report(stable, table.Candidate is null ? 1 : 1 - ShareOf(table)));
        }

        if (table?.Candidate is { } candidate)
        {
            arms.Add(Report(candidate, table.Stable is null ? 1 : ShareOf(table)));
        }

        return new DeploymentSummary(
            model, table?.Stable is not null && _deployer.FailureOf(model) is null, table?.Sticky ?? true, arms,
            table is { Shadow: { } shadow, Comparison: { } comparison } ? Report(shadow, comparison.Snapshot()) : null, _deployer.FailureOf(model));
    }

    // Where a flag says who answers, what came of it.
    private static double ShareOf(RouteTable table)
    {
        if (!table.IsByFlag)
        {
            return table.Share;
        }

        var (candidate, stable) = (table.Candidate!.Statistics.Snapshot().Requests, table.Stable?.Statistics.Snapshot().Requests ?? 0);
        return candidate + stable == 0 ? 0 : (double)candidate / (candidate + stable);
    }

    private static ArmReport Report(Arm arm, double share)
    {
        var snapshot = arm.Model.Statistics.Snapshot();
        return new ArmReport(
            arm.Name, arm.Version, share, snapshot.Requests, snapshot.Rows, snapshot.Errors, snapshot.ErrorRate,
            snapshot.Latency.QuantileUs(0.5) / 1000, snapshot.Latency.QuantileUs(0.95) / 1000, snapshot.Latency.QuantileUs(0.99) / 1000);
    }

    private static ShadowReport Report(Arm shadow, ShadowSnapshot snapshot) => new(
        shadow.Version, snapshot.Compared, snapshot.DisagreementRate, snapshot.DecisionsDiffer, snapshot.MaxDifference, snapshot.MeanDifference,
        snapshot.Errors, snapshot.Dropped, snapshot.Latency.QuantileUs(0.95) / 1000);

    private IEnumerable<Measurement<T>> MeasureQueue<T>(Func<ModelQueue, T> value)
        where T : struct => MeasureArms(arm => value(arm.Model.Queue));

    private IEnumerable<Measurement<T>> Measure<T>(Func<ArmSnapshot, T> value)
        where T : struct => MeasureArms(arm => value(arm.Model.Statistics.Snapshot()));

    private static IEnumerable<Measurement<T>> MeasureVersions<T>(PinnedVersions pinned, Func<LoadedModel, T> value)
        where T : struct => pinned.AllInMemory.DistinctBy(model => (model.Model, model.Version)).Select(model => new Measurement<T>(value(model), new("model", model.Model), new KeyValuePair<string, object?>("version", model.Version)));

    private IEnumerable<Measurement<T>> MeasureArms<T>(Func<Arm, T> value)
        where T : struct
    {
        foreach (var table in _router.Tables)
        {
            foreach (var arm in new[] { table.Stable, table.Candidate }.OfType<Arm>())
            {
                yield return new Measurement<T>(
                    value(arm), new("model", table.Model), new("version", arm.Version), new KeyValuePair<string, object?>("arm", arm.Name));
            }
        }
    }
}
