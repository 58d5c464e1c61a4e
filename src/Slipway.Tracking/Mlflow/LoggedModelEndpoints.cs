using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Tracking.Mlflow;

/// <summary>MLflow 3's logged models API.</summary>
internal static class LoggedModelEndpoints
{
    public static void MapLoggedModels(RouteGroupBuilder group)
    {
        group.MapPost("/logged-models", Create).May(Permission.Write);
        group.MapPost("/logged-models/search", Search).May(Permission.Read);
        group.MapGet("/logged-models/{model_id}", Get).May(Permission.Read);
        group.MapPatch("/logged-models/{model_id}", SetStatus).May(Permission.Write);
        group.MapDelete("/logged-models/{model_id}", Delete).May(Permission.Write);
        group.MapPatch("/logged-models/{model_id}/tags", SetTags).May(Permission.Write);
        group.MapDelete("/logged-models/{model_id}/tags/{tag_key}", DeleteTag).May(Permission.Write);
        group.MapPost("/logged-models/{model_id}/params", LogParameters).May(Permission.Write);
        group.MapGet("/logged-models/{model_id}/artifacts/directories", ListFiles).May(Permission.Read);
        group.MapGet("/logged-models/{model_id}/artifacts/files", Download).May(Permission.Read);
    }

    private static async Task<IResult> Create(HttpContext context, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateLoggedModelRequest>(context, cancellationToken);
        return Answer(await models.CreateAsync(
            MlflowHttp.Required(request.ExperimentId, "experiment_id"), request.Name, request.ModelType, request.SourceRunId,
            [.. RunEndpoints.Pairs(request.Params, "params")], [.. RunEndpoints.Pairs(request.Tags, "tags")], by, cancellationToken));
    }

    private static IResult Get(HttpContext context, LoggedModelStore models) => Answer(models.Get(ModelId(context)));

    private static async Task<IResult> SetStatus(HttpContext context, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ChangeLoggedModelRequest>(context, cancellationToken);
        var status = MlflowHttp.Required(request.Status, "status") switch
        {
            "LOGGED_MODEL_READY" or "2" => LoggedModelStatus.Ready,
            "LOGGED_MODEL_UPLOAD_FAILED" or "3" => LoggedModelStatus.UploadFailed,
            var other => throw RunLimits.Invalid($"Invalid value '{other}' for parameter 'status' supplied: it must be LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED."),
        };
        return Answer(await models.FinalizeAsync(ModelId(context), status, by, cancellationToken));
    }

    private static async Task<IResult> Delete(HttpContext context, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        await models.DeleteAsync(ModelId(context), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> SetTags(HttpContext context, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ChangeLoggedModelRequest>(context, cancellationToken);
        return Answer(await models.SetTagsAsync(ModelId(context), [.. RunEndpoints.Pairs(request.Tags, "tags")], by, cancellationToken));
    }

    private static async Task<IResult> DeleteTag(HttpContext context, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        await models.DeleteTagAsync(ModelId(context), MlflowHttp.Route(context, "tag_key"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> LogParameters(HttpContext context, LoggedModelStore models, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ChangeLoggedModelRequest>(context, cancellationToken);
        await models.LogParametersAsync(ModelId(context), [.. RunEndpoints.Pairs(request.Params, "params")], cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Search(HttpContext context, LoggedModelStore models, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<SearchLoggedModelsRequest>(context, cancellationToken);
        var page = models.Search(new LoggedModelSearch(
            [.. (request.ExperimentIds ?? []).OfType<string>()], request.Filter,
            [.. (request.Datasets ?? []).Select((dataset, index) => new DatasetChoice(
                MlflowHttp.Required(dataset?.DatasetName, $"datasets[{index}].dataset_name"), OrNull(dataset!.DatasetDigest)))],
            [.. (request.OrderBy ?? []).Select(Order)], request.MaxResults ?? 100, request.PageToken));
        return MlflowHttp.Answer(new SearchLoggedModelsResponse(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static IResult ListFiles(HttpContext context, LoggedModelStore models, ArtifactStore artifacts)
    {
        var model = models.Get(ModelId(context));
        var files = ArtifactEndpoints.Children(artifacts.List(model.ModelId), MlflowHttp.Query(context, "artifact_directory_path"), fullPath: true);
        return MlflowHttp.Answer(new ListArtifactsResponse(model.ArtifactUri, MlflowHttp.OrNull(files)));
    }

    private static IResult Download(HttpContext context, LoggedModelStore models, ArtifactStore artifacts, BlobStore blobs)
    {
        var model = models.Get(ModelId(context));
        var path = MlflowHttp.Required(MlflowHttp.Query(context, "artifact_file_path"), "artifact_file_path");
        return ArtifactEndpoints.Send(context, artifacts.Get(model.ModelId, path), blobs);
    }

    private static LoggedModelOrder Order(MlflowModelOrder? term, int index)
    {
        var field = MlflowHttp.Required(term?.FieldName, $"order_by[{index}].field_name");
        if (string.IsNullOrEmpty(term!.DatasetName) && !string.IsNullOrEmpty(term.DatasetDigest))
        {
            throw RunLimits.Invalid($"'order_by[{index}].dataset_digest' needs 'dataset_name' beside it.");
        }

        return new LoggedModelOrder(
            field, term.Ascending is false, string.IsNullOrEmpty(term.DatasetName) ? null : new DatasetChoice(term.DatasetName, OrNull(term.DatasetDigest)));
    }

    private static string ModelId(HttpContext context) => MlflowHttp.Route(context, "model_id");

    private static string? OrNull(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static IResult Answer(LoggedModelRecord model) => MlflowHttp.Answer(new LoggedModelResponse(Message(model)));

    private static MlflowLoggedModel Message(LoggedModelRecord model) => new(
        new MlflowLoggedModelInfo(
            model.ModelId, model.ExperimentId, model.Name, model.CreatedAtMs, model.UpdatedAtMs, model.ArtifactUri, LoggedModelStore.StatusPrefix + LoggedModelStore.StatusText(model.Status),
            model.ModelType, model.SourceRunId, MlflowHttp.Tags(model.Tags)),
        new MlflowLoggedModelData(
            MlflowHttp.Tags(model.Parameters),
            MlflowHttp.OrNull(model.Metrics.Select(metric => new MlflowMetric(
                metric.Point.Key, metric.Point.Value, metric.Point.TimestampMs, metric.Point.Step, metric.DatasetName, metric.DatasetDigest, model.ModelId, metric.RunId)))));
}
