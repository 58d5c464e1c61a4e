using Slipway.Bench;
using Slipway.Statistics.Proportions;

namespace Slipway.Tests.Serving.Rollouts;

/// <summary>The figures of docs/explanation/rollouts.md on fewer runs, with the seeds that bench/rollouts.sh begins with.</summary>
[Trait("database", "none")]
public sealed class ErrorGateTests
{
    private const int Runs = 800;

    [Theory, InlineData(20), InlineData(100), InlineData(1000), Trait("capability", "SRV-13"), Trait("capability", "SRV-15")]
    public void A_healthy_canary_looked_at_sixty_times_is_hardly_ever_stopped(int perMinute)
    {
        var outcomes = Simulate(new ErrorWorld(perMinute));

        // Alpha promises 5 %. Of few runs no more can be said with confidence than that it is well below; the published figure comes from 20,000.
        Assert.InRange(Proportion.ClopperPearsonInterval(outcomes.Count(outcome => outcome[ErrorGateSimulation.Alone] is not null), Runs).Upper, 0, 0.03);
        Assert.InRange(outcomes.Count(outcome => outcome[ErrorGateSimulation.Declared] is not null), 0, Runs / 100);
    }

    [Theory, InlineData(ErrorGateSimulation.Alone, 10), InlineData(ErrorGateSimulation.Declared, 15), Trait("capability", "SRV-13")]
    public void Three_times_the_errors_are_stopped_in_minutes_at_a_hundred_requests_a_minute(int rule, int minutes)
    {
        var stopped = Simulate(new ErrorWorld(100, CanaryRate: 0.015)).Select(outcome => outcome[rule] ?? int.MaxValue).Order().ToList();

        Assert.InRange(stopped[Runs / 2], 1, minutes);
        Assert.InRange(stopped[Runs * 99 / 100], 1, 60);
    }

    [Fact]
    public void The_other_systems_rules_are_simulated_as_their_documents_state_them()
    {
        // What the binomial distribution says of each rule for independent checks of 20 requests: 0.995^1200 without any error; 10 or more bad checks of 60.
        var outcomes = Enumerable.Range(0, Runs).Select(seed => ErrorGateSimulation.Run(new ErrorWorld(20), seed)).ToList();

        Assert.True(Proportion.ClopperPearsonInterval(outcomes.Count(outcome => outcome[2] is not null), Runs, 0.001).Contains(1 - Math.Pow(0.995, 1200)));
        Assert.True(Proportion.ClopperPearsonInterval(outcomes.Count(outcome => outcome[4] is not null), Runs, 0.001).Contains(TenOrMore(60, 1 - Math.Pow(0.995, 20))));
    }

    private static List<int?[]> Simulate(ErrorWorld world) =>
        [.. Enumerable.Range(0, Runs).AsParallel().AsOrdered().Select(seed => ErrorGateSimulation.Run(world, seed, rules: 2))];

    private static double TenOrMore(int checks, double p)
    {
        var (term, below) = (Math.Pow(1 - p, checks), 0.0);
        for (var k = 0; k < 10; k++)
        {
            below += term;
            term *= (checks - k) / (k + 1.0) * p / (1 - p);
        }

        return 1 - below;
    }
}
