namespace Slipway.Statistics.MultipleTesting;

/// <summary>How p-values of several tests are adjusted, and what the adjustment promises.</summary>
public enum MultipleTestingMethod
{
    /// <summary>Family-wise error rate, any dependence (Bonferroni 1936).</summary>
    Bonferroni,

    /// <summary>Family-wise error rate, any dependence, never weaker than Bonferroni (Holm 1979).</summary>
    Holm,

    /// <summary>False discovery rate under independence or positive dependence (Benjamini and Hochberg 1995).</summary>
    BenjaminiHochberg,

    /// <summary>False discovery rate under any dependence (Benjamini and Yekutieli 2001).</summary>
    BenjaminiYekutieli,
}
