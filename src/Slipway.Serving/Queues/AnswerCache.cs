namespace Slipway.Serving.Queues;

/// <summary>
/// Answers of earlier requests by their features. Each set of features has one place, which the newest answer takes: no lock, no order to keep,
/// and never more entries than places.
/// </summary>
internal sealed class AnswerCache(int entries)
{
    private const int ValuesMax = 4096; // What is longer is rarely asked twice.

    private readonly Entry?[] _places = new Entry[entries];
    private long _hits;
    private long _misses;

    public long Hits => Volatile.Read(ref _hits);

    public long Misses => Volatile.Read(ref _misses);

    /// <summary>Copies a known answer.</summary>
    /// <returns>False when there is none.</returns>
    public bool TryGet(ReadOnlySpan<float> features, Span<float> outputs)
    {
        if (features.Length <= ValuesMax && Volatile.Read(ref _places[Place(features)]) is { } entry
            && System.Runtime.InteropServices.MemoryMarshal.AsBytes(features).SequenceEqual(System.Runtime.InteropServices.MemoryMarshal.AsBytes(entry.Features.AsSpan())))
        {
            entry.Outputs.CopyTo(outputs);
            Interlocked.Increment(ref _hits);
            return true;
        }

        Interlocked.Increment(ref _misses);
        return false;
    }

    /// <summary>Keeps an answer.</summary>
    public void Put(ReadOnlySpan<float> features, ReadOnlySpan<float> outputs)
    {
        if (features.Length <= ValuesMax)
        {
            Volatile.Write(ref _places[Place(features)], new Entry(features.ToArray(), outputs.ToArray()));
        }
    }

    private int Place(ReadOnlySpan<float> features)
    {
        var hash = default(HashCode);
        hash.AddBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(features));
        return (int)((uint)hash.ToHashCode() % (uint)_places.Length);
    }

    private sealed record Entry(float[] Features, float[] Outputs);
}
