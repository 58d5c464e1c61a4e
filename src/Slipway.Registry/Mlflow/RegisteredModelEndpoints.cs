using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Storage;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;
using static Slipway.Tracking.Mlflow.MlflowHttp;

namespace Slipway.Registry.Mlflow;

/// <summary>MLflow's routes of registered models and of their aliases.</summary>
internal static class RegisteredModelEndpoints
{
    public static void Map(RouteGroupBuilder group)
    {
        group.MapPost("/registered-models/create", Create).May(Permission.Write);
        group.MapGet("/registered-models/get", Get).May(Permission.Read);
        group.MapPost("/registered-models/rename", Rename).May(Permission.Write);
        group.MapPatch("/registered-models/update", Update).May(Permission.Write);
        group.MapDelete("/registered-models/delete", Delete).May(Permission.Write);
        group.MapGet("/registered-models/search", Search).May(Permission.Read);
        group.MapGet("/registered-models/get-latest-versions", GetLatest).May(Permission.Read);
        group.MapPost("/registered-models/get-latest-versions", PostLatest).May(Permission.Read);
        group.MapPost("/registered-models/set-tag", SetTag).May(Permission.Write);
        group.MapDelete("/registered-models/delete-tag", DeleteTag).May(Permission.Write);
        group.MapPost("/registered-models/alias", SetAlias).May(Permission.Write);
        group.MapGet("/registered-models/alias", GetByAlias).May(Permission.Read);
        group.MapDelete("/registered-models/alias", DeleteAlias).May(Permission.Write);
    }

    private static async Task<IResult> Create(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeModelRequest>(context, cancellationToken);
        var name = Required(request.Name, "name");
        await registry.CreateModelAsync(name, request.Description, Tags(request.Tags), by, cancellationToken);
        return Answer(name, search);
    }

    private static IResult Get(HttpContext context, RegistrySearch search) => Answer(Required(Query(context, "name"), "name"), search);

    private static async Task<IResult> Rename(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeModelRequest>(context, cancellationToken);
        var newName = Required(request.NewName, "new_name");
        await registry.RenameModelAsync(Required(request.Name, "name"), newName, by, cancellationToken);
        return Answer(newName, search);
    }

    private static async Task<IResult> Update(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeModelRequest>(context, cancellationToken);
        var name = Required(request.Name, "name");
        await registry.DescribeModelAsync(name, request.Description ?? "", by, cancellationToken);
        return Answer(name, search);
    }

    private static async Task<IResult> Delete(HttpContext context, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadChangeAsync(context, cancellationToken);
        await registry.DeleteModelAsync(Required(request.Name, "name"), by, cancellationToken);
        return Nothing();
    }

    private static IResult Search(HttpContext context, RegistrySearch search, Caller by)
    {
        var (models, next) = search.SearchModels(Query(context, "filter"), QueryAll(context, "order_by"), PageSize(context, 100, 1000), Query(context, "page_token"), by.Access.Filter(ResourceKind.Model));
        return MlflowHttp.Answer(new RegisteredModelsResponse(OrNull(models), next));
    }

    private static IResult GetLatest(HttpContext context, RegistrySearch search) => Latest(Query(context, "name"), QueryAll(context, "stages"), search);

    private static async Task<IResult> PostLatest(HttpContext context, RegistrySearch search, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<LatestVersionsRequest>(context, cancellationToken);
        return Latest(request.Name, request.Stages, search);
    }

    private static IResult Latest(string? name, IReadOnlyList<string?>? stages, RegistrySearch search)
    {
        var model = Required(name, "name");
        var wanted = stages is { Count: > 0 } ? stages.Select(ParseStage).Distinct().ToList() : [.. Enum.GetValues<Stage>()];
        return MlflowHttp.Answer(new ModelVersionsResponse(OrNull(search.Latest(model, wanted) ?? throw ModelRegistry.NoModel(model)), null));
    }

    private static async Task<IResult> SetTag(HttpContext context, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeModelRequest>(context, cancellationToken);
        await registry.SetModelTagAsync(Required(request.Name, "name"), Required(request.Key, "key"), request.Value ?? "", by, cancellationToken);
        return Nothing();
    }

    private static async Task<IResult> DeleteTag(HttpContext context, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadChangeAsync(context, cancellationToken);
        await registry.SetModelTagAsync(Required(request.Name, "name"), Required(request.Key, "key"), null, by, cancellationToken);
        return Nothing();
    }

    private static async Task<IResult> SetAlias(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeModelRequest>(context, cancellationToken);
        var (model, alias) = (Required(request.Name, "name"), Required(request.Alias, "alias"));
        var number = ModelVersionEndpoints.Number(request.Version);
        _ = search.FindVersion(model, number) ?? throw ModelVersionEndpoints.NoVersion(model, number);
        await registry.SetAliasAsync(model, alias, ModelVersionEndpoints.Text(number), by, cancellationToken, mayNameStage: true);
        return Nothing();
    }

    private static IResult GetByAlias(HttpContext context, RegistrySearch search)
    {
        var (model, alias) = (Required(Query(context, "name"), "name"), Required(Query(context, "alias"), "alias"));
        return MlflowHttp.Answer(new ModelVersionResponse(search.FindByAlias(model, alias)
            ?? throw (search.FindModel(model) is null ? ModelRegistry.NoModel(model) : RunLimits.Invalid($"Registered model alias {alias} not found."))));
    }

    private static async Task<IResult> DeleteAlias(HttpContext context, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadChangeAsync(context, cancellationToken);
        await registry.DeleteAliasAsync(Required(request.Name, "name"), Required(request.Alias, "alias"), by, cancellationToken);
        return Nothing();
    }

    /// <summary>A stage as MLflow writes it.</summary>
    internal static Stage ParseStage(string? text) => text?.ToUpperInvariant() switch
    {
        "NONE" => Stage.Development,
        "STAGING" => Stage.Staging,
        "PRODUCTION" => Stage.Production,
        "ARCHIVED" => Stage.Archived,
        _ => throw RunLimits.Invalid($"Invalid Model Version stage: {text}. Value must be one of None, Staging, Production, Archived."),
    };

    /// <summary><c>max_results</c> within its limits.</summary>
    internal static int PageSize(HttpContext context, int standard, int max) => QueryNumber(context, "max_results") switch
    {
        null => standard,
        < 1 and var size => throw RunLimits.Invalid($"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer."),
        var size when size > max => throw RunLimits.Invalid($"Invalid value for request parameter 'max_results'. It must be at most {max}, but got value {size}"),
        var size => size.Value,
    };

    // MLflow's clients send the fields of a DELETE in its body; others put them into the query.
    private static async Task<ChangeModelRequest> ReadChangeAsync(HttpContext context, CancellationToken cancellationToken) =>
        HasBody(context)
            ? await ReadAsync<ChangeModelRequest>(context, cancellationToken)
            : new ChangeModelRequest(Query(context, "name"), null, null, null, Query(context, "key"), null, Query(context, "alias"), null);

    internal static bool HasBody(HttpContext context) => context.Request.ContentLength is > 0 || (context.Request.ContentLength is null && context.Request.Headers.TransferEncoding.Count > 0);

    private static IResult Answer(string name, RegistrySearch search) =>
        MlflowHttp.Answer(new RegisteredModelResponse(search.FindModel(name) ?? throw ModelRegistry.NoModel(name)));
}
