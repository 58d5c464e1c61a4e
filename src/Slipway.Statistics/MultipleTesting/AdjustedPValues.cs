namespace Slipway.Statistics.MultipleTesting;

/// <summary>Adjustment of p-values when many features or metrics are tested at once.</summary>
public static class AdjustedPValues
{
    /// <summary>Adjusted p-values in the order given; rejecting those at or below alpha keeps the method's error rate at alpha.</summary>
    /// <param name="pValues">Each 0 to 1; may be empty.</param>
    /// <param name="method">The method.</param>
    /// <exception cref="ArgumentOutOfRangeException">A p-value is outside 0 to 1.</exception>
    public static double[] Adjust(ReadOnlySpan<double> pValues, MultipleTestingMethod method)
    {
        var n = pValues.Length;
        var order = new int[n];
        var sorted = new double[n];
        for (var i = 0; i < n; i++)
        {
            Require.ClosedUnit(pValues[i], nameof(pValues));
            order[i] = i;
            sorted[i] = pValues[i];
        }

        Array.Sort(sorted, order);
        var adjusted = new double[n];
        if (method is MultipleTestingMethod.Bonferroni or MultipleTestingMethod.Holm)
        {
            var largest = 0.0;
            for (var i = 0; i < n; i++)
            {
                var factor = method == MultipleTestingMethod.Holm ? n - i : n;
                largest = Math.Max(largest, Math.Min(1, sorted[i] * factor));
                adjusted[order[i]] = largest;
            }

            return adjusted;
        }

        var harmonic = 1.0;
        for (var k = 2; method == MultipleTestingMethod.BenjaminiYekutieli && k <= n; k++)
        {
            harmonic += 1.0 / k;
        }

        var smallest = 1.0;
        for (var i = n - 1; i >= 0; i--)
        {
            smallest = Math.Min(smallest, sorted[i] * n * harmonic / (i + 1));
            adjusted[order[i]] = smallest;
        }

        return adjusted;
    }
}
