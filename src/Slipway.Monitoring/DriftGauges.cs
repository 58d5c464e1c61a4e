using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;

namespace Slipway.Monitoring;

/// <summary>The newest drift per feature as gauges <c>drift.psi.{feature}</c> of the meter <c>Slipway.Monitoring</c>, with the tags model, version and monitor.</summary>
internal sealed class DriftGauges(IMeterFactory meters) : IDisposable
{
    public const string MeterName = "Slipway.Monitoring";

    private readonly Meter _meter = meters.Create(MeterName);
    private readonly ConcurrentDictionary<string, Gauge<double>> _gauges = new(StringComparer.Ordinal);

    public void Set(MonitorDefinition monitor, ClosedWindow window, IReadOnlyList<Reading> readings)
    {
        foreach (var reading in readings.Where(reading => reading.Metric == DriftEvaluation.Psi))
        {
            _gauges.GetOrAdd($"drift.psi.{reading.Subject}", (name, meter) => meter.CreateGauge<double>(name, description: "Population stability index against the baseline"), _meter)
                .Record(reading.Value, new("monitor", monitor.Name), new("model", monitor.Model), new("version", window.Layout.Version));
        }
    }

    public void Dispose() => _meter.Dispose();
}
