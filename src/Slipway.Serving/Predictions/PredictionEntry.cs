using Slipway.Serving.Protocol;

namespace Slipway.Serving.Predictions;

/// <summary>One request's predictions on their way to the log. Belongs to a slot of the ring and is used again and again.</summary>
internal sealed class PredictionEntry
{
    // A big batch must not leave its buffers behind in each slot it passes through.
    private const int KeptValues = 1024;
    private const int KeptKeyBytes = 8192;

    private byte[] _id = new byte[64];
    private byte[] _keys = new byte[64];
    private int[] _keyEnds = new int[1];
    private long[] _eventMs = new long[1];
    private float[] _features = [];
    private long[] _ages = [];
    private float[] _outputs = new float[1];
    private int _idLength;
    private int _keyCount;

    public Arm Arm { get; private set; } = null!;

    public long AtMs { get; private set; }

    public long LatencyUs { get; private set; }

    public int Status { get; private set; }

    public int Rows { get; private set; }

    /// <summary>False when the request failed before its features were known.</summary>
    public bool HasFeatures { get; private set; }

    /// <summary>Whether the feature store gave the features.</summary>
    public bool HasAges { get; private set; }

    /// <summary>What it holds while it waits, beyond what fits each slot of the ring.</summary>
    public long LargeBytes { get; set; }

    /// <summary>What a model of tensors was sent; null of a model of features.</summary>
    public IReadOnlyList<RequestTensor>? Inputs { get; private set; }

    /// <summary>What it answered; empty when it failed.</summary>
    public IReadOnlyList<AnswerTensor> Answers { get; private set; } = [];

    public ReadOnlySpan<byte> Id => _id.AsSpan(0, _idLength);

    public void Set(
        Arm arm, ReadOnlySpan<byte> id, ReadOnlySpan<byte> keys, ReadOnlySpan<int> keyEnds, long atMs, ReadOnlySpan<long> eventMs, long latencyUs, int status,
        int rows, ReadOnlySpan<float> features, ReadOnlySpan<float> outputs, ReadOnlySpan<long> ages = default)
    {
        Arm = arm;
        AtMs = atMs;
        LatencyUs = latencyUs;
        Status = status;
        Rows = rows;
        HasFeatures = features.Length > 0;
        (Inputs, Answers) = (null, []);
        _idLength = id.Length;
        _keyCount = keyEnds.Length;
        Copy(id, ref _id);
        Copy(keys, ref _keys);
        Copy(keyEnds, ref _keyEnds);
        Copy(eventMs, ref _eventMs);
        Copy(features, ref _features);
        Copy(outputs, ref _outputs);
        Copy(ages, ref _ages);
        HasAges = ages.Length > 0;
        if (outputs.IsEmpty)
        {
            Array.Fill(_outputs, float.NaN);
        }
    }

    /// <summary>One row for a request of tensors, which are kept as they are until they are written.</summary>
    public void SetTensors(Arm arm, ReadOnlySpan<byte> id, ReadOnlySpan<byte> key, long atMs, long latencyUs, int status, IReadOnlyList<RequestTensor> inputs, IReadOnlyList<AnswerTensor> answers)
    {
        Set(arm, id, key, key.IsEmpty ? [] : [key.Length], atMs, [atMs], latencyUs, status, 1, default, answers is [var only] && only.TryNumber(out var number) ? [(float)number] : default);
        (Inputs, Answers) = (inputs, answers);
    }

    /// <summary>The row's entity key; all rows share one when the request gave one.</summary>
    public ReadOnlySpan<byte> Key(int row)
    {
        var at = _keyCount == 1 ? 0 : row;
        return at >= _keyCount ? default : _keys.AsSpan(at == 0 ? 0 : _keyEnds[at - 1], _keyEnds[at] - (at == 0 ? 0 : _keyEnds[at - 1]));
    }

    public long EventMs(int row) => _eventMs[row];

    public float Output(int row) => row < _outputs.Length ? _outputs[row] : float.NaN;

    public ReadOnlySpan<float> Features(int row, int width) => _features.AsSpan(row * width, width);

    public ReadOnlySpan<long> Ages(int row, int width) => _ages.AsSpan(row * width, width);

    /// <summary>Lets big buffers go once the entry has been written.</summary>
    public void Trim()
    {
        (Inputs, Answers) = (null, []);
        if (_features.Length > KeptValues || _outputs.Length > KeptValues || _keys.Length > KeptKeyBytes)
        {
            _features = [];
            _ages = [];
            _outputs = new float[1];
            _eventMs = new long[1];
            _keyEnds = new int[1];
            _keys = new byte[64];
        }
    }

    private static void Copy<T>(ReadOnlySpan<T> source, ref T[] target)
    {
        if (target.Length < source.Length)
        {
            target = new T[source.Length];
        }

        source.CopyTo(target);
    }
}
