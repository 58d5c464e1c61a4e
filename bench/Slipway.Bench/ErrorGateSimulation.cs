using Slipway.Contracts.Serving;
using Slipway.Serving.Rollouts;

namespace Slipway.Bench;

/// <summary>A canary whose true error rates are known; a check follows each minute.</summary>
/// <param name="CanaryPerMinute">Requests the canary answers; the stable version answers nine times as many.</param>
/// <param name="StableRate">The stable version's share of failed requests.</param>
/// <param name="CanaryRate">The canary's.</param>
/// <param name="Minutes">How long the step lasts.</param>
internal sealed record ErrorWorld(int CanaryPerMinute, double StableRate = 0.005, double CanaryRate = 0.005, int Minutes = 60);

/// <summary>The error gate of <see cref="RolloutRules"/> and the rules of other systems, all shown the same draws.</summary>
internal static class ErrorGateSimulation
{
    public const int Alone = 0;
    public const int Declared = 1;

    private const int CanaryShareInverse = 10;
    private static readonly DateTimeOffset Start = new(2026, 1, 5, 0, 0, 0, TimeSpan.Zero);

    // The fixed limit is out of reach, so that what stops the canary is the comparison. The step never has requests enough to pass.
    private static readonly ErrorRateTrigger Errors = new(0.25, CompareStable: true);

    // Nothing but the error rate is compared: alpha is undivided.
    private static readonly RolloutSpec AloneSpec = new(
        "alone", "simulated", 0.05, StickyKey.Entity, MinEvidence: 20,
        [new RolloutStep(false, 10, int.MaxValue, TimeSpan.Zero), new RolloutStep(false, 100, 1, TimeSpan.Zero)],
        Errors, new LatencyTrigger(95, 1000, CompareStable: false, 1.5, 1), new QualityTrigger(QualityMetric.Brier, null, 1, 20, 100), null, null);

    // Every trigger is declared and compared, over a shadow and three canary steps: nine comparisons share alpha.
    private static readonly RolloutSpec DeclaredSpec = AloneSpec with
    {
        Steps =
        [
            new RolloutStep(true, 0, 1, TimeSpan.Zero), new RolloutStep(false, 10, int.MaxValue, TimeSpan.Zero), new RolloutStep(false, 25, 1, TimeSpan.Zero),
            new RolloutStep(false, 50, 1, TimeSpan.Zero), new RolloutStep(false, 100, 1, TimeSpan.Zero),
        ],
        Latency = AloneSpec.Latency with { CompareStable = true },
        Quality = new QualityTrigger(QualityMetric.Brier, 0.02, null, 20, 100),
        Disagreement = new DisagreementTrigger(0.1, 0.1, 0.5),
        Skew = new SkewTrigger(0.25, CompareStable: true, new Dictionary<string, double>(), 500),
    };

    /// <summary>The rules by name, in the order of <see cref="Run"/>'s answer.</summary>
    public static readonly IReadOnlyList<string> Rules =
    [
        "Slipway, error rate alone (alpha 0.05)", "Slipway, nine comparisons (alpha 0.05 in all)",
        "Argo: success >= 99 %, failureLimit 0 (default)", "Argo: success >= 99 %, failureLimit 3", "Flagger: success >= 99 %, threshold 10", "z-test p < 0.05 at every check",
    ];

    /// <summary>The minute in which each rule goes back to the stable version; null where it does not.</summary>
    public static int?[] Run(ErrorWorld world, int seed, int rules = int.MaxValue)
    {
        var random = new Random(seed);
        var stopped = new int?[Math.Min(rules, Rules.Count)];
        long canary = 0, canaryErrors = 0, stable = 0, stableErrors = 0;
        var failedChecks = 0;
        for (var minute = 1; minute <= world.Minutes && stopped.Contains(null); minute++)
        {
            var errors = Binomial(random, world.CanaryPerMinute, world.CanaryRate);
            canary += world.CanaryPerMinute;
            canaryErrors += errors;
            stable += world.CanaryPerMinute * (CanaryShareInverse - 1);
            stableErrors += Binomial(random, world.CanaryPerMinute * (CanaryShareInverse - 1), world.StableRate);
            failedChecks += errors > 0.01 * world.CanaryPerMinute ? 1 : 0;
            for (var rule = 0; rule < stopped.Length; rule++)
            {
                stopped[rule] ??= Stops(rule) ? minute : null;
            }
        }

        return stopped;

        bool Stops(int rule) => rule switch
        {
            Alone => Judge(AloneSpec, 0),
            Declared => Judge(DeclaredSpec, 1),
            2 => failedChecks > 0,
            3 => failedChecks > 3,
            4 => failedChecks >= 10,
            _ => PooledZ() > 1.6448536269514722,
        };

        bool Judge(RolloutSpec spec, int step) => RolloutRules.Decide(
            spec, new RolloutState(step, Start), RolloutEvidence.None with { Candidate = new ArmEvidence(canary, canaryErrors, []), Stable = new ArmEvidence(stable, stableErrors, []) }, Start)
            .Action == RolloutAction.RollBack;

        double PooledZ()
        {
            var pooled = (double)(canaryErrors + stableErrors) / (canary + stable);
            var variance = pooled * (1 - pooled) * (1.0 / canary + 1.0 / stable);
            return variance == 0 ? 0 : ((double)canaryErrors / canary - (double)stableErrors / stable) / Math.Sqrt(variance);
        }
    }

    // From error to error: the requests between two errors are geometric, and errors are rare.
    private static int Binomial(Random random, int trials, double p)
    {
        var errors = 0;
        var log = Math.Log(1 - p);
        for (var at = Gap(); at < trials; at += 1 + Gap())
        {
            errors++;
        }

        return errors;

        double Gap() => Math.Floor(Math.Log(1 - random.NextDouble()) / log);
    }
}
