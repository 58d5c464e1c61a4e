namespace Slipway.Statistics.Drift;

/// <summary>What a population stability index asks for.</summary>
public enum DriftBand
{
    /// <summary>No action.</summary>
    Ok,

    /// <summary>Look at the feature.</summary>
    Investigate,

    /// <summary>Retrain or escalate.</summary>
    Act,
}
