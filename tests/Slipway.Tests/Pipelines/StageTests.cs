using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Identity;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Tests.Pipelines;

[Trait("database", "none")]
public sealed class StageTests
{
    [Fact]
    [Trait("capability", "PIP-02")]
    [Trait("capability", "TRK-06")]
    [Trait("capability", "TRK-07")]
    [Trait("capability", "EVL-04")]
    [Trait("capability", "MON-08")]
    public async Task The_template_pipeline_goes_from_a_file_to_a_registered_version()
    {
        await using var host = await Orders.StartAsync();

        var run = await Orders.RunAsync(host);

        Assert.True(run.Status == PipelineRunStatus.Succeeded, $"{run.Error} {run.VerdictReason}");
        Assert.Equal(("go", "1.0.0"), (run.Verdict, run.ModelVersion));
        var version = host.Get<ModelRegistry>().Get("late-order", "1.0.0");
        Assert.Equal(run.Id, version.PipelineRunId);
        Assert.Equal(["shop:late_rate", "order:price"], version.FeatureSchema.Features.Select(feature => feature.Name));
        Assert.Equal(["BYTES", "FP64", "INT64"], version.Signature.Inputs.Select(input => input.Type));
        Assert.Equal(Artifact(run, "report").Sha256, version.EvaluationReportSha256);
        Assert.Equal(Artifact(run, "model").Sha256, version.ServedSha256);

        var baseline = await ReadAsync<ModelBaseline>(host, version.BaselineSha256!);
        Assert.Equal(["shop:late_rate", "order:price"], baseline.Features.Keys);
        Assert.Equal(baseline.Rows, baseline.Features["order:price"].Counts.Sum() + baseline.Features["order:price"].Nulls);
        Assert.InRange(baseline.Performance.Auc, 0.65, 0.95);

        var tracked = host.Get<RunStore>().Find(version.RunId!)!;
        Assert.Empty(tracked.Flags);
        Assert.Equal(["test", "train", "validation"], tracked.Inputs.Select(input => input.Context).Order());
        Assert.Equal(11, tracked.Environment!.Seed);
        Assert.Equal("11", tracked.Parameters["seed"]);
        Assert.Contains(tracked.Artifacts, artifact => artifact.Path == "evaluation.json" && artifact.Sha256 == version.EvaluationReportSha256);
    }

    [Fact]
    [Trait("capability", "X-05")]
    [Trait("capability", "EVL-01")]
    [Trait("capability", "EVL-03")]
    [Trait("capability", "TRK-09")]
    public async Task The_report_holds_metrics_trivial_baselines_slices_and_how_often_the_test_split_was_looked_at()
    {
        await using var host = await Orders.StartAsync();
        var run = await Orders.RunAsync(host);

        var again = await Orders.RunAsync(host, ("minimum", "0.61"));

        var report = await ReadAsync<EvaluationReport>(host, Artifact(run, "report").Sha256);
        Assert.Equal(["majority_class", "stratified_random", "shop_rate"], report.Baselines.Select(baseline => baseline.Name));
        Assert.Equal(0.5, report.Baselines[0].Metrics["auc"], 12);
        Assert.All(report.Baselines, baseline => Assert.True(baseline.Metrics["auc"] < report.Metrics["auc"]));
        Assert.Equal(5, report.Slices.Count);
        Assert.Equal(("auc", 0.6, true), (report.GoNoGo!.Metric, report.GoNoGo.Minimum, report.GoNoGo.Passed));
        Assert.True(report.GoNoGo.SetAt <= run.Stages[3].StartedAt);
        Assert.Equal(report.Splits.Single(split => split.Name == "test").Rows, report.Calibration.Sum(bin => bin.Rows));
        Assert.Equal(1, report.Metrics["test_evaluations"]);
        Assert.Equal(PipelineStageStatus.Cached, again.Stages[3].Status);
        Assert.Equal(2, (await ReadAsync<EvaluationReport>(host, Artifact(again, "report").Sha256)).Metrics["test_evaluations"]);
    }

    [Fact]
    [Trait("capability", "PIP-04")]
    [Trait("capability", "EVL-03")]
    public async Task A_model_under_the_threshold_is_not_registered_and_the_run_says_by_how_much()
    {
        await using var host = await Orders.StartAsync();

        var run = await Orders.RunAsync(host, ("minimum", "0.99"));

        Assert.Equal(PipelineRunStatus.Rejected, run.Status);
        Assert.Matches(@"^auc 0\.\d{4} is under the minimum 0\.9900", run.VerdictReason);
        Assert.Null(run.ModelVersion);
        Assert.Empty(host.Get<ModelRegistry>().ListModels());
    }

    [Fact]
    [Trait("capability", "PIP-04")]
    [Trait("capability", "X-05")]
    public async Task A_model_that_does_not_beat_a_baseline_beyond_chance_is_refused()
    {
        // Price alone decides here, so taking it as a score is as good as any model.
        await using var host = await Orders.StartAsync(quality: "2");

        var run = await Orders.RunAsync(host, ("feature", "order:price"));

        Assert.Equal(PipelineRunStatus.Rejected, run.Status);
        Assert.Contains("does not beat the baseline shop_rate", run.VerdictReason, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "DAT-09")]
    public async Task A_blocking_rule_stops_the_run_before_training_and_an_alert_does_not()
    {
        await using var good = await Orders.StartAsync();
        await using var bad = await Orders.StartAsync(price: "random() * 2000");

        var passed = await Orders.RunAsync(good);
        var stopped = await Orders.RunAsync(bad);

        Assert.Contains("1 alerts", passed.Stages[1].Message, StringComparison.Ordinal);
        Assert.Equal(PipelineRunStatus.Succeeded, passed.Status);
        Assert.Equal(PipelineRunStatus.Failed, stopped.Status);
        Assert.Contains("Stage 'validate' failed: Dataset orders@1 breaks a blocking rule", stopped.Error, StringComparison.Ordinal);
        Assert.Equal(PipelineStageStatus.Skipped, stopped.Stages[3].Status);
        Assert.DoesNotContain(bad.Get<RunStore>().ListExperiments(), experiment => experiment.Name == "late-order");
    }

