using System.Security.Cryptography;
using Slipway.Client.Runs;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;

namespace Slipway.Tests.Client;

public sealed class ActiveRunTests : IAsyncLifetime
{
    private TrackingHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await TrackingHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-05")]
    public async Task A_run_is_on_the_server_as_it_was_logged_and_leaves_no_journal()
    {
        var run = await _host.StartRunAsync(_host.Options with { Name = "first", Tags = new Dictionary<string, string> { ["team"] = "ops" } });
        run.LogParameter("lr", 0.1);
        run.LogParameter("depth", 6);
        run.LogParameter("lr", 0.1); // Repeating is fine.
        run.LogParameters([new("shuffle", true), new("init", null)]);
        run.SetTag("stage", "early");
        run.SetTag("stage", "late");
        run.SetNote("Tried *less* depth.");
        for (var step = 0; step < 2500; step++)
        {
            run.LogMetric("loss", 1.0 / (step + 1), step);
            run.LogMetric("accuracy", step / 2500.0, step);
        }

        run.LogMetric("odd", double.NaN);
        run.LogInput(new RunInput("flights@1", new string('a', 64), "flights.parquet", "train", 1000));
        await run.DisposeAsync();

        var record = _host.Record(run);
        Assert.Equal(("first", RunStatus.Finished, "flights"), (record.Name, record.Status, _host.Experiments.Find(record.ExperimentId)!.Name));
        Assert.True(record.EndTimeMs >= record.StartTimeMs);
        Assert.Equal(new Dictionary<string, string> { ["lr"] = "0.1", ["depth"] = "6", ["shuffle"] = "True", ["init"] = "None" }, record.Parameters);
        Assert.Equal(("ops", "late", "Tried *less* depth."), (record.Tags["team"], record.Tags["stage"], record.Note));
        Assert.Equal(Enumerable.Range(0, 2500).Select(step => (1.0 / (step + 1), (long)step)), _host.Runs.MetricHistory(run.Id, "loss").Select(point => (point.Value, point.Step)));
        Assert.Equal(2500, _host.Runs.MetricHistory(run.Id, "accuracy").Count);
        Assert.True(double.IsNaN(record.Metric("odd")!.Value));
        Assert.Equal("flights@1", Assert.Single(record.Inputs).Name);
        Assert.Empty(record.Flags);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Journals));
        Assert.Empty(_host.Problems);
    }

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task Points_of_many_threads_all_arrive_while_the_run_goes_on()
    {
        await using var run = await _host.StartRunAsync(_host.Options with { FlushInterval = TimeSpan.FromMilliseconds(50) });
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (var step = 0; step < 10_000; step++)
            {
                run.LogMetric($"m{thread}", step, step);
            }
        })));

        // The run has not ended: the points come by themselves.
        while ((await _host.Client.CountMetricsAsync(run.Id, TestContext.Current.CancellationToken)).Sum(count => count.Points) < 40_000)
        {
            Assert.Empty(_host.Problems);
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        Assert.Equal(RunStatus.Running, _host.Record(run).Status);
        Assert.Equal(0, run.DroppedPoints);
    }

    [Fact]
    [Trait("capability", "TRK-01")]
    public async Task A_parameter_that_changes_and_names_that_nothing_may_have_are_refused_at_once()
    {
        var run = await _host.StartRunAsync();
        run.LogParameter("lr", 0.1);

        var error = Assert.Throws<SlipwayException>(() => run.LogParameter("lr", 0.2));
        Assert.Contains("already logged with value='0.1'", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => run.LogMetric("a=b", 1));
        Assert.Throws<ArgumentException>(() => run.LogParameter("", 1));
        Assert.Throws<ArgumentException>(() => run.SetTag("../x", "1"));
        await Assert.ThrowsAsync<ArgumentException>(() => run.LogTextAsync("../x", "1"));
        await run.DisposeAsync();

        Assert.Throws<ObjectDisposedException>(() => run.LogMetric("late", 1));
        Assert.Throws<ObjectDisposedException>(() => run.SetTag("late", "1"));
        Assert.Equal(["lr"], _host.Record(run).Parameters.Keys);
        Assert.Empty(_host.Record(run).Metrics);
    }

    [Fact]
    [Trait("capability", "X-06")]
    public async Task A_failed_run_keeps_its_reason()
    {
        var said = await _host.StartRunAsync();
        said.Fail("Out of memory at epoch 3.");
        await said.DisposeAsync();
        Assert.Equal((RunStatus.Failed, "Out of memory at epoch 3."), (_host.Record(said).Status, _host.Record(said).FailureReason));

        ActiveRun? thrown = null;
        await Assert.ThrowsAsync<InvalidOperationException>(() => _host.Client.RunAsync("flights", run =>
        {
            thrown = run;
            run.LogMetric("loss", 3);
            throw new InvalidOperationException("The gradient exploded.");
        }, _host.Options));
        var record = _host.Record(thrown!);
        Assert.Equal((RunStatus.Failed, "InvalidOperationException: The gradient exploded."), (record.Status, record.FailureReason));
        Assert.Equal(3, record.Metric("loss"));
        Assert.Equal("failure.txt", Assert.Single(record.Artifacts).Path);
        Assert.Equal(record.FailureReason, (await _host.Client.GetRunAsync(thrown!.Id, TestContext.Current.CancellationToken)).FailureReason);
    }

    [Fact]
    [Trait("capability", "X-07")]
    public async Task Runs_nest()
    {
        await using var series = await _host.StartRunAsync(_host.Options with { Name = "series" });
        await using (var stage = await series.StartChildAsync("stage 1"))
        {
            stage.LogMetric("auc", 0.7);
            await using var inner = await stage.StartChildAsync();
            Assert.Equal(stage.Id, _host.Record(inner).ParentRunId);
        }

        var child = Assert.Single(_host.Runs.Search(new Slipway.Tracking.RunSearch([_host.Record(series).ExperimentId], $"tags.mlflow.parentRunId = '{series.Id}'")).Items);
        Assert.Equal(("stage 1", 0.7), (child.Name, child.Metric("auc")));
        Assert.Null(_host.Record(series).ParentRunId);
    }

    [Fact]
    [Trait("capability", "X-08")]
    public async Task Folds_are_kept_with_their_mean_and_standard_deviation()
    {
        var run = await _host.StartRunAsync();
        double[] folds = [2, 4, 4, 4, 5, 5, 7, 9];
        for (var fold = 0; fold < folds.Length; fold++)
        {
            run.LogFold("auc", fold, folds[fold]);
        }

        await run.DisposeAsync();

        Assert.Equal(folds, _host.Runs.MetricHistory(run.Id, "auc.fold").Select(point => point.Value));
        Assert.Equal(5, _host.Record(run).Metric("auc.mean"));
        Assert.Equal(2.138089935, _host.Record(run).Metric("auc.std")!.Value, 9); // sqrt(32 / 7)
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task Files_folders_and_streams_are_stored_byte_by_byte()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-files-").FullName;
        try
        {
            var bytes = RandomNumberGenerator.GetBytes(3_000_000);
            await File.WriteAllBytesAsync(Path.Combine(folder, "weights.bin"), bytes);
            Directory.CreateDirectory(Path.Combine(folder, "plots"));
            await File.WriteAllTextAsync(Path.Combine(folder, "plots", "a b.txt"), "x");
            var run = await _host.StartRunAsync();
            Assert.True(await run.LogArtifactAsync(Path.Combine(folder, "weights.bin")));
            Assert.True(await run.LogArtifactAsync(folder, "all"));
            Assert.True(await run.LogTextAsync("notes/report.md", "# Report"));
            await Assert.ThrowsAsync<FileNotFoundException>(() => run.LogArtifactAsync(Path.Combine(folder, "none")));
            // Changed afterwards: what was logged is what counts.
            await File.WriteAllTextAsync(Path.Combine(folder, "weights.bin"), "other");
            await run.DisposeAsync();

            var files = _host.Record(run).Artifacts.ToDictionary(file => file.Path, file => file.Sha256);
            var sha = Convert.ToHexStringLower(SHA256.HashData(bytes));
            Assert.Equal(["all/plots/a b.txt", "all/weights.bin", "notes/report.md", "weights.bin"], files.Keys.Order(StringComparer.Ordinal));
            Assert.Equal((sha, sha), (files["weights.bin"], files["all/weights.bin"]));
            Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Journals));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    [Trait("capability", "TRK-13")]
    public async Task Models_can_be_switched_off_and_files_be_capped()
    {
        var model = Path.GetTempFileName();
        await File.WriteAllBytesAsync(model, new byte[2000]);
        await using (var without = await _host.StartRunAsync(_host.Options with { AutoLog = AutoLogOptions.None with { Models = false } }))
        {
            Assert.False(await without.LogModelAsync(model));
            Assert.True(await without.LogTextAsync("a.txt", "x"));
            Assert.Empty(_host.Problems);
            await without.DisposeAsync();
            Assert.Equal("a.txt", Assert.Single(_host.Record(without).Artifacts).Path);
        }

        var capped = await _host.StartRunAsync(_host.Options with { AutoLog = AutoLogOptions.None with { ArtifactBytesMax = 1000 } });
        Assert.False(await capped.LogModelAsync(model));
        Assert.False(await capped.LogArtifactAsync("stream.bin", new Unseekable(new byte[1001])));
        Assert.True(await capped.LogArtifactAsync("just.bin", new Unseekable(new byte[1000])));
        await capped.DisposeAsync();

        var record = _host.Record(capped);
        Assert.Equal("just.bin", Assert.Single(record.Artifacts).Path);
        Assert.Equal($"model/{Path.GetFileName(model)}, stream.bin", record.Tags["slipway.artifacts_left_out"]);
        Assert.Equal(2, _host.Problems.Count);
        File.Delete(model);
    }

    [Fact]
    [Trait("capability", "TRK-04")]
    [Trait("capability", "TRK-11")]
    public async Task Environment_commit_and_source_are_captured_without_being_asked_for()
    {
        var run = await _host.StartRunAsync(_host.Options with { AutoLog = new AutoLogOptions(), Seed = 42 });
        await run.DisposeAsync();

        var record = _host.Record(run);
        var environment = record.Environment!;
        Assert.Equal(42, environment.Seed);
        Assert.Contains("xunit.v3.core", environment.Packages.Keys.Select(name => name.ToLowerInvariant()));
        Assert.True(environment is { OperatingSystem.Length: > 0, Runtime.Length: > 0, CpuCount: > 0, MemoryBytes: > 0 });
        Assert.Matches("^[0-9a-f]{40}$", record.GitCommit!);
        Assert.Equal(record.GitCommit, record.Tags["mlflow.source.git.commit"]);
        Assert.Equal(Environment.UserName, record.UserId);
    }

    [Fact]
    [Trait("capability", "X-31")]
    public async Task A_run_is_continued_by_its_id()
    {
        var first = await _host.StartRunAsync(_host.Options with { Name = "long" });
        first.LogParameter("lr", 0.1);
        first.LogMetric("loss", 3, 1);
        await first.DisposeAsync();
        var before = _host.Record(first);

        var second = await _host.StartRunAsync(_host.Options with { RunId = first.Id });
        Assert.Equal(RunStatus.Running, _host.Record(first).Status);
        second.LogMetric("loss", 2, 2);
        await second.DisposeAsync();

        var after = _host.Record(first);
        Assert.Equal([3.0, 2.0], _host.Runs.MetricHistory(first.Id, "loss").Select(point => point.Value));
        Assert.Equal(("long", before.StartTimeMs, RunStatus.Finished), (after.Name, after.StartTimeMs, after.Status));
        Assert.Empty(_host.Problems);
    }

    [Fact]
    public async Task A_refused_start_is_told_at_once_and_leaves_nothing()
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Client.StartRunAsync(new string('x', 501), _host.Options));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Journals));
        await Assert.ThrowsAsync<ArgumentException>(() => _host.StartRunAsync(_host.Options with { RunId = "12" }));
        await using var run = await _host.StartRunAsync();
        Assert.Contains("another process", (await Assert.ThrowsAsync<SlipwayException>(() => _host.StartRunAsync(_host.Options with { RunId = run.Id }))).Message, StringComparison.Ordinal);
    }

    private sealed class Unseekable(byte[] content) : MemoryStream(content)
    {
        public override bool CanSeek => false;
    }
}
