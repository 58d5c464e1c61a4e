using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Registry.External;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tests.Hosting;
using Slipway.Tests.Registry.External;
using Slipway.Tracking;

namespace Slipway.Tests.Registry;

/// <summary>Where the models of a test are registered.</summary>
public enum RegistryProvider
{
    /// <summary>Here.</summary>
    Slipway,

    /// <summary>On an MLflow server that the registry mirrors.</summary>
    Mlflow,
}

/// <summary>A registry with three users: ada (engineer, who registers), grace and ruth (approvers).</summary>
internal sealed class RegistryHost : IAsyncDisposable
{
    public const string Model = "flight-delay";
    public static readonly Caller Ada = new("ada", "request-1");
    public static readonly Caller Grace = new("grace", "request-2");
    public static readonly Caller Ruth = new("ruth", "request-3");

    private static readonly string[] Inputs = ["origin", "destination"];
    private static int _seed;

    private RegistryHost(AreaHost area, MlflowFake? mlflow) => (Area, Mlflow) = (area, mlflow);

    /// <summary>The server the registry mirrors; null when it is its own.</summary>
    public MlflowFake? Mlflow { get; }

    public ExternalRegistry External => Area.Service<ExternalRegistry>();

    public AreaHost Area { get; }

    public ModelRegistry Registry => Area.Service<ModelRegistry>();

    public BlobStore Blobs => Area.Service<BlobStore>();

    public static async Task<RegistryHost> StartAsync(
        Action<IServiceCollection>? services = null, Action<IEndpointRouteBuilder>? map = null, RegistryProvider provider = RegistryProvider.Slipway, MlflowFake? mlflow = null)
    {
        mlflow ??= provider is RegistryProvider.Mlflow ? await MlflowFake.StartAsync() : null;
        var area = await AreaHost.StartAsync(
            collection =>
            {
                collection.AddSlipwayIdentity().AddSlipwayRegistry();
                if (mlflow is not null)
                {
                    collection.AddSlipwayTracking().AddExternalRegistry(Over(mlflow.Address));
                }

                services?.Invoke(collection);
            },
            app =>
            {
                Map(app);
                map?.Invoke(app);
            });
        var users = area.Service<UserStore>();
        await users.CreateAsync("ada", Role.MlEngineer, Caller.System("test"), default);
        await users.CreateAsync("grace", Role.Approver, Caller.System("test"), default);
        await users.CreateAsync("ruth", Role.Approver, Caller.System("test"), default);
        return new RegistryHost(area, mlflow);
    }

    /// <summary>Settings of a mirror that looks only when a test says so.</summary>
    public static ExternalRegistryOptions Over(Uri address, string? token = null)
    {
        var given = ExternalRegistryOptions.Resolve("mlflow", address.ToString(), token: token)!;
        given.Interval = TimeSpan.FromHours(1);
        return given;
    }

    public async ValueTask DisposeAsync()
    {
        await Area.DisposeAsync();
        if (Mlflow is not null)
        {
            await Mlflow.DisposeAsync();
        }
    }

    public static ModelSignature Signature(params string[] inputs) => new(
        [.. (inputs.Length == 0 ? Inputs : inputs).Select(name => new SignatureField(name.TrimEnd('?'), "BYTES", [-1, 1], name.EndsWith('?')))],
        [new SignatureField("probability", "FP32", [-1, 1])]);

    public static FeatureSchema Features(params string[] features) => new(
        Model, 1, [.. (features.Length == 0 ? ["airport:late_rate_7d", "flight:distance"] : features).Select(name => new FeatureField(name, "DOUBLE"))], ["airport_late@1"]);

    public static EvaluationReport Report(double auc = 0.66, string testSet = "t1", double baseline = 0.558) => new()
    {
        Model = Model,
        RunId = "run-1",
        TestSetSha256 = testSet,
        Splits = [new EvaluationSplit("train", 1_400_000), new EvaluationSplit("test", 230_000)],
        Metrics = new Dictionary<string, double> { ["auc"] = auc, ["ece"] = 0.02 },
        Baselines =
        [
            new BaselineMetrics("majority_class", new Dictionary<string, double> { ["auc"] = 0.5 }),
            new BaselineMetrics("airport_late_rate", new Dictionary<string, double> { ["auc"] = baseline }),
        ],
        GoNoGo = new GoNoGoVerdict("auc", 0.6, DateTimeOffset.UnixEpoch, auc, auc >= 0.6, "auc against its minimum"),
        CreatedAt = DateTimeOffset.UnixEpoch,
    };

