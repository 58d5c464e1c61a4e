namespace Slipway.Statistics.Distributions;

/// <summary>The chi-squared distribution.</summary>
public static class ChiSquared
{
    /// <summary>P(X &gt; x), with relative accuracy in the upper tail.</summary>
    /// <param name="x">At least 0.</param>
    /// <param name="degreesOfFreedom">Greater than 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is outside its range.</exception>
    public static double Survival(double x, double degreesOfFreedom) =>
        SpecialFunctions.RegularizedGammaUpper(0.5 * degreesOfFreedom, 0.5 * x);
}
