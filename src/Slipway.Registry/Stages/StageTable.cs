using System.Data.Common;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>The stage of each version and its history, which move together.</summary>
internal static class StageTable
{
    public const string Topic = "registry.stage_changed";

    /// <summary>Cause of a change that was made on the external registry, past this server's gates.</summary>
    public const string ExternalChange = "external_change";

    /// <summary>Moves a version, with its history row and event; the caller writes the audit row of the whole act.</summary>
    public static void Move(WriteTransaction transaction, ModelVersionRecord version, Stage to, string cause, string reason, Caller by, string? promotionId = null)
    {
        var moved = transaction.Connection.Execute(
            "UPDATE model_versions SET stage = @to, updated_at_ms = @now WHERE model = @Model AND version = @Version AND stage = @from",
            new { version.Model, version.Version, from = StageRules.Name(version.Stage), to = StageRules.Name(to), now = transaction.NowMs });
        if (moved != 1)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"{version.Node} is no longer in {StageRules.Name(version.Stage)}; look again and retry.");
        }

        if (to is Stage.Archived or Stage.Development)
        {
            PlaceTable.LeaveEnvironments(transaction, version, $"moved to {StageRules.Name(to)}: {reason}", by, promotionId);
        }

        transaction.Connection.Execute("UPDATE models SET updated_at_ms = @now WHERE name = @Model", new { version.Model, now = transaction.NowMs });
        Record(transaction, new StageChange(version.Model, version.Version, version.Stage, to, cause, reason, by.Name, transaction.Now, promotionId));
    }

    public static void Record(WriteTransaction transaction, StageChange change)
    {
        transaction.Connection.Execute(
            """
            INSERT INTO stage_history (model, version, from_stage, to_stage, cause, reason, changed_by, at_ms, promotion_id)
            VALUES (@Model, @Version, @from, @to, @Cause, @Reason, @By, @at, @PromotionId)
            """,
            new
            {
                change.Model,
                change.Version,
                from = change.From is { } from ? StageRules.Name(from) : null,
                to = StageRules.Name(change.To),
                change.Cause,
                change.Reason,
                change.By,
                at = transaction.NowMs,
                change.PromotionId,
            });
        if (change.From is not null)
        {
            transaction.Publish(Topic, change);
        }
    }

    /// <summary>Oldest first.</summary>
    public static IReadOnlyList<StageChange> History(DbConnection connection, string model, string? version) => connection
        .Query<HistoryRow>(
            """
            SELECT model AS Model, version AS Version, from_stage AS FromStage, to_stage AS ToStage, cause AS Cause, reason AS Reason,
                   changed_by AS ChangedBy, at_ms AS AtMs, promotion_id AS PromotionId
              FROM stage_history WHERE model = @model AND (@version IS NULL OR version = @version) ORDER BY seq
            """,
            new { model, version })
        .Select(row => new StageChange(row.Model, row.Version, row.FromStage is null ? null : StageRules.Parse(row.FromStage), StageRules.Parse(row.ToStage),
            row.Cause, row.Reason, row.ChangedBy, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.PromotionId))
        .ToList();

    /// <summary>The version in production at an instant; null when none was.</summary>
    public static string? InProductionAsOf(DbConnection connection, string model, long atMs)
    {
        var last = connection.QueryFirstOrDefault<(string Version, string ToStage)>(
            """
            SELECT version, to_stage FROM stage_history
             WHERE model = @model AND at_ms <= @atMs AND (to_stage = 'production' OR from_stage = 'production')
             ORDER BY seq DESC LIMIT 1
            """,
            new { model, atMs });
        return last.ToStage == "production" ? last.Version : null;
    }

    /// <summary>The last change of each version that stood in the stage at an instant.</summary>
    public static IReadOnlyList<StageChange> InStageAsOf(DbConnection connection, string model, Stage stage, long atMs) => History(connection, model, null)
        .Where(change => change.At.ToUnixTimeMilliseconds() <= atMs)
        .GroupBy(change => change.Version, StringComparer.Ordinal)
        .Select(changes => changes.Last())
        .Where(change => change.To == stage)
        .ToList();

    public static bool WasInProduction(DbConnection connection, string model, string version) => connection.ExecuteScalar<bool>(
        "SELECT EXISTS (SELECT 1 FROM stage_history WHERE model = @model AND version = @version AND to_stage = 'production')", new { model, version });

    /// <summary>The version that was in production most recently before <paramref name="current"/> and did not leave it by a rollback.</summary>
    public static string? LastKnownGood(DbConnection connection, string model, string? current) => connection.QueryFirstOrDefault<string>(
        """
        SELECT version FROM stage_history h
         WHERE model = @model AND to_stage = 'production' AND (@current IS NULL OR version <> @current)
           AND EXISTS (SELECT 1 FROM model_versions v WHERE v.model = h.model AND v.version = h.version AND v.deleted_at_ms IS NULL)
           AND NOT EXISTS (SELECT 1 FROM stage_history x WHERE x.model = h.model AND x.version = h.version AND x.seq > h.seq AND x.cause = 'rolled_back')
         ORDER BY seq DESC LIMIT 1
        """,
        new { model, current });

    private sealed record HistoryRow(
        string Model, string Version, string? FromStage, string ToStage, string Cause, string Reason, string ChangedBy, long AtMs, string? PromotionId);
}
