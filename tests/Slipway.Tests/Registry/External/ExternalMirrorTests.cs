using System.Text;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Registry.External;
using Slipway.Storage;
using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry.External;

/// <summary>What the mirror takes over from an MLflow server.</summary>
public sealed class ExternalMirrorTests : IAsyncLifetime
{
    private static readonly Dictionary<string, byte[]> Files = new() { ["MLmodel"] = Encoding.UTF8.GetBytes("flavors:\n  onnx: {}\n"), ["data/model.onnx"] = Onnx(1) };

    private readonly Dictionary<string, double> _metrics = new() { ["auc"] = 0.71 };
    private MlflowFake _mlflow = null!;
    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync()
    {
        _mlflow = await MlflowFake.StartAsync(pageMax: 2);
        _host = await StartAsync(mlflow: _mlflow);
        // The first pass is the server's own; were it late, it would take over what the test is about to look for.
        while (_host.External.Freshness().AgeSeconds is null)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_version_comes_with_its_number_files_run_metrics_author_and_lineage()
    {
        _mlflow.Register(Model, Files, user: "carol", tags: new Dictionary<string, string> { ["team"] = "ops" }, description: "Late or not", metrics: _metrics, testDigest: "april");

        var report = await SyncAsync();

        Assert.Equal((1, 1, 2), (report.VersionsAdded, report.RunsCopied, report.FilesCopied));
        var version = Registry.Get(Model, "1");
        Assert.Equal(("1.0.0", Stage.Development, "carol", "carol", "Late or not", "ops"), (version.Version, version.Stage, version.CreatedBy, version.Owner, version.Description, version.Tags["team"]));
        Assert.Equal((ModelFormat.Onnx, "data/model.onnx", "3f2a"), (version.Format, version.ServedPath, version.Commit));
        Assert.Equal(Onnx(1), await Registry.ReadFileAsync(version, "data/model.onnx", default));
        Assert.StartsWith("mlflow-artifacts:/1/", version.Source, StringComparison.Ordinal);
        var run = _host.Area.Service<RunStore>().Find(version.RunId!)!;
        Assert.Equal((0.71, "6", "carol"), (run.Metric("auc"), run.Parameters["depth"], run.UserId));
        Assert.Equal(_mlflow.Address.ToString(), run.Tags["slipway.source.address"]);
        var evaluation = (await Registry.ReadReportAsync(version, default))!;
        Assert.Equal((0.71, "april"), (evaluation.Metrics["auc"], evaluation.TestSetSha256));
        Assert.Contains(new LineageLink(new LineageNode("dataset_version", $"flights@{new string('d', 64)}"), "trained_on", new LineageNode("run", version.RunId!)), Registry.LineageOf(version).Edges);
        var audit = Assert.Single(_host.AuditOf("1.0.0"));
        Assert.Equal(("model_version.registered", "system:mlflow"), (audit.Action, audit.Actor));
        Assert.Empty(_mlflow.Writes);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task Files_that_are_not_a_runs_are_copied_through_the_artifact_proxy()
    {
        _mlflow.Register(Model, Files, source: "mlflow-artifacts:/1/models/m-7/artifacts");

        await SyncAsync();

        Assert.Equal(["MLmodel", "data/model.onnx"], Registry.Get(Model, "1").Files.Select(file => file.Path));
        Assert.Contains("GET /api/2.0/mlflow-artifacts/artifacts/1/models/m-7/artifacts/data/model.onnx", _mlflow.Requests);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_second_look_asks_only_for_changes_and_copies_nothing_again()
    {
        for (var i = 0; i < 5; i++)
        {
            _mlflow.Register(Model, Files);
        }

        await SyncAsync();
        Assert.Equal(["5", "4", "3", "2", "1"], Registry.ListVersions(Model).Select(version => version.Number.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        _mlflow.Requests.Clear();
        var (audit, history, outbox) = (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox"));

        var report = await SyncAsync();

        Assert.Equal((0, 0), (report.VersionsAdded, report.Changes));
        Assert.DoesNotContain(_mlflow.Requests, request => request.Contains("runs/get", StringComparison.Ordinal) || request.Contains("artifacts", StringComparison.Ordinal));
        Assert.Equal((audit, history, outbox), (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox")));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_pass_that_is_broken_off_keeps_what_it_had_and_the_next_one_goes_on()
    {
        for (var i = 0; i < 4; i++)
        {
            _mlflow.Register(Model, Files);
        }

        using var stop = new CancellationTokenSource();
        var pass = _host.External.SyncAsync(full: true, stop.Token);
        while (_host.Count("external_versions") < 2 && !pass.IsCompleted)
        {
            await Task.Delay(5);
        }

        _mlflow.IsDown = true;
        await Record.ExceptionAsync(() => pass);
        _mlflow.IsDown = false;
        var before = _host.Count("external_versions");
        var report = await SyncAsync();

        Assert.True(before >= 2);
        Assert.Equal(4, before + report.VersionsAdded);
        Assert.Equal(["1.0.3", "1.0.2", "1.0.1", "1.0.0"], Registry.ListVersions(Model).Select(version => version.Version));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task What_is_changed_by_hand_is_taken_over_audited_and_told_as_drift()
    {
        _mlflow.Register(Model, Files);
        _mlflow.Register(Model, Files);
        await SyncAsync();
        _mlflow.ByHand(Model, 2, "Production");
        _mlflow.SetAliasByHand(Model, "champion", 2);
        _mlflow.DescribeByHand(Model, 1, "the first");

        var report = await SyncAsync(full: true);

        Assert.Equal(3, report.Changes);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal("1.0.1", Registry.Find(Model, "@champion")!.Version);
        Assert.Equal("the first", Registry.Get(Model, "1").Description);
        var change = Registry.History(Model, "1.0.1")[^1];
        Assert.Equal((Stage.Development, Stage.Production, "external_change", "system:mlflow"), (change.From, change.To, change.Cause, change.By));
        Assert.Equal(2, _host.AuditOf("1.0.1").Count(row => row.Action == "model_version.external_change"));
        var drift = Assert.Single(_host.External.Status().Drift);
        Assert.Equal((Model, "1.0.1", 2, Stage.Production), (drift.Model, drift.Version, drift.Number, drift.Stage));
        Assert.Contains("\"cause\":\"external_change\"", _host.Area.Service<Outbox>().Read("test", [ModelRegistry.StageChangedTopic])[^1].Payload, StringComparison.Ordinal);
        Assert.Empty(_mlflow.Writes);
    }

    [Fact]
    public async Task Of_several_versions_in_Production_the_newest_is_the_one_and_an_alias_that_is_gone_goes()
    {
        for (var i = 0; i < 3; i++)
        {
            _mlflow.ByHand(Model, _mlflow.Register(Model, Files), i < 2 ? "Production" : "Staging");
        }

        _mlflow.SetAliasByHand(Model, "champion", 3);
        await SyncAsync(full: true);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal(Stage.Archived, Registry.Get(Model, "1").Stage);
        Assert.Contains("beside version 2", Registry.History(Model, "1.0.0")[^1].Reason, StringComparison.Ordinal);
        Assert.Equal("1.0.2", Registry.Find(Model, "@champion")!.Version);

        _mlflow.SetAliasByHand(Model, "champion", null);
        _mlflow.ByHand(Model, 2, "Archived");
        await SyncAsync(full: true);

        Assert.Null(Registry.Find(Model, "@champion"));
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
    }

    [Fact]
    public async Task A_version_deleted_there_is_kept_here_archived()
    {
        _mlflow.Register(Model, Files);
        _mlflow.ByHand(Model, _mlflow.Register(Model, Files), "Staging");
        await SyncAsync();
        _mlflow.DeleteByHand(Model, 2);

        await SyncAsync(full: true);

        Assert.Equal((Stage.Archived, "deleted on the MLflow server"), (Registry.Get(Model, "2").Stage, Registry.History(Model, "1.0.1")[^1].Reason));
        Assert.Equal(Onnx(1), await Registry.ReadFileAsync(Registry.Get(Model, "2"), "data/model.onnx", default));
    }

    [Fact]
    public async Task A_name_that_is_registered_here_or_does_not_fit_here_is_left_alone_and_said()
    {
        await Registry.RegisterAsync(await _host.RequestAsync(), Ada, default);
        _mlflow.Register(Model, Files);
        _mlflow.Register("a@name", Files);

        await SyncAsync(full: true);

        Assert.Equal("ada", Assert.Single(Registry.ListVersions(Model)).CreatedBy);
        Assert.Equal([Model], Registry.ListModels().Select(model => model.Name));
        Assert.Equal(2, _host.External.Status().Skipped.Count);
        Assert.Equal("1.0.1", (await Registry.RegisterAsync(await _host.RequestAsync(), Ada, default)).Version);
    }

    [Fact]
    public async Task A_name_with_a_quote_is_asked_for_as_it_is_and_one_that_no_filter_can_name_is_left_alone()
    {
        _mlflow.Register("ada's model", Files);
        _mlflow.Register("it's \"both\"", Files);
        await SyncAsync(full: true);

        await Registry.SetAliasAsync("ada's model", "champion", "1", Ada, default);

        Assert.Equal((1, "1.0.0"), (_mlflow.AliasOf("ada's model", "champion"), Registry.Find("ada's model", "@champion")!.Version));
        Assert.Equal(["ada's model"], Registry.ListModels().Select(model => model.Name));
        Assert.StartsWith("it's \"both\": ", Assert.Single(_host.External.Status().Skipped), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_version_of_a_mirrored_model_is_not_registered_here()
    {
        _mlflow.Register(Model, Files);
        await SyncAsync();

        var request = await _host.RequestAsync();
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RegisterAsync(request, Ada, default));

        Assert.Contains("register or change it there", error.Message, StringComparison.Ordinal);
        Assert.Equal(1, _host.Count("model_versions"));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task What_MLflow_says_of_a_model_is_taken_over_and_audited_once()
    {
        _mlflow.Register(Model, Files);
        await SyncAsync();
        _mlflow.DescribeModelByHand(Model, "Late or not", "team", "ops");

        Assert.Equal(1, (await SyncAsync(full: true)).Changes);
        Assert.Equal(0, (await SyncAsync(full: true)).Changes);

        Assert.Equal("Late or not", Registry.FindModel(Model)!.Description);
        var (_, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/get?name={Model}");
        Assert.Equal("ops", body.GetProperty("registered_model").GetProperty("tags")[0].GetProperty("value").GetString());
        Assert.Equal(1L, _host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM audit_events WHERE action = 'model.external_change'")));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_number_that_is_given_again_is_not_taken_for_the_version_that_had_it()
    {
        _mlflow.ByHand(Model, _mlflow.Register(Model, Files), "Staging");
        await SyncAsync();
        _mlflow.DeleteByHand(Model, 1);
        _mlflow.ByHand(Model, _mlflow.Register(Model, new Dictionary<string, byte[]> { ["model.onnx"] = Onnx(2) }), "Production");

        await SyncAsync(full: true);

        Assert.Null(Registry.FindInStage(Model, Stage.Production));
        Assert.Equal((Stage.Archived, "deleted on the MLflow server"), (Registry.Get(Model, "1").Stage, Registry.History(Model, "1.0.0")[^1].Reason));
        Assert.Equal(Onnx(1), await Registry.ReadFileAsync(Registry.Get(Model, "1"), "data/model.onnx", default));
        Assert.Contains($"{Model} version 1: its number was that of a version that was deleted", Assert.Single(_host.External.Status().Skipped), StringComparison.Ordinal);
        var (rows, error) = (_host.Count("promotions"), await Assert.ThrowsAsync<SlipwayException>(() => Registry.RollbackAsync(Model, "1", "bad", Ada, default)));
        Assert.Equal((ErrorCode.FailedPrecondition, rows), (error.Code, _host.Count("promotions")));
        Assert.Empty(_mlflow.Writes);
        _mlflow.Register(Model, Files);
        await SyncAsync();
        Assert.Equal(["1.0.1", "1.0.0"], Registry.ListVersions(Model).Select(version => version.Version));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task What_is_kept_on_MLflow_is_not_changed_here_past_it()
    {
        _mlflow.Register(Model, Files);
        await SyncAsync();
        _mlflow.SetAliasByHand(Model, "champion", 1);
        await SyncAsync(full: true);
        var before = (_host.Count("audit_events"), _host.Count("model_versions"), _host.Count("model_aliases"));

        foreach (var change in new Func<Task>[]
        {
            () => Registry.RenameModelAsync(Model, "other", Ada, default),
            () => Registry.DescribeModelAsync(Model, "mine", Ada, default),
            () => Registry.SetModelTagAsync(Model, "team", "mine", Ada, default),
            () => Registry.DeleteModelAsync(Model, Ada, default),
            () => Registry.DescribeVersionAsync(Model, "1", "mine", Ada, default),
            () => Registry.SetVersionTagAsync(Model, "1", "team", "mine", Ada, default),
            () => Registry.DeleteVersionAsync(Model, "1", Ada, default),
            () => Registry.DeleteAliasAsync(Model, "champion", Ada, default),
        })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(change);
            Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
            Assert.Contains($"is kept on the MLflow server at {_mlflow.Address}; register or change it there", error.Message, StringComparison.Ordinal);
        }

        var (status, body) = await _host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = Model, source = "runs:/1/model" });
        Assert.Equal(409, status);
        Assert.Contains("is kept on the MLflow server", body.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(before, (_host.Count("audit_events"), _host.Count("model_versions"), _host.Count("model_aliases")));
        Assert.Empty(_mlflow.Writes);
        await Registry.DescribeAsync(Model, new DescribeModel { Purpose = "which flights are late" }, Ada, default);
        Assert.Equal("which flights are late", Registry.FindModel(Model)!.Purpose);
    }

    [Fact]
    public async Task The_database_refuses_a_change_of_stage_whose_cause_is_none_it_knows()
    {
        _mlflow.Register(Model, Files);
        await SyncAsync();

        var error = await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => _host.Area.Service<Database>().WriteAsync(
            transaction => transaction.Connection.Execute("UPDATE stage_history SET cause = 'whim'"), default));

        Assert.Contains("check constraint", error.Message, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("s3://bucket/model", "s3:…")]
    [InlineData("http://169.254.169.254/latest/meta-data", "http:…")]
    [InlineData("file:///etc", "file:…")]
    [InlineData("mlflow-artifacts://other.example.org/1/x", "mlflow-artifacts:…")]
    public async Task Files_that_only_another_address_holds_are_not_fetched_and_block_a_promotion(string source, string told)
    {
        _mlflow.Register(Model, Files, source: source, metrics: _metrics);
        await SyncAsync();

        var gate = await Registry.CheckAsync(Model, "1", Stage.Staging, default);

        var integrity = gate.Items.Single(item => item.Name == "integrity");
        Assert.False(integrity.Passed);
        Assert.Contains(told, integrity.Detail, StringComparison.Ordinal);
        Assert.Contains(told, Assert.Single(_host.External.Status().Incomplete).Reason, StringComparison.Ordinal);
        Assert.Empty(Registry.Get(Model, "1").Files);
    }

    [Theory]
    [InlineData("mlflow-artifacts:/../../etc")]
    [InlineData("mlflow-artifacts:/1/%2e%2e/secret")]
    public async Task A_place_that_leads_out_of_the_artifact_root_is_never_asked_for(string source)
    {
        _mlflow.Register(Model, Files, source: source);

        await SyncAsync();

        Assert.Empty(Registry.Get(Model, "1").Files);
        Assert.DoesNotContain(_mlflow.Requests, request => request.Contains("..", StringComparison.Ordinal) || request.Contains("etc", StringComparison.Ordinal) || request.Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_run_that_still_goes_blocks_a_promotion_until_it_has_ended()
    {
        _mlflow.Register(Model, Files, metrics: _metrics, runStatus: "RUNNING");
        await SyncAsync();
        Assert.Contains("has not ended", (await Registry.CheckAsync(Model, "1", Stage.Staging, default)).Items.Single(item => item.Name == "integrity").Detail, StringComparison.Ordinal);
        Assert.Null(Registry.Get(Model, "1").EvaluationReportSha256);

        _mlflow.EndRunOf(Model, 1);

        Assert.True((await Registry.CheckAsync(Model, "1", Stage.Staging, default)).Items.Single(item => item.Name == "integrity").Passed);
        Assert.Equal(0.71, (await Registry.ReadReportAsync(Registry.Get(Model, "1"), default))!.Metrics["auc"]);
        Assert.Empty(_host.External.Status().Incomplete);
    }

    [Fact]
    public async Task A_read_of_what_is_not_here_looks_once_and_says_its_age()
    {
        _host.Area.Service<ExternalRegistryOptions>().DemandInterval = TimeSpan.Zero;
        _mlflow.Register(Model, Files);

        using var found = await _host.Area.Client.GetAsync(new Uri($"/api/slipway/v1/models/{Model}/versions/1", UriKind.Relative));
        Assert.Equal(200, (int)found.StatusCode);
        Assert.NotNull(found.Headers.Age);

        _mlflow.IsDown = true;
        using var old = await _host.Area.Client.GetAsync(new Uri($"/api/2.0/mlflow/model-versions/get?name={Model}&version=1", UriKind.Relative));
        Assert.Equal(200, (int)old.StatusCode);
        using var missing = await _host.Area.Client.GetAsync(new Uri($"/api/slipway/v1/models/{Model}/versions/2", UriKind.Relative));
        Assert.Equal(404, (int)missing.StatusCode);
        using var stale = await _host.Area.Client.GetAsync(new Uri($"/api/slipway/v1/models/{Model}", UriKind.Relative));
        Assert.Equal(("mlflow; unreachable", 200), (stale.Headers.GetValues("Slipway-Registry").Single(), (int)stale.StatusCode));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_Slipway_server_is_mirrored_as_any_that_speaks_MLflows_registry()
    {
        await using var origin = await StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        await origin.RegisterInProductionAsync();
        await origin.RegisterAsync("minor");
        await origin.Registry.SetAliasAsync(Model, "challenger", "1.1.0", Ada, default);
        await using var mirror = await StartAsync(services => services.AddSlipwayTracking().AddExternalRegistry(Over(origin.Area.Client.BaseAddress!)));

        await mirror.External.SyncAsync(full: true, default);

        Assert.Equal(["2 1.1.0 Development challenger", "1 1.0.0 Production "],
            mirror.Registry.ListVersions(Model).Select(version => $"{version.Number} {version.Version} {version.Stage} {string.Join(' ', version.Aliases)}"));
        Assert.Equal((2, 1), (mirror.External.Status().Versions, mirror.External.Status().Drift.Count));
        // Their run is none that the server has.
        Assert.All(mirror.External.Status().Incomplete, version => Assert.Contains("is not on the server; the files cannot be copied", version.Reason, StringComparison.Ordinal));
        Assert.Equal(2, mirror.External.Status().Incomplete.Count);
    }

    [Fact]
    public async Task Sync_and_status_are_routes()
    {
        _mlflow.Register(Model, Files);

        var (status, body) = await _host.Area.PostAsync("/api/slipway/v1/registry/external/sync?full=true", new { });
        Assert.Equal((200, 1), (status, body.GetProperty("versions_seen").GetInt32()));
        (status, body) = await _host.Area.GetAsync("/api/slipway/v1/registry/external");

        Assert.Equal((200, "mlflow", 1, 0), (status, body.GetProperty("provider").GetString(), body.GetProperty("versions").GetInt32(), body.GetProperty("pending_writes").GetInt32()));
    }

    [Fact]
    public async Task Another_server_is_not_mixed_in_and_a_moved_one_is_named()
    {
        await using var other = await MlflowFake.StartAsync();
        var elsewhere = Build(Over(other.Address));
        var error = await Assert.ThrowsAsync<SlipwayException>(() => elsewhere.OpenAsync(default));
        Assert.Contains($"--registry-moved-from {_mlflow.Address}", error.Message, StringComparison.Ordinal);
        Assert.Empty(other.Requests);

        var moved = ExternalRegistryOptions.Resolve("mlflow", other.Address.ToString(), movedFrom: _mlflow.Address.ToString())!;
        await Build(moved).OpenAsync(default);

        Assert.Equal(other.Address.ToString(), _host.Area.Read(connection => connection.ExecuteScalar<string>("SELECT address FROM external_registry")));
    }

    private ExternalRegistry Build(ExternalRegistryOptions options) => new(
        options, new MlflowServer(options), null!, _host.Area.Service<Database>(), _host.Area.Service<Outbox>(), _host.Area.Service<Leases>(), TimeProvider.System,
        Microsoft.Extensions.Logging.Abstractions.NullLogger<ExternalRegistry>.Instance);

    private Task<ExternalSyncReport> SyncAsync(bool full = false) => _host.External.SyncAsync(full, default);
}
