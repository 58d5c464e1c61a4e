namespace Slipway.Statistics.Sequential;

/// <summary>
/// Asymptotic confidence sequence for the difference of two means, canary less stable: an interval that may be looked at after every
/// batch. For unbounded metrics such as latency or revenue.
/// </summary>
/// <remarks>
/// <para>
/// Half-width √V · √( 2 (tρ² + 1)/(tρ²) · ln(√(tρ² + 1)/alpha) ), V = s₁²/n₁ + s₂²/n₂, t = n₁ + n₂. One-sided limits replace the
/// logarithm by ln(1 + √(tρ² + 1)/(2 alpha)). Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021), "Time-uniform central
/// limit theory and asymptotic confidence sequences", arXiv 2103.06476, theorem 2.2 and appendix B.
/// </para>
/// <para>
/// The error bound alpha holds in the limit of a late start, so nothing is said before both sides have <see cref="MinimumPerSide"/>
/// values; very heavy tails need more. Both sides must run over the same time at a constant traffic share: start a new sequence at
/// each rollout step, or a daily trend is mistaken for a difference. For bounded metrics <see cref="BoundedMeanSequence"/> is exact.
/// </para>
/// </remarks>
public sealed class MeanDifferenceSequence
{
    private readonly double rhoSquared;
    private RunningMoments canary;
    private RunningMoments stable;

    /// <summary>A sequence with no data yet.</summary>
    /// <param name="alpha">Bound on the probability of the interval ever missing the true difference, between 0 and 1.</param>
    /// <param name="tightestAt">The total number of values at which the interval should be tightest, at least 1.</param>
    /// <param name="minimumPerSide">Values needed on each side before anything is said, at least 2.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public MeanDifferenceSequence(double alpha = 0.05, long tightestAt = 5000, int minimumPerSide = 100)
    {
        Require.OpenUnit(alpha);
        ArgumentOutOfRangeException.ThrowIfLessThan(tightestAt, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(minimumPerSide, 2);
        Alpha = alpha;
        MinimumPerSide = minimumPerSide;
        rhoSquared = RhoSquared(alpha, tightestAt);
    }

    /// <summary>The error bound.</summary>
    public double Alpha { get; }

    /// <summary>Values needed on each side before anything is said.</summary>
    public int MinimumPerSide { get; }

    /// <summary>The canary's moments so far.</summary>
    public RunningMoments Canary => canary;

    /// <summary>Stable's moments so far.</summary>
    public RunningMoments Stable => stable;

    /// <summary>The interval for canary less stable, at confidence 1 - alpha; unbounded before enough values have arrived.</summary>
    public Interval Interval => Around(HalfWidth(Math.Log(Math.Sqrt(Time * rhoSquared + 1) / Alpha)));

    private double Time => canary.Count + (double)stable.Count;

    /// <summary>Adds values of both sides over the same interval of time.</summary>
    /// <param name="canaryValues">Each finite; may be empty.</param>
    /// <param name="stableValues">Each finite; may be empty.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is not finite.</exception>
    public void Add(ReadOnlySpan<double> canaryValues, ReadOnlySpan<double> stableValues)
    {
        canary.Add(canaryValues);
        stable.Add(stableValues);
    }

    /// <summary>Adds moments of both sides over the same interval of time.</summary>
    public void Merge(RunningMoments canaryMoments, RunningMoments stableMoments)
    {
        canary.Merge(canaryMoments);
        stable.Merge(stableMoments);
    }

    /// <summary>Whether the canary's mean exceeds stable's by more than a margin, where larger is worse (negate a metric where it is better).</summary>
    /// <param name="margin">The tolerated difference in the unit of the values, fixed beforehand; 0 asks for any worsening.</param>
    /// <returns>Worse or NotWorse, each wrong with probability at most alpha over all looks (asymptotically); otherwise inconclusive.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="margin"/> is not finite.</exception>
    public SequentialVerdict VerdictAt(double margin)
    {
        if (!double.IsFinite(margin))
        {
            throw new ArgumentOutOfRangeException(nameof(margin), margin, "margin must be finite.");
        }

        var limits = Around(HalfWidth(Math.Log(1 + Math.Sqrt(Time * rhoSquared + 1) / (2 * Alpha))));
        return limits.Lower > margin ? SequentialVerdict.Worse
            : limits.Upper < margin ? SequentialVerdict.NotWorse
            : SequentialVerdict.Inconclusive;
    }

    /// <summary>The mixture parameter that is close to tightest at t values: ρ² = (-2 ln alpha + ln(1 - 2 ln alpha))/t.</summary>
    internal static double RhoSquared(double alpha, double t)
    {
        var twice = -2 * Math.Log(alpha);
        return (twice + Math.Log(twice + 1)) / t;
    }

    private double HalfWidth(double logTerm)
    {
        if (canary.Count < MinimumPerSide || stable.Count < MinimumPerSide)
        {
            return double.PositiveInfinity;
        }

        var variance = canary.Variance / canary.Count + stable.Variance / stable.Count;
        var scaled = Time * rhoSquared;
        return Math.Sqrt(variance * 2 * (scaled + 1) / scaled * logTerm);
    }

    private Interval Around(double halfWidth)
    {
        var difference = canary.Mean - stable.Mean;
        return new Interval(difference - halfWidth, difference + halfWidth);
    }
}
