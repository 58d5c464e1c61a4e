using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Slipway.Contracts.Pipelines;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Identity;
using Slipway.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Runs;
using Slipway.Pipelines.Stages;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Pipelines;

/// <summary>A pipeline service on a data folder of its own; the runner starts when a test asks.</summary>
internal sealed class PipelineHost : IAsyncDisposable
{
    public static readonly Caller Ada = new("ada", null);

    private readonly ServiceProvider _services;
    private readonly bool _keepData;

    /// <param name="kinds">Fake stage kinds; null keeps the real ones.</param>
    public PipelineHost(IReadOnlyList<StageKind>? kinds, string? data = null, TimeProvider? clock = null, bool keepData = false)
    {
        Data = data ?? Directory.CreateTempSubdirectory("slipway-test-").FullName;
        _keepData = keepData;
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddSlipwayStorage(TestDatabase.Options(Data));
        if (clock is not null)
        {
            services.AddSingleton(clock);
        }

        services.AddSlipwayIdentity().AddSlipwayTracking().AddSlipwayDatasets().AddSlipwayFeatureStore().AddSlipwayRegistry().AddSlipwayPipelines();
        if (kinds is not null)
        {
            services.RemoveAll<StageKind>();
            foreach (var kind in kinds)
            {
                services.AddSingleton(kind);
            }
        }

        _services = services.BuildServiceProvider();
    }

    public string Data { get; }

    public PipelineService Pipelines => Get<PipelineService>();

    public CancellationToken Cancel { get; } = TestContext.Current.CancellationToken;

    public T Get<T>() where T : notnull => _services.GetRequiredService<T>();

    public async Task ApplyAsync(params string[] files)
    {
        var owners = _services.GetServices<IDefinitionKind>().ToDictionary(kind => kind.Kind);
        foreach (var file in files)
        {
            await owners[DefinitionYaml.Parse(file).Text("kind")].ApplyAsync(file, Ada, Cancel);
        }
    }

    public Task StartRunnerAsync() => _services.GetServices<IHostedService>().OfType<PipelineRunner>().Single().StartAsync(Cancel);

    public Task StopRunnerAsync() => _services.GetServices<IHostedService>().OfType<PipelineRunner>().Single().StopAsync(CancellationToken.None);

    public async Task<PipelineRun> RunAsync(string pipeline, IReadOnlyDictionary<string, string>? parameters = null, string? stage = null)
    {
        var id = await Pipelines.StartAsync(pipeline, "manual", "a test", parameters, Ada, Cancel, stage);
        return await Pipelines.WaitAsync(id, Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await StopRunnerAsync();
        await _services.DisposeAsync();
        if (!_keepData)
        {
            Directory.Delete(Data, recursive: true);
        }
    }
}

/// <summary>A stage kind made of a lambda.</summary>
internal sealed class FakeKind(string uses, string[] inputs, string[] outputs, Func<StageContext, CancellationToken, Task>? work = null, bool trains = false) : StageKind
{
    private int _runs;

    public int Runs => _runs;

    public Func<string?> State { get; set; } = () => null;

    public override string Uses => uses;

    public override IReadOnlyList<string> Inputs => inputs;

    public override IReadOnlyList<string> Outputs => outputs;

    public override bool NeedsSettings => false;

    public override bool Trains => trains;

    public override object ReadSettings(DefinitionYaml with) => new { Level = with.OptionalInteger("level") ?? 0 };

    public override string? Surroundings(PipelineDefinition pipeline) => State();

    public override async Task RunAsync(StageContext context, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _runs);
        if (work is not null)
        {
            await work(context, cancellationToken);
        }

        foreach (var output in outputs.Where(name => context.Outputs.All(written => written.Name != name)))
        {
            await context.WriteAsync(output, new { stage = context.Stage.Name, settings = context.Stage.SettingsJson }, cancellationToken);
        }
    }
}

/// <summary>A clock that a test moves; timers due are fired at once when it does.</summary>
internal sealed class ManualClock : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly List<ManualTimer> _timers = [];
    private long _ticks = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).UtcTicks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => new(Interlocked.Read(ref _ticks), TimeSpan.Zero);

    public override long GetTimestamp() => Interlocked.Read(ref _ticks);

    public IReadOnlyList<TimeSpan> Pending
    {
        get
        {
            lock (_gate)
            {
                return [.. _timers.Select(timer => TimeSpan.FromTicks(timer.DueTicks - _ticks))];
            }
        }
    }

    public void Advance(TimeSpan by)
    {
        List<ManualTimer> due;
        lock (_gate)
        {
            _ticks += by.Ticks;
            due = [.. _timers.Where(timer => timer.DueTicks <= _ticks)];
            _timers.RemoveAll(due.Contains);
        }

        due.ForEach(timer => timer.Fire());
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class ManualTimer(ManualClock clock, TimerCallback callback, object? state) : ITimer
    {
        public long DueTicks { get; private set; }

        public void Fire() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (clock._gate)
            {
                clock._timers.Remove(this);
                if (dueTime != Timeout.InfiniteTimeSpan)
                {
                    DueTicks = clock._ticks + dueTime.Ticks;
                    clock._timers.Add(this);
                }
            }

            return true;
        }

        public void Dispose()
        {
            lock (clock._gate)
            {
                clock._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
