using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>Maps the rollouts' routes.</summary>
internal static class RolloutEndpoints
{
    private const string Path = "/api/slipway/v1/rollouts";

    public static void MapSlipwayRollouts(this IEndpointRouteBuilder app)
    {
        app.MapPost(Path, Start).WithSummary("Start a rollout of a version").WithMetadata(new RequiredAccess(Permission.Operate));
        app.MapGet(Path, List).WithSummary("List rollouts, newest first").WithMetadata(new RequiredAccess(Permission.Read));
        app.MapGet(Path + "/{id}", Get).WithSummary("One rollout with its steps, evidence and decisions").WithMetadata(new RequiredAccess(Permission.Read));
        app.MapPost(Path + "/{id}/abort", Abort).WithSummary("Send all traffic back to the stable version").WithMetadata(new RequiredAccess(Permission.Operate));
    }

    internal static async Task<Created<RolloutResponse>> Start(StartRolloutRequest request, RolloutController controller, RolloutReports reports, Caller by, CancellationToken ct)
    {
        var row = await controller.StartAsync(request, by, ct);
        return TypedResults.Created($"{Path}/{row.Id}", reports.Of(row, decisions: true));
    }

    internal static Ok<RolloutListResponse> List(RolloutReports reports, Caller by, string? model = null) =>
        TypedResults.Ok(new RolloutListResponse(by.Access.Visible(ResourceKind.Model, reports.List(model), rollout => rollout.Model)));

    internal static Ok<RolloutResponse> Get(string id, RolloutReports reports) => TypedResults.Ok(reports.Get(id));

    internal static async Task<Ok<RolloutResponse>> Abort(
        string id, AbortRolloutRequest request, RolloutController controller, RolloutReports reports, Caller by, CancellationToken ct) =>
        TypedResults.Ok(reports.Of(await controller.AbortAsync(id, request.Reason, by, ct), decisions: true));
}
