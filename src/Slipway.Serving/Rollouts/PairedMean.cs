using Slipway.Statistics.Distributions;

namespace Slipway.Serving.Rollouts;

/// <summary>
/// Evidence that the mean of paired differences is above a limit, which may be looked at after every pair: under a mean up to the
/// limit, the chance that it ever reaches 1/alpha is at most alpha, in the limit of many pairs.
/// </summary>
internal static class PairedMean
{
    /// <summary>Natural logarithm of the e-value.</summary>
    /// <param name="count">Pairs, at least 1.</param>
    /// <param name="sum">Sum of the differences.</param>
    /// <param name="sumOfSquares">Sum of their squares.</param>
    /// <param name="limit">The largest harmless mean.</param>
    /// <param name="focus">Number of pairs at which the test is sharpest.</param>
    /// <remarks>
    /// Normal mixture over positive effects only (Robbins 1970, Ann. Math. Stat. 41, 1397-1409), with an estimated variance
    /// (Waudby-Smith et al. 2021, arXiv 2103.06476). The variance is kept at 1/count or above, because few pairs can be equal by chance.
    /// </remarks>
    public static double LogAbove(long count, double sum, double sumOfSquares, double limit, double focus)
    {
        var mean = sum / count;
        var variance = Math.Max(sumOfSquares / count - mean * mean, 1.0 / count);
        var score = count * (mean - limit) / Math.Sqrt(variance);
        // The boundary is narrowest, relative to its length, where count times this precision is a few units.
        var precision = 6 / focus;
        var spread = 1 + count * precision;
        var z = score * Math.Sqrt(precision / spread);
        return Math.Log(2) - 0.5 * Math.Log(spread) + z * z / 2 + Normal.LogCdf(z);
    }
}
