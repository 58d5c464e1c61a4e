using System.Data.Common;
using Dapper;
using Slipway.Contracts.Audit;

namespace Slipway.Storage.Audit;

/// <summary>Owns <c>audit_events</c> and <c>audit_head</c>: append-only, each row's hash covers the row and the hash before it.</summary>
public sealed class AuditTrail(Database database)
{
    /// <summary>Tables that the database itself keeps from being changed or cut, where it can.</summary>
    internal static readonly IReadOnlyList<(string Table, string Key)> AppendOnly = [("audit_events", "seq"), ("audit_checkpoints", "seq"), ("audit_keys", "key_id")];

    private const string Columns =
        "seq AS Seq, at_ms AS AtMs, actor AS Actor, action AS Action, subject_kind AS SubjectKind, subject_id AS SubjectId, reason AS Reason, " +
        "before_json AS BeforeJson, after_json AS AfterJson, request_id AS RequestId, previous_hash AS PreviousHash, hash AS Hash";

    // A trail up to this long is recounted whole when a server first looks at it; a longer one from its last checkpoint on.
    private const int QuickRows = 20_000;

    private readonly Lock _lookingAtNew = new();
    private AuditChain _seen = new();

    /// <summary>Newest events first.</summary>
    /// <param name="filter">Which; null for all.</param>
    /// <param name="limit">At most this many, 1 to 1000.</param>
    public IReadOnlyList<AuditEvent> List(AuditFilter? filter = null, int limit = 100) =>
        database.Read(connection => connection.Query<AuditEvent>(
            $"SELECT {Columns} FROM audit_events WHERE {Where(filter ??= new AuditFilter())} ORDER BY seq DESC LIMIT @limit",
            Parameters(filter, Math.Clamp(limit, 1, 1000))).AsList());

    /// <summary>Newest events about one thing first, at most 100.</summary>
    public IReadOnlyList<AuditEvent> List(NodeRef subject) => List(new AuditFilter { Subject = subject });

    /// <summary>Events after one, oldest first: how a reader follows the trail.</summary>
    /// <param name="seq">The last event that was read; 0 from the first.</param>
    /// <param name="limit">At most this many, 1 to 1000.</param>
    public IReadOnlyList<AuditEvent> After(long seq, int limit = 1000) =>
        database.Read(connection => connection.Query<AuditEvent>(
            $"SELECT {Columns} FROM audit_events WHERE seq > @seq ORDER BY seq LIMIT @limit", new { seq, limit = Math.Clamp(limit, 1, 1000) }).AsList());

    /// <summary>One event; null when there is none.</summary>
    public AuditEvent? Find(long seq) =>
        database.Read(connection => connection.QueryFirstOrDefault<AuditEvent>($"SELECT {Columns} FROM audit_events WHERE seq = @seq", new { seq }));

    /// <summary>Events per day (UTC); days without any are left out.</summary>
    /// <param name="filter">Which.</param>
    /// <param name="from">First day.</param>
    /// <param name="to">Last day.</param>
    public IReadOnlyDictionary<DateOnly, long> CountByDay(AuditFilter filter, DateOnly from, DateOnly to)
    {
        static DateTimeOffset Start(DateOnly day) => new(day.ToDateTime(TimeOnly.MinValue), TimeSpan.Zero);
        var within = filter with
        {
            From = filter.From > Start(from) ? filter.From : Start(from),
            To = filter.To < Start(to).AddDays(1) ? filter.To : Start(to).AddDays(1),
        };
        return database.Read(connection => connection.Query<(long Day, long Events)>(
                $"SELECT at_ms / 86400000, count(*) FROM audit_events WHERE {Where(within)} GROUP BY at_ms / 86400000", Parameters(within, 0))
            .ToDictionary(row => DateOnly.FromDateTime(DateTime.UnixEpoch.AddDays(row.Day)), row => row.Events));
    }

    /// <summary>The number of events.</summary>
    public long Count() => Position().Seq;

    /// <summary>Number and hash of the newest event; 0 and 64 zeros while there is none.</summary>
    public (long Seq, string Hash) Position() => database.Read(Head);

    /// <summary>Recomputes the whole chain and compares it with the checkpoints in the database.</summary>
    public AuditVerification Verify() => new AuditVerifier(new DatabaseAuditSource(database.Read)).Run((_, _) => { }, default);

    /// <summary>Recomputes the whole chain and compares it with the checkpoints in the database and in the file.</summary>
    /// <param name="checkpoints">Whose file.</param>
    /// <param name="request">What the caller brings along.</param>
    /// <param name="progress">Told the rows read and the rows there are.</param>
    /// <param name="cancellationToken">Interrupts between rows.</param>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: a public key is none.</exception>
    public AuditVerification Verify(AuditCheckpoints checkpoints, VerifyAudit request, Action<long, long> progress, CancellationToken cancellationToken) =>
        new AuditVerifier(new DatabaseAuditSource(database.Read))
        {
            FileLines = checkpoints.FileLines().Concat(request.Checkpoints ?? []),
            TrustedKeys = request.PublicKeys is { Count: > 0 } named ? [.. named.Select(AuditSigningKey.ReadPublicKey)] : null,
        }.Run(progress, cancellationToken);

