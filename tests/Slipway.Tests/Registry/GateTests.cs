using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public abstract class GateTests(RegistryProvider provider) : IAsyncLifetime
{
    private const string Policy = """
        kind: policy
        name: flight-delay
        model: flight-delay
        staging:
          approvals: 0
          must_beat_baseline: auc
          metrics:
            - { metric: auc, minimum: 0.65 }
            - { metric: ece, maximum: 0.05 }
        production:
          approvals: 1
          improvement_over_production: { metric: auc, minimum: 0.01 }
        """;

    private RegistryHost _host = null!;

    private ModelRegistry Registry => _host.Registry;

    public async ValueTask InitializeAsync()
    {
        _host = await RegistryHost.StartAsync(provider: provider);
        await _host.ApplyPolicyAsync(Policy);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    [Trait("capability", "EVL-03")]
    public async Task A_refused_promotion_lists_every_unmet_item_with_value_limit_and_evidence()
    {
        var request = await _host.RequestAsync(report: Report(auc: 0.55) with { Metrics = new Dictionary<string, double> { ["auc"] = 0.55, ["ece"] = double.NaN } }) with { Commit = null };
        await _host.RegisterAsync(request, Ada);
        var promotion = await Registry.RequestPromotionAsync(Model, "1.0.0", Stage.Staging, "ready", Ada, default);
        Assert.Equal(PromotionStatus.Approved, promotion.Status);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Registry.ExecutePromotionAsync(promotion.Id, Ada, default));

        foreach (var text in new[]
        {
            "lineage: no link to commit", "go_no_go: auc 0.55 against a minimum of 0.6 set before training", "metric:auc: auc 0.55, at least 0.65 required",
            "metric:ece: ece NaN, at most 0.05 required", "beats_baseline: auc 0.55 against 0.558 of the best baseline, airport_late_rate",
        })
        {
            Assert.Contains(text, error.Message, StringComparison.Ordinal);
        }

        var gate = Registry.FindPromotion(promotion.Id)!.LastGate!;
        Assert.Equal(5, gate.Items.Count(item => !item.Passed));
        Assert.Contains($"evaluation_report:{request.EvaluationReportSha256}", gate.Items.Single(item => item.Name == "metric:auc").Evidence);
        Assert.Contains("test_set:t1", gate.Items.Single(item => item.Name == "beats_baseline").Evidence);
        Assert.Equal("policy/flight-delay@1", gate.Policy);
    }

    [Fact]
    [Trait("capability", "EVL-03")]
    public async Task A_version_within_all_limits_passes_and_its_report_says_why()
    {
        await _host.RegisterAsync();

        var gate = await Registry.CheckAsync(Model, "1.0.0", Stage.Staging, default);

        Assert.True(gate.Passed, string.Join("; ", gate.Items));
        Assert.Contains("auc 0.66, at least 0.65 required", gate.Items.Select(item => item.Detail));
        Assert.Equal(["source_stage", "approvals", "integrity", "lineage", "go_no_go", "metric:auc", "metric:ece", "beats_baseline"], gate.Items.Select(item => item.Name));
    }

    [Theory]
    [InlineData("evaluation report")]
    [InlineData("metric")]
    [InlineData("baseline")]
    public async Task Numbers_that_are_not_there_never_pass(string missing)
    {
        var request = await _host.RequestAsync(report: missing switch
        {
            "metric" => Report() with { Metrics = new Dictionary<string, double> { ["accuracy"] = 0.9 } },
            "baseline" => Report() with { Baselines = [] },
            _ => Report(),
        });
        await _host.RegisterAsync(missing == "evaluation report" ? request with { EvaluationReportSha256 = null } : request, Ada);

        var gate = await Registry.CheckAsync(Model, "1.0.0", Stage.Staging, default);

        Assert.False(gate.Passed);
        Assert.Contains(gate.Items, item => !item.Passed && item.Name == missing switch { "metric" => "metric:auc", "baseline" => "beats_baseline", _ => "evaluation_report" });
    }

    [Theory]
    [Trait("capability", "EVL-05")]
    [InlineData("1.0.0", 0.025, true, "an improvement of 0.025, 95 % interval 0.015 to 0.035, p = 0.04, by the paired interval of the evaluation report; the interval must lie above 0.01")]
    [InlineData("1.0.0", 0.015, false, "an improvement of 0.015, 95 % interval 0.005 to 0.025")]
    [InlineData("0.9.0", 0.025, false, "compare auc with version 1.0.0, which is in production now, at 95 %; evaluate again")]
    [InlineData(null, 0, false, "compare auc with version 1.0.0, which is in production now, at 95 %; evaluate again")]
    public async Task A_candidate_must_improve_on_the_version_now_in_production_on_one_test_set(string? rival, double difference, bool passes, string detail)
    {
        await _host.RegisterInProductionAsync();
        var candidate = await _host.RegisterAsync(report: Report() with
        {
            ComparedWithProduction = rival is null ? null : new ProductionComparison(
                rival, "auc", 0.66, 0.66 + difference, difference, new ConfidenceInterval(difference - 0.01, difference + 0.01), 0.04),
        });
        await _host.PromoteAsync(candidate.Version, Stage.Staging);

        var item = (await Registry.CheckAsync(Model, candidate.Version, Stage.Production, default)).Items.Single(item => item.Name == "improves_on_production");

        Assert.Equal(passes, item.Passed);
        Assert.Contains(detail, item.Detail, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-23")]
    public async Task A_changed_artifact_is_not_promoted()
    {
        var version = await _host.RegisterAsync();
        _host.Damage(version.ServedSha256!);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.PromoteAsync("1.0.0", Stage.Staging));

        Assert.Contains($"integrity: model.onnx of 1.0.0 is missing or was changed: its content no longer has SHA-256 {version.ServedSha256}", error.Message, StringComparison.Ordinal);
        Assert.Equal(Stage.Development, Registry.Find(Model, "1.0.0")!.Stage);
    }

    [Fact]
    [Trait("capability", "REG-18")]
    public async Task A_version_does_not_enter_production_when_its_rollback_target_is_damaged()
    {
        var first = await _host.RegisterInProductionAsync();
        await _host.ApplyPolicyAsync(Policy.Replace("improvement_over_production: { metric: auc, minimum: 0.01 }", "lineage_complete: true", StringComparison.Ordinal));
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);
        Assert.Equal("1.0.0 was in production before, its files verify and its model loads", await RollbackPlan());
        _host.Damage(first.ServedSha256!);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.PromoteAsync("1.0.1", Stage.Production));

        Assert.Contains("rollback_plan: the rollback plan names 1.0.0, but model.onnx of 1.0.0 is missing or was changed", error.Message, StringComparison.Ordinal);
        Assert.Equal("1.0.0", Registry.FindInStage(Model, Stage.Production)!.Version);

        async Task<string> RollbackPlan() =>
            (await Registry.CheckAsync(Model, "1.0.1", Stage.Production, default)).Items.Single(item => item.Name == "rollback_plan").Detail;
    }

    [Fact]
    [Trait("capability", "REG-18")]
    public async Task A_rollback_target_whose_model_does_not_load_blocks_promotion()
    {
        await _host.ApplyPolicyAsync(Policy.Replace("improvement_over_production: { metric: auc, minimum: 0.01 }", "lineage_complete: true", StringComparison.Ordinal));
        var nonsense = await _host.Blobs.PutAsync(
            new Slipway.Native.Onnx.OnnxModelWriter("nonsense").AddInput("x", Slipway.Native.Onnx.OnnxElementType.Float, -1, 2).AddOutput("y", Slipway.Native.Onnx.OnnxElementType.Float, -1, 2)
                .AddNode("NoSuchOperator", ["x"], ["y"]).ToBytes(),
            default);
        await _host.RegisterAsync(await _host.RequestAsync() with { Files = [new ArtifactFile("model.onnx", nonsense.Sha256, nonsense.SizeBytes)] }, Ada);
        await _host.PromoteAsync("1.0.0", Stage.Staging);
        await _host.PromoteAsync("1.0.0", Stage.Production);
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.PromoteAsync("1.0.1", Stage.Production));

        Assert.Contains("the model file of 1.0.0 does not load", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "REG-18")]
    public async Task A_rollback_target_is_named_when_the_promotion_is_asked_for_and_must_have_been_in_production()
    {
        await _host.RegisterInProductionAsync();
        await _host.RegisterAsync();
        await _host.PromoteAsync("1.0.1", Stage.Staging);

        var error = await Assert.ThrowsAsync<SlipwayException>(
            () => Registry.RequestPromotionAsync(Model, "1.0.1", Stage.Production, "ready", Ada, default, rollbackTo: "1.0.1"));
        Assert.Contains("'rollback_to' names 1.0.1, which was never in production", error.Message, StringComparison.Ordinal);

        Assert.Equal("1.0.0", (await Registry.RequestPromotionAsync(Model, "1.0.1", Stage.Production, "ready", Ada, default)).RollbackTo);
    }

    [Fact]
    [Trait("capability", "LIN-06")]
    public async Task Incomplete_lineage_blocks_promotion_and_names_the_missing_links()
    {
        var request = await _host.RequestAsync();
        await _host.RegisterAsync(request with { Datasets = [], FeatureSchema = request.FeatureSchema! with { ViewVersions = [] } }, Ada);

        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.PromoteAsync("1.0.0", Stage.Staging));

        Assert.Contains("lineage: no link to dataset_version, feature_view", error.Message, StringComparison.Ordinal);
    }
}
