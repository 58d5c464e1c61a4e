using Slipway.Storage.Definitions;

namespace Slipway.Serving.Queues;

/// <summary>How much of a model is kept ready, and how many requests are enough for one server: <c>scaling</c> in a <c>serving</c> definition.</summary>
/// <param name="Min">Servers that keep it in memory while nobody asks; with 0 this one too gives it back.</param>
/// <param name="Max">Runs at once, and the most servers; null where nobody said.</param>
/// <param name="Target">Requests that run or wait on each server before there should be another; null where nobody said.</param>
/// <param name="Idle">With a <paramref name="Min"/> of 0, how long a version answers nothing before it is given back.</param>
internal sealed record ScalingPolicy(int Min, int? Max, int? Target, TimeSpan Idle)
{
    private const int CountMax = 1024;

    /// <summary>Where nobody said anything: what is loaded stays loaded.</summary>
    public static ScalingPolicy Default { get; } = new(1, null, null, TimeSpan.FromMinutes(15));

    /// <summary>Whether a version that nobody asks gives its memory back.</summary>
    public bool ToZero => Min == 0;

    /// <summary>The policy in a <c>serving</c> definition; null when it has none.</summary>
    public static ScalingPolicy? In(string yaml) => DefinitionYaml.Parse(yaml) is var file && file.Has("scaling") ? ServingKind.Parse(file).Settings.Scaling : null;

    public static ScalingPolicy Parse(DefinitionYaml yaml)
    {
        var policy = new ScalingPolicy(
            yaml.OptionalInteger("min", 0, CountMax) ?? Default.Min, yaml.OptionalInteger("max", 1, CountMax), yaml.OptionalInteger("target", 1, 1_000_000), yaml.OptionalDuration("idle") ?? Default.Idle);
        if (policy.Max < policy.Min)
        {
            yaml.Fault("max", $"must be at least 'min', which is {policy.Min}");
        }

        if (policy.Idle < TimeSpan.FromSeconds(1))
        {
            yaml.Fault("idle", "must be at least 1s");
        }

        return policy;
    }
}
