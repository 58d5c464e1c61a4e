namespace Slipway.Tracking.Traces;

/// <summary>How strongly two filters meet on the same traces: normalised pointwise mutual information.</summary>
/// <param name="Npmi">-1 never together, 0 independent, 1 always together; NaN when a filter meets nothing.</param>
/// <param name="NpmiSmoothed">The same with half a trace added to each of the four cells (Jeffreys' prior).</param>
/// <param name="Filter1Count">Traces that meet the first.</param>
/// <param name="Filter2Count">Traces that meet the second.</param>
/// <param name="JointCount">Traces that meet both.</param>
/// <param name="TotalCount">All traces looked at.</param>
/// <remarks>Source: Bouma (2009), "Normalized (Pointwise) Mutual Information in Collocation Extraction", GSCL; conventions at the edges as in MLflow.</remarks>
public sealed record FilterCorrelation(double Npmi, double NpmiSmoothed, long Filter1Count, long Filter2Count, long JointCount, long TotalCount)
{
    private const double Jeffreys = 0.5;

    internal static FilterCorrelation Of(long joint, long first, long second, long total)
    {
        var (onlyFirst, onlySecond, neither) = (first - joint, second - joint, total - first - second + joint);
        var defined = total > 0 && first > 0 && second > 0 && onlyFirst >= 0 && onlySecond >= 0 && neither >= 0;
        return new FilterCorrelation(
            !defined ? double.NaN : joint == 0 ? -1 : Score(joint, onlyFirst, onlySecond, neither, 0),
            !defined ? double.NaN : Score(joint, onlyFirst, onlySecond, neither, Jeffreys),
            first, second, joint, total);
    }

    private static double Score(double joint, double onlyFirst, double onlySecond, double neither, double prior)
    {
        if (onlyFirst == 0 && onlySecond == 0 && neither == 0)
        {
            return 1; // Every trace meets both: the quotient below would be 0/0.
        }

        var n = joint + onlyFirst + onlySecond + neither + (4 * prior);
        var both = (joint + prior) / n;
        var one = (joint + onlyFirst + (2 * prior)) / n;
        var other = (joint + onlySecond + (2 * prior)) / n;
        return Math.Clamp(Math.Log(both / (one * other)) / -Math.Log(both), -1, 1);
    }
}
