using System.Data;
using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Alerts;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;
using Slipway.Storage;

namespace Slipway.Monitoring;

/// <summary>A performance window as it is stored.</summary>
internal sealed record PerformanceResult(long EndMs, string Version, long Predictions, long Labels, IReadOnlyList<Reading> Readings);

/// <summary>
/// Stores windows: results, streaks, alert and action decisions, and how far the monitor has come, in one transaction. A window whose
/// end the monitor has passed is not stored again, so that a repeated batch changes nothing.
/// </summary>
internal sealed class WindowWriter(Database database)
{
    /// <summary>Stores drift windows, oldest first.</summary>
    public Task<AlertTable.Outcome> WriteDriftAsync(
        MonitorDefinition monitor, long definitionVersion, IReadOnlyList<(ClosedWindow Window, IReadOnlyList<Reading> Readings)> windows, Lease lease, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            Leases.Demand(transaction, lease);
            var state = MonitorState.Load(transaction.Connection, monitor.Name);
            using var results = new ResultCommand(transaction.Connection, monitor.Name);
            var outcome = default(AlertTable.Outcome);
            foreach (var (window, readings) in windows.Where(pair => pair.Window.EndMs > state.DriftEndMs))
            {
                transaction.Connection.Execute(
                    """
                    INSERT INTO monitor_windows (monitor, window_end_ms, version, rows, definition_version, evaluated_at_ms)
                    VALUES (@Name, @EndMs, @Version, @Rows, @definitionVersion, @now)
                    """,
                    new { monitor.Name, window.EndMs, window.Layout.Version, window.Rows, definitionVersion, now = transaction.NowMs });
                results.Write(window.EndMs, readings);
                foreach (var bucket in window.Newest)
                {
                    AddToMonth(transaction.Connection, monitor, window.EndMs - monitor.CadenceMs, bucket);
                }

                outcome = Decide(transaction, monitor, AlertKind.Drift, window.EndMs, window.Layout.Version, readings, state.Memory.Drift, outcome);
                state = state with { DriftEndMs = window.EndMs };
            }

            state.Save(transaction, monitor.Name);
            return outcome;
        }, cancellationToken);

    /// <summary>Stores performance windows, oldest first: new ones, and those that late labels changed.</summary>
    public Task<AlertTable.Outcome> WritePerformanceAsync(
        MonitorDefinition monitor, IReadOnlyList<PerformanceResult> windows, long performanceEndMs, IReadOnlyList<string> labelSegments, Lease lease, CancellationToken cancellationToken) =>
        database.WriteAsync(transaction =>
        {
            Leases.Demand(transaction, lease);
            var state = MonitorState.Load(transaction.Connection, monitor.Name);
            using var results = new ResultCommand(transaction.Connection, monitor.Name);
            var outcome = default(AlertTable.Outcome);
            foreach (var window in windows)
            {
                transaction.Connection.Execute(
                    "UPDATE monitor_windows SET labels = @Labels, predictions = @Predictions, labels_at_ms = @now WHERE monitor = @Name AND window_end_ms = @EndMs",
                    new { monitor.Name, window.EndMs, window.Labels, window.Predictions, now = transaction.NowMs });
                results.Write(window.EndMs, window.Readings);
                if (window.EndMs > state.DecidedEndMs && window.Labels >= monitor.Performance!.MinLabels)
                {
                    outcome = Decide(transaction, monitor, AlertKind.Performance, window.EndMs, window.Version, window.Readings, state.Memory.Performance, outcome);
                    state = state with { DecidedEndMs = window.EndMs };
                }
            }

            foreach (var segment in labelSegments)
            {
                transaction.Connection.Execute(
                    "INSERT INTO monitor_label_segments (monitor, segment) VALUES (@Name, @segment) ON CONFLICT DO NOTHING", new { monitor.Name, segment });
            }

            (state with { PerformanceEndMs = Math.Max(state.PerformanceEndMs, performanceEndMs) }).Save(transaction, monitor.Name);
            return outcome;
        }, cancellationToken);

    private static AlertTable.Outcome Decide(
        WriteTransaction transaction, MonitorDefinition monitor, AlertKind kind, long endMs, string version, IReadOnlyList<Reading> readings, KindMemory memory, AlertTable.Outcome before)
    {
        var open = AlertTable.FindOpen(transaction.Connection, monitor.Name, kind);
        var decision = AlertRules.Decide(kind, version, readings, monitor, memory, open is not null);
        var now = AlertTable.Apply(transaction, monitor, kind, endMs, decision, open);
        return new AlertTable.Outcome(before.Opened + now.Opened, before.Closed + now.Closed, before.Actions + now.Actions);
    }

    private static void AddToMonth(DbConnection connection, MonitorDefinition monitor, long startMs, Bucket bucket)
    {
        var key = new { monitor.Name, month = DateTimeOffset.FromUnixTimeMilliseconds(startMs).ToString("yyyy-MM", CultureInfo.InvariantCulture), bucket.Layout.Version };
        var stored = connection.QueryFirstOrDefault<(long Rows, string Counts)?>(
            "SELECT rows, counts FROM monitor_months WHERE monitor = @Name AND month = @month AND version = @Version", key);
        var counts = stored is { } month ? JsonSerializer.Deserialize<long[]>(month.Counts)! : new long[bucket.Counts.Length];
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] += bucket.Counts[i];
        }

        connection.Execute(
            """
            INSERT INTO monitor_months (monitor, month, version, rows, counts) VALUES (@Name, @month, @Version, @rows, @counts)
            ON CONFLICT (monitor, month, version) DO UPDATE SET rows = excluded.rows, counts = excluded.counts
            """,
            new { key.Name, key.month, key.Version, rows = (stored?.Rows ?? 0) + bucket.Rows, counts = JsonSerializer.Serialize(counts) });
    }

    /// <summary>One prepared statement for the many results of a batch.</summary>
    private sealed class ResultCommand : IDisposable
    {
        private readonly DbCommand _command;
        private readonly DbParameter _end;
        private readonly DbParameter _subject;
        private readonly DbParameter _metric;
        private readonly DbParameter _value;
        private readonly DbParameter _band;
        private readonly DbParameter _n;

        public ResultCommand(DbConnection connection, string monitor)
        {
            _command = connection.CreateCommand();
            _command.CommandText =
                """
                INSERT INTO monitor_results (monitor, window_end_ms, subject, metric, value, band, n) VALUES (@monitor, @end, @subject, @metric, @value, @band, @n)
                ON CONFLICT (monitor, window_end_ms, subject, metric) DO UPDATE SET value = excluded.value, band = excluded.band, n = excluded.n
                """;
            _command.Add("@monitor", DbType.String).Value = monitor;
            _end = _command.Add("@end", DbType.Int64);
            _subject = _command.Add("@subject", DbType.String);
            _metric = _command.Add("@metric", DbType.String);
            _value = _command.Add("@value", DbType.Double);
            _band = _command.Add("@band", DbType.String);
            _n = _command.Add("@n", DbType.Int64);
        }

        public void Write(long endMs, IReadOnlyList<Reading> readings)
        {
            _end.Value = endMs;
            foreach (var reading in readings)
            {
                _subject.Value = reading.Subject;
                _metric.Value = reading.Metric;
                _value.Value = reading.Value;
                _band.Value = NameOf(reading.Band);
                _n.Value = reading.N;
                _command.ExecuteNonQuery();
            }
        }

        public void Dispose() => _command.Dispose();

        private static string NameOf(MonitorBand band) => band switch
        {
            MonitorBand.None => "none",
            MonitorBand.Insufficient => "insufficient",
            MonitorBand.Ok => "ok",
            MonitorBand.Investigate => "investigate",
            MonitorBand.Act => "act",
            MonitorBand.Warning => "warning",
            _ => "critical",
        };
    }
}
