using System.Globalization;
using Slipway.Contracts.Serving;
using Slipway.Statistics;
using Slipway.Statistics.Sequential;

namespace Slipway.Serving.Rollouts;

/// <summary>What to do, and every figure behind it.</summary>
internal sealed record RolloutDecision(RolloutAction Action, string Reason, IReadOnlyList<RolloutGateReading> Gates);

/// <summary>The whole judgement of a rollout: a pure function of the declared limits, the step and the counts.</summary>
internal static class RolloutRules
{
    /// <summary>Any breach goes back; everything quiet goes on; all else holds. Missing evidence never passes.</summary>
    public static RolloutDecision Decide(RolloutSpec spec, RolloutState state, RolloutEvidence evidence, DateTimeOffset now)
    {
        var step = spec.Steps[state.Step];
        var gates = new List<RolloutGateReading>();
        Conditions(gates, spec, state, evidence, now);
        ErrorRate(gates, spec, step, evidence);
        Latency(gates, spec, step, evidence);
        Disagreement(gates, spec, step, evidence);
        Skew(gates, spec, step, evidence);
        Quality(gates, spec, step, evidence);

        if (gates.Any(gate => gate.Verdict == GateVerdict.Breached))
        {
            return new RolloutDecision(RolloutAction.RollBack, Sentence(gates, GateVerdict.Breached), gates);
        }

        if (gates.Any(gate => gate.Verdict == GateVerdict.Leaning))
        {
            return new RolloutDecision(RolloutAction.Hold, Sentence(gates, GateVerdict.Leaning), gates);
        }

        if (gates.Any(gate => gate.Verdict == GateVerdict.Waiting))
        {
            return new RolloutDecision(RolloutAction.Hold, Sentence(gates, GateVerdict.Waiting), gates);
        }

        if (state.Step == spec.Steps.Count - 1 && spec.Strategy != RolloutStrategy.Canary)
        {
            return Settle(gates, spec, evidence);
        }

        return state.Step == spec.Steps.Count - 1
            ? new RolloutDecision(RolloutAction.Complete, "All steps passed with every trigger quiet.", gates)
            : new RolloutDecision(RolloutAction.Advance, $"Step '{step}' passed after {evidence.Candidate.Requests} requests with every trigger quiet.", gates);
    }

    // The last step of what does not end in all traffic by itself.
    private static RolloutDecision Settle(List<RolloutGateReading> gates, RolloutSpec spec, RolloutEvidence evidence)
    {
        if (spec.Decision is not { } decision)
        {
            return new RolloutDecision(RolloutAction.Hold, "Every trigger is quiet; the flag says who answers until a person promotes the version or aborts the rollout.", gates);
        }

        var split = evidence.Quality.Split ?? new SplitEvidence(0, 0, 0, 0, 0, 0);
        var name = spec.Quality.Metric == QualityMetric.Brier ? "brier" : "accuracy";
        var test = new MeanDifferenceSequence(decision.Alpha, tightestAt: 10L * spec.Quality.MinLabels, minimumPerSide: Math.Max(100, spec.Quality.MinLabels));
        test.Merge(RunningMoments.Of(split.Candidate, split.CandidateMean, split.CandidateVariance), RunningMoments.Of(split.Stable, split.StableMean, split.StableVariance));
        var interval = test.Interval;
        var (answers, stableAnswers) = (split.CandidateAnswers ?? split.Candidate, split.StableAnswers ?? split.Stable);
        var seen = $"{answers} and {stableAnswers} labelled answers{((answers, stableAnswers) == (split.Candidate, split.Stable) ? "" : $" to {split.Candidate} and {split.Stable} keys")}";
        // A loss: below is better.
        var (verdict, words) = !double.IsFinite(interval.Lower) ? (GateVerdict.Waiting, $"{seen}, of {test.MinimumPerSide} needed on each side")
            : interval.Upper < -decision.MinGain ? (GateVerdict.Quiet, $"promote the challenger: its {name} loss is lower by {Text(-interval.Upper)} to {Text(-interval.Lower)}, at least {Text(decision.MinGain)} was asked for, over {seen}")
            : interval.Lower > -decision.MinGain ? (GateVerdict.Quiet, $"keep the champion: the challenger's {name} loss is {Text(interval.Lower)} to {Text(interval.Upper)} above its own, where {Text(-decision.MinGain)} was asked for, over {seen}")
            : (GateVerdict.Waiting, $"undecided: the challenger's {name} loss less the champion's is {Text(interval.Lower)} to {Text(interval.Upper)}, over {seen}");
        var reading = new RolloutGateReading("decision", "stable", verdict, Finite(split.CandidateMean - split.StableMean), -decision.MinGain, null, null, $"{char.ToUpperInvariant(words[0])}{words[1..]}.");
        gates.Add(reading);
        var reason = $"[decision] {reading.Text}";
        return verdict == GateVerdict.Waiting || !decision.Auto ? new RolloutDecision(RolloutAction.Hold, reason, gates)
            : words.StartsWith("keep", StringComparison.Ordinal) ? new RolloutDecision(RolloutAction.RollBack, reason, gates)
            : !evidence.Approved ? new RolloutDecision(RolloutAction.Hold, $"{reason} It has no approved promotion to production; ask another user to approve one.", gates)
            : new RolloutDecision(RolloutAction.Complete, reason, gates);
    }

