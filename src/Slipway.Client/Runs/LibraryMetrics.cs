using System.Diagnostics.Metrics;

namespace Slipway.Client.Runs;

/// <summary>
/// Logs the instruments that chosen libraries publish under their <see cref="Meter"/>s' names, as <c>library/instrument</c>: counters as
/// totals, gauges as they are, histograms as the mean since the last sample.
/// </summary>
internal sealed class LibraryMetrics : IAsyncDisposable
{
    private readonly Action<string, double, long> _log;
    private readonly MeterListener _listener = new();
    private readonly Dictionary<Instrument, State> _states = [];
    private readonly ITimer _timer;
    private long _step;

    public LibraryMetrics(IReadOnlySet<string> libraries, Action<string, double, long> log, TimeSpan interval, TimeProvider clock)
    {
        _log = log;
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (libraries.Contains(instrument.Meter.Name))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<double>((instrument, value, _, _) => Measure(instrument, value));
        _listener.SetMeasurementEventCallback<float>((instrument, value, _, _) => Measure(instrument, value));
        _listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => Measure(instrument, value));
        _listener.SetMeasurementEventCallback<int>((instrument, value, _, _) => Measure(instrument, value));
        _listener.Start();
        _timer = clock.CreateTimer(_ => Sample(), null, interval, interval);
    }

    private enum Kind
    {
        Total,
        Last,
        Mean,
    }

    /// <summary>Stops after one last sample.</summary>
    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        Sample();
        _listener.Dispose();
    }

    private void Measure(Instrument instrument, double value)
    {
        lock (_states)
        {
            if (!_states.TryGetValue(instrument, out var state))
            {
                var type = instrument.GetType().Name;
                var kind = instrument.IsObservable || type.StartsWith("Gauge", StringComparison.Ordinal) ? Kind.Last
                    : type.StartsWith("Histogram", StringComparison.Ordinal) ? Kind.Mean
                    : Kind.Total;
                _states.Add(instrument, state = new State(kind, Name(instrument)));
            }

            state.Add(value);
        }
    }

    private void Sample()
    {
        _listener.RecordObservableInstruments();
        lock (_states)
        {
            foreach (var state in _states.Values)
            {
                if (state.Take() is { } value)
                {
                    _log(state.Name, value, _step);
                }
            }

            _step++;
        }
    }

    // Instruments may have any name, metrics not.
    private static string Name(Instrument instrument) =>
        new([.. $"{instrument.Meter.Name}/{instrument.Name}".Take(250).Select(c => char.IsLetterOrDigit(c) || c is '_' or '-' or '.' or '/' ? c : '_')]);

    private sealed class State(Kind kind, string name)
    {
        private double _sum;
        private long _count;

        public string Name => name;

        public void Add(double value)
        {
            _sum = kind is Kind.Last ? value : _sum + value;
            _count++;
        }

        // Null when nothing was measured since the last sample.
        public double? Take()
        {
            if (_count == 0)
            {
                return null;
            }

            var value = kind is Kind.Mean ? _sum / _count : _sum;
            _count = 0;
            _sum = kind is Kind.Mean ? 0 : _sum;
            return value;
        }
    }
}
