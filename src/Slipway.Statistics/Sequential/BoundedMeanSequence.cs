namespace Slipway.Statistics.Sequential;

/// <summary>
/// Confidence sequence for the mean of a bounded metric (a score from 0 to 1, a capped amount), valid at every sample size and for
/// every distribution within the bounds.
/// </summary>
/// <remarks>
/// Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86(1),
/// theorem 2 (predictable plug-in empirical Bernstein), with truncation c = 1/2. Intervals of successive looks are intersected;
/// when the mean drifts the intersection can become empty (lower end above the upper), which is itself evidence of the drift.
/// </remarks>
public sealed class BoundedMeanSequence
{
    private const double LambdaMax = 0.5;

    private readonly double lower;
    private readonly double range;
    private readonly double logTwoOverAlpha;
    private double sum;
    private double squares;
    private double weights;
    private double weighted;
    private double penalty;
    private Interval unit = new(0, 1);

    /// <summary>A sequence with no data yet.</summary>
    /// <param name="lower">Lower bound of the values.</param>
    /// <param name="upper">Upper bound, above <paramref name="lower"/>.</param>
    /// <param name="alpha">Bound on the probability of the interval ever missing the mean, between 0 and 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public BoundedMeanSequence(double lower, double upper, double alpha = 0.05)
    {
        if (!(double.IsFinite(lower) && double.IsFinite(upper) && upper > lower))
        {
            throw new ArgumentOutOfRangeException(nameof(upper), upper, $"upper must be finite and above lower ({lower}).");
        }

        Require.OpenUnit(alpha);
        this.lower = lower;
        range = upper - lower;
        Alpha = alpha;
        logTwoOverAlpha = Math.Log(2 / alpha);
    }

    /// <summary>The error bound.</summary>
    public double Alpha { get; }

    /// <summary>Values seen.</summary>
    public long Count { get; private set; }

    /// <summary>The interval for the mean at confidence 1 - alpha; the bounds themselves before the first value.</summary>
    public Interval Interval => new(lower + range * unit.Lower, lower + range * unit.Upper);

    /// <summary>The difference first - second of two means, at confidence 1 minus the sum of both alphas (Bonferroni).</summary>
    public static Interval Difference(BoundedMeanSequence first, BoundedMeanSequence second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        var (a, b) = (first.Interval, second.Interval);
        return new Interval(a.Lower - b.Upper, a.Upper - b.Lower);
    }

    /// <summary>Adds values in the order in which they arrived.</summary>
    /// <param name="values">Each within the bounds.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is outside the bounds or NaN; those before it were added.</exception>
    public void Add(ReadOnlySpan<double> values)
    {
        foreach (var value in values)
        {
            Add(value);
        }
    }

    /// <summary>Adds one value.</summary>
    /// <param name="value">Within the bounds.</param>
    /// <exception cref="ArgumentOutOfRangeException">The value is outside the bounds or NaN.</exception>
    public void Add(double value)
    {
        var x = (value - lower) / range;
        if (!(x >= 0 && x <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(value), value, $"value must lie between {lower} and {lower + range}.");
        }

        // The bet λ and the guess of the mean use earlier values only; that is what makes the sequence valid.
        var variance = (0.25 + squares) / (Count + 1);
        var guess = (0.5 + sum) / (Count + 1);
        Count++;
        var lambda = Math.Min(LambdaMax, Math.Sqrt(2 * logTwoOverAlpha / (variance * Count * Math.Log(1 + Count))));
        weights += lambda;
        weighted += lambda * x;
        penalty += (x - guess) * (x - guess) * (-Math.Log(1 - lambda) - lambda);
        sum += x;
        var mean = (0.5 + sum) / (Count + 1);
        squares += (x - mean) * (x - mean);

        var centre = weighted / weights;
        var halfWidth = (logTwoOverAlpha + penalty) / weights;
        unit = new Interval(Math.Max(unit.Lower, centre - halfWidth), Math.Min(unit.Upper, centre + halfWidth));
    }
}
