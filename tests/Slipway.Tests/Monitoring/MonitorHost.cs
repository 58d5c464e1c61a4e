using System.Data.Common;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts.Monitoring;
using Slipway.Datasets;
using Slipway.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Stages;
using Slipway.Serving;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Hosting;
using Slipway.Tests.Pipelines;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Monitoring;

/// <summary>Monitoring on real logs in a data folder of its own; versions and their baselines are given by the test.</summary>
internal sealed class MonitorHost : IAsyncDisposable
{
    public static readonly DateTimeOffset May = new(2001, 5, 1, 0, 0, 0, TimeSpan.Zero);
    public static readonly Caller Ada = new("ada", "request-1");

    private readonly ServiceProvider _services;
    private readonly string _data;
    private readonly bool _keep;

    public MonitorHost(string? data = null, bool keep = false, Dictionary<string, ModelBaseline>? baselines = null)
    {
        _data = data ?? Directory.CreateTempSubdirectory("slipway-monitoring-").FullName;
        _keep = keep;
        Baselines = baselines ?? new Dictionary<string, ModelBaseline> { ["1.0.0"] = Baseline() };
        var services = new ServiceCollection();
        services.AddSingleton(typeof(ILogger<>), typeof(NullLogger<>));
        services.AddSlipwayStorage(TestDatabase.Options(_data));
        services.AddSlipwayDatasets();
        services.AddSingleton(new ServingOptions());
        services.AddSingleton<PredictionLog>();
        services.AddSingleton<LabelLog>();
        services.AddSlipwayPipelines();
        services.RemoveAll<StageKind>();
        services.AddSingleton<StageKind>(new FakeKind("fake", [], ["artifact"]));
        services.AddSingleton(new BaselineSource((_, version) => Baselines.GetValueOrDefault(version)));
        services.AddSlipwayMonitoring();
        _services = services.BuildServiceProvider();
    }

    public string Data => _data;

    public Dictionary<string, ModelBaseline> Baselines { get; }

    public MonitorStore Store => Get<MonitorStore>();

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public T Get<T>() where T : notnull => _services.GetRequiredService<T>();

    public T Read<T>(Func<DbConnection, T> query) => Get<Database>().Read(query);

    /// <summary>Distance in four bins of 25 % each, hour of day in two halves; predictions in four bins.</summary>
    public static ModelBaseline Baseline(double auc = 0.8) => new(
        new Dictionary<string, FeatureBaseline>
        {
            ["flight:distance"] = new([100, 200, 300], [2500, 2500, 2500, 2500], 0, 200, 100, 0, 400),
            ["calendar:hour"] = new([11.5], [5000, 5000], 0, 11.5, 6, 0, 23),
        },
        new BaselineHistogram([0.25, 0.5, 0.75], [2500, 2500, 2500, 2500]),
        new BaselinePerformance(auc, auc - 0.01, auc + 0.01, 0.5, 0.17, 0.02, 0.5, 0.5, 10_000), 10_000);

    public const string Yaml = """
        kind: monitor
        name: delay
        model: delay
        owner: flight-desk
        procedure: docs/monitoring.md
        cadence: 1h
        window: 24h
        min_rows: 100
        consecutive: 2
        cooldown: 12h
        """;

    public Task<AppliedDefinition> ApplyAsync(string yaml = Yaml) => new MonitorKind(Get<Database>()).ApplyAsync(yaml, Ada, Cancel);

    public Task ApplyPipelineAsync() => Get<PipelineKind>().ApplyAsync(
        """
        kind: pipeline
        name: retrain-delay
        model: delay
        seed: 1
        parameters:
          train_until: 2001-04-30
        stages:
          - {name: only, uses: fake, outputs: [artifact]}
        """, Ada, Cancel);

    /// <summary>An hour of traffic: rows spread over the hour, over the baseline's bins, shifted by <paramref name="shift"/> miles.</summary>
    public void Serve(DateTimeOffset hour, int rows = 40, float shift = 0, string version = "1.0.0", ArmRole arm = ArmRole.Stable, string prefix = "p", Func<int, float>? output = null, bool nulls = false)
    {
        var log = Get<PredictionLog>();
        var role = new Arm(arm, ServingFixtures.Model(version));
        for (var i = 0; i < rows; i++)
        {
            var at = hour.ToUnixTimeMilliseconds() + i * 3_600_000L / rows;
            var distance = nulls ? float.NaN : 50 + 100 * (i % 4) + shift;
            log.Append(role, $"{prefix}-{hour:MMddHH}-{i}", at, [distance, i / 4 % 2 * 12f], output?.Invoke(i) ?? (i % 4) / 4f + 0.1f);
        }
    }

    public void ServeHours(DateTimeOffset from, int hours, int rows = 40, float shift = 0, string version = "1.0.0", Func<int, float>? output = null)
    {
        for (var hour = 0; hour < hours; hour++)
        {
            Serve(from.AddHours(hour), rows, shift, version, output: output);
        }
    }

    /// <summary>Labels an hour's predictions; true where <paramref name="late"/> says so.</summary>
    public Task LabelAsync(DateTimeOffset hour, Func<int, bool> late, int rows = 40, string prefix = "p", int every = 1) => Get<LabelLog>().AppendAsync(
        "delay", [.. Enumerable.Range(0, rows).Where(i => i % every == 0).Select(i => new Label($"{prefix}-{hour:MMddHH}-{i}", late(i) ? 1 : 0, hour.AddDays(1)))], Cancel);

    public Task<MonitorRunReport> RunAsync(string name = "delay") => RunFlushedAsync(name);

    public IReadOnlyList<ResultPoint> Series(string subject, string metric) => Store.Series("delay", subject, metric, long.MinValue / 2, long.MaxValue / 2, 100_000);

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        if (!_keep)
        {
            Directory.Delete(_data, recursive: true);
        }
    }

    // The watermark follows the log's writer; a test does not wait for its interval.
    private async Task<MonitorRunReport> RunFlushedAsync(string name)
    {
        await Get<PredictionLog>().FlushAsync(Cancel);
        return await Get<MonitorRuns>().RunAsync(name, Cancel);
    }
}
