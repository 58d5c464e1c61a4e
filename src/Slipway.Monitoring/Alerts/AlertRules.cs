using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;

namespace Slipway.Monitoring.Alerts;

/// <summary>How often in a row one subject was beyond its limits.</summary>
/// <param name="Breaches">Beyond the limit that alerts.</param>
/// <param name="Tops">Beyond the upper limit.</param>
internal readonly record struct Streak(int Breaches, int Tops);

/// <summary>What a monitor remembers from window to window about one kind of alert.</summary>
internal sealed record KindMemory
{
    /// <summary>The version of the last window; streaks end where another takes over, since it has another baseline.</summary>
    public string Version { get; set; } = "";

    /// <summary>Per subject.</summary>
    public Dictionary<string, Streak> Streaks { get; init; } = [];

    /// <summary>Windows in a row without any breach.</summary>
    public int Quiet { get; set; }
}

/// <summary>What a window means for the alert of its kind.</summary>
/// <param name="Open">An alert is due: open one, or go on with the open one.</param>
/// <param name="Close">The open alert has been quiet long enough.</param>
/// <param name="Act">The upper limit has been crossed for as many windows as it takes to act.</param>
/// <param name="Severity">Of the breach.</param>
/// <param name="Breaches">The breaching readings, the worst first.</param>
/// <param name="Tops">Windows in a row that the most persistent subject has been beyond its upper limit.</param>
internal sealed record AlertDecision(bool Open, bool Close, bool Act, AlertSeverity Severity, IReadOnlyList<Reading> Breaches, int Tops)
{
    public static AlertDecision Nothing { get; } = new(false, false, false, AlertSeverity.Warning, [], 0);
}

/// <summary>When an alert opens, goes on and closes: pure rules over the bands of one window and the memory of those before.</summary>
internal static class AlertRules
{
    /// <summary>Takes one window into the memory and says what follows.</summary>
    /// <param name="kind">Which alert.</param>
    /// <param name="version">The version the window is about.</param>
    /// <param name="readings">The window's readings.</param>
    /// <param name="monitor">Limits.</param>
    /// <param name="memory">Changed by the call.</param>
    /// <param name="isOpen">Whether an alert of this kind stands.</param>
    public static AlertDecision Decide(
        AlertKind kind, string version, IReadOnlyList<Reading> readings, MonitorDefinition monitor, KindMemory memory, bool isOpen)
    {
        // A window that cannot be judged says neither that the trouble goes on nor that it is over.
        var judged = readings.Where(reading => reading.Band is not (MonitorBand.None or MonitorBand.Insufficient)).ToList();
        if (judged.Count == 0)
        {
            return AlertDecision.Nothing;
        }

        if (memory.Version != version)
        {
            memory.Version = version;
            memory.Streaks.Clear();
            memory.Quiet = 0;
        }

        var breaches = new List<Reading>();
        foreach (var reading in judged)
        {
            var streak = memory.Streaks.GetValueOrDefault(reading.Subject);
            var (breach, top) = (IsBreach(reading.Band, monitor), IsTop(reading.Band));
            memory.Streaks[reading.Subject] = new Streak(breach ? streak.Breaches + 1 : 0, top ? streak.Tops + 1 : 0);
            if (breach)
            {
                breaches.Add(reading);
            }
        }

        memory.Quiet = breaches.Count == 0 ? memory.Quiet + 1 : 0;
        var sustained = breaches.Where(reading => memory.Streaks[reading.Subject].Breaches >= monitor.Consecutive).ToList();
        if (breaches.Count == 0 || (sustained.Count == 0 && !isOpen))
        {
            return AlertDecision.Nothing with { Close = isOpen && memory.Quiet >= monitor.Consecutive };
        }

        bool Sustained(Reading reading) => memory.Streaks[reading.Subject].Tops >= monitor.Consecutive;
        var act = breaches.Exists(Sustained);
        var severity = act ? AlertSeverity.Critical : AlertSeverity.Warning;

        // What the action is about comes first; among equals the one furthest beyond its limit.
        var ordered = breaches.OrderByDescending(Sustained).ThenByDescending(reading => Math.Abs(reading.Value - reading.Limit) / Math.Max(1e-9, Math.Abs(reading.Limit)))
            .ThenBy(reading => reading.Subject, StringComparer.Ordinal).ToList();
        return new AlertDecision(true, false, act, severity, ordered, breaches.Max(reading => memory.Streaks[reading.Subject].Tops));
    }

    private static bool IsTop(MonitorBand band) => band is MonitorBand.Act or MonitorBand.Critical;

    private static bool IsBreach(MonitorBand band, MonitorDefinition monitor) =>
        IsTop(band) || band == MonitorBand.Warning || (band == MonitorBand.Investigate && monitor.AlertFrom == MonitorBand.Investigate);
}
