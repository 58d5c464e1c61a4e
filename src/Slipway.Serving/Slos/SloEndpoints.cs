using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;

namespace Slipway.Serving.Slos;

/// <summary>Maps how the objectives are kept.</summary>
internal static class SloEndpoints
{
    public static void MapSlos(this IEndpointRouteBuilder app)
    {
        app.MapGet("/api/slipway/v1/slos", (SloReports reports, Caller by) => TypedResults.Ok(by.Access.Visible(ResourceKind.Model, reports.List(), report => report.Model)))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("List the objectives of all models, what is left of their error budgets and how fast they are spent");
        app.MapGet("/api/slipway/v1/slos/{model}", (string model, SloReports reports) => TypedResults.Ok(reports.Get(model)))
            .WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Show a model's objectives and their alerts");
    }
}
