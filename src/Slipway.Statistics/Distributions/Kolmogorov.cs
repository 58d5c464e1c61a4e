namespace Slipway.Statistics.Distributions;

/// <summary>The distribution of the Kolmogorov-Smirnov distance of one sample from its own law.</summary>
public static class Kolmogorov
{
    private const double Pi2 = Math.PI * Math.PI;

    /// <summary>Limit of P(√n D_n &gt; x) as n grows.</summary>
    /// <param name="x">Any number; 1 at or below 0.</param>
    /// <remarks>Source: Kolmogorov (1933); theta-function form for small x, DLMF 20.7.32.</remarks>
    public static double LimitSurvival(double x)
    {
        if (double.IsNaN(x))
        {
            return double.NaN;
        }

        if (x <= 0.04)
        {
            // The distribution function is below 1e-300 here.
            return 1;
        }

        var sum = 0.0;
        if (x < 1)
        {
            for (var k = 1; k <= 20; k++)
            {
                var odd = 2 * k - 1;
                sum += Math.Exp(-odd * odd * Pi2 / (8 * x * x));
            }

            return 1 - Math.Sqrt(2 * Math.PI) / x * sum;
        }

        for (var k = 20; k >= 1; k--)
        {
            sum = Math.Exp(-2.0 * k * k * x * x) - sum;
        }

        return 2 * sum;
    }

    /// <summary>P(D_n &gt; x): two-sided Kolmogorov-Smirnov distance of a sample of size n from a continuous law.</summary>
    /// <param name="n">Sample size, at least 1.</param>
    /// <param name="x">Distance; 1 at or below 0, 0 at or above 1.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="n"/> is below 1.</exception>
    /// <remarks>
    /// Source: R. Simard and P. L'Ecuyer (2011), "Computing the two-sided Kolmogorov-Smirnov distribution", J. Stat. Softw. 39(11),
    /// whose cut-offs are kept. Exact except: twice the one-sided tail where n x² is above 2.2 (4 for n up to 140; relative error
    /// below 2e-6), and the Pelz-Good series (1976) for n above 140 in the centre (absolute error below 1e-8 there).
    /// </remarks>
    public static double Survival(long n, double x)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(n, 1);
        if (double.IsNaN(x))
        {
            return double.NaN;
        }

        var t = n * x;
        if (x >= 1)
        {
            return 0;
        }

        if (t <= 0.5)
        {
            return 1;
        }

        if (t <= 1)
        {
            // n! (2x - 1/n)^n: Ruben and Gambino (1982).
            return 1 - Math.Exp(SpecialFunctions.LogGamma(n + 1.0) + n * Math.Log(2 * x - 1.0 / n));
        }

        if (t >= n - 1)
        {
            return 2 * Math.Pow(1 - x, n);
        }

        if (x >= 0.5)
        {
            return 2 * OneSidedSurvival(n, x);
        }

        var square = t * x;
        if (n <= 140)
        {
            return square <= 4 ? Clip(1 - DurbinCdf((int)n, x)) : Clip(2 * OneSidedSurvival(n, x));
        }

        if (square >= 2.2)
        {
            return square >= 370 ? 0 : Clip(2 * OneSidedSurvival(n, x));
        }

