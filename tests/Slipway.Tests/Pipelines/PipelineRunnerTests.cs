using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Stages;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;

namespace Slipway.Tests.Pipelines;

public sealed class PipelineRunnerTests
{
    private const string Yaml =
        """
        kind: pipeline
        name: p
        model: m
        seed: 7
        parameters: {level: 3}
        go_no_go: {metric: auc, minimum: 0.6}
        stages:
          - {name: load, uses: load, outputs: [rows], with: {level: "${level}"}}
          - {name: fit, uses: fit, inputs: [rows], outputs: [model]}
          - {name: judge, uses: judge, inputs: [model], outputs: [report]}
          - {name: keep, uses: keep, inputs: [report], outputs: [kept]}
        """;

    private readonly FakeKind _load = new("load", [], ["rows"]);
    private readonly FakeKind _keep = new("keep", ["report"], ["kept"]);

    [Fact]
    [Trait("capability", "PIP-01")]
    [Trait("capability", "PIP-06")]
    [Trait("capability", "PIP-15")]
    public async Task A_run_records_trigger_inputs_outputs_and_times_of_every_stage()
    {
        await using var host = await StartAsync(Kinds());

        var run = await host.RunAsync("p");

        Assert.Equal(PipelineRunStatus.Succeeded, run.Status);
        Assert.Equal(("manual", "a test", "ada"), (run.Trigger, run.Reason, run.CreatedBy));
        Assert.Equal([.. Enumerable.Repeat(PipelineStageStatus.Succeeded, 4)], run.Stages.Select(stage => stage.Status));
        Assert.Equal(run.Stages[0].Outputs, run.Stages[1].Inputs);
        Assert.All(run.Stages, stage => Assert.True(host.Get<BlobStore>().Exists(Assert.Single(stage.Outputs).Sha256)));
        Assert.All(run.Stages, stage => Assert.True(stage.WallSeconds >= 0 && stage.StartedAt <= stage.FinishedAt));
        Assert.Equal(1, run.Progress.ShareDone);
        Assert.Equal(
            ["pipeline_run.succeeded", "pipeline_run.judged", "pipeline_run.started", "pipeline_run.requested"],
            host.Get<AuditTrail>().List(new NodeRef(NodeKinds.PipelineRun, run.Id)).Select(row => row.Action));
    }

    [Fact]
    [Trait("capability", "PIP-03")]
    public async Task The_threshold_is_stored_before_training_and_a_later_change_is_audited()
    {
        await using var host = await StartAsync(Kinds());
        var run = await host.RunAsync("p");

        await host.ApplyAsync(Yaml.Replace("minimum: 0.6", "minimum: 0.5", StringComparison.Ordinal));

        Assert.True(run.ThresholdSetAt <= run.Stages.Single(stage => stage.Name == "fit").StartedAt);
        Assert.Equal(0.6, host.Pipelines.Get(run.Id).GoNoGo!.Minimum);
        var change = Assert.Single(host.Get<AuditTrail>().List(), row => row.Action == "pipeline.threshold_changed");
        Assert.Contains("\"minimum\":0.6", change.BeforeJson, StringComparison.Ordinal);
        Assert.Contains("\"minimum\":0.5", change.AfterJson, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "PIP-04")]
    public async Task A_no_go_rejects_the_run_and_later_stages_do_not_start()
    {
        await using var host = await StartAsync(Kinds(verdict: "no_go"));

        var run = await host.RunAsync("p");

        Assert.Equal(PipelineRunStatus.Rejected, run.Status);
        Assert.Equal(("no_go", "auc 0.55 is under 0.6"), (run.Verdict, run.VerdictReason));
        Assert.Equal(PipelineStageStatus.Skipped, run.Stages[3].Status);
        Assert.Equal(0, _keep.Runs);
    }

