using Slipway.Contracts;

namespace Slipway.Tests.Serving.Rollouts;

[Trait("database", "none")]
public sealed class RolloutSpecTests
{
    [Fact, Trait("capability", "SRV-10")]
    public void The_flights_example_is_a_valid_rollout_from_shadow_to_everything()
    {
        var spec = Specs.Parse(File.ReadAllText(FindExample()));

        Assert.Equal("flight-delay", spec.Model);
        Assert.True(spec.Steps[0].Shadow);
        Assert.Equal([0, 5, 25, 50, 100], spec.Steps.Select(step => step.Percent));
        Assert.NotNull(spec.Disagreement);
        Assert.Equal(0.1, spec.Skew!.LimitOf("flight:distance"));
        Assert.Equal(20, spec.Skew.LimitOf("calendar:hour"));
    }

    [Theory, Trait("capability", "SRV-12")]
    [InlineData("error_rate: {max: 0.05, compare: stable}", "'triggers.error_rate' is missing; a rollout needs an error limit")]
    [InlineData("latency: {percentile: 95, max_ms: 200, compare: stable, tolerance_ratio: 1.5, tolerance_ms: 2}", "'triggers.latency' is missing; a rollout needs a latency limit")]
    [InlineData("quality: {metric: brier, max_drop: 0.02, min_labels: 200, required_from_percent: 50}", "'triggers.quality' is missing; a rollout needs a business limit")]
    public void A_rollout_without_one_of_the_three_limits_is_refused(string trigger, string message)
    {
        var error = Assert.Throws<SlipwayException>(() => Specs.With("  " + trigger, ""));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-12")]
    public void A_rollout_without_triggers_is_refused()
    {
        var yaml = Specs.Complete[..Specs.Complete.IndexOf("triggers:", StringComparison.Ordinal)];

        var error = Assert.Throws<SlipwayException>(() => Specs.Parse(yaml));

        Assert.Contains("'triggers' is missing; declare error_rate, latency and quality limits before any traffic moves", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("percent: 25", "percent: 4", "'steps[2].percent' must be more than the step before (5 %), not 4")]
    [InlineData("  - {percent: 100, min_requests: 200}", "", "'steps' must end with 'percent: 100'")]
    [InlineData("metric: brier", "metric: f1", "'triggers.quality.metric' must be one of brier, accuracy, not 'f1'")]
    [InlineData("metric: brier, ", "", "'triggers.quality.metric' is missing")]
    [InlineData("max_drop: 0.02, ", "", "'triggers.quality.max_drop' is missing")]
    [InlineData("compare: stable}", "compare: canary}", "'triggers.error_rate.compare' must be stable")]
    [InlineData("  - {shadow: true, min_requests: 500}\n", "", "'triggers.disagreement' compares both versions on the same requests; add a first step with 'shadow: true'")]
    [InlineData("psi_max: 0.25", "psi_limit: 0.25", "psi_limit")]
    [InlineData("{shadow: true, min_requests: 500}", "{shadow: true, percent: 5, min_requests: 500}", "'steps[0].percent' has no meaning beside 'shadow: true'")]
    [InlineData("  - {percent: 50, min_requests: 200}", "  - {shadow: true, min_requests: 10}", "'steps[3].shadow' must come before the first step with 'percent'")]
    public void A_wrong_field_is_named_with_the_way_out(string find, string replace, string message)
    {
        var error = Assert.Throws<SlipwayException>(() => Specs.With(find, replace));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Alpha_is_split_evenly_over_the_comparisons_of_all_steps()
    {
        // Shadow: errors, disagreement. 5, 25 and 50 %: errors, latency. Quality once. Fixed limits and the last step: none.
        Assert.Equal(0.05 / 9, Specs.Parse(Specs.Complete).AlphaPerCheck, precision: 12);
    }

    private static string FindExample()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var path = Path.Combine(folder.FullName, "examples", "flights", "rollout.yaml");
            if (File.Exists(path))
            {
                return path;
            }
        }

        throw new FileNotFoundException("examples/flights/rollout.yaml");
    }
}
