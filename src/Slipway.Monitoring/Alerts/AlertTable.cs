using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;
using Slipway.Storage;

namespace Slipway.Monitoring.Alerts;

/// <summary>Writes <c>alerts</c> and <c>monitor_actions</c> inside the transaction of the window that decides them.</summary>
internal static class AlertTable
{
    public const string OpenedTopic = "monitoring.alert_opened";

    private static readonly Caller By = Caller.System("monitoring");

    /// <summary>What became of the alert of one window.</summary>
    public readonly record struct Outcome(int Opened, int Closed, int Actions);

    public static string? FindOpen(DbConnection connection, string monitor, AlertKind kind) => connection.QueryFirstOrDefault<string>(
        "SELECT id FROM alerts WHERE monitor = @monitor AND kind = @kind AND status = 'open'", new { monitor, kind = Name(kind) });

    /// <summary>Carries a window's decision out.</summary>
    public static Outcome Apply(WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, long windowEndMs, AlertDecision decision, string? openId)
    {
        if (decision.Close)
        {
            Close(transaction, monitor, kind, openId!, windowEndMs);
            return new Outcome(0, 1, 0);
        }

        if (!decision.Open)
        {
            return default;
        }

        var opened = openId is null ? 1 : 0;
        var id = openId is null ? Open(transaction, monitor, kind, windowEndMs, decision) : Continue(transaction, monitor, kind, openId, windowEndMs, decision);
        var step = kind is AlertKind.Drift ? monitor.Cadence : monitor.Performance!.Every;
        var actions = decision.Act ? monitor.Actions.Count(action => action.On.Contains(kind) && decision.Tops * step >= action.SustainedFor && TryAct(transaction, monitor, kind, id, windowEndMs, decision, action)) : 0;
        return new Outcome(opened, 0, actions);
    }

    private static string Open(WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, long windowEndMs, AlertDecision decision)
    {
        var worst = decision.Breaches[0];
        var message = Message(monitor, kind, worst, windowEndMs);
        var recent = transaction.Connection.QueryFirstOrDefault<string>(
            """
            SELECT id FROM alerts WHERE monitor = @Name AND kind = @kind AND status = 'closed' AND closed_window_end_ms > @since
             ORDER BY closed_window_end_ms DESC LIMIT 1
            """,
            new { monitor.Name, kind = Name(kind), since = windowEndMs - (long)monitor.Cooldown.TotalMilliseconds });
        var id = recent ?? Guid.CreateVersion7(transaction.Now).ToString("N");
        if (recent is not null)
        {
            // Back within the cooldown: the same trouble, not a new one.
            transaction.Connection.Execute(
                "UPDATE alerts SET status = 'open', times_opened = times_opened + 1, closed_window_end_ms = NULL, closed_at_ms = NULL WHERE id = @recent", new { recent });
            Continue(transaction, monitor, kind, id, windowEndMs, decision);
        }
        else
        {
            transaction.Connection.Execute(
                """
                INSERT INTO alerts (id, monitor, model, kind, severity, status, message, subject, metric, value, limit_value, peak, subjects, windows, times_opened,
                                    owner, procedure, first_window_end_ms, last_window_end_ms, opened_at_ms)
                VALUES (@id, @Name, @Model, @kind, @severity, 'open', @message, @Subject, @Metric, @Value, @Limit, @Value, @subjects, 1, 1,
                        @Owner, @Procedure, @windowEndMs, @windowEndMs, @now)
                """,
                new
                {
                    id,
                    monitor.Name,
                    monitor.Model,
                    kind = Name(kind),
                    severity = Name(decision.Severity),
                    message,
                    worst.Subject,
                    worst.Metric,
                    worst.Value,
                    worst.Limit,
                    subjects = Subjects(decision),
                    monitor.Owner,
                    monitor.Procedure,
                    windowEndMs,
                    now = transaction.NowMs,
                });
        }

        transaction.Audit(By, recent is null ? "alert.opened" : "alert.reopened", Node(monitor), message, null,
            new { alert = id, kind, decision.Severity, subjects = decision.Breaches.Select(breach => breach.Subject), window_end = At(windowEndMs), monitor.Owner });
        transaction.Publish(OpenedTopic, new { alert = id, monitor = monitor.Name, monitor.Model, kind, decision.Severity, message, monitor.Owner, monitor.Procedure });
        return id;
    }

