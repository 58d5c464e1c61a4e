namespace Slipway.Statistics.Distributions;

/// <summary>Gamma, beta and error functions in double precision (relative error about 1e-13 unless stated).</summary>
/// <remarks>
/// DLMF = NIST Digital Library of Mathematical Functions; A&amp;S = Abramowitz and Stegun (1964).
/// Powers such as x^a (1-x)^b / B(a,b) go through Loader's deviance form (C. Loader, "Fast and accurate computation of
/// binomial probabilities", 2000), because the plain difference of logarithms loses six digits at a = b = 10^6.
/// </remarks>
public static class SpecialFunctions
{
    private const double HalfLogTwoPi = 0.918938533204672741780329736406;
    private const double SqrtPi = 1.772453850905516027298167483341;
    private const double EulerGamma = 0.577215664901532860606512090082;
    private const double Tiny = 1e-300;
    private const double Epsilon = 1e-16;

    // zeta(k) - 1 for k = 2..40, filled by Euler-Maclaurin summation (DLMF 25.2.9).
    private static readonly double[] ZetaMinusOne = BuildZetaMinusOne();

    /// <summary>Natural logarithm of the gamma function.</summary>
    /// <param name="x">Greater than 0.</param>
    /// <returns>ln Γ(x); absolute error about 1e-15 near its zeros at 1 and 2.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="x"/> is not a finite positive number.</exception>
    /// <remarks>Stirling's series from 10 (DLMF 5.11.1), the zeta series around 1 and 2 (A&amp;S 6.1.33), recurrence between.</remarks>
    public static double LogGamma(double x)
    {
        Require.Positive(x);
        if (x >= 10)
        {
            return (x - 0.5) * Math.Log(x) - x + HalfLogTwoPi + StirlingSeries(x);
        }

        if (x < 0.5)
        {
            return LogGammaNearOne(x) - Math.Log(x);
        }

        if (x < 1.5)
        {
            return LogGammaNearOne(x - 1);
        }

        var product = 1.0;
        while (x >= 2.5)
        {
            x -= 1;
            product *= x;
        }

        return Math.Log(product) + LogGammaNearTwo(x - 2);
    }

    /// <summary>Natural logarithm of the beta function B(a, b) = Γ(a) Γ(b) / Γ(a + b).</summary>
    /// <param name="a">Greater than 0.</param>
    /// <param name="b">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is not a finite positive number.</exception>
    public static double LogBeta(double a, double b)
    {
        Require.Positive(a);
        Require.Positive(b);
        var (small, large) = a < b ? (a, b) : (b, a);
        if (large < 10)
        {
            return LogGamma(small) + LogGamma(large) - LogGamma(small + large);
        }

        // lnΓ(large) - lnΓ(small + large) with the leading terms cancelled by hand; both may be near 10^7.
        var tail = StirlingSeries(large) - StirlingSeries(small + large)
            - (large - 0.5) * LogOnePlus(small / large) - small * Math.Log(small + large) + small;
        return LogGamma(small) + tail;
    }

    /// <summary>Complementary error function, 1 - erf(x), with relative accuracy in the upper tail.</summary>
    /// <remarks>Series A&amp;S 7.1.6 below 2, continued fraction DLMF 7.9.1 above.</remarks>
    public static double Erfc(double x)
    {
        if (double.IsNaN(x))
        {
            return double.NaN;
        }

        if (x < 0)
        {
            return 2 - Erfc(-x);
        }

        return x < 2 ? 1 - ErfSeries(x) : Math.Exp(-x * x) * ScaledErfc(x);
    }

    /// <summary>Regularised incomplete beta function I_x(a, b): the distribution function of Beta(a, b).</summary>
    /// <param name="a">Greater than 0.</param>
    /// <param name="b">Greater than 0.</param>
    /// <param name="x">0 to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Continued fraction of Didonato and Morris (1992), ACM TOMS 18(3), 360-373, evaluated by the modified Lentz method.</remarks>
    public static double RegularizedBeta(double a, double b, double x)
    {
        Require.Positive(a);
        Require.Positive(b);
        Require.ClosedUnit(x);
        return RegularizedBeta(a, b, x, 1 - x);
    }

    /// <summary>Natural logarithm of I_x(a, b), finite where I_x itself would underflow.</summary>
    /// <param name="a">Greater than 0.</param>
    /// <param name="b">Greater than 0.</param>
    /// <param name="x">0 to 1; the result at 0 is negative infinity.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double LogRegularizedBeta(double a, double b, double x)
    {
        Require.Positive(a);
        Require.Positive(b);
        Require.ClosedUnit(x);
        return LogRegularizedBeta(a, b, x, 1 - x);
    }

    /// <summary>Regularised lower incomplete gamma function P(a, x).</summary>
    /// <param name="a">Greater than 0.</param>
    /// <param name="x">At least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double RegularizedGammaLower(double a, double x)
    {
        CheckGammaArguments(a, x);
        return x < a + 1 ? GammaSeries(a, x) : 1 - GammaFraction(a, x);
    }

