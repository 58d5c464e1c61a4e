using Slipway.Contracts.Registry;

namespace Slipway.Contracts.Audit;

/// <summary>What happened to one model over a time, from the records, with the place of the audit trail it was read at.</summary>
/// <param name="Format"><c>slipway-audit-report-1</c>.</param>
/// <param name="Model">The model.</param>
/// <param name="From">Nothing before this; null from the beginning.</param>
/// <param name="To">Nothing from this on; null up to the position of the trail.</param>
/// <param name="Trail">Where the trail stood, and whether it held up to there.</param>
/// <param name="Deployments">Versions that answered requests in that time, oldest first.</param>
/// <param name="Versions">Versions that were registered, moved or deployed in that time, oldest first.</param>
/// <param name="Promotions">Promotions that were asked for or closed in that time, oldest first.</param>
/// <param name="StageChanges">Every change of stage, oldest first.</param>
/// <param name="Rollbacks">Those of them that took a version back.</param>
/// <param name="Deprecations">Audit rows about deprecation, end of life and retirement.</param>
/// <param name="Approvers">Who decided, and how often.</param>
/// <param name="DataSources">The dataset versions behind these versions.</param>
/// <param name="MetricsOverTime">Readings of the model's monitors, by event time.</param>
/// <param name="Events">Every audit row about the model, its versions, policy, deployments, monitors and documents, oldest first.</param>
/// <param name="Retention">How long rows of each class are kept.</param>
public sealed record AuditReport(
    string Format, string Model, DateTimeOffset? From, DateTimeOffset? To, AuditTrailPosition Trail,
    IReadOnlyList<ReportedDeployment> Deployments, IReadOnlyList<ReportedVersion> Versions, IReadOnlyList<ReportedPromotion> Promotions,
    IReadOnlyList<StageChange> StageChanges, IReadOnlyList<StageChange> Rollbacks, IReadOnlyList<ReportedEvent> Deprecations, IReadOnlyList<ReportedApprover> Approvers,
    IReadOnlyList<ReportedDataSource> DataSources, IReadOnlyList<ReportedMetric> MetricsOverTime, IReadOnlyList<ReportedEvent> Events, IReadOnlyList<ReportedRetention> Retention);

/// <summary>A place in the trail.</summary>
/// <param name="Seq">The newest row then; 0 for none.</param>
/// <param name="Hash">Its hash.</param>
/// <param name="Holds">Whether chain and checkpoints held up to there.</param>
/// <param name="Fault">What did not hold; null when all did.</param>
/// <param name="LastCheckpointSeq">The newest row that a signed checkpoint covers; null when there is none.</param>
public sealed record AuditTrailPosition(long Seq, string Hash, bool Holds, string? Fault, long? LastCheckpointSeq);

/// <summary>A version's time in one role.</summary>
public sealed record ReportedDeployment(string Id, string Version, string Arm, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? Outcome, string Reason);

/// <summary>A version.</summary>
/// <param name="Version">Semantic version.</param>
/// <param name="Stage">Its stage when the report was made.</param>
/// <param name="RegisteredAt">When.</param>
/// <param name="RegisteredBy">By whom.</param>
/// <param name="Owner">Who answers for it.</param>
/// <param name="RunId">The run that made it.</param>
/// <param name="Commit">Source code; null when unknown.</param>
/// <param name="EvaluationReportSha256">Null when it has none.</param>
/// <param name="TestSetSha256">The test rows of its evaluation; null when it has none.</param>
/// <param name="Metrics">Its metrics on them, by name.</param>
/// <param name="EvaluationFault">Why the evaluation cannot be read; null when it can, or there is none.</param>
public sealed record ReportedVersion(
    string Version, string Stage, DateTimeOffset RegisteredAt, string RegisteredBy, string Owner, string? RunId, string? Commit,
    string? EvaluationReportSha256, string? TestSetSha256, IReadOnlyDictionary<string, double> Metrics, string? EvaluationFault);

