using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Host;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Demo;

/// <summary>What the demo shows, read from the server's records after the demo was killed once and finished on the second start.</summary>
public sealed partial class DemoTests(DemoFixture demo) : IClassFixture<DemoFixture>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void The_demo_finishes_after_a_hard_kill_and_prints_its_summary()
    {
        Assert.True(demo.ExitCode == 0, demo.Output);
        foreach (var line in (string[])["Dataset", "Requests served", "Rollout of 1.1.0", "Retraining", "Audit events", "Verify", "PSI against training"])
        {
            Assert.Contains(line, demo.Output, StringComparison.Ordinal);
        }

        Assert.Matches(AllPassed(), demo.Output);
    }

    [Fact, Trait("capability", "DAT-01"), Trait("capability", "DAT-06")]
    public async Task Three_million_rows_are_one_version_with_profile_and_checks()
    {
        using var client = new SlipwayClient(demo.Address);
        var dataset = await client.GetAsync<DatasetDetail>("datasets/flights", Cancel);
        var version = Assert.Single(dataset.Versions);
        Assert.Equal(3_000_000, version.Rows);
        Assert.Equal(3_000_000, (await client.GetAsync<DatasetProfile>("datasets/flights/versions/1/profile", Cancel)).Rows);
        Assert.True((await client.GetAsync<ValidationReport>("datasets/flights/versions/1/validation", Cancel)).Passed);
    }

    [Fact, Trait("capability", "EVL-05"), Trait("capability", "PIP-04")]
    public async Task Every_version_beats_the_baselines_on_an_untouched_test_set()
    {
        using var client = new SlipwayClient(demo.Address);
        var versions = (await client.GetAsync<ModelVersionList>("models/flight-delay/versions", Cancel)).Versions;
        Assert.Equal(["1.0.0", "1.1.0", "1.2.0", "1.3.0"], versions.Select(version => version.Version).Order(StringComparer.Ordinal));
        foreach (var version in versions)
        {
            var report = await client.GetAsync<EvaluationReport>($"models/flight-delay/versions/{version.Version}/evaluation", Cancel);
            Assert.Contains(report.Baselines, baseline => baseline.Name == "majority_class");
            Assert.Contains(report.Baselines, baseline => baseline.Name == "airport_late_rate_7d");
            Assert.All(report.Baselines, baseline => Assert.True(report.Metrics["auc"] > baseline.Metrics["auc"] + 0.03));
            Assert.True(report.GoNoGo!.Passed && report.GoNoGo.SetAt < report.CreatedAt);
        }
    }

    [Fact, Trait("capability", "REG-06"), Trait("capability", "REG-05")]
    public async Task The_retrained_version_is_in_production_by_another_users_approval_and_the_first_is_archived()
    {
        using var client = new SlipwayClient(demo.Address);
        var model = await client.GetAsync<ModelSummary>("models/flight-delay", Cancel);
        Assert.Equal("1.1.0", model.ProductionVersion);
        Assert.Equal(Stage.Archived, (await client.GetAsync<ModelVersionRecord>("models/flight-delay/versions/1.0.0", Cancel)).Stage);
        var promotions = (await client.GetAsync<PromotionList>("promotions?model=flight-delay", Cancel)).Promotions.Where(promotion => promotion.Status is PromotionStatus.Executed).ToList();
        Assert.NotEmpty(promotions);
        Assert.All(promotions, promotion => Assert.All(promotion.Decisions, decision => Assert.NotEqual(promotion.RequestedBy, decision.By)));
    }

    [Fact, Trait("capability", "SRV-09"), Trait("capability", "SRV-10"), Trait("capability", "SRV-13"), Trait("capability", "REG-08")]
    public async Task One_rollout_completes_and_two_broken_versions_are_stopped_where_they_should_be()
    {
        using var client = new SlipwayClient(demo.Address);
        var rollouts = (await client.GetAsync<RolloutListResponse>("rollouts?model=flight-delay", Cancel)).Rollouts.ToDictionary(rollout => rollout.Version);
        Assert.Equal(RolloutStatus.Completed, rollouts["1.1.0"].Status);
        Assert.All(rollouts["1.1.0"].Steps, step => Assert.Equal(RolloutStepStatus.Passed, step.Status));

        var kilometres = rollouts["1.2.0"];
        Assert.Equal((RolloutStatus.RolledBack, 1), (kilometres.Status, kilometres.Step));
        Assert.Contains("[disagreement]", kilometres.EndReason, StringComparison.Ordinal);
        // A slow machine's first look has too few values for the skew of a feature (min_values), and enough pairs to end it.
        var pairs = int.Parse(Regex.Match(kilometres.EndReason!, "of ([0-9]+) paired answers").Groups[1].Value, CultureInfo.InvariantCulture);
        Assert.True(pairs < 300 || kilometres.EndReason!.Contains("flight:distance", StringComparison.OrdinalIgnoreCase), kilometres.EndReason);

        var slow = rollouts["1.3.0"];
        Assert.Equal((RolloutStatus.RolledBack, 2), (slow.Status, slow.Step));
        Assert.Contains("[latency]", slow.EndReason, StringComparison.Ordinal);
        Assert.NotNull(slow.RestoreMs);

        var reasons = (await client.GetAsync<Page<AuditEventResponse>>("audit?limit=1000", Cancel)).Items.Select(row => row.Reason ?? "").ToList();
        Assert.Contains(reasons, reason => reason.Contains("[latency]", StringComparison.Ordinal));
        Assert.Contains(reasons, reason => reason.Contains("[disagreement]", StringComparison.Ordinal));
    }

    [Fact, Trait("capability", "MON-06"), Trait("capability", "PIP-07")]
    public async Task The_season_moves_the_rolling_features_only_and_calls_for_the_retraining()
    {
        using var client = new SlipwayClient(demo.Address);
        var may = (await client.GetAsync<IReadOnlyList<DriftByMonth>>("monitors/flight-delay/drift?by=month", Cancel))
            .Where(row => row is { Month: "2001-05", Version: "1.0.0" }).ToDictionary(row => row.Subject);
        Assert.Equal(MonitorBand.Act, may["airport:late_rate_7d"].Band);
        Assert.Equal(MonitorBand.Act, may["route:mean_delay_30d"].Band);
        Assert.Equal(MonitorBand.Ok, may["calendar:hour"].Band);
        Assert.Equal(MonitorBand.Ok, may["flight:distance"].Band);

        var runs = await client.GetAsync<IReadOnlyList<PipelineRun>>("pipelines/flight-delay/runs", Cancel);
        var retraining = Assert.Single(runs, run => run.Trigger == "drift");
        Assert.Equal("1.1.0", retraining.ModelVersion);
    }

    [Fact, Trait("capability", "TRK-01"), Trait("capability", "TRK-06")]
    public async Task The_training_runs_are_there_for_MLflow_clients()
    {
        using var http = new HttpClient { BaseAddress = demo.Address };
        var experiment = await http.GetFromJsonAsync<JsonElement>("/api/2.0/mlflow/experiments/get-by-name?experiment_name=flight-delay", Cancel);
        var id = experiment.GetProperty("experiment").GetProperty("experiment_id").GetString();
        using var found = await http.PostAsJsonAsync("/api/2.0/mlflow/runs/search", new { experiment_ids = new[] { id }, max_results = 50 }, Cancel);
        var runs = (await found.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("runs").EnumerateArray().ToList();
        Assert.NotEmpty(runs);
        var run = await http.GetFromJsonAsync<JsonElement>($"/api/2.0/mlflow/runs/get?run_id={runs[0].GetProperty("info").GetProperty("run_id").GetString()}", Cancel);
        var data = run.GetProperty("run").GetProperty("data");
        Assert.NotEmpty(data.GetProperty("params").EnumerateArray());
        Assert.NotEmpty(data.GetProperty("metrics").EnumerateArray());
        Assert.NotEmpty(run.GetProperty("run").GetProperty("inputs").GetProperty("dataset_inputs").EnumerateArray());
    }

    [Fact, Trait("capability", "SRV-01")]
    public async Task Production_answers_a_request_that_brings_keys_only()
    {
        using var http = new HttpClient { BaseAddress = demo.Address };
        using var answer = await http.PostAsJsonAsync("/v2/models/flight-delay/infer", new
        {
            inputs = new object[]
            {
                new { name = "origin", shape = new[] { 1 }, datatype = "BYTES", data = new[] { "ORD" } },
                new { name = "destination", shape = new[] { 1 }, datatype = "BYTES", data = new[] { "LGA" } },
                new { name = "scheduled", shape = new[] { 1 }, datatype = "INT64", data = new[] { new DateTimeOffset(2001, 6, 30, 17, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds() } },
                new { name = "distance", shape = new[] { 1 }, datatype = "FP32", data = new[] { 733 } },
            },
        }, Cancel);
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, body.ToString());
        Assert.Equal("1.1.0", body.GetProperty("model_version").GetString());
        Assert.InRange(body.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), 0.01, 0.99);
    }

    [Fact, Trait("capability", "LIN-02")]
    public async Task The_lineage_of_production_is_complete()
    {
        using var client = new SlipwayClient(demo.Address);
        var lineage = await client.GetAsync<LineageGraph>("models/flight-delay/versions/1.1.0/lineage", Cancel);
        Assert.True(lineage.Complete, string.Join(", ", lineage.Missing));
        Assert.Superset(new HashSet<string>(["dataset_version", "feature_view", "run", "model_version", "deployment"]), lineage.Nodes.Select(node => node.Kind).ToHashSet());
    }

    [Fact]
    public async Task A_second_start_is_quick_and_changes_nothing()
    {
        // On a copy, since one folder serves one server.
        var copy = SlipwayProgram.NewDataFolder();
        // Again when a file went away while it was copied: the server may still be turning the log of predictions into Parquet.
        for (var tries = 1; ; tries++)
        {
            using var duplicate = Process.Start("cp", ["-a", $"{demo.Data}/.", copy]);
            await duplicate.WaitForExitAsync(Cancel);
            if (duplicate.ExitCode == 0)
            {
                break;
            }

            Assert.True(tries < 5, "The data folder could not be copied.");
            Directory.Delete(copy, recursive: true);
            Directory.CreateDirectory(copy);
        }

        using var before = new SlipwayClient(demo.Address);
        var (exit, output, error) = await SlipwayProgram.RunAsync(Cancel, "demo", "--exit", "--port", $"{FreePort.Next()}", "--grpc-port", "0", "--data", copy);
        Assert.True(exit == 0, output + error);
        Assert.Contains("replayed by an earlier start", output, StringComparison.Ordinal);
        await using var again = await RunningServer.StartAsync(copy, Cancel);
        using var after = new SlipwayClient(again.Address);
        Assert.Equal(
            (await before.GetAsync<ModelVersionList>("models/flight-delay/versions", Cancel)).Versions.Count,
            (await after.GetAsync<ModelVersionList>("models/flight-delay/versions", Cancel)).Versions.Count);
        Assert.Equal((await before.GetAsync<RolloutListResponse>("rollouts", Cancel)).Rollouts.Count, (await after.GetAsync<RolloutListResponse>("rollouts", Cancel)).Rollouts.Count);
        Directory.Delete(copy, recursive: true);
    }

    [Fact, Trait("capability", "CIC-07"), Trait("capability", "GOV-01")]
    public async Task Verify_names_the_artifact_of_which_one_byte_was_changed_and_passes_when_it_is_put_back()
    {
        using var client = new SlipwayClient(demo.Address);
        var onnx = (await client.GetAsync<ModelVersionRecord>("models/flight-delay/versions/1.1.0", Cancel)).ServedSha256!;
        var path = Path.Combine(demo.Data, "blobs", onnx[..2], onnx);
        Assert.True((await client.GetAsync<VerificationReport>("verify", Cancel)).Passed);
        Flip(path);
        try
        {
            var (exit, output, error) = await SlipwayProgram.RunAsync(Cancel, "verify", "--server", demo.Address.ToString());
            Assert.Equal(1, exit);
            Assert.Contains("model_version:flight-delay@1.1.0", error, StringComparison.Ordinal);
            Assert.Contains("FAIL", output, StringComparison.Ordinal);
        }
        finally
        {
            Flip(path);
        }

        Assert.True((await client.GetAsync<VerificationReport>("verify", Cancel)).Passed);
    }

    private static void Flip(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = file.Length / 2;
        var value = file.ReadByte();
        file.Position--;
        file.WriteByte((byte)(value ^ 1));
    }

    [GeneratedRegex(@"all \d+ checks passed")]
    private static partial Regex AllPassed();
}
