using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Tests.Storage;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class LifeTests : IAsyncLifetime
{
    private const string Policy = """
        kind: policy
        name: flight-delay
        model: flight-delay
        retirement_approvals: [archive, deletion]
        environments:
          - { name: preprod, approvals: 0 }
          - { name: canary-eu, approvals: 1 }
          - { name: canary-us, approvals: 0, optional: true }
        staging: { approvals: 0 }
        production: { approvals: 0 }
        """;

    private readonly ManualClock _clock = new();
    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync(services => services.AddSingleton<TimeProvider>(_clock));
        await _host.ApplyPolicyAsync(Policy);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "REG-03")]
    public async Task Environments_are_entered_in_order_each_through_its_own_gate_and_hold_one_version()
    {
        await RegisterInAsync(Stage.Staging);
        await RegisterInAsync(Stage.Staging);
        var refused = await Assert.ThrowsAsync<SlipwayException>(() => MoveAsync("1.0.0", Named("canary-eu")));
        Assert.Contains("approvals: 1 needed", refused.Message, StringComparison.Ordinal);
        Assert.Contains("environments: it was not yet in preprod", refused.Message, StringComparison.Ordinal);
        Assert.Empty(Registry.PlaceHistory(Model));

        await MoveAsync("1.0.0", Named("preprod"));
        await MoveAsync("1.0.1", Named("preprod"));
        Assert.Equal("1.0.1", Registry.ListEnvironments(Model)[0].Version);
        Assert.Equal([("1.0.0", null), ("1.0.1", "1.0.0")], Registry.PlaceHistory(Model).Select(change => (change.Version!, change.Was)));
        Assert.Contains("it was not yet in canary-eu", (await GateAsync("1.0.1", Stage.Production)).Detail, StringComparison.Ordinal);
        var canary = Registry.FindOpenPromotion(Model, "1.0.0", Named("canary-eu"))!;
        await Registry.ApproveAsync(canary.Id, "watch it", Grace, default);
        await Registry.ExecutePromotionAsync(canary.Id, Ada, default);
        await MoveAsync("1.0.0", Stage.Production); // The optional one is not asked for.

        Assert.Equal(("1.0.0", Stage.Production), (Registry.ListEnvironments(Model)[1].Version, Registry.Find(Model, "1.0.0")!.Stage));
        Assert.Equal(_host.Count("place_history"), _host.AuditOf("1.0.0").Concat(_host.AuditOf("1.0.1")).Count(e => e.Action == "model_version.entered_environment"));
    }

    [Theory]
    [Trait("capability", "REG-04")]
    [InlineData("canary-mars", ErrorCode.NotFound, "'canary-mars' is neither a stage (development, staging, production, archived) nor an environment of 'flight-delay', which has preprod, canary-eu, canary-us.")]
    [InlineData("preprod", ErrorCode.FailedPrecondition, "is in development, and only versions in staging or production enter preprod.")]
    [InlineData("production", ErrorCode.FailedPrecondition, "is in development, from which it may only go to staging or archived, not to production.")]
    public async Task A_target_that_cannot_be_entered_is_refused_when_it_is_asked_for(string target, ErrorCode code, string message)
    {
        await _host.RegisterAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RequestPromotionAsync(Model, "1.0.0", PromotionTarget.Parse(target), "ready", Ada, default));

        Assert.Equal(code, error.Code);
        Assert.EndsWith(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(0, _host.Count("promotions"));
    }

    [Fact]
    [Trait("capability", "REG-09")]
    public async Task As_of_answers_for_stages_environments_and_aliases_with_data_and_approvals()
    {
        await RegisterInAsync(Stage.Staging);
        await MoveAsync("1.0.0", Named("preprod"));
        var canary = await Registry.RequestPromotionAsync(Model, "1.0.0", Named("canary-eu"), "ready", Ada, default);
        await Registry.ApproveAsync(canary.Id, "watch it", Grace, default);
        await Registry.ExecutePromotionAsync(canary.Id, Ada, default);
        await MoveAsync("1.0.0", Stage.Production);
        await Registry.SetAliasAsync(Model, "champion", "1.0.0", Ada, default);
        var first = _clock.GetUtcNow();
        _clock.Advance(TimeSpan.FromDays(10));
        await RegisterInAsync(Stage.Staging);
        await Registry.SetAliasAsync(Model, "champion", "1.0.1", Grace, default);

        foreach (var (place, then, now) in new[] { ("production", "1.0.0", "1.0.0"), ("staging", "", "1.0.1"), ("canary-eu", "1.0.0", "1.0.0"), ("@champion", "1.0.0", "1.0.1"), ("@rival", "", "") })
        {
            Assert.Equal(then, Versions(place, first.AddDays(1)));
            Assert.Equal(now, Versions(place, _clock.GetUtcNow()));
            Assert.Equal("", Versions(place, first.AddDays(-1)));
        }

        var held = Assert.Single(Registry.AsOf(Model, "canary-eu", first.AddDays(1)).Versions);
        Assert.Equal(("grace", "watch it", "flights", new string('a', 64)), (held.Approvals[0].By, held.Approvals[0].Comment, held.Datasets[0].Name, held.TrainingSetSha256));

        string Versions(string place, DateTimeOffset at) => string.Join(' ', Registry.AsOf(Model, place, at).Versions.Select(found => found.Version));
    }

    [Fact]
    [Trait("capability", "REG-12")]
    public async Task A_deprecated_version_is_refused_everywhere_once_its_life_has_ended()
    {
        await _host.ApplyPolicyAsync("{ kind: policy, name: flight-delay, model: flight-delay, staging: { approvals: 0 }, production: { approvals: 0 } }");
        await RegisterInAsync(Stage.Staging);
        await MoveAsync("1.0.0", Stage.Production);
        await RegisterInAsync(Stage.Staging);
        await MoveAsync("1.0.1", Stage.Production);
        await RegisterInAsync(Stage.Staging);
        var end = _clock.GetUtcNow().AddDays(30);
        foreach (var version in new[] { "1.0.0", "1.0.2" })
        {
            await Registry.DeprecateAsync(Model, version, new DeprecateVersion("trained before the strike", end, "1.0.1"), Ada, default);
        }

        Assert.Equal("flight-delay 1.0.2 is deprecated: trained before the strike; its life ends 2001-05-31; use 1.0.1 instead.", Registry.FindDeprecation(Model, "1.0.2")!.Warning);
        Assert.DoesNotContain((await Registry.CheckAsync(Model, "1.0.2", Stage.Production, default)).Items, item => item.Name == "end_of_life");
        var asked = await Registry.RequestPromotionAsync(Model, "1.0.2", Stage.Production, "ready", Ada, default);
        _clock.Advance(TimeSpan.FromDays(13));
        await Registry.DeprecateAsync(Model, "1.0.2", new DeprecateVersion("trained before the strike", _clock.GetUtcNow()), Ada, default);
        _clock.Advance(TimeSpan.FromMinutes(1));

        var late = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(asked.Id, Ada, default));
        Assert.Contains("end_of_life: its life ended 2001-05-14", late.Message, StringComparison.Ordinal);
        _clock.Advance(TimeSpan.FromDays(30));
        foreach (var act in new Func<Task>[]
        {
            () => Registry.RequestPromotionAsync(Model, "1.0.2", Stage.Production, "ready", Ada, default), () => Registry.RollbackAsync(Model, null, "bad", Ada, default),
        })
        {
            Assert.Contains("trained before the strike", (await Assert.ThrowsAsync<SlipwayException>(act)).Message, StringComparison.Ordinal);
        }

        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
        Assert.False((await Registry.PlanRollbackAsync(Model, default)).Ready);
        await Registry.UndeprecateAsync(Model, "1.0.0", "it was the data after all", Ada, default);
        Assert.Equal("1.0.0", (await Registry.RollbackAsync(Model, null, "bad", Ada, default)).Version);
    }

    [Fact]
    [Trait("capability", "REG-13")]
    public async Task A_retirement_goes_step_by_step_and_what_the_policy_says_is_left_to_an_approver()
    {
        await RegisterInAsync(Stage.Staging);
        var early = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RetireAsync(Model, "1.0.0", "archive", "away", Ada, default));
        Assert.Contains("The next step of the retirement of model_version:flight-delay@1.0.0 is notice, not archive.", early.Message, StringComparison.Ordinal);

        await Registry.RetireAsync(Model, "1.0.0", "notice", "ends in June", Ada, default);
        Assert.Equal("ends in June", Registry.FindDeprecation(Model, "1.0.0")!.Reason); // Whoever uses it is told.
        await Registry.RetireAsync(Model, "1.0.0", "migration", "both callers moved", Ada, default);
        var mine = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RetireAsync(Model, "1.0.0", "archive", "away", Ada, default));
        Assert.Equal(ErrorCode.PermissionDenied, mine.Code);
        Assert.Equal(Stage.Staging, Registry.Find(Model, "1.0.0")!.Stage);
        await Registry.RetireAsync(Model, "1.0.0", "archive", "agreed", Grace, default);
        var done = await Registry.RetireAsync(Model, "1.0.0", "deletion", "copies outside are gone", Ruth, default);

        Assert.True(done.Complete);
        Assert.Equal(["ada", "ada", "grace", "ruth"], done.Steps.Select(step => step.By));
        Assert.Equal((Stage.Archived, "retirement"), (Registry.Find(Model, "1.0.0")!.Stage, Registry.History(Model)[^1].Cause));
        await Assert.ThrowsAsync<SlipwayException>(() => Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "back", Ada, default));
        Assert.Equal(4, _host.AuditOf("1.0.0").Count(e => e.Action.StartsWith("model_version.retirement_", StringComparison.Ordinal)));
    }

    [Fact]
    [Trait("capability", "REG-18")]
    public async Task The_rollback_plan_is_tried_and_says_what_is_wrong_with_it()
    {
        await _host.ApplyPolicyAsync("{ kind: policy, name: flight-delay, model: flight-delay, staging: { approvals: 0 }, production: { approvals: 0 } }");
        await RegisterInAsync(Stage.Staging);
        await MoveAsync("1.0.0", Stage.Production);
        Assert.Equal((null, false), ((await Registry.PlanRollbackAsync(Model, default)).Target, (await Registry.PlanRollbackAsync(Model, default)).Ready));
        await RegisterInAsync(Stage.Staging);
        await MoveAsync("1.0.1", Stage.Production);
        var plan = await Registry.PlanRollbackAsync(Model, default);
        Assert.Equal(("1.0.1", "1.0.0", true), (plan.Production, plan.Target, plan.Ready));

        _host.Damage(Registry.Find(Model, "1.0.0")!.ServedSha256!);

        plan = await Registry.PlanRollbackAsync(Model, default);
        Assert.False(plan.Ready);
        Assert.Contains("model.onnx of 1.0.0 is missing or was changed", plan.Detail, StringComparison.Ordinal);
    }

    private static PromotionTarget Named(string environment) => new(null, environment);

    private async Task RegisterInAsync(Stage stage) => await MoveAsync((await _host.RegisterAsync()).Version, stage);

    private async Task MoveAsync(string version, PromotionTarget to)
    {
        var promotion = Registry.FindOpenPromotion(Model, version, to) ?? await Registry.RequestPromotionAsync(Model, version, to, "ready", Ada, default);
        await Registry.ExecutePromotionAsync(promotion.Id, Ada, default);
    }

    private async Task<GateItem> GateAsync(string version, PromotionTarget to) =>
        (await Registry.CheckAsync(Model, version, to, default)).Items.Single(item => item.Name == "environments");
}
