using Slipway.Contracts.Monitoring;

namespace Slipway.Monitoring.Drift;

/// <summary>One value of one window.</summary>
/// <param name="Subject">A feature reference, <c>prediction</c> or <c>performance</c>.</param>
/// <param name="Metric">Such as <c>psi</c>.</param>
/// <param name="Value">The value.</param>
/// <param name="Band">Against the limits.</param>
/// <param name="N">Rows it was computed from.</param>
/// <param name="Limit">The limit it crossed; 0 when none.</param>
internal readonly record struct Reading(string Subject, string Metric, double Value, MonitorBand Band, long N, double Limit = 0)
{
    public const string Prediction = "prediction";
    public const string Performance = "performance";
}
