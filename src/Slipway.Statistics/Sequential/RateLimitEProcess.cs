using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Sequential;

/// <summary>
/// Anytime-valid test of a rate against a limit fixed beforehand, in both directions: for instance the share of shadowed requests on
/// which candidate and production disagree.
/// </summary>
/// <remarks>
/// Two mixtures of likelihood ratios against the limit p0, one over rates above and one below it, each under a Beta(2, 2(1 - p0)/p0)
/// truncated there: E = ∫ p^k (1-p)^(n-k) dπ(p) / (p0^k (1-p0)^(n-k)). The first has expectation at most 1 whenever the rate is at
/// or below the limit, the second whenever it is at or above, so each verdict is wrong with probability at most alpha at any number
/// of looks (Ville 1939). Source: Robbins (1970), Ann. Math. Stat. 41(5), 1397-1409; truncation for the one-sided null: Ramdas,
/// Grünwald, Vovk and Shafer (2023), Stat. Sci. 38(4). Pairs must be independent.
/// </remarks>
public sealed class RateLimitEProcess
{
    private const double PriorStrength = 2;

    /// <summary>A test with no evidence yet.</summary>
    /// <param name="limit">The limit of the rate, between 0 and 1.</param>
    /// <param name="alpha">Bound on the probability of either verdict when it is false, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public RateLimitEProcess(double limit, double alpha = 0.05)
    {
        Require.OpenUnit(limit);
        Require.OpenUnit(alpha);
        Limit = limit;
        Alpha = alpha;
    }

    /// <summary>The limit of the rate.</summary>
    public double Limit { get; }

    /// <summary>The error bound.</summary>
    public double Alpha { get; }

    /// <summary>Pairs compared so far.</summary>
    public long Trials { get; private set; }

    /// <summary>Disagreements so far.</summary>
    public long Events { get; private set; }

    /// <summary>Natural logarithm of the evidence that the rate is above the limit; 0 at the start.</summary>
    public double LogEAbove => LogE(above: true);

    /// <summary>Natural logarithm of the evidence that the rate is below the limit; 0 at the start.</summary>
    public double LogEBelow => LogE(above: false);

    /// <summary>Worse: the rate is above the limit. NotWorse: it is below. The first verdict reached is kept.</summary>
    public SequentialVerdict Verdict { get; private set; }

    /// <summary>Adds a batch of pairs.</summary>
    /// <param name="trials">Pairs in the batch, at least 0.</param>
    /// <param name="events">Disagreements among them, 0 to <paramref name="trials"/>.</param>
    /// <returns>The verdict after this batch.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is outside its range; nothing was added.</exception>
    public SequentialVerdict Add(long trials, long events)
    {
        Require.Share(events, trials, nameof(events), nameof(trials));
        Trials += trials;
        Events += events;
        if (Verdict == SequentialVerdict.Inconclusive)
        {
            var threshold = -Math.Log(Alpha);
            Verdict = LogEAbove > threshold ? SequentialVerdict.Worse
                : LogEBelow > threshold ? SequentialVerdict.NotWorse
                : SequentialVerdict.Inconclusive;
        }

        return Verdict;
    }

    private double LogE(bool above)
    {
        double k = Events, rest = Trials - Events;
        var (p, q) = (Limit, 1 - Limit);
        var (a, b) = (PriorStrength, PriorStrength * q / p);
        return SpecialFunctions.LogBeta(a + k, b + rest) + LogMass(a + k, b + rest)
            - SpecialFunctions.LogBeta(a, b) - LogMass(a, b)
            - k * Math.Log(p) - rest * Math.Log(q);

        double LogMass(double alpha, double beta) => above
            ? SpecialFunctions.LogRegularizedBeta(beta, alpha, q, p)
            : SpecialFunctions.LogRegularizedBeta(alpha, beta, p, q);
    }
}
