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
        app.MapPost(Path + "/{id}/pause", Pause).WithSummary("Keep a rollout in its step; breaches still take it back").WithMetadata(new RequiredAccess(Permission.Operate));
        app.MapPost(Path + "/{id}/resume", Resume).WithSummary("Let a paused rollout go on").WithMetadata(new RequiredAccess(Permission.Operate));
        app.MapPost(Path + "/{id}/promote", Promote).WithSummary("Begin the next step, or finish, without waiting").WithMetadata(new RequiredAccess(Permission.Operate));
        app.MapPost(Path + "/{id}/replay", Replay).WithSummary("Ask the rules about the stored evidence again").WithMetadata(new RequiredAccess(Permission.Read));
    }

    internal static Ok<RolloutReplayResponse> Replay(string id, ReplayRolloutRequest request, RolloutReplay replay) => TypedResults.Ok(replay.Run(id, request.Definition));

    internal static async Task<Created<RolloutResponse>> Start(StartRolloutRequest request, RolloutController controller, RolloutReports reports, Caller by, CancellationToken ct)
    {
        var row = await controller.StartAsync(request, by, ct);
        return TypedResults.Created($"{Path}/{row.Id}", reports.Of(row, decisions: true));
    }

    internal static Ok<RolloutListResponse> List(RolloutReports reports, Caller by, string? model = null) =>
        TypedResults.Ok(new RolloutListResponse(by.Access.Visible(ResourceKind.Model, reports.List(model), rollout => rollout.Model)));

    internal static Ok<RolloutResponse> Get(string id, RolloutReports reports) => TypedResults.Ok(reports.Get(id));

    internal static async Task<Ok<RolloutResponse>> Abort(string id, AbortRolloutRequest request, RolloutControls controls, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await controls.AbortAsync(id, request.Reason, by, ct));

    internal static async Task<Ok<RolloutResponse>> Pause(string id, PauseRolloutRequest request, RolloutControls controls, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await controls.PauseAsync(id, request.Reason, by, ct));

    internal static async Task<Ok<RolloutResponse>> Resume(string id, ResumeRolloutRequest request, RolloutControls controls, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await controls.ResumeAsync(id, request.Reason, by, ct));

    internal static async Task<Ok<RolloutResponse>> Promote(string id, PromoteRolloutRequest request, RolloutControls controls, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await controls.PromoteAsync(id, request.Reason, request.ToFull, request.FromStep, by, ct));
}
