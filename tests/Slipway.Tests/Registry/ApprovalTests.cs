using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Tests.Storage;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class ApprovalTests : IAsyncLifetime
{
    private static readonly Caller Olga = new("olga", "request-4");

    private readonly ManualClock _clock = new();
    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync(services => services.AddSingleton<TimeProvider>(_clock));
        var users = _host.Area.Service<UserStore>();
        await users.CreateAsync("olga", Role.Approver, Caller.System("test"), default, ["ethics"]);
        await users.CreateAsync("emma", Role.Approver, Caller.System("test"), default, ["executive"]);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "GOV-03")]
    public async Task Steps_are_taken_in_order_each_by_its_own_people_and_ethics_only_for_high_risk()
    {
        await ApplyAsync("high");
        var promotion = await AskAsync();
        Assert.Equal(["technical", "ethics", "final"], promotion.Steps.Select(step => step.Name));

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "fair enough", Olga, default));
        Assert.Contains("(step technical) needs a user with role approver or administrator in group tech; 'olga' is approver in ethics", error.Message, StringComparison.Ordinal);
        await Registry.ApproveAsync(promotion.Id, "code and tests are sound", Grace, default);
        error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "go", Ruth, default));
        Assert.Contains("(step ethics)", error.Message, StringComparison.Ordinal);
        await Registry.ApproveAsync(promotion.Id, "no group is harmed", Olga, default);
        var last = await Registry.ApproveAsync(promotion.Id, "go", Ruth, default);

        Assert.Equal(PromotionStatus.Approved, last.Status);
        Assert.Equal([("grace", "technical"), ("olga", "ethics"), ("ruth", "final")], last.Decisions.Select(decision => (decision.By, decision.Step)));
        await ApplyAsync("medium");
        Assert.Equal(["technical", "final"], (await AskAsync("1.0.1")).Steps.Select(step => step.Name));
    }

    [Theory]
    [Trait("capability", "GOV-04")]
    [Trait("capability", "X-58")]
    [InlineData("low", 1, "approvals")]
    [InlineData("medium", 2, "approvals")]
    [InlineData("high", 3, "ethics approvals")]
    [InlineData("very_high", 4, "ethics executive approvals")]
    public async Task The_risk_class_raises_the_approvals_and_calls_the_boards(string risk, int needed, string steps)
    {
        await _host.ApplyPolicyAsync($"{{ kind: policy, name: flight-delay, model: flight-delay, risk_class: {risk}, staging: {{ approvals: 0 }}, production: {{ approvals: 1 }} }}");
        await _host.RegisterAsync();
        await Registry.ExecutePromotionAsync((await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default)).Id, Ada, default);

        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Production, "ready", Ada, default);

        Assert.Equal(steps.Split(' '), promotion.Steps.Select(step => step.Name));
        Assert.Equal(needed, promotion.Steps.Sum(step => step.Needed));
        var gate = await Registry.CheckAsync(Model, "1.0.0", Stage.Production, default);
        Assert.Equal(promotion.Steps.Count, gate.Items.Count(item => item.Name.StartsWith("approvals", StringComparison.Ordinal) && !item.Passed));
    }

    [Fact]
    [Trait("capability", "GOV-04")]
    public async Task A_version_cannot_lower_the_risk_class_that_the_policy_sets()
    {
        await _host.ApplyPolicyAsync("{ kind: policy, name: flight-delay, model: flight-delay, risk_class: high, production: { approvals: 1 }, staging: { approvals: 0 } }");
        await Registry.RegisterAsync(await _host.RequestAsync() with { Tags = new Dictionary<string, string> { ["risk_tier"] = "low" } }, Ada, default);
        await Registry.ExecutePromotionAsync((await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default)).Id, Ada, default);

        Assert.Equal(3, (await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Production, "ready", Ada, default)).Steps.Sum(step => step.Needed));
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task A_request_that_nobody_carries_out_in_time_closes_by_itself_and_a_new_one_may_be_opened()
    {
        await _host.RegisterAsync();
        var promotion = await AskToStageAsync();
        Assert.Equal(TimeSpan.FromDays(14), promotion.ExpiresAt - promotion.RequestedAt);
        _clock.Advance(TimeSpan.FromDays(14));

        Assert.Equal(PromotionStatus.Expired, Registry.FindPromotion(promotion.Id)!.Status);
        Assert.Empty(Registry.ListOpenPromotions());
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "late", Grace, default));

        Assert.Contains("promotion-1 is expired already", error.Message, StringComparison.Ordinal);
        Assert.Equal(("promotion.expired", "system:registry"), (_host.AuditOf("1.0.0")[0].Action, _host.AuditOf("1.0.0")[0].Actor));
        Assert.Equal(PromotionStatus.Pending, (await AskToStageAsync()).Status);
    }

    [Fact]
    [Trait("capability", "CIC-06")]
    public async Task With_auto_execution_the_last_approval_moves_the_version_and_the_machine_is_named()
    {
        await _host.RegisterAsync();
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "nightly build", new Caller("ci", null), default, autoExecute: true);

        var done = await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);

        Assert.Equal((PromotionStatus.Executed, "system:registry"), (done.Status, done.ClosedBy));
        Assert.Equal((Stage.Staging, "system:registry"), (Registry.Find(Model, "1.0.0")!.Stage, Registry.History(Model)[^1].By));
    }

    [Fact]
    [Trait("capability", "CIC-06")]
    public async Task Auto_execution_that_the_gate_refuses_leaves_the_request_approved_with_the_refusal_on_it()
    {
        await Registry.RegisterAsync(await _host.RequestAsync() with { Commit = null }, Ada, default);
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "nightly build", Ada, default, autoExecute: true);

        var left = await Registry.ApproveAsync(promotion.Id, "fine", Grace, default);

        Assert.Equal(PromotionStatus.Approved, left.Status);
        Assert.Equal("lineage", Assert.Single(left.LastGate!.Items, item => !item.Passed).Name);
        Assert.Equal(Stage.Development, Registry.Find(Model, "1.0.0")!.Stage);
    }

    [Fact]
    [Trait("capability", "REG-05")]
    public async Task Comments_decide_nothing_and_are_kept_with_their_writer()
    {
        await _host.RegisterAsync();
        var promotion = await AskToStageAsync();

        var said = await Registry.CommentAsync(promotion.Id, "which airports are in the slices?", Grace, default);

        Assert.Equal(PromotionStatus.Pending, said.Status);
        Assert.Equal(("grace", "which airports are in the slices?"), (Assert.Single(said.Comments).By, said.Comments[0].Comment));
        Assert.Equal(("promotion.commented", "grace"), (_host.AuditOf("1.0.0")[0].Action, _host.AuditOf("1.0.0")[0].Actor));
    }

    [Fact]
    [Trait("capability", "CIC-08")]
    public async Task The_one_who_asks_or_made_the_version_never_counts_even_with_the_role()
    {
        await _host.Area.Service<UserStore>().ChangeAsync("ada", Role.Administrator, ["tech"], Caller.System("test"), default);
        await ApplyAsync("medium");
        var promotion = await AskAsync();

        foreach (var _ in new[] { "asked", "made" })
        {
            var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ApproveAsync(promotion.Id, "mine is good", Ada, default));
            Assert.Equal(ErrorCode.PermissionDenied, error.Code);
        }

        Assert.Empty(Registry.FindPromotion(promotion.Id)!.Decisions);
    }

    private Task ApplyAsync(string risk) => _host.ApplyPolicyAsync($"""
        kind: policy
        name: flight-delay
        model: flight-delay
        risk_class: {risk}
        groups:
          tech: [grace]
        staging:
          steps:
            - name: technical
              groups: [tech]
            - name: ethics
              groups: [ethics]
              risk: [high, very_high]
            - name: final
        """);

    private async Task<PromotionRecord> AskAsync(string version = "1.0.0")
    {
        await _host.RegisterAsync();
        return await Registry.RequestPromotionAsync(Model, version, Stage.Staging, "ready", Ada, default);
    }

    private Task<PromotionRecord> AskToStageAsync() => Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);
}
