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
