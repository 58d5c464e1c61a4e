using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Pipelines.Definitions;
using Slipway.Storage.Blobs;

namespace Slipway.Tests.Pipelines;

[Trait("database", "none")]
public sealed class FlightsTests
{
    [Fact]
    [Trait("capability", "PIP-02")]
    public async Task The_flights_example_beats_its_baselines_on_real_data()
    {
        await using var host = new PipelineHost(kinds: null);
        await host.ApplyAsync(Read("dataset.yaml"));
        await using (var file = File.OpenRead(Path.Combine(Repository.Root, "native", "node_modules", "vega-datasets", "data", "flights-3m.parquet")))
        {
            await host.Get<DatasetStore>().AddVersionAsync("flights", file, PipelineHost.Ada, host.Cancel);
        }

        await host.ApplyAsync([.. Directory.GetFiles(Folder("features")).Select(File.ReadAllText), Read("feature-service.yaml"), Read("pipeline.yaml")]);
        await host.StartRunnerAsync();

        // A fifth of the example's sample keeps the test short.
        var run = await host.RunAsync("flight-delay", new Dictionary<string, string> { ["sample"] = "120000" });

        Assert.True(run.Status == PipelineRunStatus.Succeeded, $"{run.Error} {run.VerdictReason}");
        var digest = run.Stages.SelectMany(stage => stage.Outputs).Single(artifact => artifact.Name == "report").Sha256;
        var report = JsonSerializer.Deserialize<EvaluationReport>(await host.Get<BlobStore>().ReadVerifiedAsync(digest, host.Cancel), JsonDefaults.Options)!;
        Assert.InRange(report.Metrics["auc"], 0.635, 0.67);
        Assert.InRange(report.Baselines.Single(baseline => baseline.Name == "airport_late_rate_7d").Metrics["auc"], 0.52, 0.57);
        Assert.Equal(["origin=ATL", "origin=DFW", "origin=LAX", "origin=ORD", "origin=PHX"], report.Slices.Select(slice => slice.Slice));
    }

    [Theory]
    [InlineData("kilometres.yaml")]
    [InlineData("slow.yaml")]
    public async Task A_drill_differs_from_the_pipeline_in_its_one_fault_only(string file)
    {
        await using var host = new PipelineHost(kinds: null);
        var drill = host.Get<PipelineKind>().Check(Read(Path.Combine("drills", file)));
        var example = host.Get<PipelineKind>().Check(Read("pipeline.yaml"), drill.Parameters);

        var differing = example.Stages.Zip(drill.Stages).Where(pair => pair.First.SettingsJson != pair.Second.SettingsJson).Select(pair => pair.First.Name);

        Assert.Equal(example.Model, drill.Model);
        Assert.Equal(example.GoNoGo, drill.GoNoGo);
        Assert.Equal([file == "slow.yaml" ? "train" : "features", "register"], differing);
    }

    private static string Folder(params string[] parts) => Path.Combine([Repository.Root, "examples", "flights", .. parts]);

    private static string Read(string file) => File.ReadAllText(Folder(file));
}
