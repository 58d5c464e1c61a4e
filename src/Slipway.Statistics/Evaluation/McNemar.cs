using Slipway.Statistics.Distributions;

namespace Slipway.Statistics.Evaluation;

/// <summary>McNemar's exact test: whether two classifiers err equally often on the same rows.</summary>
/// <remarks>Source: McNemar (1947), Psychometrika 12(2), 153-157; the exact binomial form, valid at any count.</remarks>
public static class McNemar
{
    /// <summary>Tests from the counts of rows on which exactly one of the two is right.</summary>
    /// <param name="onlyFirstRight">At least 0.</param>
    /// <param name="onlySecondRight">At least 0.</param>
    /// <returns>The smaller count and the two-sided p-value; p = 1 when both are 0.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A count is negative.</exception>
    public static TestResult Test(long onlyFirstRight, long onlySecondRight)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(onlyFirstRight);
        ArgumentOutOfRangeException.ThrowIfNegative(onlySecondRight);
        var smaller = Math.Min(onlyFirstRight, onlySecondRight);
        var larger = Math.Max(onlyFirstRight, onlySecondRight);

        // P(Bin(n, 1/2) ≤ smaller) = I_{1/2}(larger, smaller + 1).
        var tail = larger == 0 ? 1 : SpecialFunctions.RegularizedBeta(larger, smaller + 1.0, 0.5);
        return new TestResult(smaller, Math.Min(1, 2 * tail));
    }

    /// <summary>Tests two models' decisions on the same rows.</summary>
    /// <param name="labels">The truth per row, at least one row.</param>
    /// <param name="first">The first model's decision per row.</param>
    /// <param name="second">The second model's decision per row.</param>
    /// <exception cref="ArgumentException">Lengths differ or there is no row.</exception>
    public static TestResult Test(ReadOnlySpan<bool> labels, ReadOnlySpan<bool> first, ReadOnlySpan<bool> second)
    {
        Require.NotEmpty(labels);
        Require.SameLength(labels.Length, first.Length, nameof(first));
        Require.SameLength(labels.Length, second.Length, nameof(second));
        long onlyFirst = 0, onlySecond = 0;
        for (var i = 0; i < labels.Length; i++)
        {
            if (first[i] != second[i])
            {
                onlyFirst += first[i] == labels[i] ? 1 : 0;
                onlySecond += second[i] == labels[i] ? 1 : 0;
            }
        }

        return Test(onlyFirst, onlySecond);
    }
}
