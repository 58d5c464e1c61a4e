using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tracking.Mlflow;
using Slipway.Tracking.Traces;

namespace Slipway.Tracking.EvaluationDatasets;

/// <summary>MLflow's evaluation datasets. Its messages carry tags, schema, profile and records as JSON within a string.</summary>
internal static class EvaluationDatasetEndpoints
{
    private const int SearchResultsDefault = 50;
    private const int RecordsDefault = 1000;
    private const int BodyBytesMax = 64 * 1024 * 1024;

    /// <summary>Maps what lies below <c>/3.0/mlflow</c>.</summary>
    public static void MapDatasets(RouteGroupBuilder group)
    {
        group.MapPost("/datasets/create", Create).May(Permission.Write);
        group.MapGet("/datasets/search", SearchByQuery).May(Permission.Read);
        group.MapPost("/datasets/search", Search).May(Permission.Read);
        group.MapGet("/datasets/{dataset_id}", Get).May(Permission.Read);
        group.MapDelete("/datasets/{dataset_id}", Delete).May(Permission.Write);
        group.MapPatch("/datasets/{dataset_id}/tags", SetTags).May(Permission.Write);
        group.MapDelete("/datasets/{dataset_id}/tags/{key}", DeleteTag).May(Permission.Write);
        group.MapPost("/datasets/{dataset_id}/records", Upsert).May(Permission.Write);
        group.MapGet("/datasets/{dataset_id}/records", Records).May(Permission.Read);
        group.MapGet("/datasets/{dataset_id}/experiment-ids", ExperimentIds).May(Permission.Read);
        group.MapPost("/datasets/{dataset_id}/add-experiments", AddExperiments).May(Permission.Write);
        group.MapPost("/datasets/{dataset_id}/remove-experiments", RemoveExperiments).May(Permission.Write);
    }

    private static async Task<IResult> Create(HttpContext context, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateDatasetRequest>(context, cancellationToken);
        var name = MlflowHttp.Required(request.Name, "name");
        RunLimits.CheckLength("'name'", name, 255);
        TraceLimits.CheckText("'name'", name);
        RunLimits.CheckLength("'created_by'", request.CreatedBy, 255);
        TraceLimits.CheckText("'created_by'", request.CreatedBy);
        var tags = Tags(request.Tags, "tags").Where(tag => tag.Value is not null).ToDictionary(tag => tag.Key, tag => tag.Value!, StringComparer.Ordinal);
        return Answer(await datasets.CreateAsync(
            name, Texts(request.ExperimentIds), tags, Json(request.Schema, "schema"), Json(request.Profile, "profile"), request.CreatedBy ?? tags.GetValueOrDefault("mlflow.user"), by, cancellationToken));
    }

