using System.Collections.Concurrent;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage;

namespace Slipway.Serving.Deployments;

/// <summary>
/// Keeps the routes equal to the registry: production versions load at the start and within a second of a change of stage. A
/// version that cannot be loaded leaves the one before it in service, and says why.
/// </summary>
internal sealed class Deployer : BackgroundService
{
    private const string Reader = "serving";
    private static readonly string[] Topics = [ModelRegistry.StageChangedTopic, ModelRegistry.DeprecationTopic, ModelRegistry.AliasChangedTopic, ModelRegistry.VersionRegisteredTopic, ModelRegistry.NameGoneTopic];

    private readonly ModelRouter _router;
    private readonly ModelRegistry _registry;
    private readonly ModelLoader _loader;
    private readonly PinnedVersions _pinned;
    private readonly DeploymentStore _deployments;
    private readonly Outbox _outbox;
    private readonly Database _database;
    private readonly TimeProvider _clock;
    private readonly ILogger<Deployer> _logger;
    private readonly ConcurrentDictionary<string, string> _failures = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _routing = new(1);
    private readonly Channel<RouteChange> _changes = Channel.CreateUnbounded<RouteChange>(new UnboundedChannelOptions { SingleReader = true });
    private volatile bool _started;

    public Deployer(
        ModelRouter router, ModelRegistry registry, ModelLoader loader, PinnedVersions pinned, DeploymentStore deployments, Outbox outbox, Database database,
        TimeProvider clock, ILogger<Deployer> logger)
    {
        (_router, _registry, _loader, _pinned, _deployments, _outbox, _database, _clock, _logger) =
            (router, registry, loader, pinned, deployments, outbox, database, clock, logger);
        _router.Changed += change => _changes.Writer.TryWrite(change);
    }

    /// <summary>Whether every production version has been loaded, or found not to be loadable.</summary>
    public bool Started => _started;

    /// <summary>Why the model's production version could not be loaded; null when it was.</summary>
    public string? FailureOf(string model) => _failures.GetValueOrDefault(model);

    /// <summary>Models whose production version could not be loaded.</summary>
    public IReadOnlyDictionary<string, string> Failures => _failures;

    /// <summary>Makes the route equal to the registry now, as after a change of stage.</summary>
    /// <returns>Why the production version could not be loaded; null when it was.</returns>
    public async Task<string?> LoadAsync(string model, CancellationToken cancellationToken)
    {
        await RouteAsync(model, "loaded", "it was asked for over the protocol", cancellationToken);
        return FailureOf(model);
    }

    public override void Dispose()
    {
        _routing.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.Yield(); // The host goes on starting while models load; /v2/health/ready says when they have.
        var recording = RecordChangesAsync(stoppingToken);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await StartOnceAsync(stoppingToken);
                await FollowAsync(stoppingToken);
                await _outbox.WaitAsync(Reader, Topics, TimeSpan.FromSeconds(1), _clock, stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                _logger.LogError(e, "Following the registry failed; trying again");
                await Task.Delay(TimeSpan.FromSeconds(1), _clock, stoppingToken);
            }
        }

