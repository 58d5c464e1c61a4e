using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;
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
        var registry = host.Registry;
        var random = new Random(seed);
        var open = new List<string>();
        for (var i = 0; i < 4; i++)
        {
            await host.RegisterAsync();
        }

        var moves = 0;
        for (var step = 0; step < 250; step++)
        {
            var version = $"1.0.{random.Next(4)}";
            try
            {
                switch (random.Next(6))
                {
                    case 0 or 1:
                        // Mostly a move that is allowed, or too few would get anywhere.
                        var allowed = StageRules.Targets(registry.Find(Model, version)!.Stage);
                        var to = random.Next(4) == 0 ? Stages[random.Next(4)] : allowed[0];
                        open.Add((await registry.RequestPromotionAsync(Model, version, to, "try", Ada, default)).Id);
                        break;
                    case 2 or 3 when open.Count > 0:
                        var id = open[random.Next(open.Count)];
                        open.Remove(id);
                        await registry.ApproveAsync(id, "fine", Grace, default);
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
        var unbroken = host.Area.Read(connection => connection.ExecuteScalar<long>(
            """
            SELECT count(*) FROM (
                SELECT from_stage, lag(to_stage) OVER (PARTITION BY version ORDER BY seq) AS before FROM stage_history)
             WHERE from_stage IS NOT before
            """));
        Assert.Equal(0, unbroken);
    }
}
