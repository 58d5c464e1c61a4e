namespace Slipway.Statistics.Distributions;

/// <summary>Student's t distribution; degrees of freedom may be fractional (Welch).</summary>
public static class StudentT
{
    /// <summary>P(T ≤ t).</summary>
    /// <param name="t">Any number.</param>
    /// <param name="degreesOfFreedom">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="degreesOfFreedom"/> is not a finite positive number.</exception>
    public static double Cdf(double t, double degreesOfFreedom) => Survival(-t, degreesOfFreedom);

    /// <summary>P(T &gt; t), with relative accuracy in the upper tail.</summary>
    /// <param name="t">Any number.</param>
    /// <param name="degreesOfFreedom">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="degreesOfFreedom"/> is not a finite positive number.</exception>
    /// <remarks>Half the incomplete beta function I(ν/2, 1/2) at ν/(ν + t²): A&amp;S 26.7.1.</remarks>
    public static double Survival(double t, double degreesOfFreedom)
    {
        Require.Positive(degreesOfFreedom);
        if (double.IsNaN(t))
        {
            return double.NaN;
        }

        if (double.IsInfinity(t))
        {
            return t > 0 ? 0 : 1;
        }

        var square = t * t;
        var x = degreesOfFreedom / (degreesOfFreedom + square);
        var y = square / (degreesOfFreedom + square);
        var tail = 0.5 * SpecialFunctions.RegularizedBeta(0.5 * degreesOfFreedom, 0.5, x, y);
        return t >= 0 ? tail : 1 - tail;
    }

    /// <summary>The t with P(T ≤ t) = p.</summary>
    /// <param name="p">0 to 1; the ends give the infinities.</param>
    /// <param name="degreesOfFreedom">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Bracketed Newton iteration on the logarithms of t and of the tail: the tail is close to a power of t.</remarks>
    public static double Quantile(double p, double degreesOfFreedom)
    {
        Require.ClosedUnit(p);
        Require.Positive(degreesOfFreedom);
        if (p is 0 or 1)
        {
            return p == 0 ? double.NegativeInfinity : double.PositiveInfinity;
        }

        if (p == 0.5)
        {
            return 0;
        }

        return p < 0.5 ? -UpperQuantile(p, degreesOfFreedom) : UpperQuantile(1 - p, degreesOfFreedom);
    }

    private static double UpperQuantile(double tail, double degreesOfFreedom)
    {
        var low = 0.0;
        var high = Math.Max(1, -Normal.Quantile(tail));
        while (Survival(high, degreesOfFreedom) > tail && high < double.MaxValue / 16)
        {
            low = high;
            high *= 8;
        }

        var t = low > 0 ? Math.Sqrt(low * high) : 0.5 * high;
        for (var i = 0; i < 200; i++)
        {
            var survival = Survival(t, degreesOfFreedom);
            if (survival > tail)
            {
                low = t;
            }
            else
            {
                high = t;
            }

            var density = Density(t, degreesOfFreedom);
            var next = t <= 1
                ? t + (survival - tail) / density
                : t * Math.Exp(survival * Math.Log(survival / tail) / (density * t));
            if (!(next > low && next < high))
            {
                next = low > 0 ? Math.Sqrt(low) * Math.Sqrt(high) : 0.5 * high;
            }

            if (Math.Abs(next - t) <= 4e-16 * t)
            {
                return next;
            }

            t = next;
        }

        return t;
    }

    private static double Density(double t, double degreesOfFreedom) =>
        Math.Exp(-0.5 * (degreesOfFreedom + 1) * SpecialFunctions.LogOnePlus(t * t / degreesOfFreedom)
            - SpecialFunctions.LogBeta(0.5, 0.5 * degreesOfFreedom)) / Math.Sqrt(degreesOfFreedom);
}
