using Slipway.Contracts.Governance;
using Slipway.Governance.Documents;
using Slipway.Governance.Maturity;

namespace Slipway.Tests.Governance;

public sealed class MaturityTests
{
    [Theory, Trait("capability", "MAT-02")]
    [InlineData("", 0, 0)]
    [InlineData("1-", 0, 0)]
    [InlineData("1+ 1-", 0, 10)]
    [InlineData("1+ 2-", 1, 20)]
    [InlineData("1+ 2+ 2- 2- 3+ 4+", 1, 26.6667)]
    [InlineData("1- 2+ 3+ 4+", 0, 0)]
    [InlineData("1+ 2+", 2, 40)]
    [InlineData("1+ 3+", 1, 20)]
    [InlineData("1+ 2+ 3+ 4-", 3, 60)]
    [InlineData("1+ 2+ 3+ 4+", 4, 100)]
    public void The_level_is_the_highest_whose_checks_and_all_below_pass(string checks, int level, double score)
    {
        var rated = MaturityRules.Rate("data", Items(checks));

        Assert.Equal(level, rated.Level);
        Assert.Equal(score, rated.Score, precision: 3);
    }

    [Fact, Trait("capability", "MAT-01")]
    public void The_score_is_the_mean_of_the_dimensions_and_never_rounded_up()
    {
        var report = MaturityRules.Report(DateTimeOffset.UnixEpoch, [], [MaturityRules.Rate("data", Items("1+ 2+ 2- 2-")), MaturityRules.Rate("training", Items("1+ 2+ 2+ 2-"))]);

        Assert.Equal((29, 1, 40), (report.Score, report.Level, report.Target)); // 26.67 and 33.33 have the mean 30 less a rounding.
        Assert.Equal(["high", "high", "high"], report.NextSteps.Select(step => step.Priority));
        Assert.StartsWith("data, level 2", report.NextSteps[0].Rationale, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "MAT-03")]
    public async Task Without_a_served_version_nothing_is_shown_and_nothing_passes()
    {
        await using var server = await GovernedServer.StartAsync();

        var report = await AssessAsync(server);

        Assert.Equal((0, 0), (report.Level, report.Score));
        Assert.Empty(report.Scope);
        Assert.Equal(["data", "training", "deployment", "monitoring", "governance"], report.Dimensions.Select(dimension => dimension.Name));
        Assert.All(report.Dimensions, dimension => Assert.All([1, 2, 3, 4], level => Assert.Contains(dimension.Items, item => item.Level == level)));
        Assert.All(report.Dimensions.SelectMany(dimension => dimension.Items).Where(item => !item.Passed), item => Assert.False(string.IsNullOrEmpty(item.Gap)));
    }

    [Fact, Trait("capability", "MAT-02"), Trait("capability", "MAT-03")]
    public async Task A_served_version_shows_what_its_records_hold_and_names_what_offends()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.PredictAsync();

        var before = await AssessAsync(server);
        var dataset = server.Registry.Get(GovernedServer.Model, "production").Datasets.Single();
        server.Damage(dataset.Sha256);
        var after = await AssessAsync(server);

        Assert.Equal(["tips@1.0.0"], before.Scope);
        Assert.Equal((1, "versioned"), (Of(before, "data").Level, Of(before, "data").LevelName));
        Assert.Equal(1, Of(before, "training").Level);
        Assert.Equal(0, Of(before, "deployment").Level); // No rollback was ever practised.
        Assert.Equal(1, Of(before, "monitoring").Level);
        Assert.Equal(0, Of(before, "governance").Level); // No risk tier.
        Assert.Contains("model_version:tips@1.0.0", Of(before, "governance").Items.Single(item => item.Check.StartsWith("intended use", StringComparison.Ordinal)).Offending);
        Assert.Equal(0, Of(after, "data").Level);
        Assert.Equal(["dataset_version:rides@1"], Of(after, "data").Items.Single(item => item.Check.Contains("digests verify", StringComparison.Ordinal)).Offending);
    }

    [Fact, Trait("capability", "MAT-01"), Trait("capability", "MAT-03")]
    public async Task The_assessment_is_published_with_score_target_gaps_and_next_steps()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.PredictAsync();
        var report = await AssessAsync(server);

        var written = await server.Client.PostAsync<GeneratedDocument>("documents", new GenerateDocument(DocumentType.Maturity), GovernedServer.Cancel);
        var text = await server.Get<DocumentStore>().ReadAsync(written.Document.Id, GovernedServer.Cancel);

        Assert.Equal("ARC-PLATFORM-MATUR-v1.0", written.Document.Id);
        Assert.Contains($"| Score now | {report.Score} of 100 [E1] |", text, StringComparison.Ordinal);
        Assert.Contains($"| Target | {report.Target} of 100", text, StringComparison.Ordinal);
        Assert.All(report.Dimensions.SelectMany(dimension => dimension.Items), item => Assert.Contains($"| {item.Level} | {item.Check} | {(item.Passed ? "pass" : "fail")} |", text, StringComparison.Ordinal));
        Assert.All(report.NextSteps, step => Assert.Contains($"| {step.Priority} | ", text, StringComparison.Ordinal));
    }

    private static List<MaturityItem> Items(string checks) =>
        [.. checks.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(check => new MaturityItem(check[0] - '0', "check", check[1] == '+', 0, 1, [], check[1] == '+' ? null : "do it"))];

    private static MaturityDimension Of(MaturityReport report, string name) => report.Dimensions.Single(dimension => dimension.Name == name);

    private static Task<MaturityReport> AssessAsync(GovernedServer server) => server.Client.GetAsync<MaturityReport>("maturity", GovernedServer.Cancel);
}