    private static void Conditions(List<RolloutGateReading> gates, RolloutSpec spec, RolloutState state, RolloutEvidence evidence, DateTimeOffset now)
    {
        var step = spec.Steps[state.Step];
        var seen = evidence.Candidate.Requests;
        gates.Add(new RolloutGateReading("evidence", "limit", seen >= step.MinRequests ? GateVerdict.Quiet : GateVerdict.Waiting, seen, step.MinRequests, null, null,
            $"The candidate has seen {seen} of {step.MinRequests} requests{NotCopied(evidence.Pairs)}."));

        if (step.Bake > TimeSpan.Zero)
        {
            var baked = now - state.StepStartedAt;
            gates.Add(new RolloutGateReading("bake", "limit", baked >= step.Bake ? GateVerdict.Quiet : GateVerdict.Waiting, baked.TotalSeconds, step.Bake.TotalSeconds, null, null,
                $"The step has lasted {Text(baked.TotalSeconds)} s of {Text(step.Bake.TotalSeconds)} s."));
        }

        if (state.Pause is { } pause)
        {
            // A reading like any other, so that every breach still outweighs it.
            gates.Add(new RolloutGateReading("paused", "limit", GateVerdict.Waiting, null, null, null, null, $"Paused by {pause.By}: {pause.Reason}."));
        }

        // An unapproved version may be tried on a part of the traffic, but never take all of it.
        if (!evidence.Approved && NeedsApproval(spec, state.Step))
        {
            gates.Add(new RolloutGateReading("approval", "limit", GateVerdict.Waiting, null, null, null, null,
                "The version has no approved promotion to production; ask another user to approve one."));
        }
    }

    /// <summary>Whether what follows the step is all traffic, or production.</summary>
    public static bool NeedsApproval(RolloutSpec spec, int step) =>
        step == spec.Steps.Count - 1 ? spec.Strategy == RolloutStrategy.Canary : spec.Steps[step + 1].Percent >= 100;

    private static string NotCopied(PairEvidence? pairs) => pairs switch
    {
        { Incomparable: > 0 } => $"; {pairs.Incomparable} could not be copied, because the candidate needs an input they do not hold",
        { Dropped: > 0 } => $"; {pairs.Dropped} were not copied, because too many copies were waiting",
        _ => "",
    };

