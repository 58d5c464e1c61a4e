using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Contingency;

/// <summary>Pearson's chi-squared tests on counts. The approximation wants expected counts of about 5 or more.</summary>
/// <remarks>Source: Pearson (1900), Phil. Mag. 50(302), 157-175; Yates (1934) for the continuity correction.</remarks>
public static class ChiSquaredTest
{
    /// <summary>Goodness of fit of current counts to reference counts scaled to the same total.</summary>
    /// <param name="reference">Reference count per category, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per category, likewise.</param>
    /// <returns>
    /// Degrees of freedom: categories seen on either side, less one. A category seen only now gives infinity and p = 0.
    /// The reference is taken as known exactly, so with a small reference the p-value is too small;
    /// <see cref="Independence(ReadOnlySpan{long}, int, bool)"/> treats both sides as samples.
    /// </returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    public static ChiSquaredResult AgainstScaledReference(ReadOnlySpan<long> reference, ReadOnlySpan<long> current)
    {
        Require.SameLength(reference.Length, current.Length, nameof(current));
        var scale = (double)Total(current, nameof(current)) / Total(reference, nameof(reference));
        var statistic = 0.0;
        var categories = 0;
        for (var i = 0; i < reference.Length; i++)
        {
            if (reference[i] == 0 && current[i] == 0)
            {
                continue;
            }

            categories++;
            var expected = reference[i] * scale;
            var difference = current[i] - expected;
            statistic += expected > 0 ? difference * difference / expected : double.PositiveInfinity;
        }

        return Result(statistic, categories - 1);
    }

    /// <summary>Test of independence of rows and columns in a table of counts; two rows compare two samples.</summary>
    /// <param name="table">Counts row by row, each at least 0; its length is a multiple of <paramref name="columns"/>.</param>
    /// <param name="columns">Number of columns, at least 1.</param>
    /// <param name="yatesCorrection">Whether a table with one degree of freedom gets Yates' continuity correction.</param>
    /// <exception cref="ArgumentException">The shape does not fit, a count is negative, or a row or column sums to 0.</exception>
    public static ChiSquaredResult Independence(ReadOnlySpan<long> table, int columns, bool yatesCorrection = true)
    {
        var expected = Expected(table, columns);
        var degrees = (table.Length / columns - 1) * (columns - 1);
        var statistic = 0.0;
        for (var i = 0; i < table.Length; i++)
        {
            var difference = Math.Abs(table[i] - expected[i]);
            if (yatesCorrection && degrees == 1)
            {
                difference -= Math.Min(0.5, difference);
            }

            statistic += difference * difference / expected[i];
        }

        return Result(statistic, degrees);
    }

    /// <summary>Likelihood-ratio (G) test of independence, 2 Σ O ln(O / E), without correction.</summary>
    /// <param name="table">Counts row by row, each at least 0; its length is a multiple of <paramref name="columns"/>.</param>
    /// <param name="columns">Number of columns, at least 1.</param>
    /// <exception cref="ArgumentException">The shape does not fit, a count is negative, or a row or column sums to 0.</exception>
    public static ChiSquaredResult LikelihoodRatio(ReadOnlySpan<long> table, int columns)
    {
        var expected = Expected(table, columns);
        var sum = 0.0;
        for (var i = 0; i < table.Length; i++)
        {
            sum += table[i] > 0 ? table[i] * Math.Log(table[i] / expected[i]) : 0;
        }

        return Result(Math.Max(0, 2 * sum), (table.Length / columns - 1) * (columns - 1));
    }

    /// <summary>Cramér's V: strength of association of rows and columns, 0 to 1, free of the sample size.</summary>
    /// <param name="table">Counts row by row, each at least 0; its length is a multiple of <paramref name="columns"/>.</param>
    /// <param name="columns">Number of columns, at least 2, with at least 2 rows.</param>
    /// <exception cref="ArgumentException">The shape does not fit, a count is negative, or a row or column sums to 0.</exception>
    /// <remarks>Source: Cramér (1946), Mathematical Methods of Statistics, p. 282. Without continuity or bias correction.</remarks>
    public static double CramersV(ReadOnlySpan<long> table, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 2);
        ArgumentOutOfRangeException.ThrowIfLessThan(table.Length, 2 * columns, nameof(table));
        var statistic = Independence(table, columns, yatesCorrection: false).Statistic;
        var smaller = Math.Min(table.Length / columns, columns) - 1;
        return Math.Sqrt(statistic / Total(table, nameof(table)) / smaller);
    }

    private static double[] Expected(ReadOnlySpan<long> table, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        if (table.Length == 0 || table.Length % columns != 0)
        {
            throw new ArgumentException($"table has {table.Length} cells, which is no positive multiple of {columns} columns.", nameof(table));
        }

        double total = Total(table, nameof(table));
        var rows = table.Length / columns;
        var rowSums = new double[rows];
        var columnSums = new double[columns];
        for (var i = 0; i < table.Length; i++)
        {
            rowSums[i / columns] += table[i];
            columnSums[i % columns] += table[i];
        }

        if (rowSums.Contains(0) || columnSums.Contains(0))
        {
            throw new ArgumentException("A row or column of the table sums to 0; leave it out.", nameof(table));
        }

        var expected = new double[table.Length];
        for (var i = 0; i < table.Length; i++)
        {
            expected[i] = rowSums[i / columns] * columnSums[i % columns] / total;
        }

        return expected;
    }

    private static long Total(ReadOnlySpan<long> counts, string name)
    {
        var total = 0L;
        foreach (var count in counts)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(count, name);
            total += count;
        }

        return total > 0 ? total : throw new ArgumentException($"{name} sums to 0; at least one count is needed.", name);
    }

    private static ChiSquaredResult Result(double statistic, int degrees) =>
        new(statistic, degrees < 1 ? 1 : ChiSquared.Survival(statistic, degrees), Math.Max(0, degrees));
}
