using Slipway.Contracts.Tracking;
using Slipway.Web.Pages.Shared;

namespace Slipway.Web.Pages.Experiments;

/// <summary>How a run stands.</summary>
public static class RunSign
{
    public static Sign Of(RunRecord run) => Of(run.Status);

    public static Sign Of(RunStatus status) => status switch
    {
        RunStatus.Finished => Sign.Ok,
        RunStatus.Failed => Sign.Bad,
        RunStatus.Killed => Sign.Warn,
        _ => Sign.Unknown,
    };
}
