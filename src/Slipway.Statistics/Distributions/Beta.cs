namespace Slipway.Statistics.Distributions;

/// <summary>The beta distribution.</summary>
public static class Beta
{
    /// <summary>P(X ≤ x) for X ~ Beta(a, b).</summary>
    /// <param name="x">0 to 1.</param>
    /// <param name="a">Greater than 0.</param>
    /// <param name="b">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double Cdf(double x, double a, double b) => SpecialFunctions.RegularizedBeta(a, b, x);

    /// <summary>The x with P(X ≤ x) = p for X ~ Beta(a, b).</summary>
    /// <param name="p">0 to 1.</param>
    /// <param name="a">Greater than 0.</param>
    /// <param name="b">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Newton iteration inside a shrinking bracket; a step that leaves the bracket is replaced by bisection.</remarks>
    public static double Quantile(double p, double a, double b)
    {
        Require.ClosedUnit(p);
        Require.Positive(a);
        Require.Positive(b);
        if (p is 0 or 1)
        {
            return p;
        }

        var low = 0.0;
        var high = 1.0;
        var x = Start(p, a, b);
        for (var i = 0; i < 300; i++)
        {
            var error = SpecialFunctions.RegularizedBeta(a, b, x) - p;
            if (error > 0)
            {
                high = x;
            }
            else
            {
                low = x;
            }

            var density = Math.Exp(SpecialFunctions.LogBetaPower(a, b, x, 1 - x)) / (x * (1 - x));
            var next = x - error / density;
            if (!(next > low && next < high))
            {
                // The geometric mean halves the exponent when the root is many magnitudes below the bracket's upper end.
                next = low > 0 && high / low > 4 ? Math.Sqrt(low * high) : low == 0 ? high / 16 : 0.5 * (low + high);
            }

            if (Math.Abs(next - x) <= 2e-16 * x || high - low <= 2e-16 * high)
            {
                return next;
            }

            x = next;
        }

        return x;
    }

    private static double Start(double p, double a, double b)
    {
        var mean = a / (a + b);
        if (a > 1 && b > 1)
        {
            var deviation = Math.Sqrt(mean * (1 - mean) / (a + b + 1));
            return Math.Clamp(mean + Normal.Quantile(p) * deviation, mean / 1000, 1 - (1 - mean) / 1000);
        }

        // Leading term of the lower tail: I_x ≈ x^a / (a B(a, b)).
        var lower = Math.Exp((Math.Log(p * a) + SpecialFunctions.LogBeta(a, b)) / a);
        return lower < 0.5 && lower > 0 ? lower : 0.5;
    }
}
