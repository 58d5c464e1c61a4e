using Slipway.Statistics.Distributions;

namespace Slipway.Serving.Rollouts;

/// <summary>
/// E-processes: evidence against a healthy candidate that may be looked at after every request. Under a healthy candidate the
/// chance that one ever reaches 1/alpha is at most alpha (Ville's inequality), so that looking often costs nothing.
/// </summary>
internal static class GateStatistics
{
    // Odds and rates of a faulty candidate that the mixtures bet on, as multiples of the healthy one.
    private static readonly double[] Multiples = [1.25, 1.5, 2, 3, 5, 10, 30];

    /// <summary>Log e-value against "a failure comes from the candidate no more often than its share of the traffic".</summary>
    /// <param name="candidate">Failures (or slow requests) of the candidate.</param>
    /// <param name="stable">Those of the stable version in the same time.</param>
    /// <param name="share">The candidate's share of the requests, strictly between 0 and 1.</param>
    /// <remarks>
    /// Given how many failures there are, each falls on the candidate with the probability of its share, whatever the failure rate
    /// does over time: a burst that hits both versions is no evidence. Mixture of the alternatives by Beta(2, 2(1 - s)/s), whose
    /// mean is the share; Lindon and Malek (2020), arXiv 2011.03567, for the multinomial case.
    /// </remarks>
    public static double LogExcessShare(long candidate, long stable, double share)
    {
        var a = 2.0;
        var b = 2 * (1 - share) / share;
        return SpecialFunctions.LogBeta(a + candidate, b + stable) - SpecialFunctions.LogBeta(a, b)
            - candidate * Math.Log(share) - stable * Math.Log(1 - share);
    }

    /// <summary>Log e-value against "the rate is at most <paramref name="limit"/>".</summary>
    /// <remarks>An average of likelihood ratios, each a bet on one higher rate; each is a supermartingale for every rate up to the limit.</remarks>
    public static double LogRateAbove(long hits, long trials, double limit)
    {
        Span<double> logs = stackalloc double[Multiples.Length];
        for (var i = 0; i < logs.Length; i++)
        {
            // Odds, so that every bet stays below a rate of 1.
            var odds = Multiples[i] * limit / (1 - limit);
            var rate = odds / (1 + odds);
            logs[i] = hits * Math.Log(rate / limit) + (trials - hits) * Math.Log((1 - rate) / (1 - limit));
        }

        var largest = double.NegativeInfinity;
        foreach (var log in logs)
        {
            largest = Math.Max(largest, log);
        }

        var sum = 0.0;
        foreach (var log in logs)
        {
            sum += Math.Exp(log - largest);
        }

        return largest + Math.Log(sum / logs.Length);
    }

    /// <summary>Log e-value against "the mean is at most <paramref name="limit"/>"; asymptotic in the number of values.</summary>
    /// <param name="count">Values, at least 2.</param>
    /// <param name="sum">Their sum.</param>
    /// <param name="sumOfSquares">The sum of their squares.</param>
    /// <param name="limit">The mean under a healthy candidate.</param>
    /// <param name="focus">Number of values at which the test is sharpest.</param>
    /// <remarks>
    /// Normal mixture over positive effects only (Robbins 1970, Ann. Math. Stat. 41, 1397-1409; with an estimated variance: Waudby-Smith
    /// et al., arXiv 2103.06476). The variance is kept from below at 1/count, because few values can be equal by chance.
    /// </remarks>
    public static double LogMeanAbove(long count, double sum, double sumOfSquares, double limit, double focus)
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
