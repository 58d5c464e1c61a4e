using Slipway.Contracts.Serving;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Deployments;

/// <summary>How rollouts and their checks stand.</summary>
public static class RolloutSign
{
    public static Sign Of(RolloutStatus status) => status switch
    {
        RolloutStatus.Completed => Sign.Ok,
        RolloutStatus.RolledBack => Sign.Bad,
        RolloutStatus.Aborted => Sign.Warn,
        _ => Sign.Unknown,
    };

    public static Sign Of(GateVerdict verdict) => verdict switch
    {
        GateVerdict.Quiet => Sign.Ok,
        GateVerdict.Leaning => Sign.Warn,
        GateVerdict.Breached => Sign.Bad,
        _ => Sign.Unknown,
    };

    public static string Name(RolloutStatus status) => status is RolloutStatus.RolledBack ? "rolled back" : status.ToString().ToLowerInvariant();

    public static string Name(RolloutStepResponse step) => step.Shadow ? "shadow" : step.Percent < 0 ? "by flag" : Format.Percent(step.Percent / 100);
}
