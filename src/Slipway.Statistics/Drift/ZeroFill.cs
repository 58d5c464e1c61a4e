namespace Slipway.Statistics.Drift;

/// <summary>How empty bins are kept from making a logarithm infinite. The result depends on it: publish it with every value.</summary>
public enum ZeroFill
{
    /// <summary>
    /// Per side, a zero share becomes 0.0001, or a millionth of the smallest non-zero share when that is 0.0001 or less
    /// (the rule of Evidently). Other shares stay as they are.
    /// </summary>
    PerSide,

    /// <summary>Every share below 0.000001 becomes 0.000001.</summary>
    FloorMillionth,
}
