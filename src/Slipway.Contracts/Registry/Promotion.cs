namespace Slipway.Contracts.Registry;

/// <summary>Where a promotion stands.</summary>
public enum PromotionStatus
{
    /// <summary>Waits for approvals.</summary>
    Pending,

    /// <summary>Has the approvals the policy asks for; may be carried out.</summary>
    Approved,

    /// <summary>An approver said no.</summary>
    Rejected,

    /// <summary>Carried out.</summary>
    Executed,

    /// <summary>Withdrawn before it was carried out.</summary>
    Withdrawn,
}

/// <summary>A request to move a version to a stage.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Stage of the version when the promotion was asked for; it must still be there when carried out.</param>
/// <param name="To">Stage asked for.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Reason">Why it was asked for.</param>
/// <param name="RequestedBy">Who asked.</param>
/// <param name="RequestedAt">When.</param>
/// <param name="RollbackTo">For production: the version that takes over if this one fails; null when there is none before it.</param>
/// <param name="Decisions">Approvals and rejections, oldest first.</param>
/// <param name="ClosedBy">Who carried it out, rejected or withdrew it; null while open.</param>
/// <param name="ClosedAt">When; null while open.</param>
/// <param name="LastGate">The gate as last checked on carrying out; null before.</param>
public sealed record PromotionRecord(
    string Id, string Model, string Version, Stage From, Stage To, PromotionStatus Status, string Reason, string RequestedBy, DateTimeOffset RequestedAt,
    string? RollbackTo, IReadOnlyList<PromotionDecision> Decisions, string? ClosedBy, DateTimeOffset? ClosedAt, GateReport? LastGate);

/// <summary>One approver's decision.</summary>
/// <param name="By">Who.</param>
/// <param name="Role">The role they held then.</param>
/// <param name="Approved">Yes or no.</param>
/// <param name="Comment">Why.</param>
/// <param name="At">When.</param>
public sealed record PromotionDecision(string By, string Role, bool Approved, string Comment, DateTimeOffset At);

/// <summary>The body of a promotion request.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version, number or alias.</param>
/// <param name="To">Stage asked for.</param>
/// <param name="Reason">Why.</param>
/// <param name="RollbackTo">Version that takes over on failure; null takes the one in production now.</param>
public sealed record RequestPromotion(string Model, string Version, Stage? To, string Reason, string? RollbackTo = null);

/// <summary>The body of an approval or rejection.</summary>
/// <param name="Comment">Why.</param>
public sealed record DecidePromotion(string Comment);

/// <summary>The body of a rollback.</summary>
/// <param name="ToVersion">A version that was in production before; null takes the last known good one.</param>
/// <param name="Reason">Why.</param>
public sealed record RollbackModel(string? ToVersion, string Reason);

/// <summary>The body of an alias change.</summary>
/// <param name="Version">Semantic version or number.</param>
public sealed record SetAlias(string Version);

/// <summary>What stands between a version and a stage.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Its stage now.</param>
/// <param name="To">The stage asked for.</param>
/// <param name="Policy">The policy in force, <c>policy/name@version</c> or <c>built-in</c>.</param>
/// <param name="Items">Every requirement with its evidence, met or not.</param>
public sealed record GateReport(string Model, string Version, Stage From, Stage To, string Policy, IReadOnlyList<GateItem> Items)
{
    /// <summary>Whether every item is met.</summary>
    public bool Passed => Items.All(item => item.Passed);
}

/// <summary>One requirement.</summary>
/// <param name="Name">Such as <c>approvals</c> or <c>metric:auc</c>.</param>
/// <param name="Passed">Whether it is met.</param>
/// <param name="Detail">One sentence: what was required and what was found.</param>
/// <param name="Evidence">Ids that prove it, such as <c>evaluation_report:…</c>.</param>
public sealed record GateItem(string Name, bool Passed, string Detail, IReadOnlyList<string> Evidence);

/// <summary>One change of stage.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Stage before; null on registration.</param>
/// <param name="To">Stage after.</param>
/// <param name="Cause"><c>registration</c>, <c>promotion</c>, <c>replaced</c>, <c>rollback</c> or <c>rolled_back</c>.</param>
/// <param name="Reason">Why.</param>
/// <param name="By">Who.</param>
/// <param name="At">When.</param>
/// <param name="PromotionId">The promotion behind it; null when none.</param>
public sealed record StageChange(
    string Model, string Version, Stage? From, Stage To, string Cause, string Reason, string By, DateTimeOffset At, string? PromotionId);

/// <summary>Answer of <c>GET /promotions</c>.</summary>
/// <param name="Promotions">Newest first.</param>
public sealed record PromotionList(IReadOnlyList<PromotionRecord> Promotions);

/// <summary>Answer of <c>GET …/history</c>.</summary>
/// <param name="Changes">Oldest first.</param>
public sealed record StageHistory(IReadOnlyList<StageChange> Changes);