    public async Task<RegisterVersion> RequestAsync(string bump = "auto", EvaluationReport? report = null)
    {
        var unique = Interlocked.Increment(ref _seed);
        var model = await Blobs.PutAsync(Onnx(unique), default);
        var evaluation = await PutAsync(JsonSerializer.Serialize(report ?? Report(), JsonDefaults.Options));
        return new RegisterVersion(
            Model, bump, $"run-{unique}", [new ArtifactFile("model.onnx", model.Sha256, model.SizeBytes)], Signature(), Features(),
            (await PutAsync("baseline")).Sha256, (await PutAsync("environment")).Sha256, evaluation.Sha256, new string('a', 64),
            [new DatasetRef("flights", 1, new string('d', 64))])
        {
            Commit = "3f2a",
            PipelineRunId = "pipeline-run-1",
        };
    }

    public async Task<ModelVersionRecord> RegisterAsync(string bump = "auto", EvaluationReport? report = null) =>
        await RegisterAsync(await RequestAsync(bump, report), Ada);

    /// <summary>Registers where the provider does: here, or on the MLflow server, from which the version is then mirrored.</summary>
    public async Task<ModelVersionRecord> RegisterAsync(RegisterVersion request, Caller by)
    {
        if (Mlflow is null)
        {
            return await Registry.RegisterAsync(request, by, default);
        }

        var number = await Mlflow.RegisterAsync(request, Blobs, by.Name);
        await External.SyncAsync(full: false, default);
        return Registry.Get(request.Model, number.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    /// <summary>A real model that differs by its bias.</summary>
    public static byte[] Onnx(double bias) => OnnxConverters.LogisticRegression(["airport:late_rate_7d", "flight:distance"], [0, 0], [1, 1], [0.5, -0.25], bias);

    public Task<Blob> PutAsync(string text) => Blobs.PutAsync(Encoding.UTF8.GetBytes(text), default);

    public async Task<ModelVersionRecord> PromoteAsync(string version, Stage to, string reason = "better than before")
    {
        var promotion = await Registry.RequestPromotionAsync(Model, version, to, reason, Ada, default);
        await Registry.ApproveAsync(promotion.Id, "read the report", Grace, default);
        return await Registry.ExecutePromotionAsync(promotion.Id, Ada, default);
    }

    /// <summary>Registers the next version and takes it through staging into production.</summary>
    public async Task<ModelVersionRecord> RegisterInProductionAsync(EvaluationReport? report = null)
    {
        var version = await RegisterAsync(report: report);
        await PromoteAsync(version.Version, Stage.Staging);
        return await PromoteAsync(version.Version, Stage.Production);
    }

    /// <summary>Writes test scores as evaluations do.</summary>
    public async Task<string> PutScoresAsync(IEnumerable<(bool Label, double Score)> rows) =>
        (await PutAsync($"label,score\n{string.Concat(rows.Select(row => FormattableString.Invariant($"{(row.Label ? 1 : 0)},{row.Score:R}\n")))}")).Sha256;

    public Task ApplyPolicyAsync(string yaml) => Area.Service<IEnumerable<IDefinitionKind>>().Single(kind => kind.Kind == "policy").ApplyAsync(yaml, Ada, default);

    /// <summary>Overwrites one byte of a stored blob.</summary>
    public void Damage(string sha256)
    {
        using var file = new FileStream(Blobs.PathOf(sha256), FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.WriteByte((byte)'#');
    }

    public IReadOnlyList<AuditEvent> AuditOf(string version) => Area.Service<AuditTrail>().List(ModelVersionNode.Of(Model, version));

    public long Count(string table) => Area.Read(connection => connection.ExecuteScalar<long>($"SELECT count(*) FROM {table}"));

    private static void Map(IEndpointRouteBuilder app) => app.MapSlipwayRegistry();
}
