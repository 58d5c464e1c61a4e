using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry.External;

/// <summary>What the gates decide, written to an MLflow server.</summary>
public sealed class ExternalWriteBackTests : IAsyncLifetime
{
    private MlflowFake _mlflow = null!;
    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync() => await StartOverAsync(await MlflowFake.StartAsync());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task Promotion_rollback_and_alias_are_written_and_nothing_else()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        Assert.Equal(("Archived", "Production"), (_mlflow.StageOf(Model, 1), _mlflow.StageOf(Model, 2)));

        await Registry.RollbackAsync(Model, null, "errors rose", Grace, default);
        await Registry.SetAliasAsync(Model, "champion", "1.0.0", Grace, default);

        Assert.Equal(("Production", "Archived", 1), (_mlflow.StageOf(Model, 1), _mlflow.StageOf(Model, 2), _mlflow.AliasOf(Model, "champion")));
        Assert.Equal(
            [.. Enumerable.Repeat("POST model-versions/transition-stage", 7), "POST registered-models/alias"], _mlflow.Writes);
        var status = _host.External.Status();
        Assert.Equal((0, 0), (status.PendingWrites, status.Drift.Count));
        await _host.External.SyncAsync(full: true, default);
        Assert.Equal(0, _host.External.Status().Pass!.Changes);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_promotion_the_gate_refuses_writes_nothing_there()
    {
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);

