namespace Slipway.Contracts.Serving;

/// <summary>Starts a rollout of a version.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">The candidate, such as <c>1.1.0</c>.</param>
/// <param name="Reason">Why; kept in the audit trail.</param>
/// <param name="Spec">The rollout definition to follow; null takes the one named like the model, or the model's only one.</param>
public sealed record StartRolloutRequest(string Model, string Version, string Reason, string? Spec = null);

/// <summary>Ends a running rollout and sends all traffic back to the stable version.</summary>
/// <param name="Reason">Why; kept in the audit trail.</param>
public sealed record AbortRolloutRequest(string Reason);

/// <summary>Keeps a running rollout in its step until it is resumed; a breach still takes it back.</summary>
/// <param name="Reason">Why; kept in the audit trail.</param>
public sealed record PauseRolloutRequest(string Reason);

/// <summary>Lets a paused rollout go on.</summary>
/// <param name="Reason">Why; kept in the audit trail.</param>
public sealed record ResumeRolloutRequest(string Reason);

/// <summary>Takes a running rollout on without waiting for its step's conditions.</summary>
/// <param name="Reason">Why; kept in the audit trail.</param>
/// <param name="ToFull">True finishes the rollout; otherwise the next step begins.</param>
/// <param name="FromStep">The step it must be in, from 1, so that a word that is said twice moves it once; null for whichever it is in.</param>
public sealed record PromoteRolloutRequest(string Reason, bool ToFull = false, int? FromStep = null);