    private static IResult Get([FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets) => Answer(datasets.Get(datasetId));

    private static async Task<IResult> Delete([FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken)
    {
        await datasets.DeleteAsync(datasetId, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Search(HttpContext context, EvaluationDatasetStore datasets, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<SearchDatasetsRequest>(context, cancellationToken);
        return Found(datasets, new EvaluationDatasetSearch(
            Texts(request.ExperimentIds), request.FilterString, Texts(request.OrderBy), request.MaxResults ?? SearchResultsDefault, request.PageToken));
    }

    private static IResult SearchByQuery(HttpContext context, EvaluationDatasetStore datasets) => Found(datasets, new EvaluationDatasetSearch(
        Texts(context.Request.Query["experiment_ids"]), MlflowHttp.Query(context, "filter_string"), Texts(context.Request.Query["order_by"]),
        MlflowHttp.QueryNumber(context, "max_results") ?? SearchResultsDefault, MlflowHttp.Query(context, "page_token")));

    private static async Task<IResult> SetTags(HttpContext context, [FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<DatasetTagsRequest>(context, cancellationToken);
        return Answer(await datasets.SetTagsAsync(datasetId, Tags(MlflowHttp.Required(request.Tags, "tags"), "tags"), by, cancellationToken));
    }

    private static async Task<IResult> DeleteTag([FromRoute(Name = "dataset_id")] string datasetId, string key, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken)
    {
        await datasets.DeleteTagAsync(datasetId, key, by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Upsert(HttpContext context, [FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<UpsertRecordsRequest>(context, cancellationToken, BodyBytesMax);
        RunLimits.CheckLength("'updated_by'", request.UpdatedBy, 255);
        TraceLimits.CheckText("'updated_by'", request.UpdatedBy);
        var (inserted, updated) = await datasets.UpsertAsync(datasetId, RecordReader.Read(MlflowHttp.Required(request.Records, "records")), request.UpdatedBy, by, cancellationToken);
        return MlflowHttp.Answer(new UpsertRecordsResponse(inserted, updated));
    }

    private static IResult Records(HttpContext context, [FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets)
    {
        var page = datasets.Records(datasetId, MlflowHttp.QueryNumber(context, "max_results") ?? RecordsDefault, MlflowHttp.Query(context, "page_token"));
        return MlflowHttp.Answer(new RecordsResponse(JsonSerializer.Serialize(page.Items.Select(Message), MlflowJson.Options), page.NextCursor));
    }

    private static IResult ExperimentIds([FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets) =>
        MlflowHttp.Answer(new ExperimentIdsMessage(datasets.Get(datasetId).ExperimentIds));

    private static Task<IResult> AddExperiments(HttpContext context, [FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken) =>
        SetExperiments(context, datasetId, datasets, uses: true, by, cancellationToken);

    private static Task<IResult> RemoveExperiments(HttpContext context, [FromRoute(Name = "dataset_id")] string datasetId, EvaluationDatasetStore datasets, Caller by, CancellationToken cancellationToken) =>
        SetExperiments(context, datasetId, datasets, uses: false, by, cancellationToken);

    private static async Task<IResult> SetExperiments(HttpContext context, string datasetId, EvaluationDatasetStore datasets, bool uses, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<ExperimentIdsRequest>(context, cancellationToken);
        var ids = Texts(request.ExperimentIds);
        return ids.Count == 0
            ? throw RunLimits.Invalid("Missing value for required parameter 'experiment_ids'.")
            : Answer(await datasets.SetExperimentsAsync(datasetId, ids, uses, by, cancellationToken));
    }

    private static IResult Found(EvaluationDatasetStore datasets, EvaluationDatasetSearch search)
    {
        var page = datasets.Search(search);
        return MlflowHttp.Answer(new SearchDatasetsResponse(MlflowHttp.OrNull(page.Items.Select(Message)), page.NextCursor));
    }

    private static IResult Answer(EvaluationDataset dataset) => MlflowHttp.Answer(new DatasetHolder(Message(dataset)));

    private static DatasetMessage Message(EvaluationDataset dataset) => new(
        dataset.DatasetId, dataset.Name, JsonSerializer.Serialize(dataset.Tags), dataset.Schema, dataset.Profile, dataset.Digest, dataset.CreatedAtMs, dataset.UpdatedAtMs,
        dataset.CreatedBy, dataset.LastUpdatedBy, MlflowHttp.OrNull(dataset.ExperimentIds));

    private static RecordMessage Message(EvaluationRecord record) => new(
        record.RecordId, record.DatasetId, record.Inputs, record.Outputs, record.Expectations, record.Tags, record.Source, record.SourceId, record.SourceType, record.CreatedAtMs,
        record.UpdatedAtMs, record.CreatedBy, record.LastUpdatedBy);

    private static List<string> Texts(IEnumerable<string?>? texts) => [.. (texts ?? []).OfType<string>()];

    private static string? Json(string? text, string field)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        RunLimits.CheckLength($"'{field}'", text, 1_048_575);
        RecordReader.Parse(text, field);
        return text;
    }

    private static Dictionary<string, string?> Tags(string? json, string field)
    {
        var tags = new Dictionary<string, string?>(StringComparer.Ordinal);
        if (string.IsNullOrEmpty(json))
        {
            return tags;
        }

        if (RecordReader.Parse(json, field) is not JsonObject given)
        {
            throw RunLimits.Invalid($"Invalid value for parameter '{field}' supplied: it must be a JSON object of texts.");
        }

        foreach (var (key, value) in given)
        {
            if (key.Length is 0 or > 255)
            {
                throw RunLimits.Invalid($"Invalid value for parameter '{field}' supplied: a tag's key has 1 to 255 characters, not {key.Length}.");
            }

            TraceLimits.CheckText("A tag's key", key);
            var text = value is null ? null : value.GetValueKind() is JsonValueKind.String ? value.GetValue<string>() : RecordReader.Text(value);
            TraceLimits.CheckText($"The value of tag '{key}'", text);
            RunLimits.CheckLength($"The value of tag '{key}'", text, 5000);
            tags[key] = text;
        }

        return tags;
    }

    private sealed record CreateDatasetRequest(string? Name, IReadOnlyList<string?>? ExperimentIds, string? Schema, string? Profile, string? CreatedBy, string? Tags);

    private sealed record SearchDatasetsRequest(IReadOnlyList<string?>? ExperimentIds, string? FilterString, int? MaxResults, IReadOnlyList<string?>? OrderBy, string? PageToken);

    private sealed record SearchDatasetsResponse(IReadOnlyList<DatasetMessage>? Datasets, string? NextPageToken);

    private sealed record DatasetTagsRequest(string? Tags);

    private sealed record UpsertRecordsRequest(string? Records, string? UpdatedBy);

    private sealed record UpsertRecordsResponse(int InsertedCount, int UpdatedCount);

    private sealed record RecordsResponse(string Records, string? NextPageToken);

    private sealed record ExperimentIdsRequest(IReadOnlyList<string?>? ExperimentIds);

    private sealed record ExperimentIdsMessage(IReadOnlyList<string> ExperimentIds);

    private sealed record DatasetHolder(DatasetMessage Dataset);

    private sealed record DatasetMessage(
        string DatasetId, string Name, string Tags, string? Schema, string? Profile, string Digest, long CreatedTime, long LastUpdateTime, string? CreatedBy, string? LastUpdatedBy,
        IReadOnlyList<string>? ExperimentIds);

    private sealed record RecordMessage(
        string DatasetRecordId, string DatasetId, JsonElement Inputs, JsonElement? Outputs, JsonElement? Expectations, JsonElement? Tags, JsonElement? Source, string? SourceId,
        string? SourceType, long CreatedTime, long LastUpdateTime, string? CreatedBy, string? LastUpdatedBy);
}
