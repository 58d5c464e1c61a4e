namespace Slipway.Contracts.Serving;

/// <summary>A prediction that a person looks at.</summary>
/// <param name="Id">The case's.</param>
/// <param name="Model">Who predicted.</param>
/// <param name="PredictionId">The id of the prediction.</param>
/// <param name="Version">The version that answered.</param>
/// <param name="Arm">Its role.</param>
/// <param name="Output">What it answered.</param>
/// <param name="EntityKey">Whom or what it was about; null when that is not kept.</param>
/// <param name="Features">What it was made of; those that are never written are left out, null is a missing value.</param>
/// <param name="Why"><c>band</c>: the output lies in the declared band; <c>sample</c>: it was drawn.</param>
/// <param name="At">When it was answered.</param>
/// <param name="EventAt">When the predicted event happens.</param>
/// <param name="Decision">What the person decided; null while the case is open.</param>
/// <param name="DecidedBy">Who; null while the case is open.</param>
/// <param name="DecidedAt">When; null while the case is open.</param>
/// <param name="Reason">Why; null while the case is open.</param>
public sealed record ReviewCase(
    string Id, string Model, string PredictionId, string Version, string Arm, double Output, string? EntityKey, IReadOnlyDictionary<string, double?> Features, string Why,
    DateTimeOffset At, DateTimeOffset EventAt, double? Decision, string? DecidedBy, DateTimeOffset? DecidedAt, string? Reason);

/// <summary>A page of cases, the oldest first.</summary>
/// <param name="Cases">At most as many as were asked for.</param>
/// <param name="Next">Where the next page begins; null when there is none.</param>
/// <param name="Open">Cases that wait, over all pages.</param>
/// <param name="Dropped">Cases of the model that this server left out since it started, because too many waited.</param>
public sealed record ReviewList(IReadOnlyList<ReviewCase> Cases, string? Next, long Open, long Dropped);

/// <summary>Decides a case.</summary>
/// <param name="Decision">What is true or to be done: 1 for yes and 0 for no, or the figure itself.</param>
/// <param name="Reason">Why; kept with the case and in the audit trail.</param>
public sealed record DecideCaseRequest(double Decision, string Reason);