    private static void ErrorRate(List<RolloutGateReading> gates, RolloutSpec spec, RolloutStep step, RolloutEvidence evidence)
    {
        var (candidate, stable) = (evidence.Candidate, evidence.Stable);
        gates.Add(Limit("error_rate", candidate.Requests, spec.MinEvidence, candidate.ErrorRate, spec.ErrorRate.Max,
            $"error rate {Percent(candidate.ErrorRate)} over {candidate.Requests} requests, limit {Percent(spec.ErrorRate.Max)}"));
        if (spec.ErrorRate.CompareStable && step.Percent < 100)
        {
            gates.Add(AgainstStable("error_rate", spec, candidate.Requests, stable.Requests, candidate.Errors, stable.Errors, candidate.ErrorRate, stable.ErrorRate,
                $"error rate {Percent(candidate.ErrorRate)}, stable version {Percent(stable.ErrorRate)} at the same time"));
        }
    }

    // Not in shadow: copies are scored beside the answers, at whatever time is left, so their latency is nobody's.
    private static void Latency(List<RolloutGateReading> gates, RolloutSpec spec, RolloutStep step, RolloutEvidence evidence)
    {
        if (step.Shadow)
        {
            return;
        }

        var trigger = spec.Latency;
        var (candidate, stable) = (evidence.Candidate, evidence.Stable);
        var q = trigger.Percentile / 100.0;
        // Ten requests beyond the percentile, so that it is a percentile and not the slowest request.
        var needed = Math.Max(spec.MinEvidence, (long)Math.Ceiling(10 / (1 - q)));
        var candidateMs = candidate.LatencyQuantileUs(q) / 1000;
        gates.Add(Limit("latency", candidate.Measured, needed, candidateMs, trigger.MaxMs,
            candidate.Measured == 0 ? $"p{trigger.Percentile} latency is not measured yet: no requests, limit {Text(trigger.MaxMs)} ms"
                : $"p{trigger.Percentile} latency {Text(candidateMs)} ms over {candidate.Measured} requests, limit {Text(trigger.MaxMs)} ms"));
        if (!trigger.CompareStable || step.Percent >= 100)
        {
            return;
        }

        var stableUs = stable.LatencyQuantileUs(q);
        var allowedUs = stableUs * trigger.ToleranceRatio + trigger.ToleranceMs * 1000;
        // Were the candidate as fast as allowed, its requests beyond the allowed time would be as rare as the stable version's beyond its own percentile.
        var slow = double.IsNaN(stableUs) ? 0 : candidate.CountAbove(allowedUs);
        var stableSlow = double.IsNaN(stableUs) ? 0 : stable.CountAbove(stableUs);
        gates.Add(AgainstStable("latency", spec, candidate.Measured, stable.Measured, slow, stableSlow,
            candidateMs, double.IsNaN(stableUs) ? double.NaN : allowedUs / 1000,
            candidate.Measured == 0 || stable.Measured == 0 ? $"p{trigger.Percentile} latency is not compared yet: no requests to {(candidate.Measured == 0 ? "the candidate" : "the stable version")}"
                : $"p{trigger.Percentile} latency {Text(candidateMs)} ms, stable version {Text(stableUs / 1000)} ms at the same time (allowed {Text(allowedUs / 1000)} ms)"));
    }

    private static void Disagreement(List<RolloutGateReading> gates, RolloutSpec spec, RolloutStep step, RolloutEvidence evidence)
    {
        if (spec.Disagreement is not { } trigger || !step.Shadow)
        {
            return;
        }

        var pairs = evidence.Pairs ?? new PairEvidence(0, 0, 0, 0);
        var rate = pairs.Pairs == 0 ? 0 : (double)pairs.Disagreements / pairs.Pairs;
        var threshold = 1 / spec.AlphaPerCheck;
        var test = new RateLimitEProcess(trigger.MaxRate, spec.AlphaPerCheck);
        test.Add(pairs.Pairs, pairs.Disagreements);
        var e = EValue(test.LogEAbove);
        var verdict = e >= threshold ? GateVerdict.Breached
            : pairs.Pairs < step.MinRequests ? GateVerdict.Waiting
            : rate > trigger.MaxRate ? GateVerdict.Leaning
            : GateVerdict.Quiet;
        gates.Add(new RolloutGateReading("disagreement", "stable", verdict, rate, trigger.MaxRate, e, threshold,
            Say(verdict, $"{Percent(rate)} of {pairs.Pairs} paired answers differ by decision or by more than {Text(trigger.Tolerance)} " +
                $"(mean {Text(pairs.MeanDifference)}, largest {Text(pairs.MaxDifference)}), limit {Percent(trigger.MaxRate)}", pairs.Pairs, step.MinRequests, e, threshold)));
    }

