using System.Data.Common;
using Dapper;
using Slipway.Contracts.Registry;
using Slipway.Storage;

namespace Slipway.Registry.Stages;

/// <summary>The rows of <c>version_deprecations</c>, <c>retirement_steps</c>, <c>version_checklist</c> and <c>version_copies</c>.</summary>
internal static class LifeTable
{
    public static Deprecation? FindDeprecation(DbConnection connection, string model, string version) =>
        Deprecations(connection, "WHERE model = @model AND version = @version", new { model, version }).SingleOrDefault();

    public static IReadOnlyList<Deprecation> ListDeprecations(DbConnection connection, string? model) =>
        Deprecations(connection, "WHERE @model IS NULL OR model = @model ORDER BY model, at_ms, version", new { model });

    public static void Deprecate(WriteTransaction transaction, ModelVersionRecord version, string reason, DateTimeOffset? endOfLife, string? replacement, Caller by) =>
        transaction.Connection.Execute(
            """
            INSERT INTO version_deprecations (model, version, reason, end_of_life_ms, replacement, deprecated_by, at_ms)
            VALUES (@Model, @Version, @reason, @endOfLife, @replacement, @by, @now)
            ON CONFLICT (model, version) DO UPDATE SET
                reason = excluded.reason, end_of_life_ms = excluded.end_of_life_ms, replacement = excluded.replacement, deprecated_by = excluded.deprecated_by, at_ms = excluded.at_ms
            """,
            new { version.Model, version.Version, reason, endOfLife = endOfLife?.ToUnixTimeMilliseconds(), replacement, by = by.Name, now = transaction.NowMs });

    public static void TakeBackDeprecation(WriteTransaction transaction, ModelVersionRecord version) =>
        transaction.Connection.Execute("DELETE FROM version_deprecations WHERE model = @Model AND version = @Version", version);

    public static IReadOnlyDictionary<string, (string By, DateTimeOffset At, string Comment)> RetirementSteps(DbConnection connection, string model, string version) => connection
        .Query<(string Step, string By, long AtMs, string Comment)>(
            "SELECT step, done_by, at_ms, comment FROM retirement_steps WHERE model = @model AND version = @version", new { model, version })
        .ToDictionary(row => row.Step, row => (row.By, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.Comment), StringComparer.Ordinal);

    public static void DoRetirementStep(WriteTransaction transaction, ModelVersionRecord version, string step, string comment, Caller by) => transaction.Connection.Execute(
        "INSERT INTO retirement_steps (model, version, step, comment, done_by, at_ms) VALUES (@Model, @Version, @step, @comment, @by, @now)",
        new { version.Model, version.Version, step, comment, by = by.Name, now = transaction.NowMs });

    /// <summary>Ticked items by name; their texts are the policy's.</summary>
    public static IReadOnlyDictionary<string, ChecklistItem> Ticked(DbConnection connection, string model, string version) => connection
        .Query<(string Item, string By, long AtMs, string Note)>("SELECT item, ticked_by, at_ms, note FROM version_checklist WHERE model = @model AND version = @version", new { model, version })
        .ToDictionary(row => row.Item, row => new ChecklistItem(row.Item, "", row.By, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs), row.Note), StringComparer.Ordinal);

    public static void Tick(WriteTransaction transaction, ModelVersionRecord version, string item, string note, Caller by) => transaction.Connection.Execute(
        """
        INSERT INTO version_checklist (model, version, item, note, ticked_by, at_ms) VALUES (@Model, @Version, @item, @note, @by, @now)
        ON CONFLICT (model, version, item) DO UPDATE SET note = excluded.note, ticked_by = excluded.ticked_by, at_ms = excluded.at_ms
        """,
        new { version.Model, version.Version, item, note, by = by.Name, now = transaction.NowMs });

    public static void Untick(WriteTransaction transaction, ModelVersionRecord version, string item) => transaction.Connection.Execute(
        "DELETE FROM version_checklist WHERE model = @Model AND version = @Version AND item = @item", new { version.Model, version.Version, item });

    /// <summary>Oldest first.</summary>
    public static IReadOnlyList<VersionCopy> Copies(DbConnection connection, string model, string version) => connection
        .Query<(string Direction, string Server, string Manifest, string By, long AtMs)>(
            "SELECT direction, server, manifest, copied_by, at_ms FROM version_copies WHERE model = @model AND version = @version ORDER BY at_ms, server", new { model, version })
        .Select(row => new VersionCopy(row.Direction, row.Server, row.Manifest, row.By, DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)))
        .ToList();

    /// <returns>False when the copy was linked already.</returns>
    public static bool AddCopy(WriteTransaction transaction, ModelVersionRecord version, string direction, string server, string manifest, string? passportSha256, Caller by) =>
        transaction.Connection.Execute(
            """
            INSERT INTO version_copies (model, version, direction, server, manifest, passport_sha256, copied_by, at_ms)
            VALUES (@Model, @Version, @direction, @server, @manifest, @passportSha256, @by, @now)
            ON CONFLICT (model, version, direction, server) DO NOTHING
            """,
            new { version.Model, version.Version, direction, server, manifest, passportSha256, by = by.Name, now = transaction.NowMs }) == 1;

    private static List<Deprecation> Deprecations(DbConnection connection, string where, object parameters) => connection
        .Query<(string Model, string Version, string Reason, long? EndOfLifeMs, string? Replacement, string By, long AtMs)>(
            $"SELECT model, version, reason, end_of_life_ms, replacement, deprecated_by, at_ms FROM version_deprecations {where}", parameters)
        .Select(row => new Deprecation(
            row.Model, row.Version, row.Reason, row.EndOfLifeMs is { } end ? DateTimeOffset.FromUnixTimeMilliseconds(end) : null, row.Replacement, row.By,
            DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)))
        .ToList();
}
