using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Serving;
using Slipway.Serving.Rollouts;
using Slipway.Storage;
using Slipway.Web.Pages.Experiments;

namespace Slipway.Web.Pages.Deployments;

/// <summary>The page of a rollout and what a person tells it there. A form that was sent leads back to the page, so that a reload does not send it again.</summary>
internal static class RolloutPagesEndpoints
{
    public static void MapRolloutPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/rollouts/{id}", (string id, HttpContext context) => PageRoute.Of<RolloutPage>(new { Id = id, MayOperate = MayOperate(context) }));
        foreach (var (verb, typed, act) in ((string, bool, Func<RolloutControls, string, string, int?, Caller, CancellationToken, Task<RolloutResponse>>)[])
            [
                ("pause", false, (controls, id, reason, _, by, ct) => controls.PauseAsync(id, reason, by, ct)),
                ("resume", false, (controls, id, reason, _, by, ct) => controls.ResumeAsync(id, reason, by, ct)),
                ("promote", false, (controls, id, reason, step, by, ct) => controls.PromoteAsync(id, reason, toFull: false, step, by, ct)),
                ("finish", true, (controls, id, reason, _, by, ct) => controls.PromoteAsync(id, reason, toFull: true, null, by, ct)),
                ("abort", true, (controls, id, reason, _, by, ct) => controls.AbortAsync(id, reason, by, ct)),
            ])
        {
            pages.MapPost($"/rollouts/{{id}}/{verb}", async (string id, HttpContext context, RolloutControls controls, RolloutReports reports, Caller by, CancellationToken ct) =>
            {
                var form = await ExperimentPagesEndpoints.ReadFormAsync(context.Request, ct);
                var reason = form["reason"].ToString().Trim();
                try
                {
                    if (typed && reports.Get(id) is var rollout && form["version"].ToString().Trim() != rollout.Version)
                    {
                        throw new SlipwayException(ErrorCode.InvalidArgument, $"Type the version, {rollout.Version}, to show that it is the one you mean to {verb}.");
                    }

                    await act(controls, id, reason, int.TryParse(form["step"], NumberStyles.None, CultureInfo.InvariantCulture, out var step) ? step : null, by, ct);
                    return Results.LocalRedirect($"/rollouts/{Uri.EscapeDataString(id)}");
                }
                catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.PermissionDenied or ErrorCode.FailedPrecondition)
                {
                    return PageRoute.Of<RolloutPage>(new { Id = id, MayOperate = true, Fault = e.Message, Reason = reason });
                }
            }).WithMetadata(new RequiredAccess(Permission.Operate));
        }
    }

    private static bool MayOperate(HttpContext context) => CallerIdentity.Of(context.User)?.Access.May(Permission.Operate) is true;
}