        return Clip(1 - (n <= 100_000 && n * Math.Pow(x, 1.5) <= 1.4 ? DurbinCdf((int)n, x) : PelzGoodCdf(n, x)));
    }

    /// <summary>P(D_n⁺ &gt; x): one-sided Kolmogorov-Smirnov distance of a sample of size n from a continuous law.</summary>
    /// <param name="n">Sample size, at least 1.</param>
    /// <param name="x">Distance; 1 at or below 0, 0 at or above 1.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="n"/> is below 1.</exception>
    /// <remarks>Smirnov's finite sum (Birnbaum and Tingey 1951); for n above one million exp(-(6nx + 1)²/18n) (Maag and Dicaire 1971).</remarks>
    public static double OneSidedSurvival(long n, double x)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(n, 1);
        if (x <= 0)
        {
            return 1;
        }

        if (x >= 1)
        {
            return 0;
        }

        if (n > 1_000_000)
        {
            var root = 6.0 * n * x + 1;
            return Math.Exp(-root * root / (18.0 * n));
        }

        // x Σ C(n, j) (x + j/n)^(j-1) (1 - x - j/n)^(n-j), j from 0 while 1 - x - j/n is positive: all terms positive.
        var logFactorialN = SpecialFunctions.LogGamma(n + 1.0);
        var sum = 0.0;
        var last = (long)Math.Floor(n * (1 - x));
        for (var j = 0L; j <= last; j++)
        {
            var share = (double)j / n;
            var rest = 1 - x - share;
            if (rest <= 0)
            {
                break;
            }

            sum += Math.Exp(logFactorialN - SpecialFunctions.LogGamma(j + 1.0) - SpecialFunctions.LogGamma(n - j + 1.0)
                + (j - 1) * Math.Log(x + share) + (n - j) * Math.Log(rest));
        }

        return Clip(x * sum);
    }

    /// <summary>P(D_n ≤ x) by Durbin's matrix power: Marsaglia, Tsang and Wang (2003), J. Stat. Softw. 8(18).</summary>
    private static double DurbinCdf(int n, double x)
    {
        var k = (int)Math.Ceiling(n * x);
        var m = 2 * k - 1;
        var h = k - n * x;
        var step = new double[m * m];
        for (var row = 0; row < m; row++)
        {
            for (var column = 0; column <= Math.Min(row + 1, m - 1); column++)
            {
                step[row * m + column] = 1;
            }
        }

        for (var i = 0; i < m; i++)
        {
            step[i * m] -= Math.Pow(h, i + 1);
            step[(m - 1) * m + i] -= Math.Pow(h, m - i);
        }

        step[(m - 1) * m] += 2 * h - 1 > 0 ? Math.Pow(2 * h - 1, m) : 0;
        for (var row = 0; row < m; row++)
        {
            for (var column = 0; column <= Math.Min(row + 1, m - 1); column++)
            {
                for (var g = 2; g <= row - column + 1; g++)
                {
                    step[row * m + column] /= g;
                }
            }
        }

        var (power, exponent) = MatrixPower(step, m, n);
        var probability = power[(k - 1) * m + (k - 1)];
        for (var i = 1; i <= n; i++)
        {
            probability *= (double)i / n;
            if (probability < 1e-140)
            {
                probability *= 1e140;
                exponent -= 140;
            }
        }

        return probability * Math.Pow(10, exponent);
    }

    /// <summary>The n-th power as a matrix times ten to an exponent, so that nothing overflows.</summary>
    private static (double[] Matrix, int Exponent) MatrixPower(double[] matrix, int size, int n)
    {
        var result = new double[size * size];
        for (var i = 0; i < size; i++)
        {
            result[i * size + i] = 1;
        }

        var square = matrix;
        var resultExponent = 0;
        var squareExponent = 0;
        for (var bits = n; bits > 0; bits >>= 1)
        {
            if ((bits & 1) == 1)
            {
                result = Multiply(result, square, size);
                resultExponent += squareExponent;
                resultExponent += Rescale(result, size);
            }

            if (bits > 1)
            {
                square = Multiply(square, square, size);
                squareExponent *= 2;
                squareExponent += Rescale(square, size);
            }
        }

        return (result, resultExponent);
    }

    private static int Rescale(double[] matrix, int size)
    {
        if (matrix[size / 2 * size + size / 2] <= 1e140)
        {
            return 0;
        }

        for (var i = 0; i < matrix.Length; i++)
        {
            matrix[i] *= 1e-140;
        }

        return 140;
    }

    private static double[] Multiply(double[] left, double[] right, int size)
    {
        var product = new double[size * size];
        for (var row = 0; row < size; row++)
        {
            for (var inner = 0; inner < size; inner++)
            {
                var factor = left[row * size + inner];
                if (factor != 0)
                {
                    for (var column = 0; column < size; column++)
                    {
                        product[row * size + column] += factor * right[inner * size + column];
                    }
                }
            }
        }

        return product;
    }

    /// <summary>P(D_n ≤ x) to order n^(-3/2): W. Pelz and I. J. Good (1976), J. R. Stat. Soc. B 38(2), 152-156.</summary>
    private static double PelzGoodCdf(long n, double x)
    {
        var root = Math.Sqrt(n);
        var z = root * x;
        var z2 = z * z;
        var z4 = z2 * z2;
        var z6 = z4 * z2;
        double k0 = 0, k1 = 0, k2 = 0, k2Even = 0, k3 = 0, k3Even = 0;
        for (var k = 0; k <= 40; k++)
        {
            var half = k + 0.5;
            var half2 = Pi2 * half * half;
            var weight = Math.Exp(-half2 / (2 * z2));
            k0 += weight;
            k1 += (half2 - z2) * weight;
            k2 += (6 * z6 + 2 * z4 + (2 * z4 - 5 * z2) * half2 + (1 - 2 * z2) * half2 * half2) * weight;
            k3 += (-30 * z6 - 90 * z6 * z2 + (135 * z4 - 96 * z6) * half2 + (212 * z4 - 60 * z2) * half2 * half2
                + (5 - 30 * z2) * half2 * half2 * half2) * weight;
            if (k > 0)
            {
                var full2 = Pi2 * k * k;
                var fullWeight = Math.Exp(-full2 / (2 * z2));
                k2Even += full2 * fullWeight;
                k3Even += (-full2 * full2 + 3 * full2 * z2) * fullWeight;
            }
        }

        // Sums over all half-integers are twice the sums from one half up. The last coefficient leaves a remainder of order n^-2.
        var sqrtTwoPi = Math.Sqrt(2 * Math.PI);
        var sqrtHalfPi = Math.Sqrt(Math.PI / 2);
        k0 *= sqrtTwoPi / z;
        k1 *= sqrtHalfPi / (3 * z4);
        k2 = k2 * sqrtHalfPi / (36 * z6 * z) - k2Even * sqrtHalfPi / (18 * z2 * z);
        k3 = k3 * sqrtHalfPi / (3240 * z6 * z4) + k3Even * sqrtHalfPi / (108 * z6);
        return k0 + k1 / root + k2 / n + k3 / (n * root);
    }

    private static double Clip(double probability) => Math.Clamp(probability, 0, 1);
}
