using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Discipline;

namespace Slipway.Tests.Tracking;

public sealed class DisciplineTests : IAsyncDisposable
{
    private static readonly Caller Ada = TestStores.Caller;

    private readonly TestStores _stores = new(services => services.AddSlipwayTracking());

    private RunStore Runs => _stores.Get<RunStore>();

    private ExperimentDiscipline Discipline => _stores.Get<ExperimentDiscipline>();

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Fact]
    public void An_experiment_without_runs_has_nothing_amiss()
    {
        var report = Discipline.Report("0");
        Assert.Equal((0L, 0L), (report.Runs, report.RunsWithoutDataset));
        Assert.Empty(report.TestSets);
        Assert.Empty(report.Warnings);
        Assert.Equal(ErrorCode.NotFound, Assert.Throws<SlipwayException>(() => Discipline.Report("77")).Code);
    }

    [Fact, Trait("capability", "TRK-09")]
    public async Task Every_look_at_a_test_set_is_counted_also_of_runs_in_the_bin()
    {
        await ApplyAsync("kind: experiment\nname: flights\ntest_evaluations_max: 2\n");
        var experiment = await Runs.GetOrCreateExperimentAsync("flights", Ada, default);
        var looks = new List<string>();
        for (var i = 0; i < 3; i++)
        {
            looks.Add(await RunAsync(experiment, ("train", "t1"), ("test", "e1")));
        }

        await RunAsync(experiment, ("train", "t1"), ("validation", "v1")); // No look at the test set.
        Assert.Contains(Discipline.Report(experiment).Warnings, warning => warning.Code == "test_set_worn");
        await Runs.SetDeletedAsync(looks[0], true, Ada, default);

        var report = Discipline.Report(experiment);

        var use = Assert.Single(report.TestSets);
        Assert.Equal(("data/test", "e1", 3L, 2), (use.Name, use.Digest, use.Evaluations, use.EvaluationsMax));
        var warning = Assert.Single(report.Warnings);
        Assert.Equal("test_set_worn", warning.Code);
        Assert.Contains("used by 3 runs, over the limit of 2", warning.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "TRK-09")]
    public async Task Tuning_on_the_test_split_is_called_out()
    {
        var parent = (await Runs.CreateRunAsync("0", "study", null, Ada, default)).RunId;
        for (var i = 0; i < 2; i++)
        {
            var child = await RunAsync("0", ("train", "t1"), ("testing", "e1"));
            await Runs.LogBatchAsync(child, [], [], [new("mlflow.parentRunId", parent)], Ada, default);
        }

        var warning = Assert.Single(Discipline.Report("0").Warnings, warning => warning.Code == "tuned_on_test");
        Assert.Contains($"2 runs under run {parent}", warning.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "TRK-16")]
    public async Task Runs_of_different_test_sets_and_runs_trained_on_their_test_set_are_called_out()
    {
        await RunAsync("0", ("training", "t1"), ("test", "e1"));
        var leaky = await RunAsync("0", ("train", "e2"), ("test", "e2"));

        var warnings = Discipline.Report("0").Warnings.ToDictionary(warning => warning.Code, warning => warning.Message);

        Assert.Equal(["test_sets_differ", "trained_on_test"], warnings.Keys.Order(StringComparer.Ordinal));
        Assert.Contains("2 different test sets", warnings["test_sets_differ"], StringComparison.Ordinal);
        Assert.Contains(leaky, warnings["trained_on_test"], StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "TRK-06")]
    public async Task Runs_of_unknown_data_are_counted()
    {
        await RunAsync("0");
        await RunAsync("0", ("train", "t1"));

        var report = Discipline.Report("0");

        Assert.Equal((2L, 1L), (report.Runs, report.RunsWithoutDataset));
        Assert.Equal("dataset_missing", Assert.Single(report.Warnings).Code);
    }

    [Fact, Trait("capability", "X-05")]
    public async Task A_demanded_baseline_is_missing_until_a_finished_run_is_it()
    {
        await ApplyAsync("kind: experiment\nname: flights\nbaselines: [majority, stratified]\n");
        var experiment = await Runs.GetOrCreateExperimentAsync("flights", Ada, default);
        var majority = await RunAsync(experiment, ("test", "e1"));
        await Runs.LogBatchAsync(majority, [], [], [new("slipway.baseline", "majority")], Ada, default);

        Assert.Contains("the baselines majority, stratified", Assert.Single(Discipline.Report(experiment).Warnings).Message, StringComparison.Ordinal); // Still running.
        await Runs.EndRunAsync(majority, RunStatus.Finished, Ada, default);
        var report = Discipline.Report(experiment);

        Assert.Equal([("majority", majority), ("stratified", null)], report.Baselines.Select(baseline => (baseline.Kind, baseline.RunId)));
        Assert.Contains("the baseline stratified, and no finished run is one", Assert.Single(report.Warnings).Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "X-05")]
    public async Task A_file_with_faults_names_them_all_and_changes_nothing()
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => ApplyAsync("kind: experiment\nname: flights\nbaselines: [majority, luck]\ntest_evaluations_max: 0\ncolour: red\n"));
        Assert.Contains("'luck'", error.Message, StringComparison.Ordinal);
        Assert.Contains("'test_evaluations_max'", error.Message, StringComparison.Ordinal);
        Assert.Contains("'colour'", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Runs.ListExperiments(), experiment => experiment.Name == "flights");
    }

    [Fact, Trait("capability", "TRK-13")]
    public async Task The_files_of_a_run_are_capped_and_reported()
    {
        await ApplyAsync("kind: experiment\nname: flights\nrun_storage_mib_max: 1\n");
        var experiment = await Runs.GetOrCreateExperimentAsync("flights", Ada, default);
        var (run, other) = (await RunAsync(experiment), await RunAsync(experiment));
        var artifacts = _stores.Get<ArtifactStore>();
        await artifacts.LogAsync(run, "a.bin", new byte[600_000], Ada, default);
        await artifacts.LogAsync(other, "a.bin", new byte[1 << 20], Ada, default);

        var streamed = await Assert.ThrowsAsync<SlipwayException>(() => artifacts.LogAsync(run, "b.bin", new byte[500_000], Ada, default));
        var linked = await Assert.ThrowsAsync<SlipwayException>(() => artifacts.LinkAsync(run, "b.bin", new string('0', 64), 500_000, default));
        await artifacts.LogAsync(run, "a.bin", new byte[700_000], Ada, default); // In the place of the first, which no longer counts.

        Assert.Equal((ErrorCode.TooLarge, ErrorCode.TooLarge), (streamed.Code, linked.Code));
        Assert.Contains("the 1 MiB that experiment 'flights' gives each run", streamed.Message, StringComparison.Ordinal);
        Assert.Equal(("a.bin", 700_000L), (Assert.Single(artifacts.List(run)).Path, artifacts.List(run)[0].SizeBytes));
        var storage = Discipline.Report(experiment).Storage;
        Assert.Equal((1L << 20, 1_748_576L), (storage.RunBytesMax!.Value, storage.Bytes));
        Assert.Equal([(other, 1_048_576L), (run, 700_000L)], storage.Largest.Select(large => (large.RunId, large.Bytes)));
        await artifacts.LogAsync(await RunAsync("0"), "a.bin", new byte[2_000_000], Ada, default); // Another experiment sets no limit.
    }

    private Task<AppliedDefinition> ApplyAsync(string yaml) => _stores.Get<IDefinitionKind>().ApplyAsync(yaml, Ada, default);

    private async Task<string> RunAsync(string experiment, params (string Context, string Digest)[] inputs)
    {
        var run = await Runs.CreateRunAsync(experiment, null, null, Ada, default);
        await Runs.LogInputsAsync(run.RunId, [.. inputs.Select(input => new RunInput($"data/{(input.Context == "testing" ? "test" : input.Context)}", input.Digest, "file.csv", input.Context))], default);
        return run.RunId;
    }
}
