using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Slipway.Web.Http;

/// <summary>
/// The server's own instruments and the runtime's in Prometheus' text format, read when somebody asks: nothing is measured on the way of a request for it.
/// </summary>
/// <remarks>Format: https://prometheus.io/docs/instrumenting/exposition_formats/</remarks>
internal sealed class MetricsText : IDisposable
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly Lock _reading = new();
    private readonly MeterListener _listener = new();
    private readonly SortedDictionary<string, Family> _families = new(StringComparer.Ordinal);

    /// <param name="meters">Whose instruments are ours: several servers of one process have each their own.</param>
    public MetricsText(IMeterFactory meters)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            // A gauge that is set keeps its newest value here; one that is asked is asked at each reading. Histograms cost time where they measure.
            var ours = instrument.Meter.Name.StartsWith("Slipway.", StringComparison.Ordinal) && ReferenceEquals(instrument.Meter.Scope, meters);
            if ((ours || instrument.Meter.Name == "System.Runtime") && (instrument.IsObservable || IsGauge(instrument)))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Keep(instrument, value, tags));
        _listener.Start();
    }

    /// <summary>All instruments now.</summary>
    public string Read()
    {
        lock (_reading)
        {
            foreach (var family in _families.Values.Where(family => family.IsAsked))
            {
                family.Values.Clear(); // A version that is no longer served says nothing more.
            }

            _listener.RecordObservableInstruments();
            var text = new StringBuilder();
            foreach (var (name, family) in _families.Where(entry => entry.Value.Values.Count > 0))
            {
                text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {family.Help}\n# TYPE {name} {(family.IsCounter ? "counter" : "gauge")}\n");
                foreach (var (labels, value) in family.Values)
                {
                    text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {value:R}\n");
                }
            }

            return text.ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    private static bool IsGauge(Instrument instrument) => instrument is Gauge<double> or Gauge<long> or Gauge<int>;

    private static bool IsCounter(Instrument instrument) =>
        instrument is ObservableCounter<long> or ObservableCounter<double> or ObservableCounter<int>;

    private void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var labels = Labels(tags);
        lock (_reading)
        {
            var name = Name(instrument);
            if (!_families.TryGetValue(name, out var family))
            {
                var help = (instrument.Description ?? instrument.Name).Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
                _families.Add(name, family = new Family(help, IsCounter(instrument), instrument.IsObservable));
            }

            family.Values[labels] = value;
        }
    }

    // slipway.serving.queue_depth is slipway_serving_queue_depth; a counter ends in _total, seconds and bytes are named.
    private static string Name(Instrument instrument)
    {
        var name = new StringBuilder();
        foreach (var c in instrument.Name)
        {
            name.Append(char.IsAsciiLetterOrDigit(c) ? c : '_');
        }

        name.Append(instrument.Unit switch { "s" => "_seconds", "By" => "_bytes", _ => "" });
        return name.Append(IsCounter(instrument) ? "_total" : "").ToString();
    }

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty)
        {
            return "";
        }

        var text = new StringBuilder("{");
        foreach (var (key, value) in tags)
        {
            var shown = Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
            text.Append(text.Length > 1 ? "," : "").Append(key.Replace('.', '_')).Append("=\"")
                .Append(shown.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)).Append('"');
        }

        return text.Append('}').ToString();
    }

    private sealed record Family(string Help, bool IsCounter, bool IsAsked)
    {
        public SortedDictionary<string, double> Values { get; } = new(StringComparer.Ordinal);
    }
}
