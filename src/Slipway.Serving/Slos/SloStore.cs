using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Slos;

/// <summary>What one model's requests came to in some time.</summary>
/// <param name="Total">Answered, failed or refused.</param>
/// <param name="Failed">Failed by the version, or refused for want of room.</param>
/// <param name="Slow">Over the latency limit.</param>
/// <param name="Refused">For want of room.</param>
internal readonly record struct SloCount(long Total, long Failed, long Slow, long Refused);

/// <summary>The minutes that were counted, and the alerts.</summary>
internal sealed class SloStore(Database database, DefinitionStore definitions)
{
    public const string AlertTopic = "serving.slo_alert";

    private const long MinuteMs = 60_000;

    /// <summary>The objectives of all models that have some.</summary>
    public IReadOnlyList<SloSpec> Specs() => [.. definitions.List(SloSpec.Kind).Select(definition => SloSpec.Parse(DefinitionYaml.Parse(definition.Yaml)))];

    /// <summary>One model's; null when it has none.</summary>
    public SloSpec? Find(string model) => definitions.Find(SloSpec.Kind, model) is { } definition ? SloSpec.Parse(DefinitionYaml.Parse(definition.Yaml)) : null;

    /// <summary>Adds to the minutes of a moment.</summary>
    public Task AddAsync(DateTimeOffset at, IReadOnlyDictionary<string, SloCount> counts, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        foreach (var (model, count) in counts)
        {
            transaction.Connection.Execute(
                """
                INSERT INTO slo_minutes (model, minute_ms, total, failed, slow, refused) VALUES (@model, @minute, @Total, @Failed, @Slow, @Refused)
                ON CONFLICT (model, minute_ms) DO UPDATE SET
                    total = slo_minutes.total + excluded.total, failed = slo_minutes.failed + excluded.failed, slow = slo_minutes.slow + excluded.slow, refused = slo_minutes.refused + excluded.refused
                """,
                new { model, minute = Minute(at), count.Total, count.Failed, count.Slow, count.Refused });
        }
    }, cancellationToken);

    /// <summary>Deletes minutes that no window reaches any more.</summary>
    public Task ForgetAsync(string model, DateTimeOffset before, CancellationToken cancellationToken) => database.WriteAsync(
        transaction => transaction.Connection.Execute("DELETE FROM slo_minutes WHERE model = @model AND minute_ms < @before", new { model, before = Minute(before) }), cancellationToken);

    /// <summary>What was counted in the last minutes, for each length: whole minutes, the running one included.</summary>
    public IReadOnlyList<SloCounts> Count(SloSpec spec, SloObjective objective, DateTimeOffset now, IReadOnlyList<TimeSpan> lengths) => database.Read(connection =>
    {
        // Minutes are counted where requests came; one is bad when it refused some although no more came than were promised to be taken.
        var (total, bad) = objective.Name switch
        {
            SloObjective.Availability => ("total", "failed"),
            SloObjective.Latency => ("total", "slow"),
            _ => ("CASE WHEN total > 0 THEN 1 ELSE 0 END", "CASE WHEN refused > 0 AND total <= @perMinute THEN 1 ELSE 0 END"),
        };
        var columns = lengths.SelectMany((_, i) => new[] { total, bad }.Select(value => $"COALESCE(SUM(CASE WHEN minute_ms > @from{i} THEN {value} ELSE 0 END), 0)"));
        var parameters = new DynamicParameters(new { spec.Model, perMinute = (long)Math.Ceiling(objective.Limit * 60), first = lengths.Min(length => Minute(now - length)) });
        for (var i = 0; i < lengths.Count; i++)
        {
            parameters.Add($"from{i}", Minute(now - lengths[i]));
        }

        using var reader = connection.ExecuteReader($"SELECT {string.Join(", ", columns)} FROM slo_minutes WHERE model = @Model AND minute_ms > @first", parameters);
        reader.Read();
        return lengths.Select((_, i) => new SloCounts(Convert.ToInt64(reader.GetValue(2 * i), null), Convert.ToInt64(reader.GetValue((2 * i) + 1), null))).ToList();
    });

    /// <summary>The alerts that stand, by objective.</summary>
    public IReadOnlyDictionary<string, (SloAlertLevel Level, DateTimeOffset Since)> Open(string model) => database.Read(connection => connection
        .Query<(string Objective, string Level, long AtMs)>("SELECT objective, level, opened_at_ms FROM slo_alerts WHERE model = @model AND closed_at_ms IS NULL", new { model })
        .ToDictionary(row => row.Objective, row => (Parse(row.Level), DateTimeOffset.FromUnixTimeMilliseconds(row.AtMs)), StringComparer.Ordinal));

    /// <summary>The alerts, newest first.</summary>
    public IReadOnlyList<SloAlertReport> Alerts(string model) => database.Read(connection => connection
        .Query<(string Objective, string Highest, long OpenedMs, long? ClosedMs, string Reason)>(
            "SELECT objective, highest, opened_at_ms, closed_at_ms, reason FROM slo_alerts WHERE model = @model ORDER BY opened_at_ms DESC, id DESC LIMIT 100", new { model })
        .Select(row => new SloAlertReport(
            row.Objective, Parse(row.Highest), DateTimeOffset.FromUnixTimeMilliseconds(row.OpenedMs),
            row.ClosedMs is { } closed ? DateTimeOffset.FromUnixTimeMilliseconds(closed) : null, row.Reason)).ToList());

    /// <summary>Opens, raises, lowers or closes an alert, where that changes something.</summary>
    public Task SetAsync(string model, string objective, SloAlertLevel level, string reason, CancellationToken cancellationToken) => database.WriteAsync(transaction =>
    {
        // Another server may have seen the same a moment before.
        var open = transaction.Connection.QueryFirstOrDefault<(string? Id, string? Level, string? Highest)>(
            "SELECT id, level, highest FROM slo_alerts WHERE model = @model AND objective = @objective AND closed_at_ms IS NULL", new { model, objective });
        var was = open.Level is null ? SloAlertLevel.None : Parse(open.Level);
        if (was == level)
        {
            return;
        }

        if (open.Id is null)
        {
            transaction.Connection.Execute(
                "INSERT INTO slo_alerts (id, model, objective, level, highest, reason, opened_at_ms) VALUES (@id, @model, @objective, @level, @level, @reason, @now)",
                new { id = Guid.CreateVersion7(transaction.Now).ToString("N"), model, objective, level = Text(level), reason, now = transaction.NowMs });
        }
        else if (level is SloAlertLevel.None)
        {
            transaction.Connection.Execute("UPDATE slo_alerts SET closed_at_ms = @now WHERE id = @Id", new { open.Id, now = transaction.NowMs });
        }
        else
        {
            transaction.Connection.Execute(
                "UPDATE slo_alerts SET level = @level, highest = @highest, reason = @reason WHERE id = @Id",
                new { open.Id, level = Text(level), highest = level > Parse(open.Highest!) ? Text(level) : open.Highest, reason });
        }

        transaction.Audit(
            Caller.System("serving"), level is SloAlertLevel.None ? "slo.alert_closed" : open.Id is null ? "slo.alert_opened" : "slo.alert_changed", new NodeRef(NodeKinds.Model, model), reason,
            open.Id is null ? null : new { objective, level = Text(was) }, new { objective, level = Text(level) });
        transaction.Publish(AlertTopic, new { model, objective, level = Text(level), reason });
    }, cancellationToken);

    private static long Minute(DateTimeOffset at) => at.ToUnixTimeMilliseconds() / MinuteMs * MinuteMs;

    private static string Text(SloAlertLevel level) => JsonSerializer.Serialize(level, JsonDefaults.Options).Trim('"');

    private static SloAlertLevel Parse(string level) => JsonSerializer.Deserialize<SloAlertLevel>($"\"{level}\"", JsonDefaults.Options);
}
