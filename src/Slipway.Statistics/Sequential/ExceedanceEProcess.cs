namespace Slipway.Statistics.Sequential;

/// <summary>
/// Anytime-valid test that an event is more frequent on the canary than on the stable version over the same intervals, for instance
/// a latency above a limit. Needs no fixed traffic share: it compares the two rates interval by interval.
/// </summary>
/// <remarks>
/// <para>
/// Per interval and per odds ratio r on a fixed grid above 1, the bet is the likelihood of the two counts at (rate of stable before
/// this interval, that rate with odds multiplied by r), divided by their likelihood at the common rate θ0 weighted by the requests
/// of this interval. Its expectation is at most 1 whenever the canary's rate does not exceed stable's; products over intervals and
/// the mean over the grid keep that, so P(E ever reaches 1/alpha) ≤ alpha (Ville 1939).
/// </para>
/// <para>
/// Source: Turner, Ly and Grünwald (2024), "Generic E-variables for exact sequential k-sample tests that allow for optional stopping",
/// J. Stat. Plan. Inference 230, arXiv 2106.02693. The rate may change from interval to interval, as by time of day, as long as it
/// changes for both. Requests must be independent given their interval.
/// </para>
/// <para>
/// For a latency quantile: the canary's p99 is above stable's exactly when the canary exceeds stable's p99 more often than 1 in 100.
/// The limit may be a fixed objective, or stable's quantile over earlier intervals; never one computed from the interval being added.
/// </para>
/// </remarks>
public sealed class ExceedanceEProcess
{
    private static readonly double[] OddsRatios = [1.25, 1.5, 2, 3, 5, 10];

    private readonly double[] logE = new double[OddsRatios.Length];

    /// <summary>A test with no evidence yet.</summary>
    /// <param name="alpha">Bound on the probability of ever calling a canary worse that is not, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="alpha"/> is outside its range.</exception>
    public ExceedanceEProcess(double alpha = 0.05)
    {
        Require.OpenUnit(alpha);
        Alpha = alpha;
    }

    /// <summary>The error bound.</summary>
    public double Alpha { get; }

    /// <summary>Requests the canary answered so far.</summary>
    public long CanaryRequests { get; private set; }

    /// <summary>Events on the canary so far.</summary>
    public long CanaryEvents { get; private set; }

    /// <summary>Requests the stable version answered so far.</summary>
    public long StableRequests { get; private set; }

    /// <summary>Events on the stable version so far.</summary>
    public long StableEvents { get; private set; }

    /// <summary>Natural logarithm of the evidence E, the mean over the grid of odds ratios; 0 at the start.</summary>
    public double LogE
    {
        get
        {
            var largest = logE.Max();
            return largest + Math.Log(logE.Sum(e => Math.Exp(e - largest)) / logE.Length);
        }
    }

    /// <summary>Worse from the first interval at which E exceeded 1/alpha; otherwise inconclusive.</summary>
    public SequentialVerdict Verdict { get; private set; }

    /// <summary>Adds the counts of one interval, both versions over the same interval.</summary>
    /// <param name="canaryRequests">At least 0.</param>
    /// <param name="canaryEvents">0 to <paramref name="canaryRequests"/>.</param>
    /// <param name="stableRequests">At least 0.</param>
    /// <param name="stableEvents">0 to <paramref name="stableRequests"/>.</param>
    /// <returns>The verdict after this interval.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is outside its range; nothing was added.</exception>
    public SequentialVerdict Add(long canaryRequests, long canaryEvents, long stableRequests, long stableEvents)
    {
        Require.Share(canaryEvents, canaryRequests, nameof(canaryEvents), nameof(canaryRequests));
        Require.Share(stableEvents, stableRequests, nameof(stableEvents), nameof(stableRequests));

        // A bet needs stable's rate from earlier intervals; the first interval only teaches it.
        if (StableRequests > 0 && canaryRequests > 0 && stableRequests > 0)
        {
            var stableRate = (StableEvents + 0.5) / (StableRequests + 1.0);
            for (var i = 0; i < OddsRatios.Length; i++)
            {
                var canaryRate = OddsRatios[i] * stableRate / (1 - stableRate + OddsRatios[i] * stableRate);
                logE[i] += LogBet(canaryRate, stableRate, canaryRequests, canaryEvents, stableRequests, stableEvents);
            }
        }

        CanaryRequests += canaryRequests;
        CanaryEvents += canaryEvents;
        StableRequests += stableRequests;
        StableEvents += stableEvents;
        if (LogE > -Math.Log(Alpha))
        {
            Verdict = SequentialVerdict.Worse;
        }

        return Verdict;
    }

    /// <summary>Adds one interval of measurements, counting those above a limit.</summary>
    /// <param name="canary">Measurements of the canary; NaN counts as above the limit, because a request without a latency did not end well.</param>
    /// <param name="stable">Measurements of the stable version over the same interval.</param>
    /// <param name="limit">The limit, known before the interval began; not NaN.</param>
    /// <returns>The verdict after this interval.</returns>
    /// <exception cref="ArgumentException"><paramref name="limit"/> is NaN.</exception>
    public SequentialVerdict Add(ReadOnlySpan<double> canary, ReadOnlySpan<double> stable, double limit)
    {
        if (double.IsNaN(limit))
        {
            throw new ArgumentException("limit must be a number.", nameof(limit));
        }

        return Add(canary.Length, CountAbove(canary, limit), stable.Length, CountAbove(stable, limit));
    }

    private static double LogBet(double canaryRate, double stableRate, double canaryRequests, double canaryEvents, double stableRequests, double stableEvents)
    {
        var common = (canaryRequests * canaryRate + stableRequests * stableRate) / (canaryRequests + stableRequests);
        return canaryEvents * Math.Log(canaryRate / common) + (canaryRequests - canaryEvents) * Math.Log((1 - canaryRate) / (1 - common))
            + stableEvents * Math.Log(stableRate / common) + (stableRequests - stableEvents) * Math.Log((1 - stableRate) / (1 - common));
    }

    private static long CountAbove(ReadOnlySpan<double> values, double limit)
    {
        var count = 0L;
        foreach (var value in values)
        {
            count += value <= limit ? 0 : 1;
        }

        return count;
    }
}
