using Slipway.Contracts.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class ComparisonTests : IAsyncLifetime
{
    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "EVL-06")]
    public async Task Two_versions_show_metric_differences_latency_size_features_and_a_recommendation()
    {
        await _host.RegisterAsync(report: Report(auc: 0.60) with { Cost = new InferenceCost(2, 5, 1000) });
        var request = await _host.RequestAsync(report: Report(auc: 0.66) with { Cost = new InferenceCost(3, 9, 1200) })
            with
        { FeatureSchema = Features("airport:late_rate_7d", "route:mean_delay_30d") };
        await _host.Registry.RegisterAsync(request, Ada, default);

        var comparison = await _host.Registry.CompareAsync(Model, "1.0.0", "2.0.0", default);

        Assert.True(comparison.SameTestSet);
        var auc = comparison.Metrics.Single(metric => metric.Name == "auc");
        Assert.Equal(0.06, auc.Difference!.Value, 10);
        Assert.Equal(10, auc.RelativePercent!.Value, 8);
        Assert.False(comparison.Metrics.Single(metric => metric.Name == "ece").HigherIsBetter);
        Assert.Equal((5d, 9d), (comparison.LatencyUsP95A, comparison.LatencyUsP95B));
        Assert.Equal(request.Files[0].SizeBytes, comparison.SizeBytesB);
        Assert.Equal(["route:mean_delay_30d"], comparison.FeaturesAdded);
        Assert.Equal(["flight:distance"], comparison.FeaturesRemoved);
        Assert.Equal(("major", "2.0.0"), (comparison.Required, comparison.Recommendation));
        Assert.Contains("auc 0.6 of 1.0.0 against 0.66 of 2.0.0 on the same test set", comparison.Reasons[0], StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "EVL-05")]
    public async Task Metrics_on_different_test_sets_lead_to_no_recommendation()
    {
        await _host.RegisterAsync(report: Report(auc: 0.60, testSet: "april"));
        await _host.RegisterAsync(report: Report(auc: 0.90, testSet: "may"));

        var comparison = await _host.Registry.CompareAsync(Model, "1.0.0", "1.0.1", default);

        Assert.False(comparison.SameTestSet);
        Assert.Null(comparison.Recommendation);
        Assert.Contains("different test sets", comparison.Reasons[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.02, 0.01, "1.1.0")]
    [InlineData(-0.02, 0.01, "1.0.0")]
    [InlineData(0.02, 0.03, null)]
    public async Task A_paired_test_decides_only_when_its_interval_leaves_out_zero(double difference, double halfWidth, string? recommended)
    {
        await _host.RegisterAsync();
        var second = await _host.RegisterAsync(report: Report(testSet: "may") with
        {
            ComparedWithProduction = new ProductionComparison(
                "1.0.0", "auc", 0.66, 0.66 + difference, difference, new ConfidenceInterval(difference - halfWidth, difference + halfWidth), 0.05),
        });

        Assert.Equal(recommended, (await _host.Registry.CompareAsync(Model, "1.0.0", second.Version, default)).Recommendation);
        Assert.Equal(recommended, (await _host.Registry.CompareAsync(Model, second.Version, "1.0.0", default)).Recommendation);
    }
}
