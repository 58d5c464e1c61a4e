namespace Slipway.Contracts.Serving;

/// <summary>Asks the rules again about the stored evidence of a rollout.</summary>
/// <param name="Definition">Another rollout definition (YAML) to judge it by; null takes the one the rollout followed.</param>
public sealed record ReplayRolloutRequest(string? Definition = null);

/// <summary>One entry of the decision log, asked again.</summary>
/// <param name="Seq">Its number in the log.</param>
/// <param name="At">When it was decided.</param>
/// <param name="Step">In which step, from 1.</param>
/// <param name="Stored">What was decided.</param>
/// <param name="Replayed">What the rules say of the stored evidence; null when they were not asked.</param>
/// <param name="Equal">Whether decision, reason and every check are the same; null when the rules were not asked.</param>
/// <param name="Text">The replayed reason, the difference, or why the rules were not asked.</param>
public sealed record ReplayedLook(long Seq, DateTimeOffset At, int Step, RolloutAction Stored, RolloutAction? Replayed, bool? Equal, string Text);

/// <summary>A rollout's decision log, asked again.</summary>
/// <param name="Rollout">Its id.</param>
/// <param name="Definition">What it was judged by.</param>
/// <param name="Differences">Looks that came out otherwise.</param>
/// <param name="Looks">Every entry of the log, oldest first.</param>
public sealed record RolloutReplayResponse(string Rollout, string Definition, int Differences, IReadOnlyList<ReplayedLook> Looks);
