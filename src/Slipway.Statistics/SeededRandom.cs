using System.Numerics;

namespace Slipway.Statistics;

/// <summary>
/// xoshiro256** seeded by SplitMix64 (Blackman and Vigna 2018). Own code, because a seed must give the same interval on every
/// runtime version, which <see cref="Random"/> does not promise.
/// </summary>
internal sealed class SeededRandom
{
    private ulong s0, s1, s2, s3;

    public SeededRandom(ulong seed)
    {
        (s0, s1, s2, s3) = (SplitMix(ref seed), SplitMix(ref seed), SplitMix(ref seed), SplitMix(ref seed));
    }

    /// <summary>A whole number from 0 to bound - 1, without modulo bias (Lemire 2019).</summary>
    public int Next(int bound)
    {
        var high = Math.BigMul(Next64(), (ulong)bound, out var fraction);
        var threshold = (0 - (ulong)bound) % (ulong)bound;
        while (fraction < threshold)
        {
            high = Math.BigMul(Next64(), (ulong)bound, out fraction);
        }

        return (int)high;
    }

    private ulong Next64()
    {
        var result = BitOperations.RotateLeft(s1 * 5, 7) * 9;
        var t = s1 << 17;
        s2 ^= s0;
        s3 ^= s1;
        s1 ^= s2;
        s0 ^= s3;
        s2 ^= t;
        s3 = BitOperations.RotateLeft(s3, 45);
        return result;
    }

    private static ulong SplitMix(ref ulong state)
    {
        state += 0x9E3779B97F4A7C15;
        var z = state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
