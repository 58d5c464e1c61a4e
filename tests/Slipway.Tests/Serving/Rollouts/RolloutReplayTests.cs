using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving.Rollouts;

public sealed class RolloutReplayTests
{
    private const string Routes = "/api/slipway/v1/rollouts";

    [Theory, InlineData("completed"), InlineData("rolled_back"), InlineData("aborted"), InlineData("promoted"), Trait("capability", "SRV-13")]
    public async Task A_rollout_replays_to_itself_however_it_ended(string ending)
    {
        // Bakes, so that the decisions depend on the clock too.
        var spec = Specs.Complete.Replace("{percent: 5, min_requests: 200}", "{percent: 5, min_requests: 200, bake: 1s}", StringComparison.Ordinal);
        await using var host = await RolloutHost.StartAsync(ending == "rolled_back" ? Behaviour.Slow : Behaviour.Good, spec: spec);
        var id = (await host.BeginAsync()).Id;
        if (ending is "completed" or "rolled_back")
        {
            await host.RunAsync(id);
        }
        else
        {
            await host.RunAsync(id, untilStep: 1);
            await host.SendAndLookAsync(id, 500);
            await (ending == "aborted" ? host.Controller.AbortAsync(id, "no longer wanted", RegistryHost.Ada, default) : host.Controller.PromoteAsync(id, "wanted now", toFull: true, null, RegistryHost.Ada, default));
        }

        var replay = await ReplayAsync(host, id);

        Assert.Equal(0, replay.Differences);
        Assert.Contains(replay.Looks, look => look is { Stored: RolloutAction.Advance, Replayed: RolloutAction.Advance, Equal: true });
        Assert.Equal(host.Store.Decisions(id).Count, replay.Looks.Count);
        Assert.Equal(ending switch { "completed" => (bool?)true, "rolled_back" => true, "promoted" => null, _ => true }, replay.Looks[^1].Equal);
    }

    [Theory, Trait("capability", "SRV-13")]
    [InlineData("evidence = replace(evidence, '\"errors\":0', '\"errors\":7')", "[error_rate]")]
    [InlineData("evidence = 'gone'", "cannot be read")]
    [InlineData("reason = 'all was well'", "the stored reason is 'all was well'")]
    public async Task A_tampered_row_is_reported(string change, string words)
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;
        await host.RunAsync(id, untilStep: 2);
        await host.Service<Database>().WriteAsync(transaction => { transaction.Connection.Execute($"UPDATE rollout_decisions SET {change} WHERE rollout_id = @id AND seq = 1", new { id }); }, default);

        var replay = await ReplayAsync(host, id);

        Assert.Equal(1, replay.Differences);
        var look = Assert.Single(replay.Looks, look => look.Equal is false);
        Assert.Equal(1, look.Seq);
        Assert.Contains(words, look.Text, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-12")]
    public async Task Another_definition_says_what_would_have_happened()
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;
        await host.RunAsync(id);
        var strict = Specs.Complete.Replace("model: delays", $"model: {RolloutHost.Model}", StringComparison.Ordinal).Replace("max_ms: 200", "max_ms: 0.2", StringComparison.Ordinal);

        var replay = await ReplayAsync(host, id, strict);
        var (status, other) = await host.Registry.Area.PostAsync($"{Routes}/{id}/replay", new { definition = Specs.Complete.Replace("model: delays", "model: other", StringComparison.Ordinal) });

        Assert.True(replay.Differences > 0);
        Assert.Contains(replay.Looks, look => look is { Step: 2, Stored: RolloutAction.Advance, Replayed: RolloutAction.RollBack } && look.Text.Contains("limit 0.2 ms", StringComparison.Ordinal));
        Assert.Equal(400, status);
        Assert.Contains("'definition' is for model 'other'", other.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    private static async Task<RolloutReplayResponse> ReplayAsync(RolloutHost host, string id, string? definition = null)
    {
        var (status, body) = await host.Registry.Area.PostAsync($"{Routes}/{id}/replay", new { definition });
        Assert.Equal(200, status);
        return body.Deserialize<RolloutReplayResponse>(JsonDefaults.Options)!;
    }
}