    [Fact]
    [Trait("capability", "PIP-01")]
    public async Task A_stage_that_reads_what_it_does_not_declare_fails_with_both_names()
    {
        await using var host = await StartAsync(Kinds(judge: (context, _) => Task.FromResult(context.Input("rows"))));

        var run = await host.RunAsync("p");

        Assert.Equal(PipelineRunStatus.Failed, run.Status);
        Assert.Contains("Stage 'judge' tried to read 'rows', which is not among its inputs [model]", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "PIP-11")]
    public async Task Unchanged_stages_come_from_the_cache_and_name_the_run_that_made_them()
    {
        await using var host = await StartAsync(Kinds());
        var first = await host.RunAsync("p");

        var second = await host.RunAsync("p");

        Assert.All(second.Stages, stage => Assert.Equal((PipelineStageStatus.Cached, first.Id), (stage.Status, stage.CachedFromRun)));
        Assert.Equal(first.Stages.Select(stage => stage.Outputs.Single()), second.Stages.Select(stage => stage.Outputs.Single()));
        Assert.Equal("go", second.Verdict);
        Assert.Equal(1, _load.Runs);
    }

    [Fact]
    [Trait("capability", "PIP-11")]
    public async Task A_miss_says_which_part_changed()
    {
        var kinds = Kinds();
        await using var host = await StartAsync(kinds);
        var first = await host.RunAsync("p");

        var second = await host.RunAsync("p", new Dictionary<string, string> { ["level"] = "4" });

        Assert.Equal("miss: this stage has not finished before", first.Stages[0].Cache);
        Assert.Equal($"miss: since run {first.Id} the settings changed", second.Stages[0].Cache);
        Assert.Equal($"miss: since run {first.Id} input 'rows' changed", second.Stages[1].Cache);

        ((FakeKind)kinds[2]).State = () => "m@1.0.0";
        var third = await host.RunAsync("p", new Dictionary<string, string> { ["level"] = "4" });
        Assert.Equal(PipelineStageStatus.Cached, third.Stages[1].Status);
        Assert.Equal($"miss: since run {second.Id} what it is compared with changed", third.Stages[2].Cache);
    }

    [Fact]
    [Trait("capability", "PIP-11")]
    public async Task A_cached_output_that_is_gone_is_made_again()
    {
        await using var host = await StartAsync(Kinds());
        var first = await host.RunAsync("p");
        File.Delete(host.Get<BlobStore>().PathOf(first.Stages[0].Outputs[0].Sha256));

        var second = await host.RunAsync("p");

        Assert.Equal(PipelineStageStatus.Succeeded, second.Stages[0].Status);
        Assert.Contains("'rows'", second.Stages[0].Cache, StringComparison.Ordinal);
        Assert.EndsWith("is gone", second.Stages[0].Cache, StringComparison.Ordinal);
        Assert.Equal(first.Stages[0].Outputs, second.Stages[0].Outputs);
    }

    [Fact]
    [Trait("capability", "PIP-11")]
    public async Task One_stage_can_be_run_alone_on_the_cached_outputs_of_those_before_it()
    {
        await using var host = await StartAsync(Kinds());
        await host.RunAsync("p");

        var run = await host.RunAsync("p", stage: "fit");

        Assert.Equal(
            [PipelineStageStatus.Cached, PipelineStageStatus.Succeeded, PipelineStageStatus.Skipped, PipelineStageStatus.Skipped],
            run.Stages.Select(stage => stage.Status));
    }

    [Fact]
    [Trait("capability", "PIP-13")]
    public async Task A_transient_fault_is_tried_again_with_growing_delay_and_then_fails_loudly()
    {
        var clock = new ManualClock();
        var kinds = Kinds();
        kinds[0] = new FakeKind("load", [], ["rows"], (_, _) => throw new IOException("the share is away"));
        await using var host = await StartAsync(kinds, clock);
        var id = await host.Pipelines.StartAsync("p", "manual", "a test", null, PipelineHost.Ada, host.Cancel);

        foreach (var (attempt, delay) in ((int, TimeSpan)[])[(1, TimeSpan.FromSeconds(1)), (2, TimeSpan.FromSeconds(2))])
        {
            await Until(() => host.Pipelines.Get(id).Stages[0].Attempts == attempt + 1 && clock.Pending.Contains(delay), host.Cancel);
            clock.Advance(delay);
        }

        var run = await host.Pipelines.WaitAsync(id, host.Cancel);
        Assert.Equal((PipelineRunStatus.Failed, 3), (run.Status, run.Stages[0].Attempts));
        Assert.Contains("the share is away (after 3 attempts)", run.Error, StringComparison.Ordinal);
        Assert.Equal(PipelineStageStatus.Skipped, run.Stages[1].Status);
    }