    /// <summary>Regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x).</summary>
    /// <param name="a">Greater than 0.</param>
    /// <param name="x">At least 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    /// <remarks>Series DLMF 8.11.4 below a + 1, continued fraction DLMF 8.9.2 above.</remarks>
    public static double RegularizedGammaUpper(double a, double x)
    {
        CheckGammaArguments(a, x);
        return x < a + 1 ? 1 - GammaSeries(a, x) : GammaFraction(a, x);
    }

    /// <summary>I_x(a, b) with the complement y = 1 - x given by the caller, who may know it without cancellation.</summary>
    internal static double RegularizedBeta(double a, double b, double x, double y)
    {
        if (x <= 0)
        {
            return 0;
        }

        if (y <= 0)
        {
            return 1;
        }

        return x <= (a + 1) / (a + b + 2)
            ? Math.Exp(LogBetaPower(a, b, x, y)) / BetaFraction(a, b, x, y)
            : 1 - Math.Exp(LogBetaPower(b, a, y, x)) / BetaFraction(b, a, y, x);
    }

    internal static double LogRegularizedBeta(double a, double b, double x, double y)
    {
        if (x <= 0)
        {
            return double.NegativeInfinity;
        }

        if (y <= 0)
        {
            return 0;
        }

        return x <= (a + 1) / (a + b + 2)
            ? LogBetaPower(a, b, x, y) - Math.Log(BetaFraction(a, b, x, y))
            : LogOnePlus(-Math.Exp(LogBetaPower(b, a, y, x)) / BetaFraction(b, a, y, x));
    }

    /// <summary>ln(1 + x) without cancellation near 0 (Kahan's correction).</summary>
    internal static double LogOnePlus(double x)
    {
        var u = 1 + x;
        return u == 1 ? x : Math.Log(u) * x / (u - 1);
    }

    /// <summary>exp(x²) erfc(x) for x of at least 2.</summary>
    internal static double ScaledErfc(double x)
    {
        // erfc(x) = exp(-x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))).
        var terms = 30 + (int)(400 / (x * x));
        var fraction = x;
        for (var k = terms; k >= 1; k--)
        {
            fraction = x + 0.5 * k / fraction;
        }

        return 1 / (SqrtPi * fraction);
    }

    /// <summary>ln( x^a y^b / B(a, b) ), y = 1 - x.</summary>
    internal static double LogBetaPower(double a, double b, double x, double y)
    {
        if (Math.Min(a, b) < 1e-3)
        {
            return a * Math.Log(x) + b * Math.Log(y) - LogBeta(a, b);
        }

        // x^a y^b Γ(n+1)/(Γ(a+1)Γ(b+1)) is a binomial probability with n = a + b; multiplying by ab/n gives the ratio.
        var n = a + b;
        return StirlingError(n) - StirlingError(a) - StirlingError(b) - Deviance(a, n * x) - Deviance(b, n * y)
            - HalfLogTwoPi + 0.5 * (Math.Log(a) + Math.Log(b) - Math.Log(n));
    }

    private static double ErfSeries(double x)
    {
        // erf(x) = 2/√π exp(-x²) Σ 2^n x^(2n+1) / (2n+1)!!: all terms positive, so nothing cancels.
        var term = x;
        var sum = x;
        for (var n = 1; term > sum * Epsilon; n++)
        {
            term *= 2 * x * x / (2 * n + 1);
            sum += term;
        }

        return 2 / SqrtPi * Math.Exp(-x * x) * sum;
    }

    /// <summary>x^a y^b / (B(a, b) I_x(a, b)) for x below (a + 1)/(a + b + 2).</summary>
    private static double BetaFraction(double a, double b, double x, double y)
    {
        // Didonato and Morris (1992), ACM TOMS 18(3), equation 9. It takes y as well as x: with x alone, digits of a y near 0 are lost.
        // Converges in O(√max(a, b)) steps.
        var stepsMax = 500 + 20 * (int)Math.Min(1e6, Math.Sqrt(Math.Max(a, b)));
        var fraction = Lentz(a * (a * y - b * x + 1) / (a + 1));
        var c = fraction;
        var d = 0.0;
        for (var m = 1; m <= stepsMax; m++)
        {
            var scale = a + 2 * m - 1;
            var numerator = (a + m - 1) * (a + b + m - 1) * m * (b - m) * x * x / (scale * scale);
            var denominator = m + m * (b - m) * x / scale + (a + m) * (a * y - b * x + 1 + m * (1 + y)) / (a + 2 * m + 1);
            d = 1 / Lentz(denominator + numerator * d);
            c = Lentz(denominator + numerator / c);
            var step = c * d;
            fraction *= step;
            if (Math.Abs(step - 1) < 3 * Epsilon)
            {
                break;
            }
        }

        return fraction;
    }

