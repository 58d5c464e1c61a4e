namespace Slipway.Contracts.Registry;

/// <summary>A version that shall no longer be used.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Reason">Why.</param>
/// <param name="EndOfLife">From then on no promotion, rollout or rollback takes it; null when that is not set.</param>
/// <param name="Replacement">The version to use instead; null when none is named.</param>
/// <param name="By">Who said so.</param>
/// <param name="At">When.</param>
public sealed record Deprecation(string Model, string Version, string Reason, DateTimeOffset? EndOfLife, string? Replacement, string By, DateTimeOffset At)
{
    /// <summary>One sentence for people who use the version.</summary>
    public string Warning =>
        $"{Model} {Version} is deprecated: {Reason}{(EndOfLife is { } end ? $"; its life ends {end.UtcDateTime:yyyy-MM-dd}" : "")}{(Replacement is null ? "" : $"; use {Replacement} instead")}.";
}

/// <summary>Body of <c>POST …/deprecation</c>.</summary>
/// <param name="Reason">Why.</param>
/// <param name="EndOfLife">From then on it is refused; null: warnings only.</param>
/// <param name="Replacement">Version, number, stage or alias to use instead.</param>
public sealed record DeprecateVersion(string? Reason, DateTimeOffset? EndOfLife = null, string? Replacement = null);

/// <summary>Answer of <c>GET …/deprecations</c>.</summary>
/// <param name="Deprecations">By model and version.</param>
public sealed record DeprecationList(IReadOnlyList<Deprecation> Deprecations);

/// <summary>One step of a retirement.</summary>
/// <param name="Step"><c>notice</c>, <c>migration</c>, <c>archive</c> or <c>deletion</c>.</param>
/// <param name="Done">Whether it was done.</param>
/// <param name="By">Who did it; null while it is not done.</param>
/// <param name="At">When; null while it is not done.</param>
/// <param name="Comment">What was done; null while it is not done.</param>
/// <param name="NeedsApprover">Whether the policy leaves the step to an approver who did not give the notice.</param>
public sealed record RetirementStep(string Step, bool Done, string? By, DateTimeOffset? At, string? Comment, bool NeedsApprover);

/// <summary>The way of a version out of use.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Steps">In order; each can be done once the one before is.</param>
public sealed record Retirement(string Model, string Version, IReadOnlyList<RetirementStep> Steps)
{
    /// <summary>Whether every step is done.</summary>
    public bool Complete => Steps.All(step => step.Done);
}

/// <summary>A remark with an act.</summary>
/// <param name="Comment">Why, or what was done.</param>
public sealed record CommentBody(string? Comment);

/// <summary>One item of the deployment checklist.</summary>
/// <param name="Item">Its name.</param>
/// <param name="Text">What it asks.</param>
/// <param name="TickedBy">Who ticked it; null while it is open.</param>
/// <param name="At">When; null while it is open.</param>
/// <param name="Note">What was found; null while it is open.</param>
public sealed record ChecklistItem(string Item, string Text, string? TickedBy, DateTimeOffset? At, string? Note);

/// <summary>The deployment checklist of a version.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Items">In the policy's order.</param>
public sealed record Checklist(string Model, string Version, IReadOnlyList<ChecklistItem> Items);

/// <summary>One environment of a model and the version in it.</summary>
/// <param name="Environment">Its name.</param>
/// <param name="Order">1, 2, 3 … between staging and production; 0 when the policy no longer names it.</param>
/// <param name="Optional">Whether production can be entered without it.</param>
/// <param name="Version">The version in it; null when it is empty.</param>
/// <param name="By">Who put it there.</param>
/// <param name="Since">Since when.</param>
public sealed record ModelEnvironment(string Environment, int Order, bool Optional, string? Version, string? By, DateTimeOffset? Since);

/// <summary>Answer of <c>GET …/environments</c>.</summary>
/// <param name="Environments">In order.</param>
public sealed record ModelEnvironmentList(IReadOnlyList<ModelEnvironment> Environments);

/// <summary>One change of an environment or alias.</summary>
/// <param name="Model">Model.</param>
/// <param name="Kind"><c>environment</c> or <c>alias</c>.</param>
/// <param name="Place">Its name.</param>
/// <param name="Version">The version it holds afterwards; null when it became empty.</param>
/// <param name="Was">The version before; null when it was empty.</param>
/// <param name="Reason">Why.</param>
/// <param name="By">Who.</param>
/// <param name="At">When.</param>
/// <param name="PromotionId">The promotion behind it; null when none.</param>
public sealed record PlaceChange(string Model, string Kind, string Place, string? Version, string? Was, string Reason, string By, DateTimeOffset At, string? PromotionId);

/// <summary>Answer of <c>GET …/places/history</c>.</summary>
/// <param name="Changes">Oldest first.</param>
public sealed record PlaceHistory(IReadOnlyList<PlaceChange> Changes);

/// <summary>What stood at a place at an instant, where it came from, and who let it in.</summary>
/// <param name="Model">Model.</param>
/// <param name="Place"><c>production</c>, another stage, an environment, or <c>@alias</c>.</param>
/// <param name="At">The instant asked for.</param>
/// <param name="Versions">What stood there; empty when nothing did. Only staging, development and archived may hold several.</param>
public sealed record AsOfReport(string Model, string Place, DateTimeOffset At, IReadOnlyList<AsOfVersion> Versions);

/// <summary>One version that stood at a place.</summary>
/// <param name="Version">Semantic version.</param>
/// <param name="Since">When it came there.</param>
/// <param name="Cause">How: <c>promotion</c>, <c>rollback</c>, <c>alias</c> …</param>
/// <param name="By">Who carried it out.</param>
/// <param name="Reason">Why.</param>
/// <param name="PromotionId">The promotion behind it; null when none.</param>
/// <param name="Approvals">Who approved that promotion; for a rollback, the promotion that first let the version in.</param>
/// <param name="RunId">The run that made it; null when unknown.</param>
/// <param name="Commit">Its source; null when unknown.</param>
/// <param name="TrainingSetSha256">Digest of its training set; null when unknown.</param>
/// <param name="Datasets">Dataset versions that trained it.</param>
public sealed record AsOfVersion(
    string Version, DateTimeOffset Since, string Cause, string By, string Reason, string? PromotionId, IReadOnlyList<PromotionDecision> Approvals, string? RunId,
    string? Commit, string? TrainingSetSha256, IReadOnlyList<DatasetRef> Datasets);

/// <summary>What happens when production fails.</summary>
/// <param name="Model">Model.</param>
/// <param name="Production">The version in production; null when none is.</param>
/// <param name="Target">The version that takes over; null when there is none.</param>
/// <param name="Ready">Whether the target's files verify and its model loads, tried just now.</param>
/// <param name="Detail">One sentence.</param>
/// <param name="Command">Carries it out.</param>
public sealed record RollbackPlan(string Model, string? Production, string? Target, bool Ready, string Detail, string Command);
