using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Storage;

namespace Slipway.Serving.Rollouts;

/// <summary>Maps the rollouts' routes.</summary>
internal static class RolloutEndpoints
{
    private const string Path = "/api/slipway/v1/rollouts";

    public static void MapSlipwayRollouts(this IEndpointRouteBuilder app)
    {
        app.MapPost(Path, Start).WithSummary("Start a rollout of a version").WithMetadata(new RequiredAccess(Permission.Write));
        app.MapGet(Path, List).WithSummary("List rollouts, newest first").WithMetadata(new RequiredAccess(Permission.Read));
        app.MapGet(Path + "/{id}", Get).WithSummary("One rollout with its steps, evidence and decisions").WithMetadata(new RequiredAccess(Permission.Read));
        app.MapPost(Path + "/{id}/abort", Abort).WithSummary("Send all traffic back to the stable version").WithMetadata(new RequiredAccess(Permission.Write));
    }

    internal static async Task<Created<RolloutResponse>> Start(StartRolloutRequest request, RolloutController controller, RolloutStore store, Caller by, CancellationToken ct)
    {
        var row = await controller.StartAsync(request, by, ct);
        return TypedResults.Created($"{Path}/{row.Id}", Respond(row, controller, store, decisions: true));
    }

    internal static Ok<RolloutListResponse> List(RolloutController controller, RolloutStore store, string? model = null) =>
        TypedResults.Ok(new RolloutListResponse([.. store.List(model).Select(row => Respond(row, controller, store, decisions: false))]));

    internal static Ok<RolloutResponse> Get(string id, RolloutController controller, RolloutStore store) =>
        TypedResults.Ok(Respond(store.Get(id), controller, store, decisions: true));

    internal static async Task<Ok<RolloutResponse>> Abort(
        string id, AbortRolloutRequest request, RolloutController controller, RolloutStore store, Caller by, CancellationToken ct) =>
        TypedResults.Ok(Respond(await controller.AbortAsync(id, request.Reason, by, ct), controller, store, decisions: true));

    private static RolloutResponse Respond(RolloutRow row, RolloutController controller, RolloutStore store, bool decisions)
    {
        var spec = controller.SpecOf(row);
        var steps = store.Steps(row.Id);
        var endReason = row.EndReason;
        if (row.Status == RolloutStatus.Running && controller.Latest(row.Id) is { } latest && latest.Step == row.Step)
        {
            // The stored counts are those of the last stored decision; the newest look is fresher.
            steps =
            [
                .. steps.Select(step => step.Number != row.Step + 1 ? step : step with
                {
                    Requests = latest.Evidence.Candidate.Requests, Errors = latest.Evidence.Candidate.Errors,
                    StableRequests = latest.Evidence.Stable.Requests, StableErrors = latest.Evidence.Stable.Errors, Gates = latest.Decision.Gates,
                }),
            ];
            endReason = latest.Decision.Reason;
        }

        return new RolloutResponse(
            row.Id, row.Model, row.Version, row.StableVersion, row.Status, row.Step + 1, $"{row.SpecName}@{row.SpecVersion}", spec.Alpha, spec.AlphaPerCheck,
            row.RequestedBy, row.StartReason, row.StartedAt, row.EndedAt, endReason, row.RestoreMs, steps, decisions ? store.Decisions(row.Id) : []);
    }
}
