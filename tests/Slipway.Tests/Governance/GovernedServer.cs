using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Identity;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tests.Datasets;
using Slipway.Tests.Hosting;
using Slipway.Tests.Serving;
using Slipway.Tracking;
using Slipway.Web;

namespace Slipway.Tests.Governance;

/// <summary>The whole server with one small model that went the whole way: data, features, a run, a version, approvals, a deployment.</summary>
internal sealed class GovernedServer : IAsyncDisposable
{
    public const string Model = "tips";
    public static readonly Caller Ada = new("ada", "request-1");
    public static readonly Caller Grace = new("grace", "request-2");

    private const string Rides =
        """
        kind: dataset
        name: rides
        description: Taxi rides of one day.
        timestamp: ride_at
        source: { type: file, owner: transport team, update_frequency: hourly, pii: false, licence: internal }
        columns:
          - { name: ride_at, type: timestamp }
          - { name: driver, type: int64 }
          - { name: fare, type: float64 }
        rules:
          - { column: fare, rule: range, min: 0, max: 500, severity: block }
          - { column: driver, rule: not_null, severity: block }
        """;

    private const string View =
        """
        kind: feature_view
        name: driver_fares
        entity: driver
        keys: [driver]
        source: rides
        ttl: 2h
        sql: SELECT driver, ride_at AS event_timestamp, fare AS last_fare, fare * 2 AS double_fare FROM source
        features:
          - { name: last_fare, type: float64, description: Fare of the ride before. }
          - { name: double_fare, type: float64 }
        """;

    private const string Service =
        """
        kind: feature_service
        name: tips
        event_time: when_at
        inputs:
          - { name: driver_id, type: int64 }
          - { name: when_at, type: timestamp }
        keys: { driver: { driver: driver_id } }
        features: [ driver:last_fare, driver:double_fare ]
        """;

    private const string Rows =
        """
        SELECT TIMESTAMP '2024-03-01 00:00:00' + INTERVAL (i) MINUTE AS ride_at, (i % 7)::BIGINT AS driver, (5 + i % 40)::DOUBLE AS fare FROM range(600) t(i)
        """;

    private readonly WebApplication _app;

    private GovernedServer(WebApplication app, string data)
    {
        _app = app;
        Data = data;
        Address = new Uri(app.Urls.Single());
        Client = new SlipwayClient(Address);
    }

    public string Data { get; }

    public Uri Address { get; }

    public SlipwayClient Client { get; }

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ModelRegistry Registry => Get<ModelRegistry>();

    public BlobStore Blobs => Get<BlobStore>();

    public T Get<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    /// <summary>An empty server.</summary>
    public static async Task<GovernedServer> StartAsync(Action<IServiceCollection>? configure = null)
    {
        var data = Directory.CreateTempSubdirectory("slipway-governance-").FullName;
        var app = SlipwayServer.Build(new ServerOptions { Port = 0, GrpcPort = 0, DataDirectory = data, Database = TestDatabase.Address(data) }, services =>
        {
            services.AddLogging(logging => logging.ClearProviders());
            // It measures each version in its own time, and so writes rows while tests count them.
            services.Remove(services.Single(service => service.ImplementationType == typeof(VersionBenchmarks)));
            configure?.Invoke(services);
        });
        await app.StartAsync(Cancel);
        var users = app.Services.GetRequiredService<UserStore>();
        await users.CreateAsync("ada", Role.MlEngineer, Caller.System("test"), Cancel);
        await users.CreateAsync("grace", Role.Approver, Caller.System("test"), Cancel);
        return new GovernedServer(app, data);
    }

    /// <summary>A server whose model is in production and answers.</summary>
    public static async Task<GovernedServer> StartWithModelAsync(Action<IServiceCollection>? configure = null)
    {
        var server = await StartAsync(configure);
        await server.ApplyAsync(Rides, View, Service);
        await server.DeployAsync(await server.RegisterAsync());
        return server;
    }

    public async Task ApplyAsync(params string[] files)
    {
        var owners = _app.Services.GetServices<IDefinitionKind>().ToDictionary(kind => kind.Kind);
        foreach (var file in files)
        {
            await owners[DefinitionYaml.Parse(file).Text("kind")].ApplyAsync(file, Ada, Cancel);
        }
    }