        await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));

        Assert.Empty(_mlflow.Writes);
        Assert.Equal("None", _mlflow.StageOf(Model, 1));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task While_the_server_is_down_reads_are_answered_and_decisions_are_refused_without_a_trace()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.1", Stage.Staging, "ready", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
        var before = (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("promotions"), _host.Count("outbox"), _host.Count("model_aliases"));
        _mlflow.IsDown = true;

        foreach (var decision in new Func<Task>[]
        {
            () => Registry.ExecutePromotionAsync(promotion.Id, Ada, default),
            () => Registry.RequestPromotionAsync(Model, "1.0.1", Stage.Archived, "ready", Ada, default),
            () => Registry.RollbackAsync(Model, null, "bad", Ada, default),
            () => Registry.SetAliasAsync(Model, "champion", "1.0.0", Ada, default),
        })
        {
            Assert.Equal(ErrorCode.Unavailable, (await Assert.ThrowsAsync<SlipwayException>(decision)).Code);
        }

        Assert.Equal(before, (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("promotions"), _host.Count("outbox"), _host.Count("model_aliases")));
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal("development", (await Registry.CheckAsync(Model, "1.0.1", Stage.Staging, default)).From.ToString().ToLowerInvariant());
        Assert.False(_host.External.Status().Reachable);
        _mlflow.IsDown = false;
        Assert.Equal(Stage.Staging, (await Registry.ExecutePromotionAsync(promotion.Id, Ada, default)).Stage);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_decision_whose_confirmation_is_lost_is_confirmed_later_and_written_once()
    {
        await _host.RegisterAsync();
        var promotion = await ApprovedAsync("1.0.0", Stage.Staging);
        _mlflow.LosesAnswer = true;

        var promoted = await Registry.ExecutePromotionAsync(promotion, Ada, default);

        Assert.Equal(Stage.Staging, promoted.Stage);
        await WaitAsync(() => _host.External.Status().PendingWrites == 0);
        Assert.Equal("Staging", _mlflow.StageOf(Model, 1));
        Assert.Single(_mlflow.Writes);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_decision_that_cannot_be_sent_waits_and_the_next_one_waits_for_it()
    {
        await _host.RegisterAsync();
        var promotion = await ApprovedAsync("1.0.0", Stage.Staging);
        _mlflow.GoesDownAtWrite = true;
        await Registry.ExecutePromotionAsync(promotion, Ada, default);
        Assert.Equal((1, Stage.Staging), (_host.External.Status().PendingWrites, Registry.Get(Model, "1").Stage));

        Assert.Equal(ErrorCode.Unavailable, (await Assert.ThrowsAsync<SlipwayException>(() => Registry.SetAliasAsync(Model, "champion", "1", Ada, default))).Code);
        _mlflow.IsDown = false;
        await Registry.SetAliasAsync(Model, "champion", "1", Ada, default);

        Assert.Equal(("Staging", 1, 0), (_mlflow.StageOf(Model, 1), _mlflow.AliasOf(Model, "champion"), _host.External.Status().PendingWrites));
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_stage_changed_by_hand_before_the_decision_is_seen_and_refuses_it()
    {
        await _host.RegisterAsync();
        var promotion = await ApprovedAsync("1.0.0", Stage.Staging);
        _mlflow.ByHand(Model, 1, "Archived");

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion, Ada, default));

        Assert.Contains("source_stage: the promotion was asked for from development, but the version is now in archived", error.Message, StringComparison.Ordinal);
        Assert.Equal("Archived", _mlflow.StageOf(Model, 1));
        Assert.Empty(_mlflow.Writes);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_stage_changed_by_hand_between_decision_and_write_is_never_written_over()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);
        var promotion = await ApprovedAsync("1.0.1", Stage.Production);
        _mlflow.GoesDownAtWrite = true;
        await Registry.ExecutePromotionAsync(promotion, Ada, default);
        _mlflow.ByHand(Model, 2, "None");
        _mlflow.IsDown = false;

        await _host.External.SyncAsync(full: false, default);

        Assert.Equal(("Production", "None"), (_mlflow.StageOf(Model, 1), _mlflow.StageOf(Model, 2)));
        Assert.Equal(("1.0.0", Stage.Development), (Registry.FindInStage(Model, Stage.Production)!.Version, Registry.Get(Model, "2").Stage));
        var rows = _host.AuditOf("1.0.1").Where(row => row.Action == "model_version.external_change").ToList();
        Assert.Contains(rows, row => row.Reason!.Contains("was moved to None on the MLflow server by hand, while it went from Staging to Production here", StringComparison.Ordinal));
        Assert.Equal(0, _host.External.Status().PendingWrites);
        Assert.Null(_host.Area.Service<Slipway.Storage.Audit.AuditTrail>().Verify().BrokenAtSeq);
    }

    [Fact]
    public async Task An_alias_moved_by_hand_meanwhile_is_left_where_it_is()
    {
        await _host.RegisterAsync();
        await _host.RegisterAsync();
        await _host.RegisterAsync();
        await Registry.SetAliasAsync(Model, "champion", "1", Ada, default);
        _mlflow.GoesDownAtWrite = true;
        await Registry.SetAliasAsync(Model, "champion", "2", Ada, default);
        _mlflow.SetAliasByHand(Model, "champion", 3);
        _mlflow.IsDown = false;

        await _host.External.SyncAsync(full: true, default);

        Assert.Equal(3, _mlflow.AliasOf(Model, "champion"));
        Assert.Equal("1.0.2", Registry.Find(Model, "@champion")!.Version);
    }

    [Fact]
    public async Task A_server_that_refuses_the_write_keeps_its_state_and_the_caller_hears_of_it()
    {
        await _host.RegisterAsync();
        var promotion = await ApprovedAsync("1.0.0", Stage.Staging);
        _mlflow.IsReadOnly = true;

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion, Ada, default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Equal(("None", Stage.Development), (_mlflow.StageOf(Model, 1), Registry.Get(Model, "1").Stage));
        Assert.Contains(_host.AuditOf("1.0.0"), row => row.Reason?.Contains("403", StringComparison.Ordinal) == true);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task A_server_without_stages_gets_a_tag_and_an_alias()
    {
        await _host.DisposeAsync();
        await StartOverAsync(await MlflowFake.StartAsync(hasNoStages: true));
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();

        Assert.Equal(("archived", "production"), (_mlflow.TagOf(Model, 1, "slipway.stage"), _mlflow.TagOf(Model, 2, "slipway.stage")));
        Assert.Equal((2, null), (_mlflow.AliasOf(Model, "production"), _mlflow.AliasOf(Model, "staging")));
        await Registry.RollbackAsync(Model, null, "bad", Ada, default);
        Assert.Equal((1, "production"), (_mlflow.AliasOf(Model, "production"), _mlflow.TagOf(Model, 1, "slipway.stage")));
        await _host.External.SyncAsync(full: true, default);
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Empty(_host.External.Status().Drift);
    }

    [Fact]
    public async Task What_is_decided_on_a_model_registered_here_is_not_written_there()
    {
        var seq = _host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT seq FROM outbox_cursors WHERE reader = 'external-registry'"));
        await Registry.RegisterAsync(await _host.RequestAsync() with { Model = "own", EvaluationReportSha256 = null }, Ada, default);
        var promotion = await Registry.RequestPromotionAsync("own", "1.0.0", Stage.Archived, "never used", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
        await Registry.ExecutePromotionAsync(promotion.Id, Ada, default);
        await _host.External.SyncAsync(full: true, default);

        Assert.Equal(Stage.Archived, Registry.Get("own", "1.0.0").Stage);
        Assert.Empty(_mlflow.Writes);
        Assert.True(_host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT seq FROM outbox_cursors WHERE reader = 'external-registry'")) > seq);
    }

    [Fact]
    [Trait("capability", "REG-16")]
    public async Task MLflows_own_client_works_through_Slipway_on_a_version_that_is_new_there()
    {
        await _host.ApplyPolicyAsync($"kind: policy\nname: {Model}\nmodel: {Model}\nstaging: {{ approvals: 0 }}\n");
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.0", Stage.Staging);
        _host.Area.Service<Slipway.Registry.External.ExternalRegistryOptions>().DemandInterval = TimeSpan.Zero;
        await _mlflow.RegisterAsync(await _host.RequestAsync(), _host.Blobs, "ada");

        var (status, body) = await _host.Area.PostAsync(
            "/api/2.0/mlflow/model-versions/transition-stage", new { name = Model, version = "2", stage = "Staging", archive_existing_versions = true });

        Assert.Equal((200, "Staging"), (status, body.GetProperty("model_version").GetProperty("current_stage").GetString()));
        (status, _) = await _host.Area.PostAsync("/api/2.0/mlflow/registered-models/alias", new { name = Model, alias = "production", version = "2" });
        Assert.Equal(200, status);
        Assert.Equal(("Archived", "Staging", 2), (_mlflow.StageOf(Model, 1), _mlflow.StageOf(Model, 2), _mlflow.AliasOf(Model, "production")));
        await _host.External.SyncAsync(full: true, default);
        Assert.Equal((0, "1.0.1"), (_host.External.Status().PendingWrites, Registry.Find(Model, "@production")!.Version));
        (status, body) = await _host.Area.GetAsync($"/api/2.0/mlflow/registered-models/alias?name={Model}&alias=production");
        Assert.Equal((200, "2"), (status, body.GetProperty("model_version").GetProperty("version").GetString()));
    }

    private async Task StartOverAsync(MlflowFake mlflow) => (_mlflow, _host) = (mlflow, await StartAsync(mlflow: mlflow));

    private async Task<string> ApprovedAsync(string version, Stage to)
    {
        var promotion = await Registry.RequestPromotionAsync(Model, version, to, "ready", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
        return promotion.Id;
    }

    private static async Task WaitAsync(Func<bool> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!condition())
        {
            await Task.Delay(20, limit.Token);
        }
    }
}
