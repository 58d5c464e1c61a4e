using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Serving.Reviews;
using Slipway.Storage;
using Slipway.Web.Pages.Experiments;

namespace Slipway.Web.Pages.Deployments;

/// <summary>The page on which people decide close cases. A form that was sent leads back to the page, so that a reload does not send it again.</summary>
internal static class ReviewPagesEndpoints
{
    public static void MapReviewPages(this IEndpointRouteBuilder pages)
    {
        pages.MapGet("/deployments/{model}/review", (string model, string? after, HttpContext context) => Show(model, after, context, null, null));
        pages.MapPost("/deployments/{model}/review/{id}", async (string model, string id, HttpContext context, ReviewStore store, Caller by, CancellationToken ct) =>
        {
            var form = await ExperimentPagesEndpoints.ReadFormAsync(context.Request, ct);
            try
            {
                if (store.Get(id).Model != model)
                {
                    throw new SlipwayException(ErrorCode.NotFound, $"There is no case '{id}' of model '{model}'.");
                }

                var decision = double.TryParse(form["decision"], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value
                    : throw new SlipwayException(ErrorCode.InvalidArgument, "The decision is not a number; give 1 for yes, 0 for no, or the figure itself.");
                await store.DecideAsync(id, decision, form["reason"].ToString().Trim(), by, ct);
                return Results.LocalRedirect($"/deployments/{Uri.EscapeDataString(model)}/review");
            }
            catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.FailedPrecondition)
            {
                return Show(model, null, context, id, e.Message);
            }
        }).WithMetadata(new RequiredAccess(Permission.Approve));
    }

    private static RazorComponentResult Show(string model, string? after, HttpContext context, string? faultOf, string? fault) => PageRoute.Of<ReviewPage>(
        new { Model = model, After = after, MayDecide = CallerIdentity.Of(context.User)?.Access.May(Permission.Approve) is true, FaultOf = faultOf, Fault = fault });
}
