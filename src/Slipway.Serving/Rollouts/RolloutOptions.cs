namespace Slipway.Serving.Rollouts;

/// <summary>Settings of the rollout controller.</summary>
public sealed class RolloutOptions
{
    /// <summary>Time between two looks at the evidence.</summary>
    public TimeSpan Interval { get; set; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Least time between two joins of predictions with labels; it grows to a twentieth of the rollout's age, because each join closes a segment file.</summary>
    public TimeSpan QualityInterval { get; set; } = TimeSpan.FromSeconds(3);

    /// <summary>How long a look waits for such a join before it goes on with the figures of the one before.</summary>
    public TimeSpan QualityWait { get; set; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Least time between two writes of what a step has counted, from which a restarted server goes on.</summary>
    public TimeSpan CountsInterval { get; set; } = TimeSpan.FromSeconds(10);
}