    private static void Skew(List<RolloutGateReading> gates, RolloutSpec spec, RolloutStep step, RolloutEvidence evidence)
    {
        if (spec.Skew is not { } trigger || !step.Shadow)
        {
            return;
        }

        if (evidence.Skew.Count == 0)
        {
            gates.Add(new RolloutGateReading("skew", trigger.CompareStable ? "stable" : "limit", GateVerdict.Waiting, null, null, null, null,
                "No live feature values have been counted yet."));
        }

        foreach (var feature in evidence.Skew)
        {
            var limit = trigger.LimitOf(feature.Feature);
            var (value, check, words) = trigger.CompareStable && feature.StablePsi is { } stable
                ? (feature.Psi - stable, "stable", $"PSI {Text(feature.Psi)} against the data it was trained on, stable version {Text(stable)} on the same rows, excess limit {Text(limit)}")
                : (feature.Psi, "limit", $"PSI {Text(feature.Psi)} against the data it was trained on, limit {Text(limit)}");
            var reading = Limit("skew", feature.Values, trigger.MinValues, value, limit, $"{feature.Feature}: {words}");
            gates.Add(reading with { Check = check });
        }
    }

    private static void Quality(List<RolloutGateReading> gates, RolloutSpec spec, RolloutStep step, RolloutEvidence evidence)
    {
        var trigger = spec.Quality;
        var quality = evidence.Quality;
        var required = step.Reach >= trigger.RequiredFromPercent;
        var name = trigger.Metric == QualityMetric.Brier ? "brier" : "accuracy";
        if (trigger.Limit is { } limit)
        {
            // Accuracy is one less the mean loss; a floor under it is a ceiling over the loss.
            var loss = quality.Labelled == 0 ? double.NaN : quality.SumLoss / quality.Labelled;
            var lossLimit = trigger.Metric == QualityMetric.Brier ? limit : 1 - limit;
            var shown = trigger.Metric == QualityMetric.Brier ? loss : 1 - loss;
            var reading = Limit("quality", quality.Labelled, trigger.MinLabels, loss, lossLimit,
                quality.Labelled == 0 ? $"{name} is not known yet: no labelled predictions, limit {Text(limit)}"
                    : $"{name} {Text(shown)} over {quality.Labelled} labelled predictions, limit {Text(limit)}");
            gates.Add(Deferred(reading with { Value = Finite(shown), Threshold = limit }, required, trigger));
        }

        if (trigger.MaxDrop is { } drop)
        {
            var threshold = 1 / spec.AlphaPerCheck;
            var enough = quality.Pairs >= trigger.MinLabels;
            var mean = quality.Pairs == 0 ? double.NaN : quality.SumDifference / quality.Pairs;
            var e = enough ? EValue(PairedMean.LogAbove(quality.Pairs, quality.SumDifference, quality.SumSquaredDifference, drop, trigger.MinLabels)) : 1;
            var verdict = e >= threshold ? GateVerdict.Breached
                : !enough ? GateVerdict.Waiting
                : mean > drop ? GateVerdict.Leaning
                : GateVerdict.Quiet;
            var words = quality.Pairs == 0 ? $"{name} is not compared yet: no labelled request that both answered"
                : $"{name} is {(mean == 0 ? "that of the stable version" : $"{(mean > 0 ? "worse" : "better")} than the stable version's by {Text(Math.Abs(mean))}")} on {quality.Pairs} labelled requests both answered, worst allowed {Text(drop)}";
            gates.Add(Deferred(
                new RolloutGateReading("quality", "stable", verdict, Finite(mean), drop, e, threshold, Say(verdict, words, quality.Pairs, trigger.MinLabels, e, threshold)), required, trigger));
        }
    }

