using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Serving;
using Slipway.Serving.Rollouts;

namespace Slipway.Tests.Serving.Rollouts;

[Trait("database", "none")]
public sealed class RolloutRulesTests
{
    private const int Shadow = 0;
    private const int Canary = 1;
    private const int Half = 3;
    private const int All = 4;
    private static readonly RolloutSpec Spec = Specs.Parse(Specs.Complete);
    private static readonly DateTimeOffset Start = new(2026, 1, 5, 0, 0, 0, TimeSpan.Zero);
    private static readonly QualityEvidence GoodLabels = new(400, -0.4, 2, 400, 56);

    [Fact, Trait("capability", "SRV-10")]
    public void A_healthy_rollout_is_stopped_by_chance_at_most_as_often_as_alpha_says_however_often_it_is_looked_at()
    {
        const int runs = 1000;
        var outcomes = Enumerable.Range(0, runs).AsParallel().Select(seed => RolloutSimulation.Run(Spec, new World { RequestsPerLook = 100 }, seed)).ToList();

        Assert.InRange(outcomes.Count(outcome => outcome.Stopped), 0, (int)(0.05 * runs));
        // Not by never letting anything through either.
        Assert.InRange(outcomes.Count(outcome => outcome.Completed), (int)(0.95 * runs), runs);
    }

    [Fact, Trait("capability", "SRV-10")]
    public void A_candidate_exactly_at_every_declared_tolerance_is_stopped_at_most_as_often_as_alpha_says()
    {
        // The hardest case that still counts as healthy; it may hold for long, but it may not be stopped more often than stated.
        var world = new World { DisagreementRate = 0.1, BrierDrop = 0.02, LooksMax = 150 };
        const int runs = 500;

        var stopped = Enumerable.Range(0, runs).AsParallel().Count(seed => RolloutSimulation.Run(Spec, world, seed).Stopped);

        Assert.InRange(stopped, 0, (int)(0.05 * runs));
    }

    public static TheoryData<string, World, string, int> Defects => new()
    {
        { "three times the errors", new World { CandidateErrorRate = 0.015, RequestsPerLook = 1000 }, "error_rate", 60 },
        { "ten times the errors", new World { CandidateErrorRate = 0.05 }, "error_rate", 100 },
        { "slow by a factor of four", new World { Slowness = 4 }, "latency", 100 },
        { "every fifth answer differs", new World { DisagreementRate = 0.2 }, "disagreement", 100 },
        { "trained on other units", new World { Psi = 1.4 }, "skew", 100 },
        { "a worse brier", new World { BrierDrop = 0.06 }, "quality", 100 },
    };

    [Theory, MemberData(nameof(Defects)), Trait("capability", "SRV-13"), Trait("capability", "REG-08")]
    public void A_planted_defect_is_caught(string defect, World world, string gate, int caughtPercentMin)
    {
        // Steps long enough for three times a rate of 0.5 % to show; the others need far less.
        var spec = defect.StartsWith("three", StringComparison.Ordinal) ? Specs.With("min_requests: 200", "min_requests: 2000") : Spec;
        const int runs = 100;

        var caught = Enumerable.Range(0, runs).AsParallel().Select(seed => RolloutSimulation.Run(spec, world, seed)).ToList();

        Assert.InRange(caught.Count(outcome => outcome.Stopped && outcome.StoppedBy.Contains(gate, StringComparison.Ordinal)), caughtPercentMin, runs);
    }

    [Fact, Trait("capability", "SRV-09")]
    public void Unit_mistakes_are_stopped_in_shadow_and_slowness_only_where_someone_waits()
    {
        var units = RolloutSimulation.Run(Spec, new World { Psi = 1.4, DisagreementRate = 0.3, RequestsPerLook = 400 }, seed: 1);
        var slow = RolloutSimulation.Run(Spec, new World { Slowness = 6 }, seed: 1);

        Assert.Equal((Shadow, "disagreement,skew"), (units.Step, units.StoppedBy));
        Assert.Equal((Canary, "latency"), (slow.Step, slow.StoppedBy));
    }

    [Fact]
    public void A_season_that_moves_both_versions_alike_stops_nothing()
    {
        var decision = Decide(Shadow, Evidence(skew: [new SkewEvidence("airport:late_rate_7d", 2000, 0.9, 0.85)]));

        Assert.Equal(RolloutAction.Advance, decision.Action);
        Assert.Contains(decision.Gates, gate => gate is { Gate: "skew", Check: "stable", Verdict: GateVerdict.Quiet });
    }