    /// <summary>Data, features, run, version.</summary>
    public async Task<ModelVersionRecord> RegisterAsync(double auc = 0.6612, double intercept = 0)
    {
        var datasets = Get<DatasetStore>();
        var rides = await datasets.AddVersionAsync("rides", new MemoryStream(ParquetFiles.From(Rows)), Ada, Cancel);
        await datasets.ValidateAsync(rides, Ada, Cancel);
        var service = Get<FeatureRegistry>().RequireService("tips");
        var set = await Get<OfflineStore>().GetHistoricalAsync(
            new HistoricalRequest("SELECT driver AS driver_id, ride_at AS when_at, fare > 20 AS label FROM source", rides, "when_at", service, ["label"]), Ada, Cancel);

        var runs = Get<RunStore>();
        var experiment = await runs.GetOrCreateExperimentAsync(Model, Ada, Cancel);
        var run = (await runs.CreateRunAsync(experiment, "logistic", null, Ada, Cancel)).RunId;
        var environment = new RunEnvironment("Debian 12", "X64", ".NET 10", null, 2, 1 << 30, [], new Dictionary<string, string> { ["onnxruntime"] = "1.30.0" },
            new GitState("3f2a9c", "main", Dirty: false, "https://example.org/tips.git"), Seed: 7);
        await runs.SetEnvironmentAsync(run, environment, Ada, Cancel);
        await runs.LogInputAsync(run, new RunInput("rides@1", rides.Sha256, rides.Node.ToString(), "train", rides.Rows), Ada, Cancel);
        await runs.LogBatchAsync(run, [new MetricPoint("auc", auc, 1, 0)], [new("learner", "logistic"), new("l2", "0.1")], [new("slipway.entry_point", "train")], Ada, Cancel);
        var onnx = OnnxConverters.LogisticRegression(["driver:last_fare", "driver:double_fare"], [0, 0], [1, 1], [0.01, 0], intercept);
        await runs.LogArtifactAsync(run, "model.onnx", onnx, Ada, Cancel);
        await runs.EndRunAsync(run, RunStatus.Finished, Ada, Cancel);

        var model = await Blobs.PutAsync(onnx, Cancel);
        return await Registry.RegisterAsync(
            new RegisterVersion(
                Model, "auto", run, [new ArtifactFile("model.onnx", model.Sha256, model.SizeBytes)],
                new ModelSignature([new SignatureField("features", "FP32", [-1, 2])], [new SignatureField("probability", "FP32", [-1, 1])]),
                new FeatureSchema("tips", service.Version, [.. service.Features.Select(feature => new FeatureField(feature.Ref, "DOUBLE"))], [.. service.Views.Select(view => view.Id)]),
                await PutAsync(ServingFixtures.Baseline(("driver:last_fare", [10, 20], [200, 200, 200]), ("driver:double_fare", [20, 40], [200, 200, 200]))),
                runs.Get(run).EnvironmentSha256!, await PutAsync(Report(run, auc)), set.Sha256, [new DatasetRef("rides", rides.Version, rides.Sha256)])
            {
                Commit = "3f2a9c",
                Description = "Says how likely a ride is to bring a tip.",
                Owner = "ada",
            }, Ada, Cancel);
    }

    /// <summary>Takes a version through both gates and waits until its deployment is on record.</summary>
    public async Task DeployAsync(ModelVersionRecord version)
    {
        foreach (var to in new[] { Stage.Staging, Stage.Production })
        {
            var promotion = await Registry.RequestPromotionAsync(Model, version.Version, to, "better than before", Ada, Cancel);
            await Registry.ApproveAsync(promotion.Id, "read the report", Grace, Cancel);
            await Registry.ExecutePromotionAsync(promotion.Id, Ada, Cancel);
        }

        await ServingHost.UntilAsync(() => Get<DeploymentStore>().ListOpen().Any(row => row.Version == version.Version));
    }

    /// <summary>Sends one request that the version in production answers.</summary>
    public async Task PredictAsync()
    {
        using var http = new HttpClient { BaseAddress = Address };
        const string Body = """{"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [12, 24]}]}""";
        using var answer = await http.PostAsync(new Uri($"/v2/models/{Model}/infer", UriKind.Relative), new StringContent(Body, System.Text.Encoding.UTF8, "application/json"), Cancel);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Cancel));
    }

    /// <summary>Flips one bit of the byte in the middle of a stored file.</summary>
    public void Damage(string sha256)
    {
        using var file = new FileStream(Blobs.PathOf(sha256), FileMode.Open, FileAccess.ReadWrite);
        file.Position = file.Length / 2;
        var value = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)(value ^ 1));
    }

    public Task SqlAsync(string sql, object? parameters = null) =>
        Get<Database>().WriteAsync(transaction => { Dapper.SqlMapper.Execute(transaction.Connection, sql, parameters); }, Cancel);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(Data, recursive: true);
    }

    private static EvaluationReport Report(string run, double auc) => new()
    {
        Model = Model,
        RunId = run,
        TestSetSha256 = "t1",
        Splits = [new EvaluationSplit("train", 400), new EvaluationSplit("validation", 100), new EvaluationSplit("test", 100)],
        Metrics = new Dictionary<string, double> { ["auc"] = auc, ["ece"] = 0.0213 },
        Baselines = [new BaselineMetrics("majority_class", new Dictionary<string, double> { ["auc"] = 0.5 })],
        Slices = [new SliceMetrics("driver=3", 14, new Dictionary<string, double> { ["auc"] = 0.641 })],
        GoNoGo = new GoNoGoVerdict("auc", 0.6, DateTimeOffset.UnixEpoch, auc, auc >= 0.6, "auc against its minimum"),
        CreatedAt = DateTimeOffset.UnixEpoch,
    };

    private async Task<string> PutAsync<T>(T value) => (await Blobs.PutAsync(JsonSerializer.SerializeToUtf8Bytes(value, JsonDefaults.Options), Cancel)).Sha256;
}
