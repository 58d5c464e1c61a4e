using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking.Mlflow;

/// <summary>MLflow's experiments API.</summary>
internal static class ExperimentEndpoints
{
    private const int ExperimentsOfDatasetsMax = 20;

    public static void MapExperiments(RouteGroupBuilder group)
    {
        group.MapPost("/experiments/create", Create).May(Permission.Write);
        group.MapGet("/experiments/get", Get).May(Permission.Read);
        group.MapGet("/experiments/get-by-name", GetByName).May(Permission.Read);
        group.MapGet("/experiments/search", SearchByQuery).May(Permission.Read);
        group.MapGet("/experiments/list", SearchByQuery).May(Permission.Read); // MLflow before 2.0; clients of that time still run.
        group.MapPost("/experiments/search", SearchByBody).May(Permission.Read);
        group.MapPost("/experiments/update", Update).May(Permission.Write);
        group.MapPost("/experiments/delete", Delete).May(Permission.Write);
        group.MapPost("/experiments/restore", Restore).May(Permission.Write);
        group.MapPost("/experiments/set-experiment-tag", SetTag).May(Permission.Write);
        group.MapPost("/experiments/delete-experiment-tag", DeleteTag).May(Permission.Write);
        group.MapPost("/experiments/search-datasets", SearchDatasets).May(Permission.Read);
    }

    /// <summary>MLflow 3.6 serves this one without the slash that its proto file forgot; its clients call what it serves.</summary>
    public static void MapMisspelt(IEndpointRouteBuilder app)
    {
        foreach (var group in MlflowHttp.Groups(app, "/2.0mlflow"))
        {
            group.MapPost("/experiments/search-datasets", SearchDatasets).May(Permission.Read);
        }
    }

    private static async Task<IResult> Create(HttpContext context, ExperimentStore experiments, DirectArtifacts direct, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateExperimentRequest>(context, cancellationToken);
        // A place anywhere is how others have been made to read /etc.
        var location = string.IsNullOrEmpty(request.ArtifactLocation) ? null : direct.Checked(request.ArtifactLocation);
        var id = await experiments.CreateAsync(MlflowHttp.Required(request.Name, "name"), MlflowHttp.Tags(request.Tags), location, by, cancellationToken);
        return MlflowHttp.Answer(new CreateExperimentResponse(id));
    }

    private static IResult Get(HttpContext context, ExperimentStore experiments)
    {
        var id = MlflowHttp.Required(MlflowHttp.Query(context, "experiment_id"), "experiment_id");
        return MlflowHttp.Answer(new ExperimentResponse(Message(experiments.Find(id) ?? throw ExperimentStore.NoExperiment(id))));
    }

    private static IResult GetByName(HttpContext context, ExperimentStore experiments)
    {
        var name = MlflowHttp.Required(MlflowHttp.Query(context, "experiment_name"), "experiment_name");
        var found = experiments.FindByName(name) ?? throw new SlipwayException(ErrorCode.NotFound, $"Could not find experiment with name '{name}'.");
        return MlflowHttp.Answer(new ExperimentResponse(Message(found)));
    }

    private static IResult SearchByQuery(HttpContext context, ExperimentStore experiments, Caller by) => Search(experiments, by, new SearchExperimentsRequest(
        MlflowHttp.QueryNumber(context, "max_results"), MlflowHttp.Query(context, "page_token"), MlflowHttp.Query(context, "filter"),
        MlflowHttp.QueryAll(context, "order_by"), MlflowHttp.Query(context, "view_type")));

    private static async Task<IResult> SearchByBody(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken) =>
        Search(experiments, by, await MlflowHttp.ReadAsync<SearchExperimentsRequest>(context, cancellationToken));

    private static IResult Search(ExperimentStore experiments, Caller by, SearchExperimentsRequest request)
    {
        var page = experiments.Search(new ExperimentSearch(
            request.Filter, request.OrderBy, request.MaxResults ?? 1000, request.PageToken, MlflowHttp.View(request.ViewType, "view_type"),
            by.Access.Filter(ResourceKind.Experiment)));
        return MlflowHttp.Answer(new SearchExperimentsResponse(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static async Task<IResult> Update(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken)
    {
        var (request, id) = await ReadChange(context, cancellationToken);
        await experiments.RenameAsync(id, MlflowHttp.Required(request.NewName, "new_name"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Delete(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken)
    {
        await experiments.SetDeletedAsync((await ReadChange(context, cancellationToken)).Id, true, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Restore(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken)
    {
        await experiments.SetDeletedAsync((await ReadChange(context, cancellationToken)).Id, false, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> SetTag(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken)
    {
        var (request, id) = await ReadChange(context, cancellationToken);
        await experiments.SetTagAsync(id, MlflowHttp.Required(request.Key, "key"), request.Value ?? "", by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> DeleteTag(HttpContext context, ExperimentStore experiments, Caller by, CancellationToken cancellationToken)
    {
        var (request, id) = await ReadChange(context, cancellationToken);
        await experiments.DeleteTagAsync(id, MlflowHttp.Required(request.Key, "key"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> SearchDatasets(HttpContext context, RunStore runs, CancellationToken cancellationToken)
    {
        var ids = (await MlflowHttp.ReadAsync<SearchDatasetsRequest>(context, cancellationToken)).ExperimentIds ?? [];
        if (ids.Count is < 1 or > ExperimentsOfDatasetsMax)
        {
            throw RunLimits.Invalid($"SearchDatasets request must specify from 1 to {ExperimentsOfDatasetsMax} experiment_ids. Received {ids.Count} experiment_ids.");
        }

        return MlflowHttp.Answer(new SearchDatasetsResponse(MlflowHttp.OrNull(runs.DatasetsOf([.. ids.OfType<string>()])
            .Select(used => new MlflowDatasetSummary(used.ExperimentId, used.Name, used.Digest, used.Context)))));
    }

    private static async Task<(ChangeExperimentRequest Request, string Id)> ReadChange(HttpContext context, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ChangeExperimentRequest>(context, cancellationToken);
        return (request, MlflowHttp.Required(request.ExperimentId, "experiment_id"));
    }

    private static MlflowExperiment Message(ExperimentRecord experiment) => new(
        experiment.ExperimentId, experiment.Name, experiment.ArtifactLocation, experiment.Deleted ? "deleted" : "active",
        experiment.UpdatedAtMs, experiment.CreatedAtMs, MlflowHttp.Tags(experiment.Tags));
}
