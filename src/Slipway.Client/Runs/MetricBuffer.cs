using Slipway.Contracts.Tracking;

namespace Slipway.Client.Runs;

/// <summary>Points on their way to disk: one array is filled while the other is written. Adding a point allocates nothing.</summary>
internal sealed class MetricBuffer
{
    /// <summary>Points held at most; 2 MB.</summary>
    public const int Capacity = 64 * 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, int> _keys = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];
    private Entry[] _filling = new Entry[1024];
    private Entry[] _written = new Entry[1024];
    private int _count;
    private bool _closed;

    internal struct Entry
    {
        public int Key;
        public double Value;
        public long TimestampMs;
        public long Step;
    }

    /// <summary>Takes a point and answers how many wait now; -1 when the buffer is full and must be taken first.</summary>
    /// <exception cref="ArgumentException">The key is not one a metric may have.</exception>
    /// <exception cref="ObjectDisposedException">The run has ended.</exception>
    public int TryAdd(string key, double value, long timestampMs, long step)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_closed, typeof(ActiveRun));
            if (!_keys.TryGetValue(key, out var number))
            {
                number = AddKey(key);
            }

            if (_count == _filling.Length)
            {
                if (_count == Capacity)
                {
                    return -1;
                }

                Array.Resize(ref _filling, _count * 2);
            }

            ref var entry = ref _filling[_count++];
            entry.Key = number;
            entry.Value = value;
            entry.TimestampMs = timestampMs;
            entry.Step = step;
            return _count;
        }
    }

    /// <summary>The points since the last call, valid until the next one. One caller at a time.</summary>
    public ReadOnlySpan<Entry> Take(out int keys)
    {
        lock (_lock)
        {
            (_filling, _written) = (_written, _filling);
            var count = _count;
            _count = 0;
            keys = _names.Count;
            return _written.AsSpan(0, count);
        }
    }

    /// <summary>The name behind a number that <see cref="Take"/> gave.</summary>
    public string Name(int key)
    {
        lock (_lock)
        {
            return _names[key];
        }
    }

    /// <summary>Takes no more points: whoever adds one now is told, so that none is accepted and then lost.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
        }
    }

    private int AddKey(string key)
    {
        if (RunKeys.Fault("metric", key) is { } fault)
        {
            throw new ArgumentException(fault, nameof(key));
        }

        _keys.Add(key, _names.Count);
        _names.Add(key);
        return _names.Count - 1;
    }
}