    // Labels can come a day late. The definition says from which share on they must be there; until then their absence is stated, not judged.
    private static RolloutGateReading Deferred(RolloutGateReading reading, bool required, QualityTrigger trigger) =>
        reading.Verdict == GateVerdict.Waiting && !required
            ? reading with { Verdict = GateVerdict.Quiet, Text = $"{reading.Text} Not required before {Text(trigger.RequiredFromPercent)} %." }
            : reading;

    private static RolloutGateReading Limit(string gate, long evidence, long needed, double value, double limit, string words)
    {
        var verdict = evidence < needed ? GateVerdict.Waiting : value > limit ? GateVerdict.Breached : GateVerdict.Quiet;
        return new RolloutGateReading(gate, "limit", verdict, Finite(value), limit, null, null, Say(verdict, words, evidence, needed, null, null));
    }

    private static RolloutGateReading AgainstStable(
        string gate, RolloutSpec spec, long candidateRequests, long stableRequests, long candidateHits, long stableHits, double value, double reference, string words)
    {
        var threshold = 1 / spec.AlphaPerCheck;
        var e = 1.0;
        var worse = false;
        if (candidateRequests > 0 && stableRequests > 0)
        {
            var share = (double)candidateRequests / (candidateRequests + stableRequests);
            worse = (double)candidateHits / candidateRequests > (double)stableHits / stableRequests;
            // The share as it came about: keys differ in weight, so that 5 % of the keys are seldom 5 % of the requests.
            var test = new ErrorRateEProcess(share, spec.AlphaPerCheck);
            test.Add(candidateRequests, candidateHits, stableRequests, stableHits);
            e = EValue(test.LogE);
        }

        var evidence = Math.Min(candidateRequests, stableRequests);
        var verdict = evidence < spec.MinEvidence ? GateVerdict.Waiting
            : worse && e >= threshold ? GateVerdict.Breached
            : worse && e >= Math.Sqrt(threshold) ? GateVerdict.Leaning
            : GateVerdict.Quiet;
        return new RolloutGateReading(gate, "stable", verdict, Finite(value), Finite(reference), e, threshold,
            Say(verdict, words, evidence, spec.MinEvidence, e, threshold));
    }

    private static string Say(GateVerdict verdict, string words, long evidence, long needed, double? e, double? threshold)
    {
        var sentence = char.ToUpperInvariant(words[0]) + words[1..];
        if (e is { } value && verdict is GateVerdict.Breached or GateVerdict.Leaning)
        {
            sentence += $" (e-value {Text(e!.Value)}, acts at {Text(threshold!.Value)})";
        }

        return verdict == GateVerdict.Waiting && evidence < needed ? $"{sentence}; {evidence} of the {needed} needed so far." : $"{sentence}.";
    }

    private static string Sentence(List<RolloutGateReading> gates, GateVerdict verdict) =>
        string.Join(" ", gates.Where(gate => gate.Verdict == verdict).Select(gate => $"[{gate.Gate}] {gate.Text}"));

    private static double EValue(double log) => Math.Min(Math.Exp(log), double.MaxValue);

    private static double? Finite(double value) => double.IsFinite(value) ? value : null;

    private static string Percent(double share) => (share * 100).ToString("0.##", CultureInfo.InvariantCulture) + " %";

    private static string Text(double value) => Math.Abs(value) >= 1e6 ? value.ToString("0.##e+0", CultureInfo.InvariantCulture) : value.ToString("0.####", CultureInfo.InvariantCulture);
}
