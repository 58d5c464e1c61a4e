using System.Numerics;

namespace Slipway.Serving;

/// <summary>Counts of durations in logarithmic buckets, sixteen to each power of two: a quantile is off by at most 1/16.</summary>
/// <remarks>Microseconds; durations of 2^32 µs (71 minutes) and more fall into the last bucket.</remarks>
public sealed class LatencyHistogram
{
    internal const int BucketCount = 16 + (28 * 16);

    private readonly long[] _counts;

    internal LatencyHistogram(long[] counts) => _counts = counts;

    /// <summary>Durations counted.</summary>
    public long Count
    {
        get
        {
            long count = 0;
            foreach (var bucket in _counts)
            {
                count += bucket;
            }

            return count;
        }
    }

    /// <summary>The duration that a share <paramref name="quantile"/> of requests did not exceed, µs; 0 when nothing was counted.</summary>
    /// <param name="quantile">0 to 1.</param>
    public double QuantileUs(double quantile)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(quantile);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(quantile, 1);
        var rank = Math.Max(1, (long)Math.Ceiling(quantile * Count));
        long seen = 0;
        for (var i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= rank)
            {
                return UpperBoundUs(i);
            }
        }

        return 0;
    }

    /// <summary>Requests that took longer than a limit, to the precision of the buckets: one is counted when its whole bucket lies above.</summary>
    public long CountAboveUs(double limitUs)
    {
        long above = 0;
        for (var i = _counts.Length - 1; i >= 0 && LowerBoundUs(i) > limitUs; i--)
        {
            above += _counts[i];
        }

        return above;
    }

    /// <summary>What was counted since an earlier snapshot of the same arm.</summary>
    public LatencyHistogram Since(LatencyHistogram earlier)
    {
        var counts = new long[BucketCount];
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] = _counts[i] - earlier._counts[i];
        }

        return new LatencyHistogram(counts);
    }

    /// <summary>The buckets that hold something, rising, with the first and last whole microsecond of each.</summary>
    internal IEnumerable<(double FromUs, double ToUs, long Count)> NonEmptyBuckets()
    {
        for (var i = 0; i < _counts.Length; i++)
        {
            if (_counts[i] > 0)
            {
                yield return (LowerBoundUs(i), UpperBoundUs(i), _counts[i]);
            }
        }
    }

    internal static int BucketOf(long us)
    {
        if (us < 16)
        {
            return (int)Math.Max(0, us);
        }

        var exponent = BitOperations.Log2((ulong)us);
        return exponent >= 32 ? BucketCount - 1 : 16 + ((exponent - 4) * 16) + (int)((us >> (exponent - 4)) & 15);
    }

    internal static double LowerBoundUs(int bucket) => bucket < 16 ? bucket : (16L + ((bucket - 16) & 15)) << ((bucket - 16) >> 4);

    internal static double UpperBoundUs(int bucket) => bucket < 16 ? bucket : ((16L + ((bucket - 16) & 15) + 1) << ((bucket - 16) >> 4)) - 1;
}
