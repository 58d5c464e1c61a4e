namespace Slipway.Statistics.Drift;

/// <summary>Distances between two discrete distributions given as counts or shares over the same bins.</summary>
/// <remarks>
/// Counts are turned into shares of their sum; use the overloads over shares when values outside the bins must stay in the
/// denominator. Arrays of up to 256 bins cost no allocation.
/// </remarks>
public static class Divergence
{
    private const int StackBinsMax = 256;

    /// <summary>Population stability index, Σ (r - c) ln(r / c), after zero fill.</summary>
    /// <param name="reference">Reference count per bin, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <param name="zeroFill">The rule for empty bins.</param>
    /// <returns>At least 0; 0 exactly when the shares are equal.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    /// <remarks>Sources: Kullback and Leibler (1951), J; Siddiqi (2006), Credit Risk Scorecards, for the name.</remarks>
    public static double Psi(ReadOnlySpan<long> reference, ReadOnlySpan<long> current, ZeroFill zeroFill = ZeroFill.PerSide)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Shares(reference, r);
        Shares(current, c);
        return PsiInPlace(r, c, zeroFill);
    }

    /// <summary>Population stability index of shares.</summary>
    /// <param name="reference">Reference share per bin; each at least 0. The sum may be below 1 when values lie outside the bins.</param>
    /// <param name="current">Current share per bin, likewise.</param>
    /// <param name="zeroFill">The rule for empty bins.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a share is negative or NaN.</exception>
    public static double Psi(ReadOnlySpan<double> reference, ReadOnlySpan<double> current, ZeroFill zeroFill = ZeroFill.PerSide)
    {
        Check(reference, current);
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        reference.CopyTo(r);
        current.CopyTo(c);
        return PsiInPlace(r, c, zeroFill);
    }

    /// <summary>Kullback-Leibler divergence of the reference from the current distribution in nats, Σ r ln(r / c), after zero fill.</summary>
    /// <param name="reference">Reference count per bin, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <param name="zeroFill">The rule for empty bins; both sides are brought back to sum 1 afterwards.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    /// <remarks>Source: Kullback and Leibler (1951), Ann. Math. Stat. 22(1), 79-86.</remarks>
    public static double KullbackLeibler(ReadOnlySpan<long> reference, ReadOnlySpan<long> current, ZeroFill zeroFill = ZeroFill.PerSide)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Shares(reference, r);
        Shares(current, c);
        return KullbackLeiblerInPlace(r, c, zeroFill);
    }

    /// <summary>Kullback-Leibler divergence of shares.</summary>
    /// <param name="reference">Reference share per bin, each at least 0.</param>
    /// <param name="current">Current share per bin, likewise.</param>
    /// <param name="zeroFill">The rule for empty bins; both sides are brought to sum 1 afterwards.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a share is negative or NaN.</exception>
    public static double KullbackLeibler(ReadOnlySpan<double> reference, ReadOnlySpan<double> current, ZeroFill zeroFill = ZeroFill.PerSide)
    {
        Check(reference, current);
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        reference.CopyTo(r);
        current.CopyTo(c);
        return KullbackLeiblerInPlace(r, c, zeroFill);
    }

    /// <summary>Jensen-Shannon distance: the square root of the Jensen-Shannon divergence. Needs no zero fill.</summary>
    /// <param name="reference">Reference count per bin, each at least 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <param name="logBase">Base of the logarithm: e gives 0 to √ln 2, 2 gives 0 to 1.</param>
    /// <returns>The distance; NaN when a side is all zero.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a count is negative.</exception>
    /// <remarks>Sources: Lin (1991), IEEE Trans. Inf. Theory 37(1); Endres and Schindelin (2003) for the root being a metric.</remarks>
    public static double JensenShannonDistance(ReadOnlySpan<long> reference, ReadOnlySpan<long> current, double logBase = Math.E)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Copy(reference, r);
        Copy(current, c);
        return JensenShannonDistance(r, c, logBase);
    }

    /// <summary>Jensen-Shannon distance of shares or weights, each side brought to sum 1.</summary>
    /// <param name="reference">Reference weight per bin, each at least 0.</param>
    /// <param name="current">Current weight per bin, likewise.</param>
    /// <param name="logBase">Base of the logarithm.</param>
    /// <returns>The distance; NaN when a side is all zero.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a weight is negative or NaN.</exception>
    public static double JensenShannonDistance(ReadOnlySpan<double> reference, ReadOnlySpan<double> current, double logBase = Math.E)
    {
        Check(reference, current);
        Require.Positive(logBase);
        var (totalR, totalC) = (Sum(reference), Sum(current));
        if (totalR == 0 || totalC == 0)
        {
            return double.NaN;
        }

        var sum = 0.0;
        for (var i = 0; i < reference.Length; i++)
        {
            var (r, c) = (reference[i] / totalR, current[i] / totalC);
            var middle = 0.5 * (r + c);
            sum += (r > 0 ? r * Math.Log(r / middle) : 0) + (c > 0 ? c * Math.Log(c / middle) : 0);
        }

        // Rounding may leave a sum just below zero for equal sides.
        return Math.Sqrt(Math.Max(0, 0.5 * sum / Math.Log(logBase)));
    }

    /// <summary>Hellinger distance, √( Σ (√r - √c)² / 2 ).</summary>
    /// <param name="reference">Reference count per bin, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <returns>0 to 1.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    /// <remarks>Source: Hellinger (1909). For shares of sum 1 it equals √(1 - BC), BC the Bhattacharyya coefficient.</remarks>
    public static double Hellinger(ReadOnlySpan<long> reference, ReadOnlySpan<long> current)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Shares(reference, r);
        Shares(current, c);
        return Hellinger(r, c);
    }

    /// <summary>Hellinger distance of shares.</summary>
    /// <param name="reference">Reference share per bin, each at least 0.</param>
    /// <param name="current">Current share per bin, likewise.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a share is negative or NaN.</exception>
    public static double Hellinger(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        Check(reference, current);
        var sum = 0.0;
        for (var i = 0; i < reference.Length; i++)
        {
            var difference = Math.Sqrt(reference[i]) - Math.Sqrt(current[i]);
            sum += difference * difference;
        }

        return Math.Sqrt(0.5 * sum);
    }

    /// <summary>Largest absolute difference of shares in one bin, max |r - c|.</summary>
    /// <param name="reference">Reference count per bin, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <returns>0 to 1.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    public static double LInfinity(ReadOnlySpan<long> reference, ReadOnlySpan<long> current)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Shares(reference, r);
        Shares(current, c);
        return LInfinity(r, c);
    }

    /// <summary>Largest absolute difference of shares in one bin.</summary>
    /// <param name="reference">Reference share per bin, each at least 0.</param>
    /// <param name="current">Current share per bin, likewise.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a share is negative or NaN.</exception>
    public static double LInfinity(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        Check(reference, current);
        var largest = 0.0;
        for (var i = 0; i < reference.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs(reference[i] - current[i]));
        }

        return largest;
    }

    /// <summary>Total variation distance, Σ |r - c| / 2: the share of rows that would have to change bin.</summary>
    /// <param name="reference">Reference count per bin, each at least 0, at least one above 0.</param>
    /// <param name="current">Current count per bin, likewise.</param>
    /// <returns>0 to 1.</returns>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty or all zero, or a count is negative.</exception>
    public static double TotalVariation(ReadOnlySpan<long> reference, ReadOnlySpan<long> current)
    {
        var r = reference.Length <= StackBinsMax ? stackalloc double[reference.Length] : new double[reference.Length];
        var c = current.Length <= StackBinsMax ? stackalloc double[current.Length] : new double[current.Length];
        Shares(reference, r);
        Shares(current, c);
        return TotalVariation(r, c);
    }

    /// <summary>Total variation distance of shares.</summary>
    /// <param name="reference">Reference share per bin, each at least 0.</param>
    /// <param name="current">Current share per bin, likewise.</param>
    /// <exception cref="ArgumentException">Lengths differ, a side is empty, or a share is negative or NaN.</exception>
    public static double TotalVariation(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        Check(reference, current);
        var sum = 0.0;
        for (var i = 0; i < reference.Length; i++)
        {
            sum += Math.Abs(reference[i] - current[i]);
        }

        return 0.5 * sum;
    }

    private static double PsiInPlace(Span<double> r, Span<double> c, ZeroFill zeroFill)
    {
        Require.SameLength(r.Length, c.Length, "current");
        Fill(r, zeroFill);
        Fill(c, zeroFill);
        var sum = 0.0;
        for (var i = 0; i < r.Length; i++)
        {
            sum += (r[i] - c[i]) * Math.Log(r[i] / c[i]);
        }

        return sum;
    }

    private static double KullbackLeiblerInPlace(Span<double> r, Span<double> c, ZeroFill zeroFill)
    {
        Require.SameLength(r.Length, c.Length, "current");
        Fill(r, zeroFill);
        Fill(c, zeroFill);
        var (totalR, totalC) = (Sum(r), Sum(c));
        var sum = 0.0;
        for (var i = 0; i < r.Length; i++)
        {
            var share = r[i] / totalR;
            sum += share * Math.Log(share / (c[i] / totalC));
        }

        return Math.Max(0, sum);
    }

    private static void Fill(Span<double> shares, ZeroFill zeroFill)
    {
        if (zeroFill == ZeroFill.FloorMillionth)
        {
            foreach (ref var share in shares)
            {
                share = Math.Max(share, 1e-6);
            }

            return;
        }

        var smallest = double.PositiveInfinity;
        foreach (var share in shares)
        {
            smallest = share > 0 ? Math.Min(smallest, share) : smallest;
        }

        var fill = smallest <= 0.0001 ? smallest / 1_000_000 : 0.0001;
        foreach (ref var share in shares)
        {
            share = share == 0 ? fill : share;
        }
    }

    private static void Shares(ReadOnlySpan<long> counts, Span<double> shares)
    {
        Copy(counts, shares);
        var total = Sum(shares);
        if (total == 0)
        {
            throw new ArgumentException("All counts are 0; a distribution needs at least one value.", nameof(counts));
        }

        foreach (ref var share in shares)
        {
            share /= total;
        }
    }

    private static void Copy(ReadOnlySpan<long> counts, Span<double> destination)
    {
        Require.NotEmpty(counts);
        for (var i = 0; i < counts.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(counts[i], nameof(counts));
            destination[i] = counts[i];
        }
    }

    private static double Sum(ReadOnlySpan<double> values)
    {
        var sum = 0.0;
        foreach (var value in values)
        {
            sum += value;
        }

        return sum;
    }

    private static void Check(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        Require.NotEmpty(reference);
        Require.SameLength(reference.Length, current.Length, nameof(current));
        CheckShares(reference, nameof(reference));
        CheckShares(current, nameof(current));
    }

    private static void CheckShares(ReadOnlySpan<double> shares, string name)
    {
        foreach (var share in shares)
        {
            if (!(share >= 0 && double.IsFinite(share)))
            {
                throw new ArgumentOutOfRangeException(name, share, $"{name} must hold finite numbers of at least 0.");
            }
        }
    }
}
