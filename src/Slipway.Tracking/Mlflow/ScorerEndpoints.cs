using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking.Mlflow;

/// <summary>MLflow's scorers.</summary>
internal static class ScorerEndpoints
{
    /// <summary>Maps what lies below <c>/3.0/mlflow</c>.</summary>
    public static void MapScorers(RouteGroupBuilder group)
    {
        group.MapPost("/scorers/register", Register).May(Permission.Write);
        group.MapGet("/scorers/list", List).May(Permission.Read);
        group.MapGet("/scorers/get", Get).May(Permission.Read);
        group.MapGet("/scorers/versions", Versions).May(Permission.Read);
        group.MapDelete("/scorers/delete", Delete).May(Permission.Write);
    }

    private static async Task<IResult> Register(HttpContext context, ScorerStore scorers, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ScorerRequest>(context, cancellationToken);
        var scorer = await scorers.RegisterAsync(
            MlflowHttp.Required(request.ExperimentId, "experiment_id"), MlflowHttp.Required(request.Name, "name"),
            MlflowHttp.Required(request.SerializedScorer, "serialized_scorer"), by, cancellationToken);
        return MlflowHttp.Answer(new RegisterScorerResponse(
            scorer.ScorerVersion, scorer.ScorerId, ExperimentStore.Text(scorer.ExperimentId), scorer.ScorerName, scorer.SerializedScorer, scorer.CreationTime));
    }

    private static IResult List(HttpContext context, ScorerStore scorers) =>
        MlflowHttp.Answer(new ScorerList(MlflowHttp.OrNull(scorers.List(Query(context, "experiment_id")))));

    private static IResult Get(HttpContext context, ScorerStore scorers) =>
        MlflowHttp.Answer(new ScorerAnswer(scorers.Get(Query(context, "experiment_id"), Query(context, "name"), MlflowHttp.QueryLong(context, "version"))));

    private static IResult Versions(HttpContext context, ScorerStore scorers) =>
        MlflowHttp.Answer(new ScorerList(scorers.Versions(Query(context, "experiment_id"), Query(context, "name"))));

    private static async Task<IResult> Delete(HttpContext context, ScorerStore scorers, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ScorerRequest>(context, cancellationToken);
        await scorers.DeleteAsync(
            MlflowHttp.Required(request.ExperimentId, "experiment_id"), MlflowHttp.Required(request.Name, "name"), request.Version, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static string Query(HttpContext context, string name) => MlflowHttp.Required(MlflowHttp.Query(context, name), name);
}
