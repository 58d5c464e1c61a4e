using Slipway.Contracts.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class PairedImprovementTests : IAsyncLifetime
{
    private const int Rows = 4000;

    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [Trait("capability", "EVL-05")]
    [InlineData("auc", 1.0, 0.2, true, "DeLong's test on 4000 common rows")]
    [InlineData("auc", 0.6, 0.6, false, "DeLong's test on 4000 common rows")]
    [InlineData("accuracy", 1.0, 0.2, true, "McNemar's exact test on 4000 common rows")]
    [InlineData("accuracy", 0.6, 0.6, false, "McNemar's exact test on 4000 common rows")]
    [InlineData("log_loss", 1.0, 0.2, true, "a paired bootstrap of 2000 resamples over 4000 common rows")]
    [InlineData("recall", 1.0, 0.2, true, "a paired bootstrap of 2000 resamples over 4000 common rows")]
    public async Task An_improvement_passes_only_when_its_paired_interval_excludes_chance(string metric, double ours, double theirs, bool passes, string method)
    {
        await PrepareAsync(metric, ours, theirs, "t1");

        var item = await ItemAsync();

        Assert.True(passes == item.Passed, item.Detail);
        Assert.Contains(method, item.Detail, StringComparison.Ordinal);
        Assert.Contains("95 % interval", item.Detail, StringComparison.Ordinal);
        Assert.Contains("alpha:0.05", item.Evidence);
    }

    [Fact]
    [Trait("capability", "EVL-05")]
    public async Task A_better_figure_within_chance_does_not_pass()
    {
        await PrepareAsync("auc", 0.62, 0.6, "t1");

        var item = await ItemAsync();

        Assert.False(item.Passed, item.Detail);
        Assert.Contains("the interval must lie above 0", item.Detail, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("capability", "EVL-05")]
    public async Task Scores_of_another_test_set_are_not_compared()
    {
        await PrepareAsync("auc", 1.0, 0.2, "t2");

        var item = await ItemAsync();

        Assert.False(item.Passed);
        Assert.Contains("neither common test scores nor the evaluation report compare auc with version 1.0.0", item.Detail, StringComparison.Ordinal);
    }

    // The signal says how far the scores of the two classes lie apart, in standard deviations of their noise.
    private async Task PrepareAsync(string metric, double ours, double theirs, string testSetOfOurs)
    {
        await _host.ApplyPolicyAsync($$"""
            kind: policy
            name: flight-delay
            model: flight-delay
            staging: { approvals: 0 }
            production: { approvals: 0, improvement_over_production: { metric: {{metric}}, minimum: 0 } }
            """);
        await RegisterAsync(Report() with { PredictionsSha256 = await _host.PutScoresAsync(Scores(theirs, seed: 1)) });
        await MoveAsync("1.0.0", Stage.Staging);
        await MoveAsync("1.0.0", Stage.Production);
        // A minor version in any case, so that its name does not hang on how much better it is.
        await _host.RegisterAsync("minor", Report(testSet: testSetOfOurs) with { PredictionsSha256 = await _host.PutScoresAsync(Scores(ours, seed: 2)) });
        await MoveAsync("1.1.0", Stage.Staging);
    }

    private static IEnumerable<(bool Label, double Score)> Scores(double signal, int seed)
    {
        var (labels, noise) = (new Random(7), new Random(seed));
        for (var i = 0; i < Rows; i++)
        {
            var label = labels.Next(2) == 1;
            var normal = Math.Sqrt(-2 * Math.Log(1 - noise.NextDouble())) * Math.Cos(2 * Math.PI * noise.NextDouble());
            yield return (label, 1 / (1 + Math.Exp(-(normal + (label ? signal : -signal)))));
        }
    }

    private Task<ModelVersionRecord> RegisterAsync(EvaluationReport report) => _host.RegisterAsync(report: report);

    private async Task MoveAsync(string version, Stage to) =>
        await _host.Registry.ExecutePromotionAsync((await _host.Registry.RequestPromotionAsync(Model, version, to, "ready", Ada, default)).Id, Ada, default);

    private async Task<GateItem> ItemAsync() =>
        (await _host.Registry.CheckAsync(Model, "1.1.0", Stage.Production, default)).Items.Single(item => item.Name == "improves_on_production");
}