    [Fact]
    [Trait("capability", "TRK-07")]
    public async Task The_same_seed_and_data_give_the_same_model_on_another_server()
    {
        await using var one = await Orders.StartAsync();
        await using var two = await Orders.StartAsync();

        var first = await Orders.RunAsync(one);
        var second = await Orders.RunAsync(two);

        Assert.Equal(Artifact(first, "model").Sha256, Artifact(second, "model").Sha256);
        Assert.Equal(Artifact(first, "splits").Sha256, Artifact(second, "splits").Sha256);
        Assert.Equal(Artifact(first, "reference").Sha256, Artifact(second, "reference").Sha256);
    }

    [Fact]
    [Trait("capability", "TRK-08")]
    public async Task The_splits_are_stored_with_the_query_that_makes_their_rows_again()
    {
        await using var host = await Orders.StartAsync();

        var run = await Orders.RunAsync(host);

        using var splits = JsonDocument.Parse(await host.Get<BlobStore>().ReadVerifiedAsync(Artifact(run, "splits").Sha256, host.Cancel));
        var parts = splits.RootElement.GetProperty("parts").EnumerateArray().ToList();
        Assert.Equal(["train", "validation", "test"], parts.Select(part => part.GetProperty("name").GetString()));
        Assert.All(parts, part => Assert.Equal(Artifact(run, part.GetProperty("name").GetString()!).Sha256, part.GetProperty("sha256").GetString()));
        Assert.Contains("TIMESTAMP '2024-02-15 00:00:00.000000'", parts[2].GetProperty("entity_sql").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "EVL-05")]
    public async Task A_candidate_is_compared_with_production_on_the_same_test_rows()
    {
        await using var host = await Orders.StartAsync();
        await Orders.RunAsync(host);
        await PutInProductionAsync(host, "1.0.0");

        var run = await Orders.RunAsync(host, ("trees", "13"));

        var report = await ReadAsync<EvaluationReport>(host, Artifact(run, "report").Sha256);
        var comparison = report.ComparedWithProduction!;
        Assert.Equal(("1.0.0", "auc"), (comparison.Version, comparison.Metric));
        Assert.Equal(report.Metrics["auc"], comparison.Candidate, 12);
        Assert.Equal(comparison.Candidate - comparison.Production, comparison.Difference, 12);
        Assert.InRange(comparison.Difference, comparison.Interval.Lower, comparison.Interval.Upper);
        Assert.Equal("1.0.1", run.ModelVersion);
    }

    [Fact]
    public async Task A_split_without_rows_is_named()
    {
        await using var host = await Orders.StartAsync(rows: 300);
        await host.ApplyAsync(Orders.Pipeline.Replace("2024-02-15, until", "2025-02-15, until", StringComparison.Ordinal).Replace("test_until: 2024-03-01", "test_until: 2025-03-01", StringComparison.Ordinal));

        var run = await Orders.RunAsync(host);

        Assert.Contains("The test split from 2025-02-15 00:00:00.000000 until 2025-03-01 00:00:00.000000 has no rows in orders@1", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Splits_that_overlap_are_refused()
    {
        await using var host = await Orders.StartAsync(rows: 300);

        var error = await Assert.ThrowsAsync<SlipwayException>(
            () => host.ApplyAsync(Orders.Pipeline.Replace("validation: {from: 2024-02-01", "validation: {from: 2024-01-20", StringComparison.Ordinal)));

        Assert.Contains("'stages[2].with.splits.validation.from' must not be before 2024-02-01", error.Message, StringComparison.Ordinal);
    }

    private static PipelineArtifact Artifact(PipelineRun run, string name) =>
        run.Stages.SelectMany(stage => stage.Outputs).Single(artifact => artifact.Name == name);

    private static async Task<T> ReadAsync<T>(PipelineHost host, string sha256) =>
        JsonSerializer.Deserialize<T>(await host.Get<BlobStore>().ReadVerifiedAsync(sha256, host.Cancel), JsonDefaults.Options)!;

    private static async Task PutInProductionAsync(PipelineHost host, string version)
    {
        var registry = host.Get<ModelRegistry>();
        await host.Get<UserStore>().CreateAsync("grace", Role.Approver, Caller.System("test"), host.Cancel);
        foreach (var stage in (Stage[])[Stage.Staging, Stage.Production])
        {
            var promotion = await registry.RequestPromotionAsync("late-order", version, stage, "good", PipelineHost.Ada, host.Cancel);
            await registry.ApproveAsync(promotion.Id, "read the report", new Caller("grace", null), host.Cancel);
            await registry.ExecutePromotionAsync(promotion.Id, PipelineHost.Ada, host.Cancel);
        }
    }
}
