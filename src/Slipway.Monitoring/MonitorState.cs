using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Monitoring.Alerts;
using Slipway.Storage;

namespace Slipway.Monitoring;

/// <summary>How far a monitor has come; a row of <c>monitor_state</c>.</summary>
/// <param name="DriftEndMs">End of the newest drift window.</param>
/// <param name="PerformanceEndMs">Performance windows up to here have been computed once.</param>
/// <param name="DecidedEndMs">Performance windows up to here have had their say about alerts; what late labels change before it is shown but decides nothing again.</param>
/// <param name="Memory">Streaks per kind of alert.</param>
internal sealed record MonitorState(long DriftEndMs, long PerformanceEndMs, long DecidedEndMs, StreakMemory Memory)
{
    /// <summary>Before every event time, and far enough from the least number to add to.</summary>
    public const long Never = -(1L << 50);

    public static MonitorState Start { get; } = new(Never, Never, Never, new StreakMemory());

    public static MonitorState Load(DbConnection connection, string monitor) =>
        connection.QueryFirstOrDefault<(long Drift, long Performance, long Decided, string Streaks)?>(
            "SELECT drift_end_ms, performance_end_ms, decided_end_ms, streaks FROM monitor_state WHERE monitor = @monitor", new { monitor }) is { } row
            ? new MonitorState(row.Drift, row.Performance, row.Decided, JsonSerializer.Deserialize<StreakMemory>(row.Streaks, JsonDefaults.Options)!)
            : Start with { Memory = new StreakMemory() };

    public void Save(WriteTransaction transaction, string monitor) => transaction.Connection.Execute(
        """
        INSERT INTO monitor_state (monitor, drift_end_ms, performance_end_ms, decided_end_ms, streaks) VALUES (@monitor, @DriftEndMs, @PerformanceEndMs, @DecidedEndMs, @streaks)
        ON CONFLICT (monitor) DO UPDATE SET drift_end_ms = excluded.drift_end_ms, performance_end_ms = excluded.performance_end_ms,
               decided_end_ms = excluded.decided_end_ms, streaks = excluded.streaks
        """,
        new { monitor, DriftEndMs, PerformanceEndMs, DecidedEndMs, streaks = JsonSerializer.Serialize(Memory, JsonDefaults.Options) });
}

/// <summary>The memories of both kinds of alert.</summary>
internal sealed record StreakMemory
{
    public KindMemory Drift { get; init; } = new();

    public KindMemory Performance { get; init; } = new();
}
