namespace Slipway.Serving.Rollouts;

/// <summary>Settings of the rollout controller.</summary>
public sealed class RolloutOptions
{
    /// <summary>Time between two looks at the evidence.</summary>
    public TimeSpan Interval { get; set; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Least time between two joins of predictions with labels; it grows to a twentieth of the rollout's age, because each join closes a segment file.</summary>
    public TimeSpan QualityInterval { get; set; } = TimeSpan.FromSeconds(3);
}
