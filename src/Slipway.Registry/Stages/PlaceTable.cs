using System.Data.Common;
using Dapper;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>The rows of <c>model_environments</c>, and of <c>place_history</c>, which says who held an environment or an alias when.</summary>
internal static class PlaceTable
{
    public const string Topic = "registry.environment_changed";

    private const string Environment = "environment";
    private const string Alias = "alias";

    /// <summary>Puts the version into the environment; the one there leaves it.</summary>
    /// <returns>The version that was there; null when it was empty.</returns>
    public static string? Enter(WriteTransaction transaction, ModelVersionRecord version, string environment, string reason, Caller by, string promotionId)
    {
        var was = transaction.Connection.ExecuteScalar<string?>(
            "SELECT version FROM model_environments WHERE model = @Model AND environment = @environment", new { version.Model, environment });
        transaction.Connection.Execute(
            """
            INSERT INTO model_environments (model, environment, version, set_by, set_at_ms) VALUES (@Model, @environment, @Version, @by, @now)
            ON CONFLICT (model, environment) DO UPDATE SET version = excluded.version, set_by = excluded.set_by, set_at_ms = excluded.set_at_ms
            """,
            new { version.Model, environment, version.Version, by = by.Name, now = transaction.NowMs });
        Record(transaction, version.Model, Environment, environment, version.Version, was, reason, by, promotionId);
        transaction.Publish(Topic, new { version.Model, environment, version.Version, was });
        return was;
    }

    /// <summary>Takes the version out of every environment it is in.</summary>
    public static void LeaveEnvironments(WriteTransaction transaction, ModelVersionRecord version, string reason, Caller by, string? promotionId)
    {
        foreach (var environment in transaction.Connection.Query<string>(
            "SELECT environment FROM model_environments WHERE model = @Model AND version = @Version ORDER BY environment", version).AsList())
        {
            transaction.Connection.Execute("DELETE FROM model_environments WHERE model = @Model AND environment = @environment", new { version.Model, environment });
            Record(transaction, version.Model, Environment, environment, null, version.Version, reason, by, promotionId);
            transaction.Publish(Topic, new { version.Model, environment, Version = (string?)null, was = version.Version });
        }
    }

    /// <summary>Notes that an alias points elsewhere; null: at nothing.</summary>
    public static void RecordAlias(WriteTransaction transaction, string model, string alias, string? version, string? was, Caller by) =>
        Record(transaction, model, Alias, alias, version, was, version is null ? "removed" : "set", by, null);

    /// <summary>The occupants by environment.</summary>
    public static IReadOnlyDictionary<string, (string Version, string By, DateTimeOffset Since)> Occupants(DbConnection connection, string model) => connection
        .Query<(string Environment, string Version, string By, long AtMs)>("SELECT environment, version, set_by, set_at_ms FROM model_environments WHERE model = @model", new { model })
        .ToDictionary(row => row.Environment, row => (row.Version, row.By, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)), StringComparer.Ordinal);

    /// <summary>Environments that the version is or was in.</summary>
    public static IReadOnlySet<string> WasIn(DbConnection connection, string model, string version) => connection
        .Query<string>("SELECT DISTINCT place FROM place_history WHERE model = @model AND kind = 'environment' AND version = @version", new { model, version })
        .ToHashSet(StringComparer.Ordinal);

    /// <summary>Oldest first.</summary>
    /// <param name="connection">Open.</param>
    /// <param name="model">Model.</param>
    /// <param name="version">Only changes to or from this version; null for all.</param>
    public static IReadOnlyList<PlaceChange> History(DbConnection connection, string model, string? version) => Query(connection,
        "WHERE model = @model AND (@version IS NULL OR version = @version OR was = @version) ORDER BY seq", new { model, version });

    /// <summary>The last change at or before an instant; null when there was none.</summary>
    public static PlaceChange? AsOf(DbConnection connection, string model, string kind, string place, long atMs) => Query(connection,
        "WHERE model = @model AND kind = @kind AND place = @place AND at_ms <= @atMs ORDER BY seq DESC LIMIT 1", new { model, kind, place, atMs }).FirstOrDefault();

    private static List<PlaceChange> Query(DbConnection connection, string where, object parameters) => connection
        .Query<(string Model, string Kind, string Place, string? Version, string? Was, string Reason, string By, long AtMs, string? PromotionId)>(
            $"SELECT model, kind, place, version, was, reason, changed_by, at_ms, promotion_id FROM place_history {where}", parameters)
        .Select(row => new PlaceChange(row.Model, row.Kind, row.Place, row.Version, row.Was, row.Reason, row.By, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.PromotionId))
        .ToList();

    private static void Record(WriteTransaction transaction, string model, string kind, string place, string? version, string? was, string reason, Caller by, string? promotionId) =>
        transaction.Connection.Execute(
            """
            INSERT INTO place_history (model, kind, place, version, was, reason, changed_by, at_ms, promotion_id)
            VALUES (@model, @kind, @place, @version, @was, @reason, @by, @now, @promotionId)
            """,
            new { model, kind, place, version, was, reason, by = by.Name, now = transaction.NowMs, promotionId });
}
