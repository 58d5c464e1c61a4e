using System.Globalization;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Serving;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Serving.Rollouts;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving.Rollouts;

/// <summary>How a version of the test's world behaves.</summary>
internal sealed record Behaviour(double Output = 0.25, long LatencyUs = 300, double ErrorRate = 0, double DistanceFactor = 1)
{
    public static readonly Behaviour Good = new();

    /// <summary>Trained on kilometres while requests send miles.</summary>
    public static readonly Behaviour Kilometres = new(Output: 0.45, DistanceFactor: 1.609);

    public static readonly Behaviour Slow = new(LatencyUs: 9_000);
}

/// <summary>The real registry, router, logs and controller; requests go through the router and are counted as the request path counts them.</summary>
internal sealed class RolloutHost : IAsyncDisposable
{
    public const string Model = RegistryHost.Model;
    public const string Stable = "1.0.0";

    private readonly RegistryHost _registry;
    private readonly Dictionary<string, Behaviour> _behaviours;
    private readonly Random _random = new(5);
    private long _requests;

    private RolloutHost(RegistryHost registry, Dictionary<string, Behaviour> behaviours)
    {
        _registry = registry;
        _behaviours = behaviours;
        Router = Service<ModelRouter>();
        Controller = Service<RolloutController>();
    }

    public RegistryHost Registry => _registry;

    public string Candidate { get; private set; } = "";

    public ModelRouter Router { get; private set; }

    public RolloutController Controller { get; private set; }

    public RolloutStore Store => Service<RolloutStore>();

    public T Service<T>() where T : notnull => _registry.Area.Service<T>();

    /// <summary>Version 1.0.0 in production, a candidate in staging with an approved promotion, the rollout definition applied.</summary>
    /// <param name="candidate">How the candidate behaves.</param>
    /// <param name="approved">Whether its promotion is approved.</param>
    /// <param name="interval">How often the controller looks by itself; null: only when told.</param>
    /// <param name="spec">The definition.</param>
    public static async Task<RolloutHost> StartAsync(Behaviour? candidate = null, bool approved = true, TimeSpan? interval = null, string? spec = null)
    {
        var behaviours = new Dictionary<string, Behaviour>(StringComparer.Ordinal) { [Stable] = Behaviour.Good };
        var registry = await RegistryHost.StartAsync(
            services =>
            {
                services.AddSingleton(MigrationSet.Of<ModelRouter>("serving"));
                services.AddSingleton(new ServingOptions());
                services.AddSingleton(new ModelRouter((_, version) => Load(version, behaviours)));
                services.AddSingleton<PredictionLog>();
                services.AddSingleton<LabelLog>();
                services.AddSlipwayRollouts();
                services.AddSingleton(new RolloutOptions { Interval = interval ?? TimeSpan.FromHours(1), QualityInterval = TimeSpan.Zero, QualityWait = TimeSpan.FromMinutes(1) });
            },
            app => app.MapSlipwayRollouts());
        var host = new RolloutHost(registry, behaviours);
        await registry.RegisterInProductionAsync();
        host.Router.SetStable(Load(Stable, behaviours));
        var version = await registry.RegisterAsync();
        await registry.PromoteAsync(version.Version, Stage.Staging);
        host.Candidate = version.Version;
        behaviours[version.Version] = candidate ?? Behaviour.Good;
        var promotion = await registry.Registry.RequestPromotionAsync(Model, version.Version, Stage.Production, "better", RegistryHost.Ada, default);
        if (approved)
        {
            await registry.Registry.ApproveAsync(promotion.Id, "read the report", RegistryHost.Grace, default);
        }

        await host.Service<IEnumerable<IDefinitionKind>>().OfType<RolloutKind>().Single()
            .ApplyAsync((spec ?? Specs.Complete).Replace("model: delays", $"model: {Model}", StringComparison.Ordinal), RegistryHost.Ada, default);
        return host;
    }

    /// <summary>One more version, in development.</summary>
    public async Task<string> RegisterAsync() => (await _registry.RegisterAsync()).Version;

    public Task<RolloutRow> BeginAsync() => Controller.StartAsync(new StartRolloutRequest(Model, Candidate, "retrained on May"), RegistryHost.Ada, default);

