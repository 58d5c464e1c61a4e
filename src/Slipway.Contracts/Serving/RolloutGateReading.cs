namespace Slipway.Contracts.Serving;

/// <summary>What one check of a rollout's triggers says about the evidence so far.</summary>
public enum GateVerdict
{
    /// <summary>Enough evidence, and the limit is kept.</summary>
    Quiet,

    /// <summary>Too little evidence to judge; the step holds.</summary>
    Waiting,

    /// <summary>The evidence points at a breach without being strong enough to act on; the step holds.</summary>
    Leaning,

    /// <summary>The limit is broken; the rollout goes back to the stable version.</summary>
    Breached,
}

/// <summary>One check at one moment, with the figures behind its verdict.</summary>
/// <param name="Gate">The trigger: <c>error_rate</c>, <c>latency</c>, <c>disagreement</c>, <c>skew</c>, <c>quality</c>; <c>evidence</c>, <c>bake</c> and <c>approval</c> for the step's own conditions.</param>
/// <param name="Check"><c>limit</c>: the candidate's figure against a fixed limit; <c>stable</c>: against the stable version's concurrent figure.</param>
/// <param name="Verdict">The outcome.</param>
/// <param name="Value">The candidate's figure; null when there is none yet.</param>
/// <param name="Threshold">What the figure may not exceed; null when there is nothing to compare with yet.</param>
/// <param name="EValue">Evidence against the candidate: under a healthy one, the chance that it ever reaches x is at most 1/x. Null for fixed limits.</param>
/// <param name="EThreshold">The e-value at which the check is breached: one over its share of alpha.</param>
/// <param name="Text">The same in one sentence.</param>
public sealed record RolloutGateReading(
    string Gate, string Check, GateVerdict Verdict, double? Value, double? Threshold, double? EValue, double? EThreshold, string Text);
