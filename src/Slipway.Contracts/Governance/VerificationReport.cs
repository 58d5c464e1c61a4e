namespace Slipway.Contracts.Governance;

/// <summary>What a recount of the records found.</summary>
/// <param name="Passed">Whether every check passed.</param>
/// <param name="At">When it ended.</param>
/// <param name="BlobsChecked">Blobs whose SHA-256 was recomputed.</param>
/// <param name="BytesChecked">Their bytes.</param>
/// <param name="Checks">Audit trail first, then the records with their blobs, then the lineage of each production version.</param>
public sealed record VerificationReport(bool Passed, DateTimeOffset At, int BlobsChecked, long BytesChecked, IReadOnlyList<VerificationCheck> Checks);

/// <summary>One line of the report.</summary>
/// <param name="Name"><c>audit_chain</c>, <c>blobs</c> or <c>lineage</c>.</param>
/// <param name="Subject">What was checked, such as <c>model_version:flight-delay@1.0.0</c>.</param>
/// <param name="Passed">Whether it holds.</param>
/// <param name="Detail">What was found, in one sentence.</param>
public sealed record VerificationCheck(string Name, string Subject, bool Passed, string Detail);
