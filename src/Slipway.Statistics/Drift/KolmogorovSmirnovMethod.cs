namespace Slipway.Statistics.Drift;

/// <summary>How the p-value of a two-sample Kolmogorov-Smirnov distance is computed.</summary>
public enum KolmogorovSmirnovMethod
{
    /// <summary>Exact when neither sample exceeds 10,000 rows, asymptotic otherwise (the rule of SciPy).</summary>
    Auto,

    /// <summary>Exact for samples without ties (conservative with ties); time grows with the product of the sizes.</summary>
    Exact,

    /// <summary>The one-sample law at the rounded effective size n m / (n + m).</summary>
    Asymptotic,
}
