using System.Buffers;
using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Drift;

/// <summary>The two-sample Kolmogorov-Smirnov test: the largest gap between two empirical distribution functions.</summary>
/// <remarks>
/// Sources: Smirnov (1939); Hodges (1958), "The significance probability of the Smirnov two-sample test", for the path count.
/// On big data any real difference is significant; read the statistic, not the p-value.
/// </remarks>
public static class KolmogorovSmirnov
{
    private const int ExactRowsMax = 10_000;

    /// <summary>Compares two samples; sorts pooled copies.</summary>
    /// <param name="reference">First sample, at least one value, no NaN.</param>
    /// <param name="current">Second sample, likewise.</param>
    /// <param name="alternative">
    /// Two-sided: max |F1 - F2|. Greater: max (F1 - F2), large when the first sample tends to be smaller. Less: max (F2 - F1).
    /// </param>
    /// <param name="method">How the p-value is computed.</param>
    /// <returns>The distance, 0 to 1, and its p-value.</returns>
    /// <exception cref="ArgumentException">A sample is empty or contains NaN.</exception>
    public static TestResult Test(
        ReadOnlySpan<double> reference,
        ReadOnlySpan<double> current,
        Alternative alternative = Alternative.TwoSided,
        KolmogorovSmirnovMethod method = KolmogorovSmirnovMethod.Auto)
    {
        using var first = new SortedCopy(reference, nameof(reference));
        using var second = new SortedCopy(current, nameof(current));
        return TestSorted(first.Values, second.Values, alternative, method);
    }

    /// <summary>Compares two samples that are already in ascending order, without copying: for a reference sorted once.</summary>
    /// <param name="reference">First sample, ascending, at least one value, no NaN.</param>
    /// <param name="current">Second sample, likewise.</param>
    /// <param name="alternative">As for <see cref="Test"/>.</param>
    /// <param name="method">How the p-value is computed.</param>
    /// <exception cref="ArgumentException">A sample is empty.</exception>
    public static TestResult TestSorted(
        ReadOnlySpan<double> reference,
        ReadOnlySpan<double> current,
        Alternative alternative = Alternative.TwoSided,
        KolmogorovSmirnovMethod method = KolmogorovSmirnovMethod.Auto)
    {
        Require.NotEmpty(reference);
        Require.NotEmpty(current);
        var statistic = StatisticSorted(reference, current, alternative);
        return new TestResult(statistic, PValue(statistic, reference.Length, current.Length, alternative, method));
    }

    /// <summary>The p-value of a distance between samples of the given sizes.</summary>
    /// <param name="statistic">The distance, 0 to 1.</param>
    /// <param name="referenceCount">First sample size, at least 1.</param>
    /// <param name="currentCount">Second sample size, at least 1.</param>
    /// <param name="alternative">As for <see cref="Test"/>.</param>
    /// <param name="method">How it is computed; exact is limited to sizes whose product fits the path count.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double PValue(
        double statistic,
        long referenceCount,
        long currentCount,
        Alternative alternative = Alternative.TwoSided,
        KolmogorovSmirnovMethod method = KolmogorovSmirnovMethod.Auto)
    {
        Require.ClosedUnit(statistic);
        ArgumentOutOfRangeException.ThrowIfLessThan(referenceCount, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(currentCount, 1);
        var larger = Math.Max(referenceCount, currentCount);
        if (method == KolmogorovSmirnovMethod.Auto)
        {
            method = larger <= ExactRowsMax ? KolmogorovSmirnovMethod.Exact : KolmogorovSmirnovMethod.Asymptotic;
        }

        if (method == KolmogorovSmirnovMethod.Exact)
        {
            // A path count over more cells than this would run for minutes.
            ArgumentOutOfRangeException.ThrowIfGreaterThan(larger, 100_000, "sample size for the exact method");
            return ExactPValue(statistic, (int)referenceCount, (int)currentCount, alternative);
        }

        double big = larger;
        double small = Math.Min(referenceCount, currentCount);
        var effective = big * small / (big + small);
        if (alternative == Alternative.TwoSided)
        {
            return Kolmogorov.Survival(Math.Max(1, (long)Math.Round(effective)), statistic);
        }

        // Hodges (1958), equation 5.3: the one-sided limit with a correction for unequal sizes.
        var z = Math.Sqrt(effective) * statistic;
        return Math.Min(1, Math.Exp(-2 * z * z - 2 * z * (big + 2 * small) / Math.Sqrt(big * small * (big + small)) / 3));
    }

    private static double StatisticSorted(ReadOnlySpan<double> reference, ReadOnlySpan<double> current, Alternative alternative)
    {
        long up = 0, down = 0;
        var (i, j) = (0, 0);
        while (i < reference.Length && j < current.Length)
        {
            // The functions are compared only after all equal values of both samples have been passed.
            var value = Math.Min(reference[i], current[j]);
            while (i < reference.Length && reference[i] == value)
            {
                i++;
            }

            while (j < current.Length && current[j] == value)
            {
                j++;
            }

            // Whole numbers: i/n - j/m over the common denominator, so that equal gaps compare equal.
            var gap = (long)i * current.Length - (long)j * reference.Length;
            up = Math.Max(up, gap);
            down = Math.Max(down, -gap);
        }

        var largest = alternative switch
        {
            Alternative.Greater => up,
            Alternative.Less => down,
            _ => Math.Max(up, down),
        };
        return largest / ((double)reference.Length * current.Length);
    }

    /// <summary>
    /// The probability that a random merge of the two samples reaches the distance: a walk over the lattice of (rows of the first
    /// seen, rows of the second seen), where mass that meets the boundary is added up. Only sums of positive numbers, so that
    /// p-values far below 1e-16 keep their digits.
    /// </summary>
    private static double ExactPValue(double statistic, int m, int n, Alternative alternative)
    {
        var divisor = (long)System.Numerics.BigInteger.GreatestCommonDivisor(m, n);
        long a = m / divisor, b = n / divisor;
        var h = (long)Math.Round(statistic * (a * b * (double)divisor));
        if (h == 0)
        {
            return 1;
        }

        var buffer = ArrayPool<double>.Shared.Rent(n + 1);
        try
        {
            var mass = buffer.AsSpan(0, n + 1);
            mass.Clear();
            mass[0] = 1;
            var outside = 0.0;
            var previousLow = 0;
            for (var i = 0; i <= m; i++)
            {
                // Inside: |i b - j a| < h, or one half of it for a one-sided test.
                var low = alternative == Alternative.Less ? 0 : (int)Math.Max(0, FloorDivide(i * b - h, a) + 1);
                var high = alternative == Alternative.Greater ? n : (int)Math.Min(n, FloorDivide(i * b + h - 1, a));
                for (var j = previousLow; j < Math.Min(low, n + 1); j++)
                {
                    outside += mass[j];
                    mass[j] = 0;
                }

                var carried = 0.0;
                for (var j = low; j <= high; j++)
                {
                    var here = mass[j] + carried;
                    var remaining = m - i + (n - j);
                    if (remaining == 0)
                    {
                        break;
                    }

                    var each = here / remaining;
                    mass[j] = each * (m - i);
                    carried = each * (n - j);
                }

                outside += high < n ? carried : 0;
                previousLow = low;
            }

            return Math.Min(1, outside);
        }
        finally
        {
            ArrayPool<double>.Shared.Return(buffer);
        }
    }

    private static long FloorDivide(long dividend, long divisor) =>
        dividend >= 0 ? dividend / divisor : -((-dividend + divisor - 1) / divisor);
}