    private static double GammaSeries(double a, double x)
    {
        if (x <= 0)
        {
            return 0;
        }

        var term = 1.0;
        var sum = 1.0;
        for (var n = 1; term > sum * Epsilon; n++)
        {
            term *= x / (a + n);
            sum += term;
        }

        return Math.Min(1, Math.Exp(LogPoisson(a, x)) * sum);
    }

    private static double GammaFraction(double a, double x)
    {
        if (double.IsPositiveInfinity(x))
        {
            return 0;
        }

        var b = x + 1 - a;
        var c = 1 / Tiny;
        var d = 1 / b;
        var fraction = d;
        var stepsMax = 500 + 20 * (int)Math.Min(1e6, Math.Sqrt(a));
        for (var i = 1; i <= stepsMax; i++)
        {
            var numerator = -i * (i - a);
            b += 2;
            d = 1 / Lentz(numerator * d + b);
            c = Lentz(b + numerator / c);
            var step = d * c;
            fraction *= step;
            if (Math.Abs(step - 1) < 3 * Epsilon)
            {
                break;
            }
        }

        // x^a e^-x / Γ(a) = a · x^a e^-x / Γ(a+1).
        return Math.Exp(LogPoisson(a, x)) * a * fraction;
    }

    /// <summary>ln( x^a e^-x / Γ(a + 1) ).</summary>
    private static double LogPoisson(double a, double x) =>
        a < 1e-3
            ? a * Math.Log(x) - x - LogGammaNearOne(a)
            : -StirlingError(a) - Deviance(a, x) - HalfLogTwoPi - 0.5 * Math.Log(a);

    /// <summary>Loader's bd0: a ln(a/m) + m - a without cancellation when a is near m.</summary>
    private static double Deviance(double a, double m)
    {
        if (Math.Abs(a - m) >= 0.1 * (a + m))
        {
            return a * Math.Log(a / m) + m - a;
        }

        var v = (a - m) / (a + m);
        var sum = (a - m) * v;
        var term = 2 * a * v;
        for (var j = 1; j < 1000; j++)
        {
            term *= v * v;
            var next = sum + term / (2 * j + 1);
            if (next == sum)
            {
                break;
            }

            sum = next;
        }

        return sum;
    }

    /// <summary>lnΓ(x + 1) - ln(√(2πx) (x/e)^x).</summary>
    private static double StirlingError(double x) =>
        x >= 10 ? StirlingSeries(x) : LogGamma(x + 1) - (x + 0.5) * Math.Log(x) + x - HalfLogTwoPi;

    private static double StirlingSeries(double x)
    {
        var inverse = 1 / x;
        var square = inverse * inverse;
        return inverse * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680
            - square * (1.0 / 1188 - square * (691.0 / 360360 - square * (1.0 / 156 - square * 3617.0 / 122400)))))));
    }

    /// <summary>lnΓ(1 + z) for |z| of at most one half.</summary>
    private static double LogGammaNearOne(double z) => LogGammaNearTwo(z) - LogOnePlus(z);

    /// <summary>lnΓ(2 + z) = z(1 - γ) + Σ (-1)^k (ζ(k) - 1) z^k / k for |z| of at most one half.</summary>
    private static double LogGammaNearTwo(double z)
    {
        var sum = z * (1 - EulerGamma);
        var power = -z;
        for (var k = 2; k <= 40; k++)
        {
            power *= -z;
            sum += ZetaMinusOne[k] * power / k;
        }

        return sum;
    }

    private static double[] BuildZetaMinusOne()
    {
        const int from = 30;
        var values = new double[41];
        for (var k = 2; k <= 40; k++)
        {
            var sum = 0.0;
            for (var n = from - 1; n >= 2; n--)
            {
                sum += Math.Pow(n, -k);
            }

            // Σ_{n≥N} n^-k = N^(1-k)/(k-1) + N^-k/2 + k N^(-k-1)/12 - k(k+1)(k+2) N^(-k-3)/720 + …
            var head = Math.Pow(from, -k);
            double k1 = k * (k + 1.0) * (k + 2);
            var k2 = k1 * (k + 3) * (k + 4);
            var k3 = k2 * (k + 5) * (k + 6);
            values[k] = sum + head * from / (k - 1) + head / 2 + k * head / (12.0 * from) - k1 * head / (720.0 * Math.Pow(from, 3))
                + k2 * head / (30240.0 * Math.Pow(from, 5)) - k3 * head / (1209600.0 * Math.Pow(from, 7));
        }

        return values;
    }

    private static double Lentz(double value) => Math.Abs(value) < Tiny ? Tiny : value;

    private static void CheckGammaArguments(double a, double x)
    {
        Require.Positive(a);
        if (!(x >= 0))
        {
            throw new ArgumentOutOfRangeException(nameof(x), x, "x must be at least 0.");
        }
    }
}
