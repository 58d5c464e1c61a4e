namespace Slipway.Statistics;

/// <summary>Count, mean and variance of values seen one at a time, mergeable, without cancellation.</summary>
/// <remarks>Sources: Welford (1962), Technometrics 4(3); merging: Chan, Golub and LeVeque (1979).</remarks>
public struct RunningMoments
{
    private double squares;

    /// <summary>Values seen.</summary>
    public long Count { get; private set; }

    /// <summary>Their mean; 0 before the first.</summary>
    public double Mean { get; private set; }

    /// <summary>Sample variance with n - 1 in the denominator; NaN below two values.</summary>
    public readonly double Variance => Count < 2 ? double.NaN : squares / (Count - 1);

    /// <summary>Moments from a count, mean and sample variance computed elsewhere.</summary>
    /// <param name="count">At least 0.</param>
    /// <param name="mean">Finite.</param>
    /// <param name="variance">With n - 1 in the denominator, at least 0; not read below two values.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static RunningMoments Of(long count, double mean, double variance)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (!double.IsFinite(mean))
        {
            throw new ArgumentOutOfRangeException(nameof(mean), mean, "mean must be finite.");
        }

        if (count >= 2 && !(variance >= 0 && double.IsFinite(variance)))
        {
            throw new ArgumentOutOfRangeException(nameof(variance), variance, "variance must be finite and at least 0.");
        }

        return new RunningMoments { Count = count, Mean = count == 0 ? 0 : mean, squares = count < 2 ? 0 : variance * (count - 1) };
    }

    /// <summary>Adds a value.</summary>
    /// <param name="value">Finite.</param>
    /// <exception cref="ArgumentOutOfRangeException">The value is not finite: one NaN would spoil all that follows.</exception>
    public void Add(double value)
    {
        if (!double.IsFinite(value))
        {
            throw new ArgumentOutOfRangeException(nameof(value), value, "value must be finite.");
        }

        Count++;
        var difference = value - Mean;
        Mean += difference / Count;
        squares += difference * (value - Mean);
    }

    /// <summary>Adds values.</summary>
    /// <param name="values">Each finite.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is not finite; those before it were added.</exception>
    public void Add(ReadOnlySpan<double> values)
    {
        foreach (var value in values)
        {
            Add(value);
        }
    }

    /// <summary>Adds the values another instance has seen.</summary>
    public void Merge(RunningMoments other)
    {
        if (other.Count == 0)
        {
            return;
        }

        var total = Count + other.Count;
        var difference = other.Mean - Mean;
        squares += other.squares + difference * difference * Count * other.Count / total;
        Mean += difference * other.Count / total;
        Count = total;
    }
}