    private static string Continue(WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, string id, long windowEndMs, AlertDecision decision)
    {
        var worst = decision.Breaches[0];
        transaction.Connection.Execute(
            """
            UPDATE alerts
               SET severity = CASE WHEN @severity = 'critical' THEN 'critical' ELSE severity END, message = @message, subject = @Subject, metric = @Metric, value = @Value,
                   limit_value = @Limit, peak = CASE WHEN abs(@Value - @Limit) > abs(peak - limit_value) THEN @Value ELSE peak END,
                   subjects = @subjects, windows = windows + 1, last_window_end_ms = @windowEndMs
             WHERE id = @id
            """,
            new
            {
                id,
                severity = Name(decision.Severity),
                message = Message(monitor, kind, worst, windowEndMs),
                worst.Subject,
                worst.Metric,
                worst.Value,
                worst.Limit,
                subjects = Subjects(decision),
                windowEndMs,
            });
        return id;
    }

    private static void Close(WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, string id, long windowEndMs)
    {
        transaction.Connection.Execute(
            "UPDATE alerts SET status = 'closed', closed_window_end_ms = @windowEndMs, closed_at_ms = @now WHERE id = @id", new { id, windowEndMs, now = transaction.NowMs });
        transaction.Audit(By, "alert.closed", Node(monitor), $"quiet for {monitor.Consecutive} windows to {Text(windowEndMs)}", null, new { alert = id, kind });
    }

    private static bool TryAct(
        WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, string alertId, long windowEndMs, AlertDecision decision, ActionDefinition action)
    {
        // Failed ones count too: what fails now would fail each hour. Event time, so that a replay behaves like live traffic.
        var last = transaction.Connection.ExecuteScalar<long?>(
            "SELECT max(window_end_ms) FROM monitor_actions WHERE monitor = @Name AND pipeline = @Pipeline", new { monitor.Name, action.Pipeline });
        if (last is { } previous && windowEndMs - previous < (long)action.AtMostEvery.TotalMilliseconds)
        {
            return false;
        }

        var id = Guid.CreateVersion7(transaction.Now).ToString("N");
        var measured = Message(monitor, kind, decision.Breaches[0], windowEndMs);
        var reason = $"{(action.Reason is null ? "" : action.Reason + ": ")}{measured} [monitor {monitor.Name}, action {id}]";
        var parameters = action.Parameters.ToDictionary(pair => pair.Key, pair => ParameterTemplate.Fill(pair.Value, At(windowEndMs)));
        transaction.Connection.Execute(
            """
            INSERT INTO monitor_actions (id, monitor, alert_id, action, trigger_kind, pipeline, reason, parameters, window_end_ms, status, decided_at_ms)
            VALUES (@id, @Name, @alertId, 'retrain', @trigger, @Pipeline, @reason, @parameters, @windowEndMs, 'pending', @now)
            """,
            new
            {
                id,
                monitor.Name,
                alertId,
                trigger = Name(kind),
                action.Pipeline,
                reason,
                parameters = JsonSerializer.Serialize(parameters, JsonDefaults.Options),
                windowEndMs,
                now = transaction.NowMs,
            });
        transaction.Audit(By, "monitor_action.decided", Node(monitor), reason, null, new { action = id, alert = alertId, retrain = action.Pipeline, parameters });
        return true;
    }

    public static NodeRef Node(MonitorDefinition monitor) => new(NodeKinds.Monitor, monitor.Name);

    private static string Message(MonitorDefinition monitor, AlertKind kind, Reading worst, long windowEndMs)
    {
        var window = kind == AlertKind.Drift ? monitor.Window : monitor.Performance!.Window;
        var length = window.TotalHours % 24 == 0 && window.TotalHours > 24 ? $"{window.TotalDays:0} days" : $"{window.TotalHours:0.##} hours";
        var limit = kind == AlertKind.Drift || worst.Metric != "auc" ? "at or above" : "at or below";
        return string.Create(CultureInfo.InvariantCulture,
            $"{worst.Subject} {worst.Metric} {worst.Value:0.####} is {limit} its limit {worst.Limit:0.####} over {length} to {Text(windowEndMs)} ({worst.N:N0} rows)");
    }

    private static string Subjects(AlertDecision decision) => JsonSerializer.Serialize(decision.Breaches.Select(breach => breach.Subject), JsonDefaults.Options);

    private static DateTimeOffset At(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private static string Text(long ms) => At(ms).ToString("yyyy-MM-dd HH:mm'Z'", CultureInfo.InvariantCulture);

    private static string Name<T>(T value) where T : struct, Enum => JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString());
}
