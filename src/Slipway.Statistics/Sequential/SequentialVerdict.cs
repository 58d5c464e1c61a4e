namespace Slipway.Statistics.Sequential;

/// <summary>What the evidence so far supports; it may be read after every observation without raising the stated error rate.</summary>
public enum SequentialVerdict
{
    /// <summary>Not enough evidence either way. A gate should hold, not pass.</summary>
    Inconclusive,

    /// <summary>The quantity is worse: above its limit, or worse on the canary than on stable.</summary>
    Worse,

    /// <summary>The quantity is shown to stay within its limit or margin.</summary>
    NotWorse,
}
