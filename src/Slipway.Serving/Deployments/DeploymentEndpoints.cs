using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Serving.Predictions;
using Slipway.Storage;

namespace Slipway.Serving.Deployments;

/// <summary>Maps what runs and what ran.</summary>
internal static class DeploymentEndpoints
{
    public static void MapDeployments(this IEndpointRouteBuilder app)
    {
        app.MapGet("/api/slipway/v1/deployments", (DeploymentReports reports, Caller by) => TypedResults.Ok(by.Access.Visible(ResourceKind.Model, reports.List(), summary => summary.Model)))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List what runs now");
        app.MapGet("/api/slipway/v1/deployments/{model}", (string model, DeploymentReports reports) => TypedResults.Ok(reports.Get(model)))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Show what runs for a model, what ran before, and its traffic");
        app.MapGet("/api/slipway/v1/deployments/{model}/predictions", (string model, LoggedPredictions predictions, CancellationToken ct) => predictions.CountAsync(model, ct))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Count the logged predictions of each version in each role, over all restarts");
    }
}