/// <summary>A promotion with its gate and its compliance checkpoints.</summary>
/// <param name="Id">Promotion.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="From">Stage before.</param>
/// <param name="To">Stage asked for.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Reason">Why it was asked for.</param>
/// <param name="RequestedBy">By whom.</param>
/// <param name="RequestedAt">When.</param>
/// <param name="ClosedBy">Who carried it out, rejected or withdrew it; null while open.</param>
/// <param name="ClosedAt">When; null while open.</param>
/// <param name="Decisions">Approvals and rejections, oldest first.</param>
/// <param name="Policy">The policy that the gate was checked against; null when it never was.</param>
/// <param name="Gate">Every requirement with its evidence, as last checked.</param>
/// <param name="Compliance">Named checkpoints.</param>
public sealed record ReportedPromotion(
    string Id, string Version, string From, string To, string Status, string Reason, string RequestedBy, DateTimeOffset RequestedAt, string? ClosedBy, DateTimeOffset? ClosedAt,
    IReadOnlyList<PromotionDecision> Decisions, string? Policy, IReadOnlyList<GateItem> Gate, IReadOnlyList<ComplianceCheckpoint> Compliance);

/// <summary>What the records say of a checkpoint.</summary>
public enum ComplianceOutcome
{
    /// <summary>They show that it was met.</summary>
    Passed,

    /// <summary>They show that it was not.</summary>
    Failed,

    /// <summary>Nobody looked: neither the policy asked for it, nor does a record show it.</summary>
    NotChecked,
}

/// <summary>One named checkpoint of a promotion.</summary>
/// <param name="Name">
/// <c>lineage_complete</c>, <c>approved_by_another</c>, <c>rollback_plan</c>, <c>evaluated_on_test_set</c>, <c>fairness_checked</c>, <c>model_card_present</c>, <c>files_as_registered</c>.
/// </param>
/// <param name="Outcome">What the records say.</param>
/// <param name="Detail">One sentence.</param>
/// <param name="Evidence">Records that show it.</param>
public sealed record ComplianceCheckpoint(string Name, ComplianceOutcome Outcome, string Detail, IReadOnlyList<string> Evidence);

/// <summary>One who decided on promotions.</summary>
public sealed record ReportedApprover(string Name, IReadOnlyList<string> Roles, int Approved, int Rejected);

/// <summary>One dataset version.</summary>
/// <param name="Dataset">Name.</param>
/// <param name="Version">1, 2, 3 …</param>
/// <param name="Sha256">As the model versions name it.</param>
/// <param name="Rows">Null when it is not on record.</param>
/// <param name="Source">Kind and address; null when it is not declared.</param>
/// <param name="Owner">Who answers for it.</param>
/// <param name="Licence">Under which it may be used.</param>
/// <param name="PersonalData">Whether it holds such data; null when it is not declared.</param>
/// <param name="Validation">Outcome of its validation; null when it was never validated.</param>
/// <param name="UsedBy">Versions of the model.</param>
public sealed record ReportedDataSource(
    string Dataset, int Version, string Sha256, long? Rows, string? Source, string? Owner, string? Licence, bool? PersonalData, string? Validation, IReadOnlyList<string> UsedBy);

/// <summary>One reading of a monitor.</summary>
/// <param name="Monitor">Monitor.</param>
/// <param name="Metric">A metric of performance, or <c>psi</c>, the worst of all features.</param>
/// <param name="Subject">What it was read of.</param>
/// <param name="WindowEnd">End of its window, in event time.</param>
/// <param name="Value">Value.</param>
/// <param name="Band">Against the monitor's limits.</param>
/// <param name="N">Rows it comes from.</param>
public sealed record ReportedMetric(string Monitor, string Metric, string Subject, DateTimeOffset WindowEnd, double Value, string Band, long N);

/// <summary>One audit row.</summary>
public sealed record ReportedEvent(long Seq, DateTimeOffset At, string Actor, string Action, string Subject, string? Reason, string Hash);

/// <summary>How long one class of audit rows is kept.</summary>
/// <param name="Class">Which.</param>
/// <param name="Kept">How long.</param>
/// <param name="Events">Rows of this report in the class.</param>
public sealed record ReportedRetention(string Class, string Kept, int Events);

/// <summary>The digest of a report's body and its signature.</summary>
/// <param name="Sha256">Of the body's bytes: in JSON the value of <c>report</c> as it stands in the file, in Markdown all before the heading "Seal".</param>
/// <param name="Seq">The trail's newest row when it was made.</param>
/// <param name="Hash">Its hash.</param>
/// <param name="KeyId">The key that signed.</param>
/// <param name="Signature">Ed25519 over digest, number, hash and key; base64.</param>
public sealed record AuditReportSeal(string Sha256, long Seq, string Hash, string KeyId, string Signature);
