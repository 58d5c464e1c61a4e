namespace Slipway.Contracts.Audit;

/// <summary>Something that the scheduled audit found wrong with a version in production, or with the trail itself.</summary>
/// <param name="Subject">What it is about, as <c>kind:id</c>.</param>
/// <param name="Check"><c>files</c>, <c>lineage</c>, <c>approvals</c>, <c>model_card</c>, <c>audit_trail</c>, or <c>policy:</c> and the requirement that is no longer met.</param>
/// <param name="Detail">One sentence.</param>
/// <param name="OpenedAt">When it was found first.</param>
/// <param name="SeenAt">When it was found last.</param>
/// <param name="ClosedAt">When it was gone; null while it stands.</param>
public sealed record AuditFinding(string Subject, string Check, string Detail, DateTimeOffset OpenedAt, DateTimeOffset SeenAt, DateTimeOffset? ClosedAt);

/// <summary>Answer of <c>GET /audit/findings</c>.</summary>
/// <param name="Findings">Those that stand first, then the newest.</param>
public sealed record AuditFindingList(IReadOnlyList<AuditFinding> Findings);
