using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Sequential;

/// <summary>
/// Anytime-valid test that a canary fails more often than the stable version beside it. Only errors enter: when both versions fail
/// equally often, each error comes from the canary with probability equal to its traffic share.
/// </summary>
/// <remarks>
/// <para>
/// With C and D the errors of canary and stable, s the canary's share and a Beta(a, b) mixture, a = 2, b = 2(1 - s)/s:
/// log E = lnB(a + C, b + D) - lnB(a, b) - (C ln s + D ln(1 - s)). Under equal error rates E has expectation at most 1 at every
/// stopping time, so P(E ever reaches 1/alpha) ≤ alpha (Ville 1939), however often it is looked at.
/// </para>
/// <para>
/// Source: the conditional binomial mixture of Robbins (1970); for canaries Lindon, Sanden and Shirikian (2022), arXiv 2205.14762.
/// Holds when requests are assigned at random with share s and errors are independent given the assignment; one client that is
/// pinned to the canary and fails in bursts breaks it.
/// </para>
/// </remarks>
public sealed class ErrorRateEProcess
{
    private const double PriorStrength = 2;

    private double closedLogE;
    private long segmentCanaryErrors;
    private long segmentStableErrors;

    /// <summary>A test with no evidence yet.</summary>
    /// <param name="canaryShare">The share of traffic assigned to the canary (canary and stable together are 1), between 0 and 1.</param>
    /// <param name="alpha">Bound on the probability of ever calling an equal canary worse, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public ErrorRateEProcess(double canaryShare, double alpha = 0.05)
    {
        Require.OpenUnit(canaryShare);
        Require.OpenUnit(alpha);
        CanaryShare = canaryShare;
        Alpha = alpha;
    }

    /// <summary>The canary's share of traffic now.</summary>
    public double CanaryShare { get; private set; }

    /// <summary>The error bound.</summary>
    public double Alpha { get; }

    /// <summary>Requests the canary answered so far.</summary>
    public long CanaryRequests { get; private set; }

    /// <summary>Errors of the canary so far.</summary>
    public long CanaryErrors { get; private set; }

    /// <summary>Requests the stable version answered so far.</summary>
    public long StableRequests { get; private set; }

    /// <summary>Errors of the stable version so far.</summary>
    public long StableErrors { get; private set; }

    /// <summary>Natural logarithm of the evidence E; 0 at the start.</summary>
    public double LogE => closedLogE + SegmentLogE();

    /// <summary>
    /// <see cref="SequentialVerdict.Worse"/> from the first batch at which E exceeded 1/alpha while the canary's error rate was above
    /// stable's; otherwise inconclusive. This test never shows that a canary is good.
    /// </summary>
    public SequentialVerdict Verdict { get; private set; }

    /// <summary>Adds the counts of one interval, both versions over the same interval.</summary>
    /// <param name="canaryRequests">At least 0.</param>
    /// <param name="canaryErrors">0 to <paramref name="canaryRequests"/>.</param>
    /// <param name="stableRequests">At least 0.</param>
    /// <param name="stableErrors">0 to <paramref name="stableRequests"/>.</param>
    /// <returns>The verdict after this interval.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is outside its range; nothing was added.</exception>
    public SequentialVerdict Add(long canaryRequests, long canaryErrors, long stableRequests, long stableErrors)
    {
        Require.Share(canaryErrors, canaryRequests, nameof(canaryErrors), nameof(canaryRequests));
        Require.Share(stableErrors, stableRequests, nameof(stableErrors), nameof(stableRequests));
        CanaryRequests += canaryRequests;
        CanaryErrors += canaryErrors;
        StableRequests += stableRequests;
        StableErrors += stableErrors;
        segmentCanaryErrors += canaryErrors;
        segmentStableErrors += stableErrors;

        // Without requests on both sides the rates are NaN and the comparison is false: no verdict without a comparison.
        var worse = (double)CanaryErrors / CanaryRequests > (double)StableErrors / StableRequests;
        if (worse && LogE > -Math.Log(Alpha))
        {
            Verdict = SequentialVerdict.Worse;
        }

        return Verdict;
    }

    /// <summary>
    /// Continues at another traffic share, as at the next rollout step. The evidence so far is kept as a factor and a new mixture
    /// starts, so the error bound holds over all steps together.
    /// </summary>
    /// <param name="canaryShare">The new share, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The share is outside its range.</exception>
    public void ChangeShare(double canaryShare)
    {
        Require.OpenUnit(canaryShare);
        closedLogE = LogE;
        segmentCanaryErrors = 0;
        segmentStableErrors = 0;
        CanaryShare = canaryShare;
    }

    /// <summary>The share of errors that comes from the canary when it fails at a multiple of stable's rate: s r / (s r + 1 - s).</summary>
    /// <param name="canaryShare">The canary's share of traffic, between 0 and 1.</param>
    /// <param name="ratio">Canary's error rate divided by stable's, greater than 0.</param>
    /// <returns>
    /// The limit for a <see cref="RateLimitEProcess"/> whose trials are all errors and whose events are the canary's errors; its verdict
    /// NotWorse shows that the canary fails less than <paramref name="ratio"/> times as often, which silence alone does not.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double ShareOfErrors(double canaryShare, double ratio)
    {
        Require.OpenUnit(canaryShare);
        Require.Positive(ratio);
        return canaryShare * ratio / (canaryShare * ratio + 1 - canaryShare);
    }

    private double SegmentLogE()
    {
        var s = CanaryShare;
        var (a, b) = (PriorStrength, PriorStrength * (1 - s) / s);
        return SpecialFunctions.LogBeta(a + segmentCanaryErrors, b + segmentStableErrors) - SpecialFunctions.LogBeta(a, b)
            - (segmentCanaryErrors * Math.Log(s) + segmentStableErrors * Math.Log(1 - s));
    }
}
