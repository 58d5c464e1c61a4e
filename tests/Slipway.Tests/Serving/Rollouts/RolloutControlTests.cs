using System.Text.Json;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Serving.Rollouts;

/// <summary>What people tell a running rollout, over HTTP.</summary>
public sealed class RolloutControlTests
{
    private const string Routes = "/api/slipway/v1/rollouts";

    [Fact, Trait("capability", "SRV-10")]
    public async Task A_paused_rollout_keeps_its_traffic_through_a_restart_and_goes_on_when_resumed()
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;
        await host.RunAsync(id, untilStep: 1);

        var (status, paused) = await TellAsync(host, id, "pause", new { reason = "talks with the airport" });
        var (againStatus, again) = await TellAsync(host, id, "pause", new { reason = "once more" });
        await host.RestartAsync();
        host.ServeStable();
        for (var look = 0; look < 5; look++)
        {
            await host.SendAndLookAsync(id, 2000);
        }

        Assert.Equal((200, "ada"), (status, paused.GetProperty("pause").GetProperty("by").GetString()));
        Assert.Equal((409, $"Rollout {id} is paused already, by ada: talks with the airport."), (againStatus, again.GetProperty("message").GetString()));
        Assert.Equal((RolloutStatus.Running, 1), (host.Store.Get(id).Status, host.Store.Get(id).Step));
        Assert.Equal(0.05, host.Router.Find(RolloutHost.Model)!.Share);
        Assert.Equal("[paused] Paused by ada: talks with the airport.", host.Controller.Latest(id)!.Decision.Reason);

        Assert.Null(await ResumeInRestartedAsync(host, id));
        Assert.Equal(RolloutStatus.Completed, (await host.RunAsync(id)).Status);
        Assert.Equal(["rollout.paused", "rollout.resumed"], Audit(host, id).Where(row => row.Action is "rollout.paused" or "rollout.resumed").Select(row => row.Action));
        Assert.Equal(("ada", "talks with the airport"), Audit(host, id).Where(row => row.Action == "rollout.paused").Select(row => (row.Actor, row.Reason)).Single());
    }

    [Fact, Trait("capability", "SRV-10")]
    public async Task A_word_that_is_said_several_times_moves_the_rollout_once()
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;

        var told = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => TellAsync(host, id, "promote", new { reason = "seen enough", from_step = 1 })));

        Assert.Equal((1, 4), (told.Count(answer => answer.Item1 == 200), told.Count(answer => answer.Item1 == 409)));
        Assert.Equal(1, host.Store.Get(id).Step);
        Assert.Contains(told, answer => answer.Item2.ToString().Contains("is in step 2, not in step 1 as 'from_step' says", StringComparison.Ordinal));
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_breach_takes_a_paused_rollout_back()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var id = (await host.BeginAsync()).Id;
        while (host.Store.Get(id).Step == 0)
        {
            await host.SendAndLookAsync(id, 300);
        }

        await TellAsync(host, id, "pause", new { reason = "lunch" });
        var ended = await host.RunAsync(id);

        Assert.Equal((RolloutStatus.RolledBack, 1), (ended.Status, ended.Step));
        Assert.StartsWith("[latency]", ended.EndReason, StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);
    }

    [Fact, Trait("capability", "SRV-10")]
    public async Task A_promoted_rollout_enters_the_next_step_without_its_evidence_and_the_record_says_what_was_missing()
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;

        var (status, promoted) = await TellAsync(host, id, "promote", new { reason = "seen on the test floor" });

        Assert.Equal((200, 2), (status, promoted.GetProperty("step").GetInt32()));
        Assert.Equal((0.05, host.Candidate), (host.Router.Find(RolloutHost.Model)!.Share, host.Router.Find(RolloutHost.Model)!.Candidate!.Version));
        Assert.Equal("Promoted to the next step by ada: seen on the test floor", host.Store.Decisions(id)[^1].Reason);
        var audit = Assert.Single(Audit(host, id), row => row.Action == "rollout.promoted");
        Assert.Equal(("ada", "seen on the test floor"), (audit.Actor, audit.Reason));
        Assert.Contains("seen 0 of 500 requests", audit.BeforeJson, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-10")]
    public async Task A_rollout_is_finished_by_a_person_only_with_an_approved_promotion()
    {
        await using var unapproved = await RolloutHost.StartAsync(approved: false);
        var waiting = (await unapproved.BeginAsync()).Id;
        var (refusedStatus, refused) = await TellAsync(unapproved, waiting, "promote", new { reason = "now", to_full = true });

        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;
        var (status, finished) = await TellAsync(host, id, "promote", new { reason = "the old one is on fire", to_full = true });
        var (_, after) = await TellAsync(host, id, "pause", new { reason = "wait" });

        Assert.Equal(409, refusedStatus);
        Assert.Contains("has no approved promotion to production, which all traffic needs", refused.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(RolloutStatus.Running, unapproved.Store.Get(waiting).Status);
        Assert.Equal((200, "completed"), (status, finished.GetProperty("status").GetString()));
        Assert.Equal(host.Candidate, host.Registry.Registry.FindInStage(RolloutHost.Model, Stage.Production)!.Version);
        Assert.Equal($"Rollout {id} has ended already (Promoted to all traffic by ada: the old one is on fire); there is nothing to pause.", after.GetProperty("message").GetString());
    }

    [Fact]
    public async Task What_does_not_fit_is_refused_in_one_sentence_and_changes_nothing()
    {
        await using var host = await RolloutHost.StartAsync();
        var id = (await host.BeginAsync()).Id;

        var (resumeStatus, resume) = await TellAsync(host, id, "resume", new { reason = "go" });
        var (reasonStatus, reason) = await TellAsync(host, id, "promote", new { reason = " " });
        var (missing, _) = await TellAsync(host, "none", "pause", new { reason = "go" });

        Assert.Equal((409, $"Rollout {id} is not paused; there is nothing to resume."), (resumeStatus, resume.GetProperty("message").GetString()));
        Assert.Equal((400, "'reason' is missing; give it a text."), (reasonStatus, reason.GetProperty("message").GetString()));
        Assert.Equal(404, missing);
        Assert.Equal(["rollout.started"], Audit(host, id).Select(row => row.Action));
    }

    // The routes belong to the first controller; after a restart the test speaks to the second one.
    private static async Task<RolloutPause?> ResumeInRestartedAsync(RolloutHost host, string id) =>
        (await host.Controller.ResumeAsync(id, "agreed", Slipway.Tests.Registry.RegistryHost.Ada, default)).Pause;

    private static Task<(int Status, JsonElement Body)> TellAsync(RolloutHost host, string id, string verb, object body) => host.Registry.Area.PostAsync($"{Routes}/{id}/{verb}", body);

    private static List<AuditEvent> Audit(RolloutHost host, string id) => [.. host.Service<AuditTrail>().List(new NodeRef(NodeKinds.Rollout, id)).OrderBy(row => row.Seq)];
}
