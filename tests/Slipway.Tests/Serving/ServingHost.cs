using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.FeatureStore;
using Slipway.Identity;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Serving;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tests.Hosting;
using Slipway.Tests.Registry;
using Slipway.Tracking;

namespace Slipway.Tests.Serving;

/// <summary>Serving over real HTTP, with a registry and real ONNX models: logistic regressions of two features.</summary>
internal sealed class ServingHost : IAsyncDisposable
{
    public const string Model = RegistryHost.Model;

    private static int _runs;

    private ServingHost(AreaHost area) => Area = area;

    public AreaHost Area { get; }

    public ModelRouter Router => Area.Service<ModelRouter>();

    public ModelRegistry Registry => Area.Service<ModelRegistry>();

    public BlobStore Blobs => Area.Service<BlobStore>();

    public static Task<ServingHost> StartAsync(Action<ServingOptions>? options = null) => StartAsync(options, _ => { });

    /// <summary>Starts with runs and the registry's routes too, as the command line needs them.</summary>
    /// <param name="options">Serving's.</param>
    /// <param name="use">What stands before the routes, such as faults.</param>
    public static async Task<ServingHost> StartAsync(Action<ServingOptions>? options, Action<IApplicationBuilder> use)
    {
        var area = await AreaHost.StartAsync(
            services => services.AddSlipwayIdentity().AddSlipwayDatasets().AddSlipwayFeatureStore().AddSlipwayTracking().AddSlipwayRegistry().AddSlipwayServing(options),
            app =>
            {
                use((IApplicationBuilder)app);
                app.MapSlipwayServing();
                app.MapSlipwayRegistry();
                app.MapSlipwayTracking();
            });
        var users = area.Service<UserStore>();
        await users.CreateAsync("ada", Role.MlEngineer, Caller.System("test"), default);
        await users.CreateAsync("grace", Role.Approver, Caller.System("test"), default);
        return new ServingHost(area);
    }

    /// <summary>Starts with a version in production that answers.</summary>
    public static async Task<ServingHost> StartServingAsync(Action<ServingOptions>? options = null)
    {
        var host = await StartAsync(options);
        await host.PutInProductionAsync((await host.RegisterAsync()).Version);
        return host;
    }

    public ValueTask DisposeAsync() => Area.DisposeAsync();

    /// <summary>Registers a version whose probability is sigmoid(intercept + distance / 1000).</summary>
    public Task<ModelVersionRecord> RegisterAsync(double intercept = 0) =>
        RegisterAsync(OnnxConverters.LogisticRegression(ServingFixtures.TwoFeatures, [0, 0], [1, 1], [0.001, 0], intercept));

    public Task<ModelVersionRecord> RegisterAsync(byte[] onnx) => RegisterAsync(onnx, "none", ServingFixtures.TwoFeatures);

    public async Task<ModelVersionRecord> RegisterAsync(byte[] onnx, string service, IReadOnlyList<string> features)
    {
        var model = await Blobs.PutAsync(onnx, default);
        var baseline = ServingFixtures.Baseline(("flight:distance", [500, 1000], [10, 20, 30]), ("calendar:hour", [6, 12, 18], [1, 2, 3, 4]));
        return await Registry.RegisterAsync(
            new RegisterVersion(
                Model, "minor", $"run-{Interlocked.Increment(ref _runs)}", [new ArtifactFile("model.onnx", model.Sha256, model.SizeBytes)],
                new ModelSignature([new SignatureField("features", "FP32", [-1, 2])], [new SignatureField("probability", "FP32", [-1, 1])]),
                new FeatureSchema(service, 1, [.. features.Select(name => new FeatureField(name, "DOUBLE"))], ["calendar@1"]),
                await PutAsync(baseline), await PutAsync("environment"), await PutAsync(RegistryHost.Report()), new string('a', 64),
                [new DatasetRef("flights", 1, new string('d', 64))])
            {
                Commit = "3f2a",
                PipelineRunId = "pipeline-run-1",
            },
            RegistryHost.Ada, default);
    }

    /// <summary>Registers a graph of any signature, which registration finds out.</summary>
    public async Task<ModelVersionRecord> RegisterTensorsAsync(byte[] onnx, string name = Model)
    {
        var model = await Blobs.PutAsync(onnx, default);
        return await Registry.RegisterAsync(
            new RegisterVersion(
                name, "auto", $"run-{Interlocked.Increment(ref _runs)}", [new ArtifactFile("model.onnx", model.Sha256, model.SizeBytes)], null, null,
                null, null, null, new string('a', 64), [new DatasetRef("flights", 1, new string('d', 64))]),
            RegistryHost.Ada, default);
    }

    public async Task PromoteAsync(string version, Stage to)
    {
        var promotion = await Registry.RequestPromotionAsync(Model, version, to, "better than before", RegistryHost.Ada, default);
        await Registry.ApproveAsync(promotion.Id, "read the report", RegistryHost.Grace, default);
        await Registry.ExecutePromotionAsync(promotion.Id, RegistryHost.Ada, default);
    }

    /// <summary>Promotes and waits until the version answers.</summary>
    public async Task PutInProductionAsync(string version)
    {
        await PromoteAsync(version, Stage.Staging);
        await PromoteAsync(version, Stage.Production);
        await UntilAsync(() => Router.Find(Model)?.Stable?.Version == version);
    }

    public static async Task UntilAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!condition())
        {
            await Task.Delay(10, limit.Token);
        }
    }

    public Task<(int Status, JsonElement Body)> InferAsync(object body, string path = $"/v2/models/{Model}/infer") => Area.PostAsync(path, body);

    public static object Matrix(params float[] values) => new
    {
        inputs = new[] { new { name = "features", shape = new[] { values.Length / 2, 2 }, datatype = "FP32", data = values } },
    };

    private async Task<string> PutAsync<T>(T value) => (await Blobs.PutAsync(JsonSerializer.SerializeToUtf8Bytes(value, JsonDefaults.Options), default)).Sha256;
}
