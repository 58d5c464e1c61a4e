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
}

/// <summary>A loaded version in a role.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Model">The version.</param>
public sealed record Arm(ArmRole Role, LoadedModel Model)
{
    /// <summary>The semantic version.</summary>
    public string Version => Model.Version;

    /// <summary>The role as logged and answered: <c>stable</c>, <c>candidate</c>, <c>shadow</c> or <c>direct</c>.</summary>
    public string Name => NameOf(Role);

    internal static string NameOf(ArmRole role) => role switch
    {
        ArmRole.Stable => "stable",
        ArmRole.Candidate => "candidate",
        ArmRole.Shadow => "shadow",
        _ => "direct",
    };
}