    /// <summary>Sends requests, their labels, and lets the controller look once.</summary>
    public async Task<RolloutRow> SendAndLookAsync(string id, int requests)
    {
        await SendAsync(requests);
        await Controller.LookAtAllAsync(default);
        return Store.Get(id);
    }

    /// <summary>Sends and looks until the rollout has ended, or entered the step.</summary>
    public async Task<RolloutRow> RunAsync(string id, int untilStep = int.MaxValue)
    {
        for (var look = 0; look < 60; look++)
        {
            var row = await SendAndLookAsync(id, 1000);
            if (row.Status != RolloutStatus.Running || row.Step >= untilStep)
            {
                return row;
            }
        }

        throw new TimeoutException($"The rollout still holds: {Controller.Latest(id)?.Decision.Reason}");
    }

    /// <summary>Sends requests through the router as the request path does.</summary>
    /// <returns>How many failed.</returns>
    public async Task<int> SendAsync(int requests)
    {
        var (predictions, labels) = (Service<PredictionLog>(), Service<LabelLog>());
        var truth = new List<Label>();
        var failed = 0;
        var now = DateTimeOffset.FromUnixTimeMilliseconds(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds());
        for (var i = 0; i < requests; i++)
        {
            var id = $"request-{_requests++}";
            var key = string.Create(CultureInfo.InvariantCulture, $"route-{_random.Next(5000)}");
            float[] features = [(float)(200 + 1800 * _random.NextDouble()), _random.Next(24)];
            var table = Router.Find(Model)!;
            var arm = table.Choose(Encoding.UTF8.GetBytes(key))!;
            var behaviour = _behaviours[arm.Version];
            var fails = _random.NextDouble() < behaviour.ErrorRate;
            failed += fails ? 1 : 0;
            arm.Model.Statistics.Record((long)(behaviour.LatencyUs * (0.8 + 0.4 * _random.NextDouble())), failed: fails);
            predictions.Append(arm, id, now.ToUnixTimeMilliseconds(), features, (float)behaviour.Output, key);
            if (table.Shadow is { } shadow)
            {
                var copy = _behaviours[shadow.Version];
                table.Comparison!.Record(behaviour.Output, copy.Output);
                table.Comparison.CountInputs(features);
                table.Comparison.RecordRun(copy.LatencyUs, failed: _random.NextDouble() < copy.ErrorRate);
                predictions.Append(shadow, id, now.ToUnixTimeMilliseconds(), features, (float)copy.Output, key);
            }

            truth.Add(new Label(id, _random.NextDouble() < 0.2 ? 1 : 0, now));
        }

        await labels.AppendAsync(Model, truth, default);
        await predictions.FlushAsync(default);
        return failed;
    }

    /// <summary>A new process over the same database: nothing in memory is left.</summary>
    public async Task RestartAsync()
    {
        await Controller.StopAsync(default);
        Router = new ModelRouter((_, version) => Load(version, _behaviours));
        Controller = new RolloutController(
            Store, Router, Service<DefinitionStore>(), Service<PromotionPath>(), Service<LabelledPairs>(), new Leases(Service<Database>()),
            Service<RolloutOptions>(), TimeProvider.System, NullLogger<RolloutController>.Instance);
    }

    public void ServeStable(string version = Stable) => Router.SetStable(Load(version, _behaviours));

    public ValueTask DisposeAsync() => _registry.DisposeAsync();

    private static LoadedModel Load(string version, Dictionary<string, Behaviour> behaviours)
    {
        if (!behaviours.TryGetValue(version, out var behaviour))
        {
            throw new Contracts.SlipwayException(Contracts.ErrorCode.FailedPrecondition, $"Version {version} cannot be loaded: its file is gone.");
        }

        // Requests spread evenly over 200 to 2000 miles; a version trained on kilometres expects them stretched.
        double[] edges = [.. Enumerable.Range(1, 9).Select(i => (200 + 180.0 * i) * behaviour.DistanceFactor)];
        double[] hours = [6, 12, 18];
        ModelBaseline baseline = ServingFixtures.Baseline(
            ("flight:distance", edges, [.. Enumerable.Repeat(1000L, 10)]), ("calendar:hour", hours, [2500, 2500, 2500, 2500]));
        return ServingFixtures.Model(version, behaviour.Output, baseline, Model);
    }
}
