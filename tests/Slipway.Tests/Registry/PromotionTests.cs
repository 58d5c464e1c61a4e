using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public abstract class PromotionTests(RegistryProvider provider) : IAsyncLifetime
{
    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync(provider: provider);

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    [Trait("capability", "REG-03")]
    public async Task A_version_goes_from_development_through_staging_to_production_and_each_step_is_on_record()
    {
        var version = await _host.RegisterInProductionAsync();

        Assert.Equal(Stage.Production, version.Stage);
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal(
            ["development registration", "staging promotion", "production promotion"],
            Registry.History(Model, "1.0.0").Select(change => $"{change.To.ToString().ToLowerInvariant()} {change.Cause}"));
    }

    [Theory]
    [Trait("capability", "REG-04")]
    [InlineData(Stage.Production)]
    [InlineData(Stage.Development)]
    public async Task A_version_in_development_cannot_skip_staging(Stage to)
    {
        await _host.RegisterAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RequestPromotionAsync(Model, "1.0.0", to, "hurry", Ada, default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("is in development, from which it may only go to staging or archived", error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _host.Count("promotions"));
    }

    [Fact]
    [Trait("capability", "REG-04")]
    public async Task A_promotion_whose_version_has_moved_since_is_refused()
    {
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.0", Stage.Staging);
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Production, "ready", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
        await _host.PromoteAsync("1.0.0", Stage.Archived);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));

        Assert.Contains("source_stage: the promotion was asked for from staging, but the version is now in archived", error.Message, StringComparison.Ordinal);
        Assert.Null(Registry.FindInStage(Model, Stage.Production));
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task An_unapproved_promotion_is_refused_and_the_refusal_is_audited()
    {
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("approvals: 1 needed from approver or admin", error.Message, StringComparison.Ordinal);
        Assert.Equal(Stage.Development, Registry.Find(Model, "1.0.0")!.Stage);
        Assert.Equal("promotion.refused", _host.AuditOf("1.0.0")[0].Action);
        Assert.False(Registry.FindPromotion(promotion.Id)!.LastGate!.Passed);
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task Neither_the_requester_nor_the_author_nor_an_engineer_nor_a_stranger_may_approve()
    {
        var author = await _host.RegisterAsync(await _host.RequestAsync(), Ruth);
        var promotion = await Registry.RequestPromotionAsync(Model, author.Version, Stage.Staging, "ready", Grace, default);

        foreach (var (caller, message) in new[]
        {
            (Grace, "'grace' asked for"), (Ruth, "'ruth' made the version of"), (Ada, "'ada' is ml_engineer"),
            (new Caller("local", null), "'local' is not a stored user"), (Caller.System("pipelines"), "is not a stored user"),
        })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "fine", caller, default));
            Assert.Equal(ErrorCode.PermissionDenied, error.Code);
            Assert.Contains(message, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, _host.Count("promotion_decisions"));
        Assert.False(Registry.HasApproval(Model, author.Version, Stage.Staging));
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task An_approval_shows_who_when_role_and_comment()
    {
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);
        Assert.Equal(PromotionStatus.Pending, promotion.Status);

        var approved = await Registry.ApproveAsync(promotion.Id, "AUC holds on April", Grace, default);

        var decision = Assert.Single(approved.Decisions);
        Assert.Equal((PromotionStatus.Approved, "grace", "approver", true, "AUC holds on April"), (approved.Status, decision.By, decision.Role, decision.Approved, decision.Comment));
        Assert.InRange(decision.At, approved.RequestedAt, approved.RequestedAt.AddMinutes(5));
        Assert.True(Registry.HasApproval(Model, "1.0.0", Stage.Staging));
        Assert.False(Registry.HasApproval(Model, "1.0.0", Stage.Production));
        Assert.Equal(("grace", "promotion.approved", "AUC holds on April"), (_host.AuditOf("1.0.0")[0].Actor, _host.AuditOf("1.0.0")[0].Action, _host.AuditOf("1.0.0")[0].Reason));
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task Two_approvals_must_come_from_two_people()
    {
        await _host.ApplyPolicyAsync("""
            kind: policy
            name: flight-delay
            model: flight-delay
            staging: { approvals: 2, lineage_complete: false }
            """);
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "once", Grace, default);
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "and again", Grace, default));

        Assert.Contains("'grace' has approved promotion-1 already", error.Message, StringComparison.Ordinal);
        Assert.Equal("once", Assert.Single(Registry.FindPromotion(promotion.Id)!.Decisions).Comment);
        Assert.Equal(PromotionStatus.Pending, Registry.FindPromotion(promotion.Id)!.Status);
        await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));
        await Registry.ApproveAsync(promotion.Id, "me too", Ruth, default);

        Assert.Equal(Stage.Staging, (await Registry.ExecutePromotionAsync(promotion.Id, Ada, default)).Stage);
    }

    [Fact]
    public async Task Only_the_roles_a_policy_names_may_approve()
    {
        await _host.Area.Service<UserStore>().CreateAsync("boss", Role.Administrator, Caller.System("test"), default);
        await _host.ApplyPolicyAsync("""
            kind: policy
            name: flight-delay
            model: flight-delay
            staging: { roles: [admin] }
            """);
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "fine", Grace, default));

        Assert.Contains("needs a user with role administrator; 'grace' is approver", error.Message, StringComparison.Ordinal);
        Assert.Equal(PromotionStatus.Approved, (await Registry.ApproveAsync(promotion.Id, "fine", new Caller("boss", null), default)).Status);
    }

    [Fact]
    public async Task A_rejection_or_withdrawal_closes_the_promotion_and_a_new_one_may_follow()
    {
        await _host.RegisterAsync();
        var first = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);
        var twin = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Grace, default));
        Assert.Equal(ErrorCode.AlreadyExists, twin.Code);

        var rejected = await Registry.RejectAsync(first.Id, "calibration is off", Grace, default);

        Assert.Equal((PromotionStatus.Rejected, "grace"), (rejected.Status, rejected.ClosedBy));
        foreach (var again in new Func<Task>[]
        {
            () => Registry.ApproveAsync(first.Id, "after all", Ruth, default),
            () => Registry.ExecutePromotionAsync(first.Id, Ada, default),
            () => Registry.WithdrawPromotionAsync(first.Id, "never mind", Ada, default),
        })
        {
            Assert.Contains("is rejected already", (await Assert.ThrowsAsync<SlipwayException>(again)).Message, StringComparison.Ordinal);
        }

        var second = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "calibrated", Ada, default);
        Assert.Equal(PromotionStatus.Withdrawn, (await Registry.WithdrawPromotionAsync(second.Id, "rollout failed", Ada, default)).Status);
        Assert.Null(Registry.FindOpenPromotion(Model, "1.0.0", Stage.Staging));
    }

    [Fact]
    [Trait("capability", "REG-06")]
    public async Task The_previous_production_version_is_archived_in_the_same_change()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();

        Assert.Equal(Stage.Archived, Registry.Find(Model, "1.0.0")!.Stage);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
        var replaced = Registry.History(Model, "1.0.0")[^1];
        var promoted = Registry.History(Model, "1.0.1")[^1];
        Assert.Equal(("replaced", promoted.PromotionId), (replaced.Cause, replaced.PromotionId));
        var events = _host.Area.Service<Outbox>().Read("test", [ModelRegistry.StageChangedTopic]);
        Assert.Contains("\"version\":\"1.0.0\",\"from\":\"production\",\"to\":\"archived\"", events[^2].Payload, StringComparison.Ordinal);
        Assert.Contains("\"version\":\"1.0.1\",\"from\":\"staging\",\"to\":\"production\"", events[^1].Payload, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-06")]
    public async Task The_database_itself_refuses_a_second_production_version()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();

        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => _host.Area.Service<Database>().WriteAsync(
            transaction => transaction.Connection.Execute("UPDATE model_versions SET stage = 'production' WHERE version = '1.0.1'"), default));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task A_promotion_that_fails_half_way_leaves_no_stage_history_event_or_audit_row()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.1", Stage.Production, "ready", Ada, default);
        await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
        await _host.Area.Service<Database>().WriteAsync(transaction => transaction.Connection.Execute(
            TestDatabase.FailWhere(_host.Area.Service<Database>(), "promotions", "closed_by IS NOT NULL")), default);
        var before = (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox"));

        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));

        Assert.Equal(before, (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox")));
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.Equal((Stage.Staging, PromotionStatus.Approved), (Registry.Find(Model, "1.0.1")!.Stage, Registry.FindPromotion(promotion.Id)!.Status));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Every_step_of_a_promotion_is_in_the_audit_chain_with_actor_reason_and_both_states()
    {
        await _host.RegisterInProductionAsync();

        var rows = _host.AuditOf("1.0.0").Reverse().ToList();
        Assert.Equal(
            ["model_version.registered", "promotion.requested", "promotion.approved", "model_version.promoted", "promotion.requested", "promotion.approved", "model_version.promoted"],
            rows.Select(row => row.Action));
        Assert.Equal("ada grace ada", string.Join(' ', rows[^3..].Select(row => row.Actor)));
        Assert.Equal(("better than before", "request-1"), (rows[^1].Reason, rows[^1].RequestId));
        Assert.Contains("\"staging\"", rows[^1].BeforeJson, StringComparison.Ordinal);
        Assert.Contains("\"approved_by\":[\"grace\"]", rows[^1].AfterJson, StringComparison.Ordinal);
        Assert.Null(_host.Area.Service<Slipway.Storage.Audit.AuditTrail>().Verify().BrokenAtSeq);
    }

    [Fact]
    [Trait("capability", "REG-06")]
    public async Task Two_promotions_at_the_same_time_end_with_one_production_version()
    {
        await _host.RegisterInProductionAsync();
        var ids = new List<string>();
        foreach (var version in new[] { "1.0.1", "1.0.2" })
        {
            await _host.RegisterAsync();
            await _host.PromoteAsync(version, Stage.Staging);
            var promotion = await Registry.RequestPromotionAsync(Model, version, Stage.Production, "race", Ada, default);
            await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);
            ids.Add(promotion.Id);
        }

        await Task.WhenAll(ids.Select(id => Task.Run(() => Registry.ExecutePromotionAsync(id, Ada, default))));

        Assert.Single(Registry.Search(Model, new VersionSearch(Stage.Production)));
        Assert.Equal(2, Registry.Search(Model, new VersionSearch(Stage.Archived)).Count);
    }
}
