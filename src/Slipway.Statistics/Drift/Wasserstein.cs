namespace Slipway.Statistics.Drift;

/// <summary>First Wasserstein (earth mover's) distance: the area between two empirical distribution functions.</summary>
public static class Wasserstein
{
    private const double DeviationFloor = 0.001;

    /// <summary>The distance, in the unit of the values; sorts pooled copies.</summary>
    /// <param name="reference">First sample, at least one value, finite.</param>
    /// <param name="current">Second sample, likewise.</param>
    /// <exception cref="ArgumentException">A sample is empty or contains NaN.</exception>
    /// <remarks>Source: Vallender (1974), Theory Probab. Appl. 18(4), 784-786.</remarks>
    public static double Distance(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        using var first = new SortedCopy(reference, nameof(reference));
        using var second = new SortedCopy(current, nameof(current));
        return DistanceSorted(first.Values, second.Values);
    }

    /// <summary>The distance of two samples that are already in ascending order, without copying.</summary>
    /// <param name="reference">First sample, ascending, at least one value.</param>
    /// <param name="current">Second sample, likewise.</param>
    /// <exception cref="ArgumentException">A sample is empty.</exception>
    public static double DistanceSorted(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        Require.NotEmpty(reference);
        Require.NotEmpty(current);
        var (i, j) = (0, 0);
        var area = 0.0;
        var at = Math.Min(reference[0], current[0]);
        while (i < reference.Length || j < current.Length)
        {
            var takeFirst = j == current.Length || (i < reference.Length && reference[i] <= current[j]);
            var next = takeFirst ? reference[i] : current[j];
            if (next != at)
            {
                area += Math.Abs((double)i / reference.Length - (double)j / current.Length) * (next - at);
                at = next;
            }

            if (takeFirst)
            {
                i++;
            }
            else
            {
                j++;
            }
        }

        return area;
    }

    /// <summary>The distance divided by the reference's standard deviation (with n in the denominator), floored at 0.001.</summary>
    /// <param name="reference">First sample, at least one value, finite.</param>
    /// <param name="current">Second sample, likewise.</param>
    /// <exception cref="ArgumentException">A sample is empty or contains NaN.</exception>
    public static double NormedDistance(ReadOnlySpan<double> reference, ReadOnlySpan<double> current)
    {
        var distance = Distance(reference, current);
        var mean = 0.0;
        foreach (var value in reference)
        {
            mean += value;
        }

        mean /= reference.Length;
        var squares = 0.0;
        foreach (var value in reference)
        {
            squares += (value - mean) * (value - mean);
        }

        return distance / Math.Max(Math.Sqrt(squares / reference.Length), DeviationFloor);
    }
}
