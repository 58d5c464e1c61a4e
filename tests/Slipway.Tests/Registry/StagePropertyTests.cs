using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage.Audit;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class StagePropertyTests
{
    private static readonly Stage[] Stages = Enum.GetValues<Stage>();

    [Theory]
    [Trait("capability", "REG-06")]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task No_order_of_stage_operations_leads_to_two_production_versions_or_a_history_that_disagrees(int seed)
    {
        await using var host = await RegistryHost.StartAsync();
        await host.ApplyPolicyAsync("""
            kind: policy
            name: flight-delay
            model: flight-delay
            environments: [{ name: preprod, approvals: 0 }, { name: canary-eu, approvals: 1, optional: true }]
            staging: { approvals: 1 }
            production: { approvals: 1 }
            archived: { approvals: 1 }
            """);
        var registry = host.Registry;
        var random = new Random(seed);
        var open = new List<string>();
        for (var i = 0; i < 4; i++)
        {
            await host.RegisterAsync();
        }

        var moves = 0;
        for (var step = 0; step < 420; step++)
        {
            var version = $"1.0.{random.Next(4)}";
            try
            {
                switch (random.Next(8))
                {
                    case 6:
                        open.Add((await registry.RequestPromotionAsync(Model, version, new PromotionTarget(null, random.Next(2) == 0 ? "preprod" : "canary-eu"), "try", Ada, default)).Id);
                        break;
                    case 7 when random.Next(12) == 0:
                        await registry.DeprecateAsync(Model, version, new DeprecateVersion("try", random.Next(2) == 0 ? DateTimeOffset.UnixEpoch : null), Ada, default);
                        break;
                    case 7:
                        foreach (var deprecated in registry.ListDeprecations(Model))
                        {
                            await registry.UndeprecateAsync(Model, deprecated.Version, "try", Ada, default);
                        }

                        break;
                    case 0 or 1:
                        // Mostly a move that is allowed, or too few would get anywhere.
                        var allowed = StageRules.Targets(registry.Find(Model, version)!.Stage);
                        var to = random.Next(4) == 0 ? Stages[random.Next(4)] : allowed[0];
                        open.Add((await registry.RequestPromotionAsync(Model, version, to, "try", Ada, default)).Id);
                        break;
                    case 2 or 3 when open.Count > 0:
                        var id = open[random.Next(open.Count)];
                        open.Remove(id);
                        if (registry.FindPromotion(id)!.Status is PromotionStatus.Pending)
                        {
                            await registry.ApproveAsync(id, "fine", Grace, default);
                        }

                        await registry.ExecutePromotionAsync(id, Ada, default);
                        moves++;
                        break;
                    case 4 when open.Count > 0: // Not approved: refused.
                        await registry.ExecutePromotionAsync(open[random.Next(open.Count)], Ada, default);
                        break;
                    default:
                        await registry.RollbackAsync(Model, random.Next(2) == 0 ? null : version, "try", Ada, default);
                        moves++;
                        break;
                }
            }
            catch (SlipwayException e)
            {
                Assert.True(e.Code is ErrorCode.FailedPrecondition or ErrorCode.AlreadyExists, e.Message);
            }

            var versions = registry.ListVersions(Model);
            Assert.True(versions.Count(record => record.Stage is Stage.Production) <= 1);
            Assert.All(versions, record => Assert.Equal(record.Stage, registry.History(Model, record.Version)[^1].To));
        }

        Assert.True(moves > 30, $"only {moves} operations succeeded, too few to mean anything");
        Assert.Equal(registry.FindInStage(Model, Stage.Production)?.Version, registry.FindInProductionAsOf(Model, DateTimeOffset.MaxValue)?.Version);
        // Every promotion that was carried out had passed its gate with its approvals, and the trail tells of each act once.
        var executed = registry.ListPromotions(Model).Where(promotion => promotion.Status is PromotionStatus.Executed).ToList();
        Assert.All(executed, promotion => Assert.True(promotion.LastGate!.Passed));
        Assert.All(executed.Where(promotion => promotion.Environment is null && promotion.To is not Stage.Development), promotion => Assert.Contains(promotion.Decisions, decision => decision.Approved));
        Assert.Equal(executed.Where(promotion => promotion.Environment is null).Select(promotion => promotion.Id).Order(), Told("model_version.promoted", "promotion").Order());
        Assert.Equal(executed.Where(promotion => promotion.Environment is not null).Select(promotion => promotion.Id).Order(), Told("model_version.entered_environment", "promotion").Order());
        Assert.Equal(registry.History(Model).Count(change => change.Cause == "rollback"), host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM audit_events WHERE action = 'model_version.rolled_back'")));
        foreach (var held in registry.ListEnvironments(Model).Where(environment => environment.Version is not null))
        {
            Assert.Equal(held.Version, registry.PlaceHistory(Model).Last(change => change.Place == held.Environment).Version);
            Assert.True(registry.Find(Model, held.Version!)!.Stage is Stage.Staging or Stage.Production);
        }

        IEnumerable<string> Told(string action, string field) => host.Area.Service<AuditTrail>().List(limit: int.MaxValue)
            .Where(e => e.Action == action).Select(e => JsonDocument.Parse(e.AfterJson!).RootElement.GetProperty(field).GetString()!);
        var unbroken = host.Area.Read(connection => connection.ExecuteScalar<long>(
            """
            SELECT count(*) FROM (
                SELECT from_stage, lag(to_stage) OVER (PARTITION BY version ORDER BY seq) AS before FROM stage_history) h
             WHERE coalesce(from_stage, '') <> coalesce(before, '')
            """));
        Assert.Equal(0, unbroken);
    }
}
