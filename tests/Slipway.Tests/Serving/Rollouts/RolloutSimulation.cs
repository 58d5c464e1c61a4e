using Slipway.Contracts.Serving;
using Slipway.Serving;
using Slipway.Serving.Rollouts;

namespace Slipway.Tests.Serving.Rollouts;

/// <summary>A world of two versions whose true rates are known; the rule looks after every batch of requests.</summary>
public sealed record World
{
    public double StableErrorRate { get; init; } = 0.005;
    public double CandidateErrorRate { get; init; } = 0.005;

    /// <summary>Factor on the candidate's durations; both are log-normal around 2 ms.</summary>
    public double Slowness { get; init; } = 1;

    public double DisagreementRate { get; init; } = 0.04;

    /// <summary>Mean of the candidate's squared error less the stable version's.</summary>
    public double BrierDrop { get; init; }

    /// <summary>The candidate's index of its worst feature; the stable version's is 0.6 (a season).</summary>
    public double Psi { get; init; } = 0.6;

    /// <summary>Requests of both versions between two looks.</summary>
    public int RequestsPerLook { get; init; } = 200;

    /// <summary>The simulation gives up after this many looks; the rollout then holds.</summary>
    public int LooksMax { get; init; } = 600;
}

internal sealed record Outcome(RolloutAction Last, int Step, int Looks, RolloutDecision Decision)
{
    public bool Stopped => Last == RolloutAction.RollBack;

    public bool Completed => Last == RolloutAction.Complete;

    public string StoppedBy => string.Join(",", Decision.Gates.Where(gate => gate.Verdict == GateVerdict.Breached).Select(gate => gate.Gate).Distinct());
}

internal static class RolloutSimulation
{
    private static readonly DateTimeOffset Start = new(2026, 1, 5, 0, 0, 0, TimeSpan.Zero);

    public static Outcome Run(RolloutSpec spec, World world, int seed)
    {
        var random = new Random(seed);
        var quality = QualityEvidence.None;
        var looks = 0;
        RolloutDecision decision = new(RolloutAction.Hold, "", []);
        for (var step = 0; step < spec.Steps.Count; step++)
        {
            var now = spec.Steps[step];
            var (candidate, stable) = (new Counter(), new Counter());
            long disagreements = 0;
            do
            {
                if (++looks > world.LooksMax)
                {
                    return new Outcome(RolloutAction.Hold, step, looks, decision);
                }

                for (var i = 0; i < world.RequestsPerLook; i++)
                {
                    var toCandidate = now.Shadow || random.NextDouble() * 100 < now.Percent;
                    if (now.Shadow || !toCandidate)
                    {
                        stable.Add(random, world.StableErrorRate, 1);
                    }

                    if (toCandidate)
                    {
                        candidate.Add(random, world.CandidateErrorRate, world.Slowness);
                    }

                    if (now.Shadow)
                    {
                        disagreements += random.NextDouble() < world.DisagreementRate ? 1 : 0;
                        // Differences of squared errors of two similar models: centred, about 0.1 wide.
                        var difference = world.BrierDrop + (random.NextDouble() - 0.5) * 0.35;
                        quality = quality with
                        {
                            Pairs = quality.Pairs + 1,
                            SumDifference = quality.SumDifference + difference,
                            SumSquaredDifference = quality.SumSquaredDifference + difference * difference,
                            Labelled = quality.Labelled + 1,
                            SumLoss = quality.SumLoss + 0.15 + difference,
                        };
                    }
                }

                var evidence = new RolloutEvidence(
                    candidate.Evidence, stable.Evidence,
                    now.Shadow ? new PairEvidence(candidate.Requests, disagreements, 0.02, 0.3) : null,
                    now.Shadow ? [new SkewEvidence("airport:late_rate_7d", candidate.Requests, world.Psi, 0.6)] : [],
                    quality, Approved: true);
                decision = RolloutRules.Decide(spec, new RolloutState(step, Start), evidence, Start);
            }
            while (decision.Action == RolloutAction.Hold);

            if (decision.Action != RolloutAction.Advance)
            {
                return new Outcome(decision.Action, step, looks, decision);
            }
        }

        return new Outcome(decision.Action, spec.Steps.Count, looks, decision);
    }

    private sealed class Counter
    {
        private readonly long[] _latency = new long[LatencyHistogram.BucketCount];
        private long _errors;

        public long Requests { get; private set; }

        public ArmEvidence Evidence => ArmEvidence.Of(Requests, _errors, new LatencyHistogram(_latency));

        public void Add(Random random, double errorRate, double slowness)
        {
            Requests++;
            _errors += random.NextDouble() < errorRate ? 1 : 0;
            var normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            _latency[LatencyHistogram.BucketOf((long)(2000 * Math.Exp(0.5 * normal) * slowness))]++;
        }
    }
}
