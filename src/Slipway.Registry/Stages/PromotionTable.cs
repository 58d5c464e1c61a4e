using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>The rows of <c>promotions</c> and <c>promotion_decisions</c>.</summary>
internal static class PromotionTable
{
    private const string Columns =
        """
        id AS Id, model AS Model, version AS Version, from_stage AS FromStage, to_stage AS ToStage, status AS Status, reason AS Reason,
        requested_by AS RequestedBy, requested_at_ms AS RequestedAtMs, rollback_to AS RollbackTo, closed_by AS ClosedBy, closed_at_ms AS ClosedAtMs,
        last_gate AS LastGate, expires_at_ms AS ExpiresAtMs, auto_execute AS AutoExecute
        """;

    public static PromotionRecord? Find(DbConnection connection, string id) => Query(connection, "WHERE id = @id", new { id }).SingleOrDefault();

    public static PromotionRecord? FindOpen(DbConnection connection, string model, string version, PromotionTarget to, long nowMs) => Query(connection,
        "WHERE model = @model AND version = @version AND to_stage = @to AND status IN ('pending', 'approved') AND (expires_at_ms IS NULL OR expires_at_ms > @nowMs)",
        new { model, version, to = to.Name, nowMs }).SingleOrDefault();

    /// <summary>Open requests whose time is over.</summary>
    public static IReadOnlyList<PromotionRecord> Overdue(DbConnection connection, long nowMs) =>
        Query(connection, "WHERE status IN ('pending', 'approved') AND expires_at_ms <= @nowMs ORDER BY expires_at_ms, id", new { nowMs });

    /// <summary>Open requests, oldest first.</summary>
    public static IReadOnlyList<PromotionRecord> Open(DbConnection connection, string? model, long nowMs) => Query(connection,
        "WHERE (@model IS NULL OR model = @model) AND status IN ('pending', 'approved') AND (expires_at_ms IS NULL OR expires_at_ms > @nowMs) ORDER BY requested_at_ms, length(id), id",
        new { model, nowMs });

    /// <summary>Newest first.</summary>
    public static IReadOnlyList<PromotionRecord> List(DbConnection connection, string? model) =>
        Query(connection, "WHERE @model IS NULL OR model = @model ORDER BY requested_at_ms DESC, length(id) DESC, id DESC", new { model });

    public static string Insert(
        WriteTransaction transaction, ModelVersionRecord version, PromotionTarget to, PromotionStatus status, string reason, string? rollbackTo, DateTimeOffset expiresAt,
        bool autoExecute, Caller by)
    {
        // Promotions are never deleted and the writer is alone, so that a count makes a short unique id.
        var count = transaction.Connection.ExecuteScalar<long>("SELECT count(*) FROM promotions");
        var id = string.Create(CultureInfo.InvariantCulture, $"promotion-{count + 1}");
        transaction.Connection.Execute(
            """
            INSERT INTO promotions (id, model, version, from_stage, to_stage, status, reason, requested_by, requested_at_ms, rollback_to, expires_at_ms, auto_execute)
            VALUES (@id, @Model, @Version, @from, @to, @status, @reason, @by, @now, @rollbackTo, @expiresAtMs, @autoExecute)
            """,
            new
            {
                id,
                version.Model,
                version.Version,
                from = StageRules.Name(version.Stage),
                to = to.Name,
                status = Name(status),
                reason,
                by = by.Name,
                now = transaction.NowMs,
                rollbackTo,
                expiresAtMs = expiresAt.ToUnixTimeMilliseconds(),
                autoExecute = autoExecute ? 1 : 0,
            });
        return id;
    }

    public static void AddDecision(WriteTransaction transaction, string id, PromotionDecision decision) => transaction.Connection.Execute(
        """
        INSERT INTO promotion_decisions (promotion_id, decided_by, role, approved, comment, at_ms, step, member_of)
        VALUES (@id, @By, @Role, @Approved, @Comment, @now, @Step, @groups)
        ON CONFLICT (promotion_id, decided_by) DO UPDATE SET
            role = excluded.role, approved = excluded.approved, comment = excluded.comment, at_ms = excluded.at_ms, step = excluded.step, member_of = excluded.member_of
        """,
        new
        {
            id,
            decision.By,
            decision.Role,
            decision.Approved,
            decision.Comment,
            now = transaction.NowMs,
            decision.Step,
            groups = JsonSerializer.Serialize(decision.Groups),
        });