    /// <summary>
    /// Recomputes only what this server has not seen yet: quick enough for a page, and blind to later changes of older rows. Of a long trail,
    /// rows that a signed checkpoint covers are not looked at.
    /// </summary>
    /// <returns>The result, and how many rows were looked at now.</returns>
    public (AuditVerification Result, long LookedAt) VerifyNew()
    {
        lock (_lookingAtNew)
        {
            if (_seen.Rows == 0 && database.Read(AuditCheckpoints.NewestSigned) is { Seq: > QuickRows } signed)
            {
                _seen = new AuditChain(signed.Seq, signed.Hash);
            }

            var (chain, before) = (_seen, _seen.Rows);
            (long Seq, string Reason)? fault = null;
            var source = new DatabaseAuditSource(database.Read, before);
            source.Rows(row => (fault = chain.Take(row)) is null);
            if (fault is null && source.Head() is var head && head != (chain.Rows, chain.Hash))
            {
                fault = (Math.Min(head.Seq, chain.Rows) + 1, "the newest row is not the one that the kept head names");
            }

            if (fault is not { } bad)
            {
                return (new AuditVerification(chain.Rows, null, null), chain.Rows - before);
            }

            _seen = new AuditChain(); // What was seen before is in doubt as well.
            return (new AuditVerification(Math.Max(0, bad.Seq - 1), bad.Seq, bad.Reason), chain.Rows - before);
        }
    }

    internal static void Append(WriteTransaction transaction, Caller by, string action, NodeRef subject, string? reason, string? before, string? after)
    {
        var (seq, previous) = Head(transaction.Connection);
        var row = new AuditEvent(seq + 1, transaction.NowMs, by.Name, action, subject.Kind, subject.Id, reason, before, after, by.RequestId, previous, "");
        row = row with { Hash = AuditHash.Of(row) };
        using var insert = Statement.Of(transaction.Connection,
            """
            INSERT INTO audit_events (seq, at_ms, actor, action, subject_kind, subject_id, reason, before_json, after_json, request_id, previous_hash, hash)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            """);
        insert.Bind(1, row.Seq);
        insert.Bind(2, row.AtMs);
        insert.Bind(3, row.Actor);
        insert.Bind(4, row.Action);
        insert.Bind(5, row.SubjectKind);
        insert.Bind(6, row.SubjectId);
        insert.Bind(7, row.Reason);
        insert.Bind(8, row.BeforeJson);
        insert.Bind(9, row.AfterJson);
        insert.Bind(10, row.RequestId);
        insert.Bind(11, row.PreviousHash);
        insert.Bind(12, row.Hash);
        insert.Run();
        using var head = Statement.Of(transaction.Connection,
            "INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash");
        head.Bind(1, row.Seq);
        head.Bind(2, row.Hash);
        head.Run();
    }

    internal static (long Seq, string Hash) Head(DbConnection connection)
    {
        using var head = Statement.Of(connection, "SELECT seq, hash FROM audit_head");
        return head.Step() ? (head.Integer(0), head.Text(1)) : (0, AuditChain.Genesis);
    }

    private static string Where(AuditFilter filter)
    {
        var where = new List<string> { "seq < @before" };
        void When(bool given, string condition)
        {
            if (given)
            {
                where.Add(condition);
            }
        }

        When(filter.Actor is not null, "actor = @Actor");
        When(filter.Action is not null, filter.Action?.EndsWith('.') == true ? "action >= @Action AND action < @actionEnd" : "action = @Action");
        When(filter.Subject is not null, "subject_kind = @kind AND subject_id = @id");
        When(filter.Model is not null,
            """
            ((subject_kind = 'model' AND subject_id = @Model) OR (subject_kind = 'model_version' AND subject_id >= @versions AND subject_id < @versionsEnd)
             OR (subject_kind = 'definition' AND subject_id >= @policies AND subject_id < @policiesEnd))
            """);
        When(filter.From is not null, "at_ms >= @fromMs");
        When(filter.To is not null, "at_ms < @toMs");
        return string.Join(" AND ", where);
    }

    // Texts compare by their bytes on both engines; 'A' follows '@', and '/' follows '.'.
    private static object Parameters(AuditFilter filter, int limit) => new
    {
        filter.Actor,
        filter.Action,
        actionEnd = filter.Action is { Length: > 0 } action ? action[..^1] + "/" : null,
        kind = filter.Subject?.Kind,
        id = filter.Subject?.Id,
        filter.Model,
        versions = filter.Model + "@",
        versionsEnd = filter.Model + "A",
        policies = $"policy/{filter.Model}@",
        policiesEnd = $"policy/{filter.Model}A",
        fromMs = filter.From?.ToUnixTimeMilliseconds(),
        toMs = filter.To?.ToUnixTimeMilliseconds(),
        before = filter.BeforeSeq ?? long.MaxValue,
        limit,
    };
}
