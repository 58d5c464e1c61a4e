namespace Slipway.Statistics.Distributions;

/// <summary>The standard normal distribution.</summary>
public static class Normal
{
    private const double Sqrt2 = 1.414213562373095048801688724210;

    /// <summary>P(Z ≤ z), with relative accuracy in the lower tail.</summary>
    public static double Cdf(double z) => 0.5 * SpecialFunctions.Erfc(-z / Sqrt2);

    /// <summary>P(Z &gt; z), with relative accuracy in the upper tail.</summary>
    public static double Survival(double z) => 0.5 * SpecialFunctions.Erfc(z / Sqrt2);

    /// <summary>ln P(Z ≤ z); finite far below the point where <see cref="Cdf"/> underflows (z = -38).</summary>
    public static double LogCdf(double z)
    {
        if (z > 0)
        {
            return SpecialFunctions.LogOnePlus(-Survival(z));
        }

        var x = -z / Sqrt2;
        return x < 2 ? Math.Log(Cdf(z)) : Math.Log(0.5 * SpecialFunctions.ScaledErfc(x)) - x * x;
    }

    /// <summary>The z with P(Z ≤ z) = p.</summary>
    /// <param name="p">0 to 1; the ends give the infinities.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="p"/> is outside 0 to 1.</exception>
    /// <remarks>Source: M. J. Wichura (1988), Algorithm AS 241 (PPND16), Applied Statistics 37(3), 477-484.</remarks>
    public static double Quantile(double p)
    {
        Require.ClosedUnit(p);
        if (p is 0 or 1)
        {
            return p == 0 ? double.NegativeInfinity : double.PositiveInfinity;
        }

        var q = p - 0.5;
        if (Math.Abs(q) <= 0.425)
        {
            return q * Ratio(CentreNumerator, CentreDenominator, 0.180625 - q * q);
        }

        var r = Math.Sqrt(-Math.Log(q < 0 ? p : 1 - p));
        var z = r <= 5
            ? Ratio(MiddleNumerator, MiddleDenominator, r - 1.6)
            : Ratio(TailNumerator, TailDenominator, r - 5);
        return q < 0 ? -z : z;
    }

    private static double Ratio(ReadOnlySpan<double> numerator, ReadOnlySpan<double> denominator, double r) =>
        Horner(numerator, r) / Horner(denominator, r);

    private static double Horner(ReadOnlySpan<double> coefficients, double r)
    {
        var sum = 0.0;
        for (var i = coefficients.Length - 1; i >= 0; i--)
        {
            sum = sum * r + coefficients[i];
        }

        return sum;
    }

    private static ReadOnlySpan<double> CentreNumerator =>
    [
        3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
        45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727,
    ];

    private static ReadOnlySpan<double> CentreDenominator =>
    [
        1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
        21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610,
    ];

    private static ReadOnlySpan<double> MiddleNumerator =>
    [
        1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
        1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4,
    ];

    private static ReadOnlySpan<double> MiddleDenominator =>
    [
        1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
        0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
    ];

    private static ReadOnlySpan<double> TailNumerator =>
    [
        6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
        0.0265321895265761230930, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
    ];

    private static ReadOnlySpan<double> TailDenominator =>
    [
        1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
        7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15,
    ];
}
