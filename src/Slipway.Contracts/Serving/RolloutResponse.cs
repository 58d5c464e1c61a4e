using System.Text.Json;

namespace Slipway.Contracts.Serving;

/// <summary>Where a rollout stands.</summary>
public enum RolloutStatus
{
    /// <summary>Its steps are under way.</summary>
    Running,

    /// <summary>The candidate has become the production version.</summary>
    Completed,

    /// <summary>A trigger sent all traffic back to the stable version.</summary>
    RolledBack,

    /// <summary>A person sent all traffic back to the stable version.</summary>
    Aborted,
}

/// <summary>What the controller does after weighing the evidence.</summary>
public enum RolloutAction
{
    /// <summary>Stay in the step.</summary>
    Hold,

    /// <summary>Enter the next step.</summary>
    Advance,

    /// <summary>Make the candidate the production version.</summary>
    Complete,

    /// <summary>Send all traffic back to the stable version.</summary>
    RollBack,
}

/// <summary>How far a step has come.</summary>
public enum RolloutStepStatus
{
    /// <summary>Not reached.</summary>
    Pending,

    /// <summary>Under way.</summary>
    Running,

    /// <summary>Its conditions were met, or a person went on without them; the decision log says which.</summary>
    Passed,

    /// <summary>The rollout ended in it.</summary>
    Stopped,
}

/// <summary>One step with its newest evidence.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Shadow">The candidate answers nobody; it is sent copies.</param>
/// <param name="Percent">Share of the keys it answers; 0 in shadow, -1 where a flag says which.</param>
/// <param name="MinRequests">Requests the candidate must have seen before the step may pass.</param>
/// <param name="Status">How far it has come.</param>
/// <param name="StartedAt">Null while pending.</param>
/// <param name="EndedAt">Null until it has passed or was stopped.</param>
/// <param name="Requests">The candidate's requests in this step.</param>
/// <param name="Errors">The candidate's failed requests in this step.</param>
/// <param name="StableRequests">The stable version's requests in the same time.</param>
/// <param name="StableErrors">The stable version's failed requests in the same time.</param>
/// <param name="Gates">The newest reading of each check; empty while pending.</param>
public sealed record RolloutStepResponse(
    int Number, bool Shadow, double Percent, long MinRequests, RolloutStepStatus Status, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt,
    long Requests, long Errors, long StableRequests, long StableErrors, IReadOnlyList<RolloutGateReading> Gates);

/// <summary>One entry of the decision log. The evidence is complete: the same rule on it gives the same decision.</summary>
/// <param name="Seq">1, 2, 3 … within the rollout.</param>
/// <param name="At">When.</param>
/// <param name="Step">In which step, from 1.</param>
/// <param name="Action">What was decided.</param>
/// <param name="Reason">Why, in one sentence.</param>
/// <param name="Gates">Every check with its figures.</param>
/// <param name="Evidence">The counts that were weighed.</param>
public sealed record RolloutDecisionResponse(
    long Seq, DateTimeOffset At, int Step, RolloutAction Action, string Reason, IReadOnlyList<RolloutGateReading> Gates, JsonElement Evidence);

/// <summary>One rollout.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Model">The model.</param>
/// <param name="Version">The candidate.</param>
/// <param name="StableVersion">The version that was in production at the start, and the way back.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Step">The step it is in or ended in, from 1.</param>
/// <param name="Spec">The applied definition, <c>name@version</c>.</param>
/// <param name="Alpha">Chance, over the whole rollout, that the comparisons stop a candidate that is no worse.</param>
/// <param name="AlphaPerCheck">The share of alpha of each comparison in each step.</param>
/// <param name="RequestedBy">Who started it.</param>
/// <param name="StartReason">Why it was started.</param>
/// <param name="StartedAt">When.</param>
/// <param name="EndedAt">Null while running.</param>
/// <param name="EndReason">Why it ended; while running, why it holds.</param>
/// <param name="RestoreMs">Milliseconds from the detected breach (or the abort) to restored routes; null unless it was stopped.</param>
/// <param name="Steps">The steps.</param>
/// <param name="Decisions">The decision log, oldest first; empty in listings.</param>
/// <param name="Pause">Null unless a person has paused it; it then still runs, and goes back on a breach.</param>
public sealed record RolloutResponse(
    string Id, string Model, string Version, string StableVersion, RolloutStatus Status, int Step, string Spec, double Alpha, double AlphaPerCheck,
    string RequestedBy, string StartReason, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? EndReason, double? RestoreMs,
    IReadOnlyList<RolloutStepResponse> Steps, IReadOnlyList<RolloutDecisionResponse> Decisions, RolloutPause? Pause = null);

/// <summary>Who keeps a rollout in its step.</summary>
/// <param name="At">Since when.</param>
/// <param name="By">Who.</param>
/// <param name="Reason">Why.</param>
public sealed record RolloutPause(DateTimeOffset At, string By, string Reason);

/// <summary>Answer of <c>GET /rollouts</c>.</summary>
/// <param name="Rollouts">Newest first.</param>
public sealed record RolloutListResponse(IReadOnlyList<RolloutResponse> Rollouts);
