using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public abstract class RollbackTests(RegistryProvider provider) : IAsyncLifetime
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
    [Trait("capability", "REG-07")]
    public async Task One_call_puts_the_prior_version_back_with_reason_and_actor_on_record()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();

        var back = await Registry.RollbackAsync(Model, null, "errors rose to 8 %", Caller.System("rollouts"), default);

        Assert.Equal(("1.0.0", Stage.Production), (back.Version, back.Stage));
        Assert.Equal(Stage.Archived, Registry.Find(Model, "1.0.1")!.Stage);
        var (left, entered) = (Registry.History(Model)[^2], Registry.History(Model)[^1]);
        Assert.Equal(("1.0.1", "rolled_back", "errors rose to 8 %"), (left.Version, left.Cause, left.Reason));
        Assert.Equal(("1.0.0", "rollback", "system:rollouts"), (entered.Version, entered.Cause, entered.By));
        var audit = _host.AuditOf("1.0.0")[0];
        Assert.Equal(("model_version.rolled_back", "system:rollouts", "errors rose to 8 %"), (audit.Action, audit.Actor, audit.Reason));
        Assert.Contains("1.0.1", audit.BeforeJson, StringComparison.Ordinal);
        var newest = _host.Area.Service<Outbox>().Read("test", [ModelRegistry.StageChangedTopic])[^1].Payload;
        Assert.Contains("\"version\":\"1.0.0\",\"from\":\"archived\",\"to\":\"production\",\"cause\":\"rollback\",\"reason\":\"errors rose to 8 %\"", newest, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-07")]
    public async Task The_last_known_good_version_is_never_one_that_was_itself_rolled_back()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        await Registry.RollbackAsync(Model, null, "bad", Ada, default);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);

        await Registry.RollbackAsync(Model, null, "worse", Ada, default);

        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);
        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RollbackAsync(Model, null, "still bad", Ada, default));
        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("no earlier production version", error.Message, StringComparison.Ordinal);
        Assert.Equal("1.0.2", (await Registry.RollbackAsync(Model, "1.0.2", "it was the data", Ada, default)).Version);
    }

    [Theory]
    [InlineData("1.0.1", "is in production already")]
    [InlineData("1.0.2", "was never in production; promote it instead")]
    [InlineData("7.0.0", "has no version '7.0.0'")]
    public async Task A_version_that_cannot_take_over_is_refused(string version, string message)
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RollbackAsync(Model, version, "why not", Ada, default));

        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
    }

    [Fact]
    public async Task A_rollback_needs_a_reason_and_an_undamaged_target()
    {
        var first = await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RollbackAsync(Model, null, " ", Ada, default));
        Assert.Contains("'reason'", error.Message, StringComparison.Ordinal);
        _host.Damage(first.ServedSha256!);
        error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.RollbackAsync(Model, null, "bad", Ada, default));

        Assert.Contains("cannot take over: model.onnx of 1.0.0 is missing or was changed", error.Message, StringComparison.Ordinal);
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task A_rollback_that_fails_half_way_changes_nothing()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        await _host.Area.Service<Database>().WriteAsync(transaction => transaction.Connection.Execute(
            TestDatabase.FailWhere(_host.Area.Service<Database>(), "stage_history", "cause = 'rollback'")), default);
        var before = (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox"));

        await Assert.ThrowsAnyAsync<System.Data.Common.DbException>(() => Registry.RollbackAsync(Model, null, "bad", Ada, default));

        Assert.Equal(before, (_host.Count("audit_events"), _host.Count("stage_history"), _host.Count("outbox")));
        Assert.Equal("1.0.1", Registry.FindInStage(Model, Stage.Production)!.Version);
    }

    [Fact]
    [Trait("capability", "REG-09")]
    public async Task The_version_in_production_as_of_a_date_is_the_one_that_was_there_then()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterInProductionAsync();
        await Registry.RollbackAsync(Model, null, "bad", Ada, default);
        await _host.PromoteAsync("1.0.0", Stage.Archived);

        // Days apart, as in life: the act itself takes milliseconds here.
        await _host.Area.Service<Database>().WriteAsync(transaction => transaction.Connection.Execute(
            """
            UPDATE stage_history SET at_ms = 86400000 * (
                SELECT count(*) FROM stage_history h
                 WHERE h.seq <= stage_history.seq + CASE WHEN stage_history.cause IN ('replaced', 'rolled_back') THEN 1 ELSE 0 END
                   AND (h.to_stage = 'production' OR (h.from_stage = 'production' AND h.cause = 'promotion')))
            """), default);
        string? On(int day) => Registry.FindInProductionAsOf(Model, DateTimeOffset.UnixEpoch.AddDays(day).AddHours(1))?.Version;

        Assert.Null(On(0));
        Assert.Equal("1.0.0", On(1));
        Assert.Equal("1.0.1", On(2));
        Assert.Equal("1.0.0", On(3));
        Assert.Null(On(4));
        Assert.Null(Registry.FindInProductionAsOf("other", DateTimeOffset.UnixEpoch.AddDays(2)));
    }
}
