using System.Runtime.CompilerServices;

namespace Slipway.Statistics;

/// <summary>Argument checks; every comparison is written to be false for NaN.</summary>
internal static class Require
{
    public static void Positive(double value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!(value > 0 && double.IsFinite(value)))
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be a finite positive number.");
        }
    }

    /// <summary>Strictly between 0 and 1.</summary>
    public static void OpenUnit(double value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!(value > 0 && value < 1))
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must lie strictly between 0 and 1.");
        }
    }

    /// <summary>Between 0 and 1, ends included.</summary>
    public static void ClosedUnit(double value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!(value >= 0 && value <= 1))
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must lie between 0 and 1.");
        }
    }

    public static void NotEmpty<T>(ReadOnlySpan<T> values, [CallerArgumentExpression(nameof(values))] string name = "")
    {
        if (values.IsEmpty)
        {
            throw new ArgumentException($"{name} is empty; at least one value is needed.", name);
        }
    }

    public static void SameLength(int first, int second, string name)
    {
        if (first != second)
        {
            throw new ArgumentException($"{name} has {second} elements where {first} are expected.", name);
        }
    }

    public static void NoNaN(ReadOnlySpan<double> values, [CallerArgumentExpression(nameof(values))] string name = "")
    {
        foreach (var value in values)
        {
            if (double.IsNaN(value))
            {
                throw new ArgumentException($"{name} contains NaN; drop or count missing values first.", name);
            }
        }
    }

    public static void Share(long part, long whole, string partName, string wholeName)
    {
        if (part < 0 || part > whole)
        {
            throw new ArgumentOutOfRangeException(partName, part, $"{partName} must lie between 0 and {wholeName} ({whole}).");
        }
    }
}
