using System.Text.Json.Serialization;

namespace Slipway.Contracts.Audit;

/// <summary>A signed statement about the audit trail: this many rows stood there, and the newest had this hash.</summary>
/// <param name="Seq">Number of the newest row then.</param>
/// <param name="Hash">Its hash, which covers every row before it.</param>
/// <param name="Count">Rows counted when it was signed.</param>
/// <param name="Time">When, to the millisecond.</param>
/// <param name="KeyId">The key that signed.</param>
/// <param name="Signature">Ed25519, base64.</param>
public sealed record AuditCheckpoint(long Seq, string Hash, long Count, DateTimeOffset Time, string KeyId, string Signature);

/// <summary>A public key that checkpoints and reports are signed with.</summary>
/// <param name="KeyId">First 16 hexadecimal digits of the SHA-256 of <paramref name="PublicKey"/>.</param>
/// <param name="PublicKey">Ed25519 as SubjectPublicKeyInfo (RFC 8410), base64: the inside of a PEM file.</param>
/// <param name="Time">When it was made.</param>
/// <param name="EndorsedBy">The key before it, which vouches for it; null for the first.</param>
/// <param name="Endorsement">That key's signature, base64; null for the first.</param>
public sealed record AuditPublicKey(string KeyId, string PublicKey, DateTimeOffset Time, string? EndorsedBy = null, string? Endorsement = null);

/// <summary>Answer of <c>GET /audit/key</c>.</summary>
/// <param name="Current">The key that this server signs with.</param>
/// <param name="Keys">Every key on record, oldest first.</param>
public sealed record AuditKeyList(AuditPublicKey Current, IReadOnlyList<AuditPublicKey> Keys);

/// <summary>The body of a change of key.</summary>
/// <param name="Reason">Why.</param>
public sealed record RotateAuditKey(string Reason);

/// <summary>The body of a check of the trail.</summary>
/// <param name="Checkpoints">Lines of a checkpoint file that the caller kept; may be left out.</param>
/// <param name="PublicKeys">Only checkpoints of these keys (base64 or PEM), and of keys they vouch for, count; left out, every key on record does.</param>
public sealed record VerifyAudit(IReadOnlyList<string>? Checkpoints = null, IReadOnlyList<string>? PublicKeys = null);

/// <summary>What a check of the trail found.</summary>
/// <param name="Events">Rows that hold: all of them, or those before the first bad one.</param>
/// <param name="BrokenAtSeq">The first bad row; null when the chain holds.</param>
/// <param name="Reason">What is wrong there; null when the chain holds.</param>
public sealed record AuditVerification(long Events, long? BrokenAtSeq, string? Reason)
{
    /// <summary>Signed checkpoints that the rows were compared with and agree with.</summary>
    public int CheckpointsHeld { get; init; }

    /// <summary>Checkpoints signed by keys that the caller did not name; they prove nothing to that caller.</summary>
    public int CheckpointsOfOtherKeys { get; init; }

    /// <summary>What is wrong with the checkpoints themselves.</summary>
    public IReadOnlyList<string> CheckpointFaults { get; init; } = [];

    /// <summary>The newest checkpoint that holds; null when there is none.</summary>
    public AuditCheckpoint? LastCheckpoint { get; init; }

    /// <summary>Rows after it: the chain alone covers them, and whoever can write the database could have written them anew.</summary>
    [JsonIgnore]
    public long EventsAfterCheckpoint => Events - (LastCheckpoint?.Seq ?? 0);

    /// <summary>Whether nothing is wrong.</summary>
    public bool Passed => BrokenAtSeq is null && CheckpointFaults.Count == 0;
}

/// <summary>One line of the answer of <c>POST /audit/verify</c>: progress, and at the end the result.</summary>
/// <param name="Done">Rows read so far.</param>
/// <param name="Of">Rows there are.</param>
/// <param name="Result">On the last line only.</param>
public sealed record AuditVerificationProgress(long Done, long Of, AuditVerification? Result = null);
