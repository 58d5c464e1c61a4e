using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class RunStoreTests : IAsyncDisposable
{
    private static readonly Caller Ada = TestStores.Caller;

    private readonly TestStores _stores = new(services => services.AddSlipwayTracking());

    private RunStore Runs => _stores.Get<RunStore>();

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-01")]
    public async Task Parameters_are_read_back_and_never_change()
    {
        var run = await NewRun();
        await Runs.LogBatchAsync(run, [], [new("depth", "6"), new("eta", "0.1")], [], Ada, default);
        await Runs.EndRunAsync(run, RunStatus.Finished, Ada, default);

        await Runs.LogBatchAsync(run, [], [new("depth", "6")], [], Ada, default); // The same value again is no change.
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(run, [], [new("depth", "7")], [], Ada, default));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains("'depth' was already logged with value='6'", error.Message, StringComparison.Ordinal);
        Assert.Equal(new Dictionary<string, string> { ["depth"] = "6", ["eta"] = "0.1" }, Runs.Find(run)!.Parameters);
    }

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task A_curve_keeps_every_point_in_order_and_its_newest_as_the_value()
    {
        var run = await NewRun();
        var points = Enumerable.Range(0, 50).Select(step => new MetricPoint("loss", 1.0 / (step + 1), 1000 + step, step)).ToList();

        await Runs.LogBatchAsync(run, [.. points.Skip(25).Reverse()], [], [], Ada, default);
        await Runs.LogBatchAsync(run, [.. points.Take(25), points[3]], [], [], Ada, default); // A point sent twice is one point.

        Assert.Equal(points, Runs.MetricHistory(run, "loss"));
        Assert.Equal(points[^1], Assert.Single(Runs.Find(run)!.Metrics));
    }

    [Fact]
    public async Task Not_a_number_survives_and_infinity_becomes_the_largest_number()
    {
        var run = await NewRun();
        await Runs.LogBatchAsync(run, [new("a", double.NaN, 1, 0), new("b", double.PositiveInfinity, 1, 0), new("c", double.NegativeInfinity, 1, 0)], [], [], Ada, default);

        var record = Runs.Find(run)!;
        Assert.Equal([double.NaN, double.MaxValue, double.MinValue], [record.Metric("a")!.Value, record.Metric("b")!.Value, record.Metric("c")!.Value]);
        Assert.True(double.IsNaN(Runs.MetricHistory(run, "a")[0].Value));
    }

    [Fact]
    public async Task A_batch_with_one_fault_writes_nothing()
    {
        var run = await NewRun();
        await Runs.LogBatchAsync(run, [], [new("depth", "6")], [], Ada, default);

        await Assert.ThrowsAsync<SlipwayException>(() =>
            Runs.LogBatchAsync(run, [new("auc", 0.7, 1, 0)], [new("eta", "0.1"), new("depth", "7")], [new("team", "ops")], Ada, default));

        var record = Runs.Find(run)!;
        Assert.Empty(record.Metrics);
        Assert.Equal(["depth"], record.Parameters.Keys);
        Assert.DoesNotContain("team", record.Tags.Keys);
    }

    [Theory]
    [InlineData(1001, 0, 0)]
    [InlineData(0, 101, 0)]
    [InlineData(0, 0, 101)]
    [InlineData(950, 40, 11)]
    public async Task A_batch_over_a_limit_is_refused(int metrics, int parameters, int tags)
    {
        var run = await NewRun();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(
            run,
            [.. Enumerable.Range(0, metrics).Select(i => new MetricPoint($"m{i}", i, 1, 0))],
            [.. Enumerable.Range(0, parameters).Select(i => new KeyValuePair<string, string>($"p{i}", "1"))],
            [.. Enumerable.Range(0, tags).Select(i => new KeyValuePair<string, string>($"t{i}", "1"))], Ada, default));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
    }

    [Theory]
    [InlineData("")]
    [InlineData("/abs")]
    [InlineData("a/../b")]
    [InlineData("a//b")]
    [InlineData("a;b")]
    [InlineData("a\0b")]
    public async Task A_key_that_MLflow_refuses_is_refused(string key)
    {
        var run = await NewRun();

        await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(run, [new(key, 1, 1, 0)], [], [], Ada, default));
        await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(run, [], [new(key, "1")], [], Ada, default));
        await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(run, [], [], [new(key, "1")], Ada, default));
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task A_file_carries_its_digest_and_comes_back_byte_for_byte()
    {
        var run = await NewRun();
        var bytes = RandomNumberGenerator.GetBytes(300_000);

        await Runs.LogArtifactAsync(run, "model/weights.bin", bytes, Ada, default);

        var file = Assert.Single(Runs.Find(run)!.Artifacts);
        Assert.Equal(("model/weights.bin", Convert.ToHexStringLower(SHA256.HashData(bytes)), 300_000L), (file.Path, file.Sha256, file.SizeBytes));
        Assert.Equal(bytes, await _stores.Get<BlobStore>().ReadVerifiedAsync(file.Sha256, default));
    }

    [Fact]
    public async Task A_name_cannot_be_a_file_and_a_folder()
    {
        var run = await NewRun();
        await Runs.LogArtifactAsync(run, "a/b", new byte[] { 1 }, Ada, default);

        await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogArtifactAsync(run, "a", new byte[] { 2 }, Ada, default));
        await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogArtifactAsync(run, "a/b/c", new byte[] { 2 }, Ada, default));
        await Runs.LogArtifactAsync(run, "a-b", new byte[] { 2 }, Ada, default);

        Assert.Equal(["a-b", "a/b"], _stores.Get<ArtifactStore>().List(run).Select(file => file.Path));
    }

    [Theory]
    [InlineData("../x")]
    [InlineData("a/../../x")]
    [InlineData("/etc/passwd")]
    [InlineData("a\\..\\b")]
    [InlineData("C:/windows")]
    [InlineData("a/%2e%2e/b")]
    [InlineData("a/%252e%252e%252fb")]
    [InlineData("a\0b")]
    [InlineData("a//b")]
    [InlineData("./a")]
    [InlineData("")]
    public void A_path_that_could_leave_its_run_is_refused(string path) =>
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => ArtifactPath.Parse(path)).Code);

    [Fact]
    [Trait("capability", "TRK-04")]
    [Trait("capability", "TRK-07")]
    public async Task A_run_shows_the_environment_and_seed_it_was_computed_with()
    {
        var run = await NewRun();
        var environment = RunEnvironment.Capture(gitDirectory: null, seed: 42);

        await Runs.SetEnvironmentAsync(run, environment, Ada, default);

        var record = Runs.Find(run)!;
        Assert.Equal(42, record.Environment!.Seed);
        Assert.Contains(".NET 10", record.Environment.Runtime, StringComparison.Ordinal);
        Assert.True(record.Environment is { CpuCount: > 0, MemoryBytes: > 0, OperatingSystem.Length: > 0 });
        Assert.Contains("Dapper", record.Environment.Packages.Keys);
        Assert.True(await _stores.Get<BlobStore>().VerifyAsync(record.EnvironmentSha256!, default));
    }

    [Fact]
    [Trait("capability", "TRK-11")]
    public async Task A_run_shows_commit_dirty_flag_and_repository_without_its_password()
    {
        using var checkout = new TestCheckout();
        var clean = RunEnvironment.Capture(checkout.Folder, null).Git!;
        await File.WriteAllTextAsync(Path.Combine(checkout.Folder, "file.txt"), "changed");
        var dirty = RunEnvironment.Capture(checkout.Folder, null);
        var run = await NewRun();
        await Runs.SetEnvironmentAsync(run, dirty, Ada, default);

        Assert.Equal((checkout.Commit, false, "https://example.org/flights.git"), (clean.Commit, clean.Dirty!.Value, clean.RepositoryUrl));
        Assert.True(dirty.Git!.Dirty);
        Assert.Equal(checkout.Commit, Runs.Find(run)!.GitCommit);
        Assert.Equal(checkout.Commit, Runs.Find(run)!.Tags["mlflow.source.git.commit"]);
        Assert.Null(RunEnvironment.Capture(Path.GetTempPath(), null).Git);
    }

    [Fact]
    [Trait("capability", "TRK-06")]
    public async Task A_run_without_a_dataset_is_flagged_until_one_is_logged()
    {
        var run = await NewRun();
        Assert.Equal(["slipway.dataset_missing"], Runs.Find(run)!.Flags);

        var digest = new string('a', 64);
        await Runs.LogInputAsync(run, new RunInput("flights@1", digest, "dataset:flights@1", "train", 1000), Ada, default);
        await Runs.LogInputAsync(run, new RunInput("flights@1", digest, "dataset:flights@1", "test", 200), Ada, default);
        await Runs.LogInputAsync(run, new RunInput("flights@1", digest, "dataset:flights@1", "test", 200), Ada, default);

        Assert.Empty(Runs.Find(run)!.Flags);
        Assert.Equal(["test", "train"], Runs.Find(run)!.Inputs.Select(input => input.Context).Order());
    }

    [Fact]
    [Trait("capability", "TRK-05")]
    public async Task Runs_group_under_an_experiment_and_are_found_by_its_name_and_theirs()
    {
        var flights = await Runs.GetOrCreateExperimentAsync("flights", Ada, default);
        var run = await Runs.CreateRunAsync(flights, "first", null, Ada, default);
        await Runs.CreateRunAsync("0", "first", null, Ada, default);

        Assert.Equal(flights, await Runs.GetOrCreateExperimentAsync("flights", Ada, default));
        Assert.Equal(["Default", "flights"], Runs.ListExperiments().Select(experiment => experiment.Name).Order());
        Assert.Equal(run.RunId, Assert.Single(Runs.Search(new RunSearch([flights], "run_name = 'first'")).Items).RunId);
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task A_run_s_beginning_and_end_are_audited_and_its_points_are_not()
    {
        var run = await NewRun();
        await Runs.LogBatchAsync(run, [new("auc", 0.7, 1, 0)], [new("depth", "6")], [new("team", "ops")], Ada, default);
        await Runs.EndRunAsync(run, RunStatus.Failed, Ada, default);

        var audit = _stores.Get<AuditTrail>();
        Assert.Equal(["run.ended", "run.created"], audit.List(new NodeRef(NodeKinds.Run, run)).Select(row => row.Action));
        Assert.Null(audit.Verify().BrokenAtSeq);
        Assert.Equal(RunStatus.Failed, Runs.Find(run)!.Status);
        Assert.NotNull(Runs.Find(run)!.EndTimeMs);
    }

    [Fact]
    public async Task A_run_in_the_bin_takes_nothing_until_it_is_restored()
    {
        var run = await NewRun();
        await Runs.SetDeletedAsync(run, true, Ada, default);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Runs.LogBatchAsync(run, [new("auc", 0.7, 1, 0)], [], [], Ada, default));
        Assert.Contains("'active' state", error.Message, StringComparison.Ordinal);
        Assert.Empty(Runs.Search(new RunSearch(["0"])).Items);
        Assert.Single(Runs.Search(new RunSearch(["0"], View: LifecycleView.Deleted)).Items);

        await Runs.SetDeletedAsync(run, false, Ada, default);
        await Runs.LogBatchAsync(run, [new("auc", 0.7, 1, 0)], [], [], Ada, default);
    }

    [Fact]
    [Trait("capability", "TRK-14")]
    public async Task A_search_that_starts_from_the_few_runs_of_a_value_finds_only_what_passes_every_clause_page_by_page()
    {
        var (twin, other) = (new string('ä', 250) + "1", new string('ä', 250) + "2");
        var all = new List<string>();
        for (var i = 0; i < 9; i++)
        {
            var run = (await Runs.CreateRunAsync("0", $"run-{8 - i}", null, Ada, default, DateTimeOffset.FromUnixTimeMilliseconds(1000 + (i / 2)))).RunId;
            await Runs.LogBatchAsync(run, [new("auc", i, 1, 0)], [new("seed", i % 3 == 0 ? "7" : "8"), new("text", i == 4 ? twin : other)], [new("team", i < 6 ? "ops" : "data")], Ada, default);
            all.Add(run);
        }

        var elsewhere = await Runs.GetOrCreateExperimentAsync("elsewhere", Ada, default);
        await Runs.LogBatchAsync((await Runs.CreateRunAsync(elsewhere, null, null, Ada, default)).RunId, [], [new("seed", "7")], [new("team", "ops")], Ada, default);
        await Runs.SetDeletedAsync(all[3], true, Ada, default);

        Assert.Equal([all[0]], Ids("params.seed = '7' AND tags.team = 'ops'"));
        Assert.Equal([all[6], all[0]], Ids("params.seed = '7'"));
        Assert.Equal([all[0], all[6]], Ids("params.seed = '7'", "metrics.auc ASC"));
        Assert.Equal([all[4]], Ids($"params.text = '{twin}'"));
        Assert.Empty(Ids($"params.text = '{twin[..250]}'"));
        Assert.Empty(Ids("tags.team = 'nobody'"));
        Assert.Equal(["run-0", "run-1", "run-2"], Names("tags.team = 'data'", "attributes.run_name ASC"));
        Assert.Equal(["run-8", "run-7", "run-6", "run-4", "run-3", "run-2", "run-1", "run-0"], Names(null, "attributes.run_name DESC"));

        IEnumerable<string> Names(string? filter, string order) => Found(filter, order).Select(run => run.Name);
        IEnumerable<string> Ids(string? filter, string? order = null) => Found(filter, order).Select(run => run.RunId);
        List<RunRecord> Found(string? filter, string? order)
        {
            var found = new List<RunRecord>();
            string? token = null;
            do
            {
                var page = Runs.Search(new RunSearch(["0"], filter, order is null ? null : [order], 1, token));
                found.AddRange(page.Items);
                token = page.NextCursor;
            }
            while (token is not null);
            return found;
        }
    }

    [Fact]
    public async Task Of_many_points_in_one_batch_the_newest_counts_wherever_it_stands_and_large_steps_page_exactly()
    {
        var run = await NewRun();
        var big = (1L << 60) + 1;
        await Runs.LogBatchAsync(run, [new("b", 5, 9, 2), new("a", 1, 9, big), new("b", 7, 9, 2), new("a", 2, 10, big - 1), new("b", 6, 99, 1)], [], [], Ada, default);
        await Runs.LogBatchAsync(run, [new("a", 3, 8, big), new("b", double.NaN, 9, 3)], [], [], Ada, default);

        var record = Runs.Find(run)!;
        Assert.Equal(new MetricPoint("a", 1, 9, big), record.Metrics.Single(metric => metric.Key == "a"));
        Assert.Equal(new MetricPoint("b", double.NaN, 9, 3), record.Metrics.Single(metric => metric.Key == "b"));
        var steps = new List<long>();
        for (string? token = null, first = ""; token is not null || first is not null; first = null)
        {
            var page = Runs.MetricHistory(run, "a", 1, token);
            steps.AddRange(page.Items.Select(point => point.Step));
            token = page.NextCursor;
        }

        Assert.Equal([big - 1, big, big], steps);
    }

    private async Task<string> NewRun() => (await Runs.CreateRunAsync("0", null, null, Ada, default)).RunId;
}