    [Fact, Trait("capability", "SRV-13")]
    public void A_step_with_every_trigger_quiet_advances_and_the_last_one_completes()
    {
        Assert.Equal(RolloutAction.Advance, Decide(Canary, Evidence()).Action);
        Assert.Equal(RolloutAction.Complete, Decide(All, Evidence()).Action);
    }

    [Fact]
    public void Too_few_requests_hold_the_step_and_say_so()
    {
        var decision = Decide(Canary, Evidence(requests: 199));

        Assert.Equal(RolloutAction.Hold, decision.Action);
        Assert.Contains("The candidate has seen 199 of 200 requests.", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Requests_that_cannot_be_copied_are_named_in_the_reason()
    {
        var decision = Decide(Shadow, RolloutEvidence.None with { Pairs = new PairEvidence(0, 0, 0, 0, Incomparable: 700) });

        Assert.Contains("700 could not be copied, because the candidate needs an input they do not hold", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_concurrent_stable_traffic_the_step_holds()
    {
        var decision = Decide(Canary, Evidence() with { Stable = Arm(10, 0, 2) });

        Assert.Equal(RolloutAction.Hold, decision.Action);
        Assert.Contains("10 of the 100 needed so far", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void No_evidence_at_all_never_passes_in_any_step() =>
        Assert.All(Enumerable.Range(0, Spec.Steps.Count), step => Assert.Equal(RolloutAction.Hold, Decide(step, RolloutEvidence.None).Action));

    [Fact]
    public void A_feature_counter_that_returns_nothing_holds_the_shadow_step()
    {
        var decision = Decide(Shadow, Evidence(skew: []));

        Assert.Equal(RolloutAction.Hold, decision.Action);
        Assert.Contains("No live feature values", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_step_bakes_for_its_least_time()
    {
        var spec = Specs.With("{percent: 5, min_requests: 200}", "{percent: 5, min_requests: 200, bake: 10m}");

        Assert.Equal(RolloutAction.Hold, RolloutRules.Decide(spec, new RolloutState(Canary, Start), Evidence(), Start.AddMinutes(9)).Action);
        Assert.Equal(RolloutAction.Advance, RolloutRules.Decide(spec, new RolloutState(Canary, Start), Evidence(), Start.AddMinutes(10)).Action);
    }

    [Fact]
    public void An_unapproved_version_never_takes_all_traffic()
    {
        Assert.Equal(RolloutAction.Advance, Decide(Canary, Evidence() with { Approved = false }).Action);

        var decision = Decide(Half, Evidence() with { Approved = false });

        Assert.Equal(RolloutAction.Hold, decision.Action);
        Assert.Contains("no approved promotion", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Missing_labels_are_stated_in_early_steps_and_hold_the_later_ones()
    {
        var early = Decide(Canary, Evidence() with { Quality = QualityEvidence.None });
        var late = Decide(Half, Evidence() with { Quality = QualityEvidence.None });

        Assert.Equal(RolloutAction.Advance, early.Action);
        Assert.Contains(early.Gates, gate => gate.Gate == "quality" && gate.Text.EndsWith("Not required before 50 %.", StringComparison.Ordinal));
        Assert.Equal(RolloutAction.Hold, late.Action);
        Assert.Contains("0 of the 200 needed", late.Reason, StringComparison.Ordinal);
    }

    [Theory, Trait("capability", "REG-08")]
    [InlineData(100, 6, RolloutAction.RollBack)]
    [InlineData(100, 5, RolloutAction.Hold)]
    [InlineData(99, 99, RolloutAction.Hold)]
    public void The_error_limit_acts_beyond_five_percent_and_not_before_its_least_evidence(long requests, long errors, RolloutAction expected)
    {
        // The stable version fails as often, so that only the fixed limit can act.
        var evidence = Evidence(requests) with { Candidate = Arm(requests, errors, 2), Stable = Arm(1900, 1900 * errors / requests, 2) };

        Assert.Equal(expected, Decide(Canary, evidence).Action);
    }

    [Fact, Trait("capability", "REG-08")]
    public void The_latency_limit_acts_even_where_the_stable_version_is_as_slow()
    {
        var decision = Decide(Canary, Evidence() with { Candidate = Arm(300, 0, 250), Stable = Arm(5000, 0, 250) });

        Assert.Equal(RolloutAction.RollBack, decision.Action);
        Assert.Contains("limit 200 ms", decision.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Before_there_are_requests_the_sentences_say_so()
    {
        var none = RolloutRules.Decide(Specs.With("metric: brier, max_drop: 0.02", "metric: brier, limit: 0.2"), new RolloutState(Canary, Start), RolloutEvidence.None, Start);
        var unanswered = Decide(Canary, Evidence() with { Stable = ArmEvidence.None });

        Assert.Equal(RolloutAction.Hold, none.Action);
        Assert.Contains("P95 latency is not measured yet: no requests, limit 200 ms; 0 of the 200 needed so far.", none.Reason, StringComparison.Ordinal);
        Assert.Contains("P95 latency is not compared yet: no requests to the candidate;", none.Reason, StringComparison.Ordinal);
        Assert.Contains("P95 latency is not compared yet: no requests to the stable version;", unanswered.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain(none.Gates.Concat(unanswered.Gates), gate => gate.Text.Contains("NaN", StringComparison.Ordinal));
    }

    [Fact]
    public void Twice_a_very_short_time_is_within_the_tolerance() =>
        Assert.Equal(RolloutAction.Advance, Decide(Canary, Evidence() with { Candidate = Arm(300, 0, 0.1), Stable = Arm(5000, 0, 0.05) }).Action);

    [Fact, Trait("capability", "REG-08")]
    public void An_accuracy_floor_and_an_accuracy_drop_each_cause_a_rollback()
    {
        var floor = Specs.With("metric: brier, max_drop: 0.02", "metric: accuracy, limit: 0.8");
        var drop = Specs.With("metric: brier, max_drop: 0.02", "metric: accuracy, max_drop: 0.1");
        var low = Evidence() with { Quality = new QualityEvidence(0, 0, 0, 400, 100) };
        var worse = Evidence() with { Quality = new QualityEvidence(400, 100, 120, 400, 150) };

        var byFloor = RolloutRules.Decide(floor, new RolloutState(Half, Start), low, Start);
        var byDrop = RolloutRules.Decide(drop, new RolloutState(Half, Start), worse, Start);

        Assert.Equal(RolloutAction.RollBack, byFloor.Action);
        Assert.Contains("Accuracy 0.75 over 400 labelled predictions, limit 0.8", byFloor.Reason, StringComparison.Ordinal);
        Assert.Equal(RolloutAction.RollBack, byDrop.Action);
        Assert.Contains("worse than the stable version's by 0.25", byDrop.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_breach_shows_value_threshold_and_e_value()
    {
        var decision = Decide(Canary, Evidence() with { Candidate = Arm(300, 12, 2) });

        var breach = Assert.Single(decision.Gates, gate => gate.Verdict == GateVerdict.Breached);
        Assert.Equal(("error_rate", "stable", 0.04), (breach.Gate, breach.Check, breach.Value!.Value));
        Assert.Equal(1 / Spec.AlphaPerCheck, breach.EThreshold!.Value, precision: 9);
        Assert.True(breach.EValue > breach.EThreshold);
    }

    [Fact, Trait("capability", "SRV-13")]
    public void Evidence_written_as_json_replays_to_the_same_decision()
    {
        var evidence = Evidence(skew: [new SkewEvidence("flight:distance", 900, 0.7, 0.01)]);
        var decision = Decide(Shadow, evidence);

        var read = JsonSerializer.Deserialize<RolloutEvidence>(JsonSerializer.Serialize(evidence, JsonDefaults.Options), JsonDefaults.Options)!;
        var replayed = Decide(Shadow, read);

        Assert.Equal((decision.Action, decision.Reason), (replayed.Action, replayed.Reason));
        Assert.Equal(decision.Gates, replayed.Gates);
    }

    private static RolloutDecision Decide(int step, RolloutEvidence evidence) => RolloutRules.Decide(Spec, new RolloutState(step, Start), evidence, Start);

    private static RolloutEvidence Evidence(long requests = 600, IReadOnlyList<SkewEvidence>? skew = null) => new(
        Arm(requests, 0, 2), Arm(requests * 5, 0, 2), new PairEvidence(requests, requests / 50, 0.02, 0.2),
        skew ?? [new SkewEvidence("flight:distance", requests, 0.02, 0.01)], GoodLabels, Approved: true);

    private static ArmEvidence Arm(long requests, long errors, double ms)
    {
        var counts = new long[LatencyHistogram.BucketCount];
        counts[LatencyHistogram.BucketOf((long)(ms * 1000))] = requests;
        return ArmEvidence.Of(requests, errors, new LatencyHistogram(counts));
    }
}
