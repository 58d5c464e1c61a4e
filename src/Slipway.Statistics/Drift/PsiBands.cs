namespace Slipway.Statistics.Drift;

/// <summary>The limits between the bands of a population stability index.</summary>
/// <remarks>The customary limits 0.1 and 0.2 are rules of thumb from credit scoring, not error rates: they ignore sample size.</remarks>
public readonly record struct PsiBands
{
    /// <summary>Limits of one's own.</summary>
    /// <param name="investigate">From here on: investigate. Greater than 0.</param>
    /// <param name="act">Above this: act. At least <paramref name="investigate"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">A limit is outside its range.</exception>
    public PsiBands(double investigate, double act)
    {
        Require.Positive(investigate);
        Require.Positive(act);
        ArgumentOutOfRangeException.ThrowIfLessThan(act, investigate);
        Investigate = investigate;
        Act = act;
    }

    /// <summary>0.1 and 0.2.</summary>
    public static PsiBands Default { get; } = new(0.1, 0.2);

    /// <summary>Values from here on ask for investigation.</summary>
    public double Investigate { get; }

    /// <summary>Values above this ask for action.</summary>
    public double Act { get; }

    /// <summary>The band of a value: below <see cref="Investigate"/> is ok, above <see cref="Act"/> is act, both limits investigate.</summary>
    /// <param name="psi">At least 0; positive infinity is act.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="psi"/> is negative or NaN.</exception>
    public DriftBand Of(double psi)
    {
        if (!(psi >= 0))
        {
            throw new ArgumentOutOfRangeException(nameof(psi), psi, "psi must be at least 0.");
        }

        return psi < Investigate ? DriftBand.Ok : psi <= Act ? DriftBand.Investigate : DriftBand.Act;
    }
}
