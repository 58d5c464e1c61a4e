using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Slipway.Storage.Audit;

/// <summary>One audit row as stored.</summary>
/// <param name="Seq">1, 2, 3 … without gaps.</param>
/// <param name="AtMs">Unix milliseconds.</param>
/// <param name="Actor">Who.</param>
/// <param name="Action">Did what.</param>
/// <param name="SubjectKind">To which kind of thing.</param>
/// <param name="SubjectId">To which thing.</param>
/// <param name="Reason">Why; null when none was asked for.</param>
/// <param name="BeforeJson">State before; null when there was none.</param>
/// <param name="AfterJson">State after; null when there is none.</param>
/// <param name="RequestId">The HTTP request; null for the server's own work.</param>
/// <param name="PreviousHash">Hash of the row before; 64 zeros on the first.</param>
/// <param name="Hash">SHA-256, lower-case hex.</param>
public sealed record AuditEvent(
    long Seq, long AtMs, string Actor, string Action, string SubjectKind, string SubjectId, string? Reason,
    string? BeforeJson, string? AfterJson, string? RequestId, string PreviousHash, string Hash);

/// <summary>What a check of the chain found.</summary>
/// <param name="Events">Rows read.</param>
/// <param name="BrokenAtSeq">The first row whose hash, link or number is wrong; null when the chain holds.</param>
/// <param name="Reason">What is wrong there; null when the chain holds.</param>
public sealed record AuditVerification(long Events, long? BrokenAtSeq, string? Reason);

/// <summary>Owns <c>audit_events</c> and <c>audit_head</c>: append-only, each row's hash covers the row and the hash before it.</summary>
public sealed class AuditTrail(Database database)
{
    private const string Columns =
        "seq AS Seq, at_ms AS AtMs, actor AS Actor, action AS Action, subject_kind AS SubjectKind, subject_id AS SubjectId, reason AS Reason, " +
        "before_json AS BeforeJson, after_json AS AfterJson, request_id AS RequestId, previous_hash AS PreviousHash, hash AS Hash";

    private static readonly string Genesis = new('0', 64);

    /// <summary>Newest events first.</summary>
    /// <param name="subject">Only this thing's; null for all.</param>
    /// <param name="beforeSeq">Only events older than this one; null from the newest.</param>
    /// <param name="limit">At most this many, 1 to 1000.</param>
    public IReadOnlyList<AuditEvent> List(NodeRef? subject = null, long? beforeSeq = null, int limit = 100) =>
        database.Read(connection => connection.Query<AuditEvent>(
            $"""
            SELECT {Columns} FROM audit_events
             WHERE (@kind IS NULL OR (subject_kind = @kind AND subject_id = @id)) AND seq < @before
             ORDER BY seq DESC LIMIT @limit
            """,
            new { kind = subject?.Kind, id = subject?.Id, before = beforeSeq ?? long.MaxValue, limit = Math.Clamp(limit, 1, 1000) }).AsList());

    /// <summary>The number of events.</summary>
    public long Count() => database.Read(connection => connection.ExecuteScalar<long>("SELECT coalesce(max(seq), 0) FROM audit_events"));

    /// <summary>Recomputes the whole chain.</summary>
    public AuditVerification Verify() => database.Read(connection =>
    {
        var previous = Genesis;
        long expected = 1;
        foreach (var row in connection.Query<AuditEvent>($"SELECT {Columns} FROM audit_events ORDER BY seq", buffered: false))
        {
            if (row.Seq != expected)
            {
                return new AuditVerification(expected - 1, expected, $"row {expected} is missing");
            }

            if (row.PreviousHash != previous)
            {
                return new AuditVerification(expected - 1, row.Seq, "it does not follow the row before it");
            }

            if (row.Hash != ComputeHash(row))
            {
                return new AuditVerification(expected - 1, row.Seq, "its content does not match its hash");
            }

            previous = row.Hash;
            expected++;
        }

        var head = Head(connection);
        return head == (expected - 1, previous)
            ? new AuditVerification(expected - 1, null, null)
            : new AuditVerification(expected - 1, expected, head.Seq >= expected ? $"rows {expected} to {head.Seq} are missing" : "the kept head names another row as the newest");
    });

    internal static void Append(WriteTransaction transaction, Caller by, string action, NodeRef subject, string? reason, string? before, string? after)
    {
        var (seq, previous) = Head(transaction.Connection);
        var row = new AuditEvent(seq + 1, transaction.NowMs, by.Name, action, subject.Kind, subject.Id, reason, before, after, by.RequestId, previous, "");
        row = row with { Hash = ComputeHash(row) };
        transaction.Connection.Execute(
            """
            INSERT INTO audit_events (seq, at_ms, actor, action, subject_kind, subject_id, reason, before_json, after_json, request_id, previous_hash, hash)
            VALUES (@Seq, @AtMs, @Actor, @Action, @SubjectKind, @SubjectId, @Reason, @BeforeJson, @AfterJson, @RequestId, @PreviousHash, @Hash);
            INSERT INTO audit_head (id, seq, hash) VALUES (1, @Seq, @Hash) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash;
            """,
            row);
    }

    private static (long Seq, string Hash) Head(SqliteConnection connection) =>
        connection.QueryFirstOrDefault<(long, string)?>("SELECT seq, hash FROM audit_head") ?? (0, Genesis);

    // Length-prefixed fields, so that no two rows share an encoding; a null differs from an empty text.
    internal static string ComputeHash(AuditEvent row)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> number = stackalloc byte[8];
        void Number(long value, Span<byte> buffer)
        {
            BinaryPrimitives.WriteInt64BigEndian(buffer, value);
            hash.AppendData(buffer);
        }

        Number(row.Seq, number);
        Number(row.AtMs, number);
        foreach (var text in (ReadOnlySpan<string?>)[row.Actor, row.Action, row.SubjectKind, row.SubjectId, row.Reason, row.BeforeJson, row.AfterJson, row.RequestId, row.PreviousHash])
        {
            var bytes = text is null ? null : Encoding.UTF8.GetBytes(text);
            Number(bytes?.Length ?? -1, number);
            hash.AppendData(bytes ?? []);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