        await recording;
    }

    private async Task StartOnceAsync(CancellationToken cancellationToken)
    {
        if (_started)
        {
            return;
        }

        foreach (var model in _registry.ListModels())
        {
            await RouteAsync(model.Name, "started", "the server started", cancellationToken);
        }

        _started = true;
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        while (_outbox.Read(Reader, Topics) is { Count: > 0 } events)
        {
            foreach (var deprecated in events.Where(e => e.Topic == ModelRegistry.DeprecationTopic).Select(e => JsonSerializer.Deserialize<Deprecated>(e.Payload, JsonDefaults.Options)!))
            {
                _pinned.Forget(deprecated.Model);
                if (_router.Loaded(deprecated.Model, deprecated.Version) is { } loaded)
                {
                    _loader.Notify(loaded);
                }
            }

            foreach (var gone in events.Where(e => e.Topic == ModelRegistry.NameGoneTopic).Select(e => JsonSerializer.Deserialize<Named>(e.Payload, JsonDefaults.Options)!.Model).Distinct())
            {
                _pinned.Forget(gone);
            }

            // "latest" is another version now, or an alias.
            foreach (var named in events.Where(e => e.Topic is ModelRegistry.AliasChangedTopic or ModelRegistry.VersionRegisteredTopic).Select(e => JsonSerializer.Deserialize<Named>(e.Payload, JsonDefaults.Options)!.Model).Distinct())
            {
                _pinned.ForgetNames(named);
            }

            var changes = events.Where(e => e.Topic == ModelRegistry.StageChangedTopic).Select(e => JsonSerializer.Deserialize<StageMove>(e.Payload, JsonDefaults.Options)!).ToList();
            foreach (var model in changes.GroupBy(change => change.Model))
            {
                // The move into production carries the reason; the one out of it is its other half.
                var change = model.LastOrDefault(change => change.To == Stage.Production) ?? model.Last();
                _pinned.Forget(model.Key);
                await RouteAsync(model.Key, change.Cause == "rollback" ? "rolled_back" : "replaced", change.Reason ?? "its stage changed", cancellationToken);
            }

            await _database.WriteAsync(transaction => Outbox.Acknowledge(transaction, Reader, events[^1].Seq), cancellationToken);
        }
    }

    // One at a time: of two, the slower would put the version it found first over the newer one.
    private async Task RouteAsync(string model, string outcome, string reason, CancellationToken cancellationToken)
    {
        await _routing.WaitAsync(cancellationToken);
        try
        {
            await RouteAloneAsync(model, outcome, reason, cancellationToken);
        }
        finally
        {
            _routing.Release();
        }
    }

    private async Task RouteAloneAsync(string model, string outcome, string reason, CancellationToken cancellationToken)
    {
        try
        {
            var production = _registry.FindInStage(model, Stage.Production);
            while (production is not null && _router.Find(model)?.Stable?.Version != production.Version)
            {
                var loaded = _router.Loaded(model, production.Version) ?? _loader.Load(production);
                var now = _registry.FindInStage(model, Stage.Production);
                if (now?.Version == production.Version)
                {
                    _router.SetStable(loaded, outcome, reason);
                }

                production = now; // Loading took its time: the stage may hold another version by now, or none.
            }

            if (production is null && _router.Find(model)?.Stable is not null)
            {
                _router.Remove(model, reason);
            }

            _failures.TryRemove(model, out _);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            var why = e is SlipwayException ? e.Message : "Loading it failed; the server's log says why.";
            _logger.LogError(e, "The production version of {Model} could not be loaded; the version before it goes on answering", model);
            if (!_failures.TryGetValue(model, out var known) || known != why)
            {
                _failures[model] = why;
                await _database.WriteAsync(
                    transaction => transaction.Audit(Caller.System("serving"), "deployment.load_failed", new NodeRef(NodeKinds.Model, model), why), cancellationToken);
            }
        }
    }

    private async Task RecordChangesAsync(CancellationToken stoppingToken)
    {
        await foreach (var change in _changes.Reader.ReadAllAsync(stoppingToken))
        {
            try
            {
                var table = _router.Find(change.Model);
                var roles = new[] { table?.Stable, table?.Candidate, table?.Shadow }.OfType<Arm>().ToDictionary(arm => arm.Role, arm => arm.Version);

                // At the start a rollout has not yet put its candidate back; its record stays open for it.
                await _deployments.RecordAsync(change, roles, onlyStable: change.Outcome == "started", stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                _logger.LogError(e, "A change of the routes of {Model} could not be recorded", change.Model);
            }
        }
    }

    private sealed record Named(string Model);

    private sealed record Deprecated(string Model, string Version);

    private sealed record StageMove(string Model, Stage To, string? Cause, string? Reason);
}
