namespace Slipway.Serving;

/// <summary>What a version does for a model's traffic.</summary>
public enum ArmRole
{
    /// <summary>Answers all requests that no candidate takes.</summary>
    Stable,

    /// <summary>Answers its share.</summary>
    Candidate,

    /// <summary>Sees copies; its answers are compared and logged, never sent.</summary>
    Shadow,

    /// <summary>Was named by the caller: its answers are logged, but count for no arm.</summary>
    Direct,

    /// <summary>Answered because the version that should have failed: its answers are logged, but count for no arm.</summary>
    Fallback,
}

/// <summary>A loaded version in a role.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Model">The version.</param>
public sealed record Arm(ArmRole Role, LoadedModel Model)
{
    /// <summary>The semantic version.</summary>
    public string Version => Model.Version;

    /// <summary>Whether what it answers counts in comparisons.</summary>
    internal bool Counts => Role is not (ArmRole.Direct or ArmRole.Fallback);

    /// <summary>Whether its answers are sent to those who ask for the model, whichever version it is.</summary>
    internal bool Answers => Role is ArmRole.Stable or ArmRole.Candidate or ArmRole.Fallback;

    /// <summary>Its counters.</summary>
    internal ArmStatistics Statistics => Counts ? Model.Statistics : Model.DirectStatistics;

    /// <summary>The role as logged and answered: <c>stable</c>, <c>candidate</c>, <c>shadow</c>, <c>direct</c> or <c>fallback</c>.</summary>
    public string Name => NameOf(Role);

    internal static string NameOf(ArmRole role) => role switch
    {
        ArmRole.Stable => "stable",
        ArmRole.Candidate => "candidate",
        ArmRole.Shadow => "shadow",
        ArmRole.Direct => "direct",
        _ => "fallback",
    };
}
