using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Proportions;

/// <summary>Intervals and tests for binomial proportions.</summary>
public static class Proportion
{
    private const double Z95 = 1.959963984540054;

    /// <summary>Wilson score interval for a binomial proportion, without continuity correction.</summary>
    /// <param name="successes">Count, 0 ≤ successes ≤ trials.</param>
    /// <param name="trials">Count, at least 1.</param>
    /// <param name="z">Two-sided standard normal quantile; 1.959964 gives 95 %.</param>
    /// <exception cref="ArgumentOutOfRangeException">A count or <paramref name="z"/> is outside its range.</exception>
    /// <remarks>
    /// Source: Wilson (1927), JASA 22(158), 209-212. Chosen over the Wald interval because canaries start with
    /// few requests and rare errors, where Wald has zero width at p = 0 (Newcombe 1998, Stat. Med. 17, 857-872).
    /// </remarks>
    public static Interval WilsonInterval(long successes, long trials, double z = Z95)
    {
        Check(successes, trials);
        Require.Positive(z);
        var n = (double)trials;
        var p = successes / n;
        var z2 = z * z;
        var centre = (p + z2 / (2 * n)) / (1 + z2 / n);
        var halfWidth = z * Math.Sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);

        // Rounding can step just past the ends at p = 0 or 1; a probability may not.
        return new Interval(
            successes == 0 ? 0 : Math.Max(0, centre - halfWidth),
            successes == trials ? 1 : Math.Min(1, centre + halfWidth));
    }

    /// <summary>Clopper-Pearson interval: covers at least the stated share for every p, so it is wider than Wilson's.</summary>
    /// <param name="successes">Count, 0 ≤ successes ≤ trials.</param>
    /// <param name="trials">Count, at least 1.</param>
    /// <param name="alpha">One minus the coverage, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Source: Clopper and Pearson (1934), Biometrika 26(4), 404-413.</remarks>
    public static Interval ClopperPearsonInterval(long successes, long trials, double alpha = 0.05)
    {
        Check(successes, trials);
        Require.OpenUnit(alpha);
        return new Interval(
            successes == 0 ? 0 : Beta.Quantile(0.5 * alpha, successes, trials - successes + 1.0),
            successes == trials ? 1 : Beta.Quantile(1 - 0.5 * alpha, successes + 1.0, trials - successes));
    }

    /// <summary>Jeffreys interval: the central part of the Beta(x + 1/2, n - x + 1/2) posterior.</summary>
    /// <param name="successes">Count, 0 ≤ successes ≤ trials.</param>
    /// <param name="trials">Count, at least 1.</param>
    /// <param name="alpha">One minus the posterior probability, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Source: Brown, Cai and DasGupta (2001), Stat. Sci. 16(2), 101-133.</remarks>
    public static Interval JeffreysInterval(long successes, long trials, double alpha = 0.05)
    {
        Check(successes, trials);
        Require.OpenUnit(alpha);
        var (a, b) = (successes + 0.5, trials - successes + 0.5);
        return new Interval(Beta.Quantile(0.5 * alpha, a, b), Beta.Quantile(1 - 0.5 * alpha, a, b));
    }

    /// <summary>Newcombe's hybrid score interval for the difference second - first of two independent proportions.</summary>
    /// <param name="firstSuccesses">Count, at most <paramref name="firstTrials"/>.</param>
    /// <param name="firstTrials">Count, at least 1.</param>
    /// <param name="secondSuccesses">Count, at most <paramref name="secondTrials"/>.</param>
    /// <param name="secondTrials">Count, at least 1.</param>
    /// <param name="z">Two-sided standard normal quantile; 1.959964 gives 95 %.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Source: Newcombe (1998), Stat. Med. 17(8), 873-890, method 10.</remarks>
    public static Interval NewcombeDifferenceInterval(
        long firstSuccesses, long firstTrials, long secondSuccesses, long secondTrials, double z = Z95)
    {
        var first = WilsonInterval(firstSuccesses, firstTrials, z);
        var second = WilsonInterval(secondSuccesses, secondTrials, z);
        var (p, q) = ((double)firstSuccesses / firstTrials, (double)secondSuccesses / secondTrials);
        return new Interval(
            q - p - double.Hypot(q - second.Lower, first.Upper - p),
            q - p + double.Hypot(second.Upper - q, p - first.Lower));
    }

    /// <summary>Two-proportion z-test with pooled variance; the statistic is positive when the first proportion is larger.</summary>
    /// <param name="firstSuccesses">Count, at most <paramref name="firstTrials"/>.</param>
    /// <param name="firstTrials">Count, at least 1.</param>
    /// <param name="secondSuccesses">Count, at most <paramref name="secondTrials"/>.</param>
    /// <param name="secondTrials">Count, at least 1.</param>
    /// <param name="alternative">Greater: the first proportion is larger. Less: it is smaller.</param>
    /// <returns>z and its p-value; when all trials of both sides agree, z = 0 and p = 1.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is outside its range.</exception>
    public static TestResult TwoProportionZ(
        long firstSuccesses,
        long firstTrials,
        long secondSuccesses,
        long secondTrials,
        Alternative alternative = Alternative.TwoSided)
    {
        Check(firstSuccesses, firstTrials);
        Check(secondSuccesses, secondTrials);
        var pooled = ((double)firstSuccesses + secondSuccesses) / ((double)firstTrials + secondTrials);
        if (pooled is 0 or 1)
        {
            return new TestResult(0, 1);
        }

        var difference = (double)firstSuccesses / firstTrials - (double)secondSuccesses / secondTrials;
        var z = difference / Math.Sqrt(pooled * (1 - pooled) * (1.0 / firstTrials + 1.0 / secondTrials));
        return new TestResult(z, alternative switch
        {
            Alternative.Greater => Normal.Survival(z),
            Alternative.Less => Normal.Cdf(z),
            _ => 2 * Normal.Survival(Math.Abs(z)),
        });
    }

    private static void Check(long successes, long trials)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(trials, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(successes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(successes, trials);
    }
}
