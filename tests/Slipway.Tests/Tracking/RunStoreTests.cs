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

        Assert.Equal(["a-b", "a/b"], Runs.ListArtifacts(run).Select(file => file.Path));
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

    private async Task<string> NewRun() => (await Runs.CreateRunAsync("0", null, null, Ada, default)).RunId;
}
