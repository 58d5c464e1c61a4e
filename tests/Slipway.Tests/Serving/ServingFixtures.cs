using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts.Monitoring;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Serving;

/// <summary>A data folder of a test's own, gone afterwards.</summary>
internal sealed class TemporaryData : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("slipway-serving-").FullName;

    public TemporaryData() => Options = TestDatabase.Options(_root);

    public StorageOptions Options { get; }

    public void Dispose() => Directory.Delete(_root, recursive: true);
}

internal static class ServingFixtures
{
    public static readonly string[] TwoFeatures = ["flight:distance", "calendar:hour"];

    public static LoadedModel Model(string version, double output = 0.25, ModelBaseline? baseline = null, string model = "delay") =>
        new(model, version, TwoFeatures, (_, rows, outputs) => outputs[..rows].Fill((float)output), baseline);

    public static PredictionLog OpenLog(TemporaryData data, ServingOptions? options = null) =>
        new(data.Options, options ?? new ServingOptions(), TimeProvider.System, NullLogger<PredictionLog>.Instance);

    /// <summary>Logs one row as the request path does.</summary>
    public static void Append(this PredictionLog log, Arm arm, string id, long eventMs, float[] features, float output, string key = "ORD") =>
        log.Append(
            arm, Encoding.UTF8.GetBytes(id), Encoding.UTF8.GetBytes(key), [Encoding.UTF8.GetByteCount(key)], eventMs + 5, [eventMs], latencyUs: 120, status: 200, rows: 1, features, [output]);

    public static ModelBaseline Baseline(params (string Feature, double[] Edges, long[] Counts)[] features) => new(
        features.ToDictionary(f => f.Feature, f => new FeatureBaseline(f.Edges, f.Counts, 0, 0, 1, 0, 1)),
        new BaselineHistogram([], [1]), new BaselinePerformance(0.7, 0.6, 0.8, 0.5, 0.2, 0.01, 0.2, 0.2, 100), 100);
}
