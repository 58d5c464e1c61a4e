using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Pipelines.Reproductions;
using Slipway.Pipelines.Stages;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Tests.Pipelines;

public sealed class ReproductionTests
{
    private const string Model = "late-order";

    [Fact]
    [Trait("capability", "TRK-15")]
    public async Task A_version_is_built_again_byte_for_byte_whatever_has_changed_since_and_nothing_is_registered()
    {
        await using var host = await Orders.StartAsync();
        var original = await Orders.RunAsync(host, ("trees", "13"));
        await Orders.AddVersionAsync(host, price: "random() * 4");
        await host.ApplyAsync(
            Orders.Pipeline.Replace("seed: 11", "seed: 12", StringComparison.Ordinal),
            Orders.Service.Replace("[shop:late_rate, order:price]", "[order:price]", StringComparison.Ordinal));

        var reproduction = await ReproduceAsync(host, "1.0.0");

        Assert.True(reproduction.Outcome is ReproductionOutcome.Reproduced, reproduction.Summary);
        Assert.Equal((original.Id, "ada", Model, "1.0.0"), (reproduction.OriginalRunId, reproduction.StartedBy, reproduction.Model, reproduction.Version));
        var file = Check(reproduction, "model file");
        Assert.Equal((true, true, Artifact(original, "model")), (file.Same, file.Decides, file.Now));
        Assert.Equal(0, Check(reproduction, "metric auc").Difference);
        Assert.True(Check(reproduction, "rows of train").Same);
        Assert.Equal("11", Check(reproduction, "parameter seed").Now);
        Assert.All((string[])["commit", "environment runtime", "environment cpu"], name => Assert.True(Check(reproduction, name).Same));
        Assert.Contains("byte for byte", reproduction.Summary, StringComparison.Ordinal);

        var run = host.Pipelines.Get(reproduction.RunId!);
        Assert.Equal((PipelineRunStatus.Succeeded, "reproduction", "1.0.0", null), (run.Status, run.Trigger, run.Reproduces, run.ModelVersion));
        Assert.Equal(original.Parameters, run.Parameters);
        Assert.All(run.Stages.SkipLast(1), stage => Assert.Equal(PipelineStageStatus.Succeeded, stage.Status));
        Assert.Equal((PipelineStageStatus.Skipped, $"nothing is registered: the run builds {Model} 1.0.0 again"), (run.Stages[^1].Status, run.Stages[^1].Message));
        Assert.Equal("1.0.0", Assert.Single(host.Get<ModelRegistry>().ListVersions(Model)).Version);
        Assert.Equal(1L, host.Get<Database>().Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM test_evaluations")));
        var candidates = JsonSerializer.Deserialize<Candidates>(await host.Get<BlobStore>().ReadVerifiedAsync(Artifact(run, "candidates"), host.Cancel), JsonDefaults.Options)!;
        Assert.All(candidates.Tried.Where(tried => tried.RunId is not null), tried => Assert.Equal($"{Model}@1.0.0", host.Get<RunStore>().Get(tried.RunId!).Tags["slipway.reproduces"]));

        var audit = Assert.Single(host.Get<AuditTrail>().List(ModelVersionNode.Of(Model, "1.0.0")), row => row.Action == "model_version.reproduction");
        Assert.Equal("ada", audit.Actor);
        Assert.Equal([reproduction.RunId], host.Get<ReproductionService>().List(Model, "1.0.0").Select(listed => listed.RunId));

        // Not into the cache either: a run that asks for the same does its own work.
        var next = await Orders.RunAsync(host);
        Assert.DoesNotContain(next.Stages, stage => stage.CachedFromRun == reproduction.RunId);
    }

    [Fact]
    [Trait("capability", "TRK-15")]
    public async Task Another_trainer_parameter_in_the_record_gives_another_model_and_every_difference_is_named()
    {
        await using var host = await Orders.StartAsync();
        var original = await Orders.RunAsync(host);
        await ExecuteAsync(host, "UPDATE pipeline_runs SET definition_yaml = replace(definition_yaml, 'sample: 3000', 'sample: 900') WHERE id = @Id", new { original.Id });

        var reproduction = await ReproduceAsync(host, "1.0.0");

        Assert.Equal(ReproductionOutcome.Differs, reproduction.Outcome);
        var file = Check(reproduction, "model file");
        Assert.Equal((false, Artifact(original, "model")), (file.Same, file.Then));
        Assert.NotEqual(file.Then, file.Now);
        var auc = Check(reproduction, "metric auc");
        Assert.True(!auc.Same && auc.Difference is not 0);
        Assert.False(Check(reproduction, "parameter train_rows").Same);
        Assert.True(Check(reproduction, "rows of train").Same); // The same split; fewer of its rows.
        Assert.Contains($"What was built again is not {Model} 1.0.0: model file", reproduction.Summary, StringComparison.Ordinal);
        Assert.Contains("parameter train_rows", reproduction.Summary, StringComparison.Ordinal);
        Assert.Single(host.Get<ModelRegistry>().ListVersions(Model));
    }

    [Fact]
    [Trait("capability", "TRK-15")]
    public async Task A_dataset_file_that_was_changed_is_found_before_anything_is_trained()
    {
        await using var host = await Orders.StartAsync();
        await Orders.RunAsync(host);
        var dataset = host.Get<ModelRegistry>().Get(Model, "1.0.0").Datasets.Single();
        var path = host.Get<BlobStore>().PathOf(dataset.Sha256);
        File.SetAttributes(path, FileAttributes.Normal);
        var bytes = await File.ReadAllBytesAsync(path, host.Cancel);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(path, bytes, host.Cancel);

        var reproduction = await ReproduceAsync(host, "1.0.0");

        Assert.Equal(ReproductionOutcome.NotReproducible, reproduction.Outcome);
        Assert.Contains($"Stage 'ingest' failed: The file of orders@1 is gone or no longer has the SHA-256 {dataset.Sha256}", reproduction.Summary, StringComparison.Ordinal);
        Assert.Empty(reproduction.Checks);
        Assert.Equal(PipelineStageStatus.Skipped, host.Pipelines.Get(reproduction.RunId!).Stages.Single(stage => stage.Name == "train").Status);
    }

    [Fact]
    [Trait("capability", "TRK-15")]
    public async Task A_version_without_its_run_or_its_dataset_says_so_at_once_and_starts_nothing()
    {
        await using var host = await Orders.StartAsync();
        await Orders.RunAsync(host);
        var made = host.Get<ModelRegistry>().Get(Model, "1.0.0");
        await host.Get<ModelRegistry>().RegisterAsync(
            new RegisterVersion(Model, "major", null, made.Files, made.Signature, made.FeatureSchema, null, null, null, null, made.Datasets), PipelineHost.Ada, host.Cancel);
        await host.ApplyAsync(Orders.Pipeline.Replace("sample: 3000", "sample: 900", StringComparison.Ordinal));
        var another = await Orders.RunAsync(host);
        await host.Get<ModelRegistry>().RegisterAsync(
            new RegisterVersion(Model, "major", null, made.Files, made.Signature, made.FeatureSchema, null, null, null, null, made.Datasets) { PipelineRunId = another.Id }, PipelineHost.Ada, host.Cancel);
        var runs = host.Pipelines.List().Count;

        var byHand = await host.Get<ReproductionService>().StartAsync(Model, "2.0.0", PipelineHost.Ada, host.Cancel);
        var lied = await host.Get<ReproductionService>().StartAsync(Model, "3.0.0", PipelineHost.Ada, host.Cancel);
        await ExecuteAsync(host, "UPDATE dataset_versions SET sha256 = @other", new { other = new string('0', 64) });
        var gone = await host.Get<ReproductionService>().StartAsync(Model, "1.0.0", PipelineHost.Ada, host.Cancel);
        var unknown = await Assert.ThrowsAsync<SlipwayException>(() => host.Get<ReproductionService>().StartAsync(Model, "9.0.0", PipelineHost.Ada, host.Cancel));

        Assert.All((Reproduction[])[byHand, lied, gone], answer => Assert.Equal((ReproductionOutcome.NotReproducible, null), (answer.Outcome, answer.RunId)));
        Assert.StartsWith($"{Model} 2.0.0 cannot be built again: no pipeline run made it", byHand.Summary, StringComparison.Ordinal);
        Assert.EndsWith($"the pipeline run {another.Id} that it names did not make its model file.", lied.Summary, StringComparison.Ordinal);
        Assert.Contains($"no version of dataset 'orders' has the SHA-256 {made.Datasets.Single().Sha256}", gone.Summary, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.NotFound, unknown.Code);
        Assert.Equal(runs, host.Pipelines.List().Count);
        Assert.Single(host.Get<AuditTrail>().List(ModelVersionNode.Of(Model, "2.0.0")), row => row.Action == "model_version.reproduction");
    }

    [Fact]
    [Trait("capability", "TRK-17")]
    public async Task The_runs_of_a_pipeline_keep_the_definition_and_the_parameters_they_ran_with()
    {
        await using var host = await Orders.StartAsync();
        await Orders.RunAsync(host, ("trees", "13"));
        var run = host.Get<RunStore>().Get(host.Get<ModelRegistry>().Get(Model, "1.0.0").RunId!);

        var (definition, parameters) = (await ReadAsync("config/pipeline.yaml"), await ReadAsync("config/parameters.json"));

        Assert.Contains("rounds: \"13\"", definition, StringComparison.Ordinal);
        Assert.Contains("\"trees\":\"13\"", parameters, StringComparison.Ordinal);

        async Task<string> ReadAsync(string path) =>
            System.Text.Encoding.UTF8.GetString(await host.Get<BlobStore>().ReadVerifiedAsync(run.Artifacts.Single(file => file.Path == path).Sha256, host.Cancel));
    }

    private static async Task<Reproduction> ReproduceAsync(PipelineHost host, string version)
    {
        var service = host.Get<ReproductionService>();
        var started = await service.StartAsync(Model, version, PipelineHost.Ada, host.Cancel);
        Assert.NotNull(started.RunId);
        await host.Pipelines.WaitAsync(started.RunId, host.Cancel);
        return service.List(Model, version).Single(found => found.RunId == started.RunId);
    }

    private static Task<int> ExecuteAsync(PipelineHost host, string sql, object parameters) =>
        host.Get<Database>().WriteAsync(transaction => transaction.Connection.Execute(sql, parameters), host.Cancel);

    private static ReproductionCheck Check(Reproduction reproduction, string name) => reproduction.Checks.Single(check => check.Name == name);

    private static string Artifact(PipelineRun run, string name) => run.Stages.SelectMany(stage => stage.Outputs).Single(artifact => artifact.Name == name).Sha256;
}
