using System.Data.Common;
using System.Security.Cryptography;
using Dapper;
using Slipway.Cli.Import;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Import;

public sealed class ImportTests : IAsyncLifetime, IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-import-").FullName;
    private AreaHost _host = null!;
    private SlipwayClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        _client = new SlipwayClient(_host.Client.BaseAddress!);
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _host.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    public void Dispose() => GC.SuppressFinalize(this);

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [Trait("capability", "X-57")]
    public async Task A_sqlite_database_comes_over_whole_and_a_second_import_changes_nothing(int version)
    {
        var path = MlflowDatabase.Sqlite(_folder, version);
        var before = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);

        var first = await ImportAsync(path);
        var second = await ImportAsync($"sqlite:///{path}");

        AssertWhole(first);
        Assert.Equal((120, 0), (first.RunsWritten, first.RunsAlreadyThere));
        AssertWhole(second);
        Assert.Equal((0, 120), (second.RunsWritten, second.RunsAlreadyThere));
        Assert.Equal(first.Kinds, second.Kinds);
        Assert.Equal(before, await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken));
        Assert.Contains($"version {version}.x (SQLite", first.Source, StringComparison.Ordinal);
        Assert.False(first.Complete); // Registered models and more are not imported, and the report says so.
        Assert.Equal(version == 3 ? ["logged models", "links between runs and logged models", "registered models", "model versions", "traces", "assessments"] : ["registered models", "model versions", "traces"],
            first.Kinds.Where(kind => !kind.Equal).Select(kind => kind.Kind));
        AssertRows(path);
    }

    [Fact]
    [Trait("capability", "X-57")]
    public async Task A_postgres_database_comes_over_whole()
    {
        Assert.SkipUnless(TestDatabase.IsPostgres, "SLIPWAY_TEST_POSTGRES names no server.");
        await using var database = new PostgresDatabase();
        database.Fill(connection => MlflowDatabase.Fill(connection, 3, runs: 120, pointsPerRun: 40));
        var sameInSqlite = MlflowDatabase.Sqlite(_folder, 3);

        var first = await ImportAsync(database.Address);
        var second = await ImportAsync(database.Address);

        AssertWhole(first);
        AssertWhole(second);
        Assert.Equal((0, 120), (second.RunsWritten, second.RunsAlreadyThere));
        Assert.Contains("(PostgreSQL", first.Source, StringComparison.Ordinal);
        AssertRows(sameInSqlite);
    }

    [Fact]
    [Trait("capability", "X-57")]
    public async Task A_live_server_comes_over_whole_though_it_falters_at_every_turn()
    {
        // The server is another Slipway, filled from a database: what MLflow's API tells of it must be what the database held.
        await using var live = await LiveServer.StartAsync();
        var path = MlflowDatabase.Sqlite(_folder, 2);
        await ImportAsync(path, client: live.Client);
        live.FailEvery(refused: 19, cut: 29);

        var first = await ImportAsync(live.Address);
        var second = await ImportAsync(live.Address);

        Assert.True(live.Failures > 50, $"{live.Failures} failures");
        AssertWhole(first);
        AssertWhole(second);
        Assert.Equal((120, 0), (first.RunsWritten, first.RunsAlreadyThere));
        Assert.Equal((48, 72), (second.RunsWritten, second.RunsAlreadyThere)); // Runs that have not ended are read again.
        Assert.True(first.Complete);
        AssertRows(path);
    }

    [Fact]
    public async Task An_import_from_a_server_that_dies_goes_on_where_it_stopped()
    {
        await using var live = await LiveServer.StartAsync();
        var path = MlflowDatabase.Sqlite(_folder, 2);
        await ImportAsync(path, client: live.Client);
        live.DieAfter(300);

        var died = await Assert.ThrowsAsync<SlipwayException>(() => ImportAsync(live.Address));
        var some = _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM runs"));
        live.Recover();
        var report = await ImportAsync(live.Address);

        Assert.Equal(ErrorCode.Unavailable, died.Code);
        Assert.Contains("Run the command again to go on.", died.Message, StringComparison.Ordinal);
        Assert.InRange(some, 1, 119);
        Assert.InRange(report.RunsAlreadyThere, 1, some);
        Assert.Equal(120, report.RunsWritten + report.RunsAlreadyThere);
        AssertWhole(report);
        AssertRows(path);
    }

    [Fact]
    public async Task A_stopped_import_goes_on_where_it_stopped()
    {
        var path = MlflowDatabase.Sqlite(_folder, 3);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ImportAsync(path, progress: new StopAt(40, stop), ct: stop.Token));
        var report = await ImportAsync(path);

        Assert.InRange(report.RunsAlreadyThere, 36, 110); // Four are under way at once, and go on until the one that counts has stopped them.
        AssertWhole(report);
        AssertRows(path);
    }

    [Fact]
    public async Task A_target_that_falters_takes_everything_once()
    {
        await using var target = await LiveServer.StartAsync();
        target.FailEvery(refused: 13, cut: 7);
        var path = MlflowDatabase.Sqlite(_folder, 3, runs: 40);

        AssertWhole(await ImportAsync(path, client: target.Client));
        Assert.True(target.Failures > 20, $"{target.Failures} failures");
        target.FailEvery(0, 0);
        var again = await ImportAsync(path, client: target.Client);

        AssertWhole(again);
        Assert.Equal((0, 40), (again.RunsWritten, again.RunsAlreadyThere));
    }

    [Fact]
    public async Task A_run_that_changed_in_the_source_is_brought_up_to_date()
    {
        var path = MlflowDatabase.Sqlite(_folder, 3, runs: 30);
        await ImportAsync(path);
        using (var source = MlflowDatabase.Open(path))
        {
            source.Execute("INSERT INTO metrics (key, value, timestamp, run_uuid, step) VALUES ('loss', 0.125, 1800000000000, @run, 1000)", new { run = MlflowDatabase.RunId(3) });
            source.Execute("UPDATE latest_metrics SET value = 0.125, timestamp = 1800000000000, step = 1000 WHERE key = 'loss' AND run_uuid = @run", new { run = MlflowDatabase.RunId(3) });
            source.Execute("UPDATE runs SET status = 'FINISHED', end_time = 1800000000001 WHERE run_uuid = @run", new { run = MlflowDatabase.RunId(3) });
            source.Execute("UPDATE tags SET value = 'grace' WHERE key = 'mlflow.user' AND run_uuid = @run", new { run = MlflowDatabase.RunId(7) });
        }

        var report = await ImportAsync(path);

        AssertWhole(report);
        Assert.Equal((2, 28), (report.RunsWritten, report.RunsAlreadyThere));
        AssertRows(path);
    }

    [Fact]
    public async Task Experiments_join_those_of_their_name_and_move_aside_where_their_id_is_taken()
    {
        var taken = await _client.PutAsync<PutExperimentResult>("experiments", new PutExperiment { Name = "ours", ExperimentId = "1" }, TestContext.Current.CancellationToken);
        var same = await _client.PutAsync<PutExperimentResult>("experiments", new PutExperiment { Name = "abandoned", ExperimentId = "40" }, TestContext.Current.CancellationToken);

        var report = await ImportAsync(MlflowDatabase.Sqlite(_folder, 2, runs: 30));

        Assert.Equal(("1", "40"), (taken.ExperimentId, same.ExperimentId));
        AssertWhole(report);
        Assert.Contains(new ExperimentMapping("7", "40", "abandoned", "joined the experiment of this name"), report.Experiments);
        var moved = Assert.Single(report.Experiments, mapping => mapping.SourceId == "1");
        Assert.Equal(("prévisions météo ☀", "id 1 was taken"), (moved.Name, moved.Note));
        Assert.NotEqual("1", moved.ExperimentId);
        Assert.Equal(0, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM runs WHERE experiment_id = 1")));
        Assert.Equal("active", _host.Read(connection => connection.ExecuteScalar<string>("SELECT lifecycle_stage FROM experiments WHERE id = 40")));
    }

    [Fact]
    public async Task What_cannot_be_kept_is_told_run_by_run_and_the_rest_comes_over()
    {
        var path = MlflowDatabase.Sqlite(_folder, 2, runs: 30);
        using (var source = MlflowDatabase.Open(path))
        {
            source.Execute("UPDATE params SET value = @value WHERE key = 'lr' AND run_uuid = @run", new { value = new string('9', 8_000), run = MlflowDatabase.RunId(2) });
            source.Execute("UPDATE params SET key = '../up' WHERE key = 'lr' AND run_uuid = @run", new { run = MlflowDatabase.RunId(3) });
            source.Execute("PRAGMA foreign_keys = OFF");
            source.Execute("INSERT INTO params VALUES ('lost', '1', 'ffffffffffffffffffffffffffffffff')");
        }

        var report = await ImportAsync(path);

        Assert.False(report.Complete);
        Assert.Equal(2, report.DifferencesInAll);
        Assert.Contains($"Run {MlflowDatabase.RunId(2)}: the param 'lr' is cut to 6000 of its 8000 characters.", report.Differences);
        Assert.Contains(report.Differences, difference => difference.StartsWith($"Run {MlflowDatabase.RunId(3)}: The param name '../up'", StringComparison.Ordinal));
        Assert.Equal((30, 29), Counts(report, "runs"));
        var parameters = Assert.Single(report.Kinds, kind => kind.Kind == "params");
        Assert.StartsWith("1 of the source belong to no run", parameters.Note, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dry_run_counts_and_writes_nothing()
    {
        var report = await ImportAsync(MlflowDatabase.Sqlite(_folder, 3, runs: 30), dryRun: true);

        Assert.True(report.DryRun);
        Assert.Equal((30, null), Counts(report, "runs"));
        Assert.Equal((30 * 40, null), Counts(report, "metric points"));
        Assert.Equal((3, null), Counts(report, "model versions"));
        Assert.Equal(0, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM runs")));
        Assert.Equal(1, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM experiments")));
    }

    [Fact]
    public async Task Kinds_left_behind_on_request_do_not_count_against_the_import()
    {
        var report = await ImportAsync(MlflowDatabase.Sqlite(_folder, 2, runs: 10), leave: ["registered models", "model versions", "traces"]);

        Assert.True(report.Complete);
        Assert.Equal("left behind, as asked", Assert.Single(report.Kinds, kind => kind.Kind == "traces").Note);
    }

    [Fact]
    public async Task MLflow_can_write_while_a_run_is_read()
    {
        var path = MlflowDatabase.Sqlite(_folder, 2, runs: 1, pointsPerRun: 12_000);
        await using var source = await MlflowAddress.OpenAsync(path, TestContext.Current.CancellationToken);
        var run = (await source.RunPagesAsync(TestContext.Current.CancellationToken).FirstAsync(TestContext.Current.CancellationToken))[0];
        var read = 0;
        await foreach (var page in source.PointPagesAsync(run, TestContext.Current.CancellationToken))
        {
            read += page.Count;
            using var writer = MlflowDatabase.Open(path);
            writer.Execute("PRAGMA busy_timeout = 0; UPDATE tags SET value = 'x' WHERE key = 'mlflow.user'");
        }

        Assert.Equal(12_000, read);
    }

    [Fact]
    public async Task Files_come_from_the_folder_that_is_named_and_from_nowhere_else()
    {
        var path = MlflowDatabase.Sqlite(_folder, 2, runs: 30);
        var root = Path.Combine(_folder, "artifacts");
        var outside = Path.Combine(_folder, "secret.txt");
        await File.WriteAllTextAsync(outside, "secret", TestContext.Current.CancellationToken);
        Write(MlflowDatabase.RunId(2), 1, "model/MLmodel", "flavors: {}");
        Write(MlflowDatabase.RunId(2), 1, "été/π 1%.txt", "π");
        Write(MlflowDatabase.RunId(1), 7, "in the bin.txt", "kept");
        File.CreateSymbolicLink(Path.Combine(root, "1", MlflowDatabase.RunId(2), "artifacts", "link.txt"), outside);
        Directory.CreateDirectory(Path.Combine(root, "12", MlflowDatabase.RunId(6)));
        Directory.CreateSymbolicLink(Path.Combine(root, "12", MlflowDatabase.RunId(6), "artifacts"), _folder);
        using (var source = MlflowDatabase.Open(path))
        {
            source.Execute("UPDATE runs SET artifact_uri = 'mlflow-artifacts:/../..' WHERE run_uuid = @run", new { run = MlflowDatabase.RunId(8) });
            source.Execute("UPDATE runs SET artifact_uri = @place WHERE run_uuid = @run", new { run = MlflowDatabase.RunId(9), place = $"file://{_folder}" });
        }

        var first = await ImportAsync(path, new ArtifactFolder(root));
        var second = await ImportAsync(path, new ArtifactFolder(root));

        AssertWhole(first);
        Assert.Equal((3, 3), Counts(first, "artifact files"));
        Assert.Equal((0, 30), (second.RunsWritten, second.RunsAlreadyThere));
        var run = await _client.GetAsync<RunRecord>($"runs/{MlflowDatabase.RunId(2)}", TestContext.Current.CancellationToken);
        Assert.Equal(
            [("model/MLmodel", Convert.ToHexStringLower(SHA256.HashData("flavors: {}"u8))), ("été/π 1%.txt", Convert.ToHexStringLower(SHA256.HashData("π"u8)))],
            run.Artifacts.Select(file => (file.Path, file.Sha256)).Order());
        Assert.True((await _client.GetAsync<RunRecord>($"runs/{MlflowDatabase.RunId(1)}", TestContext.Current.CancellationToken)) is { Deleted: true, Artifacts.Count: 1 });

        void Write(string runId, int experiment, string name, string text)
        {
            var file = Path.Combine(root, $"{experiment}", runId, "artifacts", name);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
        }
    }

    [Fact]
    public async Task A_live_server_hands_its_files_over()
    {
        await using var live = await LiveServer.StartAsync();
        await ImportAsync(MlflowDatabase.Sqlite(_folder, 2, runs: 12), client: live.Client);
        var big = new byte[3_000_000];
        new Random(1).NextBytes(big);
        await live.PutFileAsync(MlflowDatabase.RunId(2), "model/weights.bin", big);
        await live.PutFileAsync(MlflowDatabase.RunId(2), "model/deep/note ü.txt", "x"u8.ToArray());
        live.FailEvery(refused: 5, cut: 0);

        var report = await ImportAsync(live.Address, artifactsFromServer: true);

        Assert.Empty(report.Differences);
        Assert.Equal((2, 2), Counts(report, "artifact files"));
        var run = await _client.GetAsync<RunRecord>($"runs/{MlflowDatabase.RunId(2)}", TestContext.Current.CancellationToken);
        Assert.Contains(run.Artifacts, file => file.Path == "model/weights.bin" && file.Sha256 == Convert.ToHexStringLower(SHA256.HashData(big)));
        Assert.Contains(run.Artifacts, file => file.Path == "model/deep/note ü.txt");
    }

    [Theory]
    [InlineData("nowhere.db", "There is no file")]
    [InlineData("sqlite://", "names no file")]
    [InlineData("sqlite:///nowhere.db", "There is no file")]
    [InlineData("text.db", "not a SQLite database")]
    [InlineData("other.db", "has no table experiments, runs, metrics, params, tags")]
    [InlineData(".", "file store")]
    [InlineData("file:///mlruns", "file store")]
    [InlineData("mysql+pymysql://u:p@h/d", "mysql")]
    [InlineData("ftp://u:secret@h/d", "u:***@h")]
    [InlineData("postgresql://localhost:1/none?sslmode=sometimes", "sslmode=sometimes")]
    [InlineData("postgresql://127.0.0.1:1/none", "cannot be opened")]
    [InlineData("http://127.0.0.1:1", "failed 6 times")]
    public async Task A_source_that_is_none_is_told_in_one_sentence(string address, string says)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "text.db"), new string('t', 5000), TestContext.Current.CancellationToken);
        using (var other = MlflowDatabase.Open(Path.Combine(_folder, "other.db")))
        {
            other.Execute("CREATE TABLE things (id INTEGER)");
        }

        if (!address.Contains(':', StringComparison.Ordinal))
        {
            address = Path.Combine(_folder, address);
        }

        var error = await Assert.ThrowsAsync<SlipwayException>(() => ImportAsync(address));

        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    private static (long Source, long? Here) Counts(ImportReport report, string kind)
    {
        var row = Assert.Single(report.Kinds, row => row.Kind == kind);
        return (row.Source, row.Target);
    }

    private static void AssertWhole(ImportReport report)
    {
        Assert.True(report.DifferencesInAll == 0, string.Join(Environment.NewLine, report.Differences.Take(5)));
        foreach (var kind in (string[])["experiments", "experiment tags", "runs", "params", "tags", "metric points", "latest metrics", "dataset inputs"])
        {
            var count = Assert.Single(report.Kinds, row => row.Kind == kind);
            Assert.True(count.Source > 0 && count.Equal, $"{count}");
        }
    }

    // Beside the import's own comparison: the tables themselves, read by SQL.
    private void AssertRows(string path)
    {
        using var source = Slipway.Web.SqliteFile.ToRead(path);
        source.Open();
        Same(source, "SELECT run_uuid, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage FROM runs ORDER BY 1",
            "SELECT run_id, experiment_id, name, user_id, status, start_at_ms, end_at_ms, lifecycle_stage FROM runs ORDER BY 1");
        Same(source, "SELECT run_uuid, key, value FROM params ORDER BY 1, 2", "SELECT run_id, key, value FROM params JOIN runs ON runs.id = run ORDER BY 1, 2");
        Same(source, "SELECT run_uuid, key, value FROM tags ORDER BY 1, 2", "SELECT run_id, key, value FROM tags JOIN runs ON runs.id = run ORDER BY 1, 2");
        const string Order = "ORDER BY 1, 2, 3, 4, 5, 6";
        Same(source, $"SELECT run_uuid, key, step, timestamp, value, is_nan FROM metrics {Order}",
            $"SELECT run_id, key, step, at_ms, value, is_nan FROM metric_points JOIN runs ON runs.id = run {Order}");
        Same(source, $"SELECT run_uuid, key, step, timestamp, value, is_nan FROM latest_metrics {Order}",
            $"SELECT run_id, key, step, at_ms, value, is_nan FROM latest_metrics JOIN runs ON runs.id = run {Order}");
        Same(source, "SELECT experiment_id, name, lifecycle_stage, creation_time, last_update_time FROM experiments WHERE experiment_id > 0 ORDER BY 1",
            "SELECT id, name, lifecycle_stage, created_at_ms, updated_at_ms FROM experiments WHERE id > 0 ORDER BY 1");
        Same(source, "SELECT experiment_id, key, value FROM experiment_tags ORDER BY 1, 2", "SELECT experiment_id, key, value FROM experiment_tags ORDER BY 1, 2");
        Same(source,
            """
            SELECT i.destination_id, d.name, d.digest, t.value, d.dataset_source_type, d.dataset_source, d.dataset_schema, d.dataset_profile
              FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' ORDER BY 1, 2
            """,
            "SELECT run_id, run_inputs.name, digest, context, source_type, source, schema, profile FROM run_inputs JOIN runs ON runs.id = run ORDER BY 1, 2");
    }

    private void Same(DbConnection source, string inSource, string here)
    {
        var expected = Rows(source, inSource);
        Assert.NotEmpty(expected);
        Assert.Equal(expected, _host.Read(connection => Rows(connection, here)));

        static List<string> Rows(DbConnection connection, string sql) =>
            [.. connection.Query(sql).Select(row => string.Join('|', ((IDictionary<string, object?>)row).Values.Select(value => $"{value}")))];
    }

    private async Task<ImportReport> ImportAsync(
        string address, IArtifactSource? artifacts = null, bool dryRun = false, string[]? leave = null, SlipwayClient? client = null, IImportProgress? progress = null,
        bool artifactsFromServer = false, CancellationToken? ct = null)
    {
        var cancel = ct ?? TestContext.Current.CancellationToken;
        await using var source = await MlflowAddress.OpenAsync(address, cancel, TimeSpan.FromMilliseconds(1));
        Func<ImportJournal>? journal = source is RestMlflowSource ? () => new ImportJournal(Path.Combine(_folder, "journal.txt")) : null;
        var options = new ImportOptions(dryRun, (leave ?? []).ToHashSet(StringComparer.Ordinal), artifactsFromServer ? (IArtifactSource)source : artifacts, journal);
        return await new MlflowImport(source, new ImportTarget(client ?? _client, TimeSpan.FromMilliseconds(1)), options, progress ?? new StopAt(long.MaxValue, null))
            .RunAsync(source.Description, cancel);
    }

    private sealed class StopAt(long runs, CancellationTokenSource? stop) : IImportProgress
    {
        public void Runs(long done, long? all)
        {
            if (done >= runs)
            {
                stop!.Cancel();
            }
        }

        public void Points(long done, long? all)
        {
        }
    }
}