    [Fact]
    [Trait("capability", "PIP-13")]
    public async Task A_fault_that_will_not_pass_is_not_tried_again()
    {
        var kinds = Kinds();
        kinds[0] = new FakeKind("load", [], ["rows"], (_, _) => throw new SlipwayException(ErrorCode.NotFound, "There is no dataset 'x'."));
        await using var host = await StartAsync(kinds);

        var run = await host.RunAsync("p");

        Assert.Equal(1, run.Stages[0].Attempts);
        Assert.Equal("Stage 'load' failed: There is no dataset 'x'", run.Error);
    }

    [Fact]
    [Trait("capability", "PIP-09")]
    public async Task A_stage_that_asks_for_more_than_the_server_has_is_refused_at_the_start()
    {
        await using var host = await StartAsync(Kinds());
        await host.ApplyAsync(Yaml.Replace("outputs: [model]", "outputs: [model], resources: {cpus: 1000}", StringComparison.Ordinal));

        var error = await Assert.ThrowsAsync<SlipwayException>(() => host.RunAsync("p"));

        Assert.Contains("Stage 'fit' asks for 1000 cpus", error.Message, StringComparison.Ordinal);
        Assert.Empty(host.Pipelines.List());
    }

    [Fact]
    public async Task A_run_whose_server_stopped_is_taken_up_again_once_and_uses_its_finished_stages()
    {
        var entered = new TaskCompletionSource();
        var stuck = Kinds(fit: async (_, ct) =>
        {
            entered.SetResult();
            await Task.Delay(Timeout.Infinite, ct);
        });
        string id, data;
        await using (var host = await StartAsync(stuck, keepData: true))
        {
            data = host.Data;
            id = await host.Pipelines.StartAsync("p", "manual", "a test", null, PipelineHost.Ada, host.Cancel);
            await entered.Task.WaitAsync(host.Cancel);
        }

        await using var next = await StartAsync(Kinds(), data: data);
        var run = await next.Pipelines.WaitAsync(id, next.Cancel);

        Assert.Equal(PipelineRunStatus.Succeeded, run.Status);
        Assert.Equal((PipelineStageStatus.Cached, id), (run.Stages[0].Status, run.Stages[0].CachedFromRun));
        Assert.Contains(next.Get<AuditTrail>().List(), row => row.Action == "pipeline_run.resumed");
    }

    [Theory]
    [InlineData("whim", null, "'trigger' must be one of manual, drift")]
    [InlineData("manual", "nope", "'stage' names 'nope'")]
    [Trait("capability", "PIP-06")]
    public async Task A_start_with_an_unknown_trigger_or_stage_is_refused(string trigger, string? stage, string expected)
    {
        await using var host = await StartAsync(Kinds());

        var error = await Assert.ThrowsAsync<SlipwayException>(() => host.Pipelines.StartAsync("p", trigger, "", null, PipelineHost.Ada, host.Cancel, stage));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    private List<StageKind> Kinds(
        string verdict = "go", Func<StageContext, CancellationToken, Task>? fit = null, Func<StageContext, CancellationToken, Task<PipelineArtifact>>? judge = null) =>
    [
        _load,
        new FakeKind("fit", ["rows"], ["model"], fit ?? (async (context, ct) =>
            await context.WriteAsync("model", new { from = context.Input("rows").Sha256 }, ct)), trains: true),
        new FakeKind("judge", ["model"], ["report"], async (context, ct) =>
        {
            if (judge is not null)
            {
                await judge(context, ct);
            }

            context.Outcome = new StageOutcome("judged", verdict, verdict == "go" ? "auc 0.7 is at least 0.6" : "auc 0.55 is under 0.6");
        }),
        _keep,
    ];

    private static async Task<PipelineHost> StartAsync(IReadOnlyList<StageKind> kinds, TimeProvider? clock = null, string? data = null, bool keepData = false)
    {
        var host = new PipelineHost(kinds, data, clock, keepData: keepData);
        await host.ApplyAsync(Yaml);
        await host.StartRunnerAsync();
        return host;
    }

    private static async Task Until(Func<bool> condition, CancellationToken cancel)
    {
        while (!condition())
        {
            cancel.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