    public static void AddComment(WriteTransaction transaction, string id, string comment, Caller by) => transaction.Connection.Execute(
        """
        INSERT INTO promotion_comments (promotion_id, number, written_by, comment, at_ms)
        SELECT @id, count(*) + 1, @by, @comment, @now FROM promotion_comments WHERE promotion_id = @id
        """,
        new { id, by = by.Name, comment, now = transaction.NowMs });

    public static void SetStatus(WriteTransaction transaction, string id, PromotionStatus status) =>
        transaction.Connection.Execute("UPDATE promotions SET status = @status WHERE id = @id", new { id, status = Name(status) });

    public static void Close(WriteTransaction transaction, string id, PromotionStatus status, Caller by) => transaction.Connection.Execute(
        "UPDATE promotions SET status = @status, closed_by = @by, closed_at_ms = @now WHERE id = @id",
        new { id, status = Name(status), by = by.Name, now = transaction.NowMs });

    public static void SetLastGate(WriteTransaction transaction, string id, GateReport gate) => transaction.Connection.Execute(
        "UPDATE promotions SET last_gate = @gate WHERE id = @id", new { id, gate = JsonSerializer.Serialize(gate, JsonDefaults.Options) });

    public static string Name(PromotionStatus status) => JsonNamingPolicy.SnakeCaseLower.ConvertName(status.ToString());

    private static List<PromotionRecord> Query(DbConnection connection, string where, object parameters)
    {
        var rows = connection.Query<PromotionRow>($"SELECT {Columns} FROM promotions {where}", parameters).AsList();
        return rows.ConvertAll(row =>
        {
            var from = StageRules.Parse(row.FromStage);
            var to = PromotionTarget.Parse(row.ToStage);
            return new PromotionRecord(
                row.Id, row.Model, row.Version, from, to.Stage ?? from, Enum.Parse<PromotionStatus>(row.Status, ignoreCase: true),
                row.Reason, row.RequestedBy, DateTimeOffset.FromUnixTimeMilliseconds(row.RequestedAtMs), row.RollbackTo, Decisions(connection, row.Id),
                row.ClosedBy, Instant(row.ClosedAtMs), row.LastGate is null ? null : JsonSerializer.Deserialize<GateReport>(row.LastGate, JsonDefaults.Options))
            {
                Environment = to.Environment,
                ExpiresAt = Instant(row.ExpiresAtMs),
                AutoExecute = row.AutoExecute != 0,
                Comments = Comments(connection, row.Id),
            };
        });
    }

    private static DateTimeOffset? Instant(long? unixMs) => unixMs is { } known ? DateTimeOffset.FromUnixTimeMilliseconds(known) : null;

    private static List<PromotionDecision> Decisions(DbConnection connection, string id) => connection
        .Query<(string By, string Role, long Approved, string Comment, long AtMs, string Step, string Groups)>(
            "SELECT decided_by, role, approved, comment, at_ms, step, member_of FROM promotion_decisions WHERE promotion_id = @id ORDER BY at_ms, decided_by", new { id })
        .Select(row => new PromotionDecision(row.By, row.Role, row.Approved != 0, row.Comment, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs))
        {
            Step = row.Step,
            Groups = JsonSerializer.Deserialize<List<string>>(row.Groups)!,
        })
        .ToList();

    private static List<PromotionComment> Comments(DbConnection connection, string id) => connection
        .Query<(string By, string Comment, long AtMs)>("SELECT written_by, comment, at_ms FROM promotion_comments WHERE promotion_id = @id ORDER BY number", new { id })
        .Select(row => new PromotionComment(row.By, row.Comment, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)))
        .ToList();

    private sealed class PromotionRow
    {
        public string Id { get; init; } = "";

        public string Model { get; init; } = "";

        public string Version { get; init; } = "";

        public string FromStage { get; init; } = "";

        public string ToStage { get; init; } = "";

        public string Status { get; init; } = "";

        public string Reason { get; init; } = "";

        public string RequestedBy { get; init; } = "";

        public long RequestedAtMs { get; init; }

        public string? RollbackTo { get; init; }

        public string? ClosedBy { get; init; }

        public long? ClosedAtMs { get; init; }

        public string? LastGate { get; init; }

        public long? ExpiresAtMs { get; init; }

        public long AutoExecute { get; init; }
    }
}
