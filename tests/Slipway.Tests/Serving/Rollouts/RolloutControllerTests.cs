using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Serving.Rollouts;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving.Rollouts;

public sealed class RolloutControllerTests
{
    private const string Routes = "/api/slipway/v1/rollouts";

    [Fact, Trait("capability", "SRV-10"), Trait("capability", "SRV-15")]
    public async Task A_good_version_passes_every_step_and_becomes_the_production_version()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();

        var ended = await host.RunAsync(rollout.Id);

        Assert.Equal(RolloutStatus.Completed, ended.Status);
        Assert.Equal(host.Candidate, host.Registry.Registry.FindInStage(RolloutHost.Model, Stage.Production)!.Version);
        Assert.All(host.Store.Steps(rollout.Id), step => Assert.Equal(RolloutStepStatus.Passed, step.Status));
        Assert.Equal(
            ["rollout.started", "rollout.advanced", "rollout.advanced", "rollout.advanced", "rollout.advanced", "rollout.completed"],
            Audit(host, rollout.Node).Select(row => row.Action));
        // Until serving has taken the promotion over, the candidate goes on answering everything.
        Assert.Equal(1, host.Router.Find(RolloutHost.Model)!.Share);
        Assert.Contains(host.Service<Lineage>().Downstream(rollout.VersionNode), edge => edge.To == rollout.Node && edge.Relation == "rolls_out");
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task Every_stored_decision_replays_to_itself_from_its_stored_evidence()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id);
        var spec = host.Controller.SpecOf(rollout);

        var decisions = host.Store.Decisions(rollout.Id);

        Assert.Equal([RolloutAction.Advance, RolloutAction.RollBack], decisions.Select(decision => decision.Action).Where(action => action != RolloutAction.Hold));
        Assert.Equal(Enumerable.Range(1, decisions.Count).Select(seq => (long)seq), decisions.Select(decision => decision.Seq));
        Assert.All(decisions, decision =>
        {
            var evidence = decision.Evidence.Deserialize<RolloutEvidence>(JsonDefaults.Options)!;
            var replayed = RolloutRules.Decide(spec, new RolloutState(decision.Step - 1, decision.At), evidence, decision.At);
            Assert.Equal((decision.Action, decision.Reason), (replayed.Action, replayed.Reason));
        });
    }

    [Fact, Trait("capability", "SRV-09"), Trait("capability", "SRV-13")]
    public async Task A_version_trained_on_kilometres_is_stopped_in_shadow_before_it_answers_anyone()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Kilometres);
        var rollout = await host.BeginAsync();
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);

        var ended = await host.RunAsync(rollout.Id);

        Assert.Equal((RolloutStatus.RolledBack, 0), (ended.Status, ended.Step));
        Assert.Contains("[disagreement] 100 % of", ended.EndReason, StringComparison.Ordinal);
        Assert.Contains("[skew] Flight:distance: PSI", ended.EndReason, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(0, host.Router.Loaded(RolloutHost.Model, RolloutHost.Stable)!.Statistics.Snapshot().Errors);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
    }

    [Fact, Trait("capability", "SRV-13"), Trait("capability", "REG-08")]
    public async Task A_slow_version_is_stopped_in_the_canary_and_the_record_says_why_and_how_fast()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var rollout = await host.BeginAsync();

        var ended = await host.RunAsync(rollout.Id);

        Assert.Equal((RolloutStatus.RolledBack, 1), (ended.Status, ended.Step));
        Assert.StartsWith("[latency] P95 latency", ended.EndReason, StringComparison.Ordinal);
        Assert.InRange(ended.RestoreMs!.Value, 0, 100);
        var table = host.Router.Find(RolloutHost.Model)!;
        Assert.Equal((RolloutHost.Stable, null, null), (table.Stable!.Version, table.Candidate, table.Shadow));

        // Whoever asks about the rollout or about the version finds the reason, and the old approval no longer counts.
        var audit = Assert.Single(Audit(host, rollout.Node), row => row.Action == "rollout.rolled_back");
        Assert.Equal(ended.EndReason, audit.Reason);
        Assert.Contains("restore_ms", audit.AfterJson, StringComparison.Ordinal);
        Assert.Contains(Audit(host, rollout.VersionNode), row => row.Action == "model_version.rollout_failed" && row.Reason == ended.EndReason);
        Assert.Contains(Audit(host, rollout.VersionNode), row => row.Action == "promotion.withdrawn");
        Assert.Equal(Stage.Staging, host.Registry.Registry.Find(RolloutHost.Model, host.Candidate)!.Stage);
        Assert.Equal(RolloutStepStatus.Stopped, host.Store.Steps(rollout.Id)[1].Status);
        Assert.True(host.Service<AuditTrail>().Verify().BrokenAtSeq is null);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task After_a_rollback_under_traffic_no_request_fails()
    {
        var shadowless = Specs.Complete
            .Replace("  - {shadow: true, min_requests: 500}\n", "", StringComparison.Ordinal)
            .Replace("  disagreement: {max_rate: 0.1, tolerance: 0.1}\n", "", StringComparison.Ordinal)
            .Replace("  skew: {psi_max: 0.25, compare: stable, min_values: 300}\n", "", StringComparison.Ordinal)
            .Replace("max_drop: 0.02", "limit: 0.9", StringComparison.Ordinal);
        await using var host = await RolloutHost.StartAsync(new Behaviour(ErrorRate: 1), interval: TimeSpan.FromMilliseconds(20), spec: shadowless);
        var rollout = await host.BeginAsync();
        var failedBefore = 0;
        using var deadline = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (host.Router.Find(RolloutHost.Model)!.Candidate is not null)
        {
            deadline.Token.ThrowIfCancellationRequested();
            failedBefore += await host.SendAsync(100);
        }

        var failedAfter = await host.SendAsync(3000);

        Assert.True(failedBefore > 0);
        Assert.Equal(0, failedAfter);
        while (host.Store.Get(rollout.Id).Status == RolloutStatus.Running)
        {
            await Task.Delay(10, deadline.Token);
        }

        Assert.Contains("[error_rate]", host.Store.Get(rollout.Id).EndReason, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task When_the_record_cannot_be_written_the_routes_stay_back_and_the_record_follows_later()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        await ExecuteAsync(host, "ALTER TABLE rollout_decisions RENAME TO rollout_decisions_away");
        while (host.Router.Find(RolloutHost.Model)!.Candidate is not null)
        {
            await host.SendAndLookAsync(rollout.Id, 1000);
        }

        Assert.Equal(RolloutStatus.Running, (await LookAsync(host, rollout.Id)).Status);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);

        await ExecuteAsync(host, "ALTER TABLE rollout_decisions_away RENAME TO rollout_decisions");
        Assert.Equal(RolloutStatus.RolledBack, (await LookAsync(host, rollout.Id)).Status);
        Assert.StartsWith("[latency]", host.Store.Get(rollout.Id).EndReason, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-16")]
    public async Task A_restarted_server_goes_on_in_the_same_step_with_the_same_assignment()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 2);
        var before = Assignment(host);

        await host.RestartAsync();
        await host.Controller.LookAtAllAsync(default);
        Assert.Null(host.Router.Find(RolloutHost.Model));
        host.ServeStable();
        await host.Controller.LookAtAllAsync(default);

        var table = host.Router.Find(RolloutHost.Model)!;
        Assert.Equal((host.Candidate, 0.25, rollout.Id), (table.Candidate!.Version, table.Share, table.Salt));
        Assert.Equal(before, Assignment(host));
        Assert.Equal(2, host.Store.Get(rollout.Id).Step);
        Assert.Equal(RolloutStatus.Completed, (await host.RunAsync(rollout.Id)).Status);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_restarted_server_goes_on_counting_where_the_step_stood()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        await host.SendAndLookAsync(rollout.Id, 200);
        var before = host.Controller.Latest(rollout.Id)!.Evidence;

        await host.RestartAsync();
        host.ServeStable();
        await host.Controller.LookAtAllAsync(default);

        var after = host.Controller.Latest(rollout.Id)!.Evidence;
        Assert.True(before.Stable.Requests > 100 && before.Candidate.Requests > 0);
        Assert.Equal((before.Candidate.Requests, before.Stable.Requests, before.Stable.Measured), (after.Candidate.Requests, after.Stable.Requests, after.Stable.Measured));
        Assert.Equal(before.Stable.Latency, after.Stable.Latency);
        await host.SendAndLookAsync(rollout.Id, 200);
        var further = host.Controller.Latest(rollout.Id)!;
        Assert.Equal((1, before.Candidate.Requests + before.Stable.Requests + 200), (further.Step, further.Evidence.Candidate.Requests + further.Evidence.Stable.Requests));
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_breach_goes_back_while_the_database_lets_nobody_write()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        using var open = new ManualResetEventSlim();
        var blocked = host.Service<Database>().WriteAsync(_ => open.Wait(TimeSpan.FromMinutes(5)), default);
        await Task.Delay(2000); // Longer than the lease is good without being renewed.
        await host.SendAsync(3000);

        var looks = Task.Run(async () =>
        {
            while (host.Store.Get(rollout.Id).Status == RolloutStatus.Running)
            {
                await host.Controller.LookAtAllAsync(default);
            }
        });
        await ServingHost.UntilAsync(() => host.Router.Find(RolloutHost.Model)!.Candidate is null);

        Assert.Equal(RolloutStatus.Running, host.Store.Get(rollout.Id).Status);
        open.Set();
        await blocked;
        await looks;
        Assert.Equal(RolloutStatus.RolledBack, host.Store.Get(rollout.Id).Status);
        Assert.StartsWith("[latency]", host.Store.Get(rollout.Id).EndReason, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_person_stops_the_traffic_while_a_look_waits_for_the_database()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        using var open = new ManualResetEventSlim();
        var blocked = host.Service<Database>().WriteAsync(_ => open.Wait(TimeSpan.FromMinutes(5)), default);
        await host.SendAsync(2000);
        var look = host.Controller.LookAtAllAsync(default); // It wants to write that the step has passed.

        var abort = host.Controller.AbortAsync(rollout.Id, "the airport called", RegistryHost.Ada, default);
        await ServingHost.UntilAsync(() => host.Router.Find(RolloutHost.Model)!.Candidate is null);

        open.Set();
        await Task.WhenAll(blocked, look);
        Assert.Equal(RolloutStatus.Aborted, (await abort).Status);
        await host.Controller.LookAtAllAsync(default);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task Labels_that_cannot_be_read_keep_no_breach_from_going_back()
    {
        await using var host = await RolloutHost.StartAsync(Behaviour.Slow);
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        await host.SendAsync(3000);
        foreach (var segment in host.Service<PredictionLog>().Segments(RolloutHost.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue))
        {
            await File.WriteAllTextAsync(segment, "no Parquet");
        }

        var ended = await LookAsync(host, rollout.Id);

        Assert.Equal(RolloutStatus.RolledBack, ended.Status);
        Assert.StartsWith("[latency]", ended.EndReason, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_version_that_is_deleted_or_archived_under_the_rollout_ends_it()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);

        await host.Registry.Registry.DeleteVersionAsync(RolloutHost.Model, host.Candidate, RegistryHost.Ada, default);
        var ended = await LookAsync(host, rollout.Id);

        Assert.Equal(RolloutStatus.RolledBack, ended.Status);
        Assert.Equal($"Version {host.Candidate} was deleted during the rollout.", ended.EndReason);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);
    }

    [Fact]
    public async Task A_rollout_that_another_server_ended_takes_no_traffic_here()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 1);
        await ExecuteAsync(host, "UPDATE rollouts SET status = 'aborted', end_reason = 'elsewhere', ended_at_ms = 1");

        await host.Controller.LookAtAllAsync(default);

        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);
    }

    [Fact]
    public async Task A_server_that_does_not_look_after_rollouts_starts_none()
    {
        await using var host = await RolloutHost.StartAsync();
        var elsewhere = new Leases(host.Service<Database>());
        Assert.NotNull(await elsewhere.TryAcquireAsync("rollouts", TimeSpan.FromMinutes(5), default));

        var error = await Assert.ThrowsAsync<SlipwayException>(host.BeginAsync);

        Assert.Contains("Another server on this database looks after the rollouts", error.Message, StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
    }

    [Fact]
    public async Task Without_approval_it_holds_before_all_traffic_and_goes_on_once_approved()
    {
        await using var host = await RolloutHost.StartAsync(approved: false);
        var rollout = await host.BeginAsync();
        await host.RunAsync(rollout.Id, untilStep: 3);

        var held = await host.SendAndLookAsync(rollout.Id, 2000);

        Assert.Equal((RolloutStatus.Running, 3), (held.Status, held.Step));
        Assert.Contains("no approved promotion to production", host.Controller.Latest(rollout.Id)!.Decision.Reason, StringComparison.Ordinal);
        var promotion = host.Registry.Registry.FindOpenPromotion(RolloutHost.Model, host.Candidate, Stage.Production)!;
        await host.Registry.Registry.ApproveAsync(promotion.Id, "looks good", RegistryHost.Grace, default);
        Assert.Equal(RolloutStatus.Completed, (await host.RunAsync(rollout.Id)).Status);
    }

    [Fact]
    public async Task A_production_version_that_changes_under_the_rollout_ends_it()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.SendAndLookAsync(rollout.Id, 200);

        host.Router.SetStable(ServingFixtures.Model("0.9.0", model: RolloutHost.Model));
        var ended = await LookAsync(host, rollout.Id);

        Assert.Equal(RolloutStatus.RolledBack, ended.Status);
        Assert.Contains("changed from 1.0.0 to 0.9.0 during the rollout", ended.EndReason, StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
    }

    [Fact, Trait("capability", "REG-07")]
    public async Task An_abort_over_http_restores_the_routes_and_keeps_the_reason()
    {
        await using var host = await RolloutHost.StartAsync();
        var (status, started) = await host.Registry.Area.PostAsync(Routes, new { model = RolloutHost.Model, version = host.Candidate, reason = "retrained on May" });
        var id = started.GetProperty("id").GetString()!;
        await host.RunAsync(id, untilStep: 1);

        var (missingStatus, missing) = await host.Registry.Area.PostAsync($"{Routes}/{id}/abort", new { reason = "" });
        var (abortStatus, aborted) = await host.Registry.Area.PostAsync($"{Routes}/{id}/abort", new { reason = "support calls from Chicago" });
        var (_, again) = await host.Registry.Area.PostAsync($"{Routes}/{id}/abort", new { reason = "once more" });

        Assert.Equal(201, status);
        Assert.Equal((400, "'reason' is missing; give it a text."), (missingStatus, missing.GetProperty("message").GetString()));
        Assert.Equal(200, abortStatus);
        Assert.Equal("aborted", aborted.GetProperty("status").GetString());
        Assert.Equal("stopped", aborted.GetProperty("steps")[1].GetProperty("status").GetString());
        Assert.Contains("has ended already (support calls from Chicago)", again.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Candidate);
        var audit = Assert.Single(Audit(host, new NodeRef(NodeKinds.Rollout, id)), row => row.Action == "rollout.aborted");
        Assert.Equal(("ada", "support calls from Chicago"), (audit.Actor, audit.Reason));
    }

    [Fact]
    public async Task The_routes_show_the_newest_evidence_of_a_running_rollout()
    {
        await using var host = await RolloutHost.StartAsync();
        var rollout = await host.BeginAsync();
        await host.SendAndLookAsync(rollout.Id, 120);
        await host.SendAndLookAsync(rollout.Id, 100);

        var (_, one) = await host.Registry.Area.GetAsync($"{Routes}/{rollout.Id}");
        var (_, list) = await host.Registry.Area.GetAsync($"{Routes}?model={RolloutHost.Model}");
        var (notFound, _) = await host.Registry.Area.GetAsync($"{Routes}/none");

        Assert.Equal(220, one.GetProperty("steps")[0].GetProperty("requests").GetInt64());
        Assert.Contains("seen 220 of 500 requests", one.GetProperty("end_reason").GetString(), StringComparison.Ordinal);
        Assert.Contains(one.GetProperty("steps")[0].GetProperty("gates").EnumerateArray(), gate => gate.GetProperty("gate").GetString() == "disagreement");
        Assert.Equal(rollout.Id, list.GetProperty("rollouts")[0].GetProperty("id").GetString());
        Assert.Equal(404, notFound);
    }

    [Fact, Trait("capability", "SRV-12")]
    public async Task A_rollout_that_cannot_be_carried_out_is_refused_and_changes_nothing()
    {
        await using var host = await RolloutHost.StartAsync();

        Assert.Contains("cannot be loaded", await RefusalAsync(host, version: "9.9.9"), StringComparison.Ordinal);
        Assert.Contains("is in production already", await RefusalAsync(host, version: RolloutHost.Stable), StringComparison.Ordinal);
        Assert.Contains("'reason' is missing", await RefusalAsync(host, reason: " "), StringComparison.Ordinal);
        Assert.Contains("names no applied rollout definition 'other'", await RefusalAsync(host, spec: "other"), StringComparison.Ordinal);
        Assert.Contains("No rollout definition is applied for model 'unknown'", await RefusalAsync(host, model: "unknown"), StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
        Assert.Empty(host.Store.List(null));

        host.Router.Remove(RolloutHost.Model, "test");
        Assert.Contains("has no loaded production version to go back to", await RefusalAsync(host), StringComparison.Ordinal);

        host.ServeStable();
        await host.BeginAsync();
        Assert.Contains("is still running", await RefusalAsync(host), StringComparison.Ordinal);
        Assert.Single(host.Store.List(null));
    }

    [Fact, Trait("capability", "SRV-12")]
    public async Task A_skew_trigger_on_an_unknown_feature_is_refused_at_the_start()
    {
        await using var host = await RolloutHost.StartAsync(spec: Specs.Complete.Replace("min_values: 300}", "min_values: 300, features: {flight:distanse: 0.1}}", StringComparison.Ordinal));

        var refusal = await RefusalAsync(host);

        Assert.Contains("names flight:distanse", refusal, StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
    }

    private static async Task<string> RefusalAsync(RolloutHost host, string? version = null, string reason = "because", string? spec = null, string model = RolloutHost.Model) =>
        (await Assert.ThrowsAsync<SlipwayException>(() =>
            host.Controller.StartAsync(new StartRolloutRequest(model, version ?? host.Candidate, reason, spec), RegistryHost.Ada, default))).Message;

    private static Task ExecuteAsync(RolloutHost host, string sql) =>
        host.Service<Database>().WriteAsync(transaction => { transaction.Connection.Execute(sql); }, default);

    private static async Task<RolloutRow> LookAsync(RolloutHost host, string id)
    {
        await host.Controller.LookAtAllAsync(default);
        return host.Store.Get(id);
    }

    private static List<AuditEvent> Audit(RolloutHost host, NodeRef node) => [.. host.Service<AuditTrail>().List(node).OrderBy(row => row.Seq)];

    private static string Assignment(RolloutHost host) =>
        string.Concat(Enumerable.Range(0, 400).Select(i => host.Router.Find(RolloutHost.Model)!.Choose(Encoding.UTF8.GetBytes($"route-{i}"))!.Role == ArmRole.Candidate ? 'c' : 's'));

    [Fact, Trait("capability", "SRV-12")]
    public async Task A_version_that_has_not_passed_the_staging_gate_takes_no_live_traffic()
    {
        await using var host = await RolloutHost.StartAsync();
        var fresh = await host.RegisterAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => host.Controller.StartAsync(new StartRolloutRequest(RolloutHost.Model, fresh, "in a hurry"), RegistryHost.Ada, default));

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("is in development", error.Message, StringComparison.Ordinal);
        Assert.Null(host.Router.Find(RolloutHost.Model)!.Shadow);
    }
}
