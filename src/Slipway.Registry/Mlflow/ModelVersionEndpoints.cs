using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Registry.External;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;
using static Slipway.Tracking.Mlflow.MlflowHttp;

namespace Slipway.Registry.Mlflow;

/// <summary>MLflow's routes of model versions. A change of stage passes the gates that our own routes pass.</summary>
internal static class ModelVersionEndpoints
{
    public static void Map(RouteGroupBuilder group)
    {
        group.MapPost("/model-versions/create", Create).May(Permission.Write);
        group.MapGet("/model-versions/get", Get).May(Permission.Read);
        group.MapPatch("/model-versions/update", Update).May(Permission.Write);
        group.MapDelete("/model-versions/delete", Delete).May(Permission.Write);
        group.MapGet("/model-versions/search", Search).May(Permission.Read);
        group.MapGet("/model-versions/get-download-uri", GetDownloadUri).May(Permission.Read);
        group.MapPost("/model-versions/set-tag", SetTag).May(Permission.Write);
        group.MapDelete("/model-versions/delete-tag", DeleteTag).May(Permission.Write);
        group.MapPost("/model-versions/transition-stage", Transition).May(Permission.Operate);
    }

    /// <summary>Maps the download that MLflow serves beside its API.</summary>
    public static void MapDownload(IEndpointRouteBuilder app) =>
        app.MapGet("/model-versions/get-artifact", GetArtifact).May(Permission.Read).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow)).AddEndpointFilter(ExternalEndpoints.Freshen);

    internal static SlipwayException NoVersion(string model, long number) => new(ErrorCode.NotFound, $"Model Version (name={model}, version={number}) not found");

    internal static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    internal static long Number(string? version) => long.TryParse(Required(version, "version"), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
        ? number
        : throw RunLimits.Invalid($"Parameter 'version' must be an integer, got '{version}'.");

    private static async Task<IResult> Create(HttpContext context, MlflowRegistration registration, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<CreateVersionRequest>(context, cancellationToken);
        var tags = Tags(request.Tags);
        tags.Remove(RegistrySearch.VersionTag); // Comes along when a client copies a version; the copy has its own.
        foreach (var tag in tags)
        {
            ModelRegistry.CheckTag(tag.Key, tag.Value);
        }

        var model = Required(request.Name, "name");
        var number = await registration.RegisterAsync(
            new NewMlflowVersion(model, Required(request.Source, "source"), OrNull(request.RunId), tags, OrNull(request.RunLink), OrNull(request.Description), OrNull(request.ModelId)),
            by, cancellationToken);
        return Answer(model, number, search);
    }

    private static IResult Get(HttpContext context, RegistrySearch search) =>
        Answer(Required(Query(context, "name"), "name"), Number(Query(context, "version")), search);

    private static async Task<IResult> Update(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeVersionRequest>(context, cancellationToken);
        var (model, number) = Existing(request.Name, request.Version, search);
        await registry.DescribeVersionAsync(model, Text(number), request.Description ?? "", by, cancellationToken);
        return Answer(model, number, search);
    }

    private static async Task<IResult> Delete(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadChangeAsync(context, cancellationToken);
        var (model, number) = Existing(request.Name, request.Version, search);
        await registry.DeleteVersionAsync(model, Text(number), by, cancellationToken);
        return Nothing();
    }

    private static IResult Search(HttpContext context, RegistrySearch search, Caller by)
    {
        var (versions, next) = search.SearchVersions(
            Query(context, "filter"), QueryAll(context, "order_by"), RegisteredModelEndpoints.PageSize(context, 10_000, 200_000), Query(context, "page_token"),
            by.Access.Filter(ResourceKind.Model));
        return MlflowHttp.Answer(new ModelVersionsResponse(MlflowHttp.OrNull(versions), next));
    }

    private static IResult GetDownloadUri(HttpContext context, RegistrySearch search)
    {
        var (model, number) = Existing(Query(context, "name"), Query(context, "version"), search);
        return MlflowHttp.Answer(new DownloadUriResponse(search.FindVersion(model, number)!.Source ?? ""));
    }

    private static async Task<IResult> SetTag(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeVersionRequest>(context, cancellationToken);
        var (model, number) = Existing(request.Name, request.Version, search);
        await registry.SetVersionTagAsync(model, Text(number), TagKey(request.Key), request.Value ?? "", by, cancellationToken);
        return Nothing();
    }

    private static async Task<IResult> DeleteTag(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadChangeAsync(context, cancellationToken);
        var (model, number) = Existing(request.Name, request.Version, search);
        await registry.SetVersionTagAsync(model, Text(number), TagKey(request.Key), null, by, cancellationToken);
        return Nothing();
    }

    private static async Task<IResult> Transition(HttpContext context, ModelRegistry registry, RegistrySearch search, Caller by, CancellationToken cancellationToken)
    {
        var request = await ReadAsync<ChangeVersionRequest>(context, cancellationToken);
        var to = RegisteredModelEndpoints.ParseStage(Required(request.Stage, "stage"));
        var archive = request.ArchiveExistingVersions ?? false;
        if (archive && to is not (Stage.Staging or Stage.Production))
        {
            throw RunLimits.Invalid($"Model version transition cannot archive existing model versions because '{request.Stage}' is not an Active stage. Valid stages are Staging, Production");
        }

        var (model, number) = Existing(request.Name, request.Version, search);
        var version = registry.Get(model, Text(number));
        if (version.Stage != to)
        {
            if (to is Stage.Production && !archive && registry.FindInStage(model, Stage.Production) is { } production)
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"Version {production.Number} of '{model}' is in Production, which holds one version; set 'archive_existing_versions' to true to put version {number} in its place.");
            }

            // The request stays open when the gate refuses, so that approvers find it and the client need only ask again.
            var promotion = registry.FindOpenPromotion(model, version.Version, to)
                ?? await registry.RequestPromotionAsync(model, version.Version, to, $"asked for by MLflow's client: transition to {request.Stage}", by, cancellationToken);
            version = await registry.ExecutePromotionAsync(promotion.Id, by, cancellationToken);
        }

        if (archive && to is Stage.Staging)
        {
            await registry.ArchiveOthersInStagingAsync(version, by, cancellationToken);
        }

        return Answer(model, number, search);
    }

    // From the version's own snapshot, by its manifest: no path of a caller's reaches a file system.
    private static async Task<IResult> GetArtifact(HttpContext context, ModelRegistry registry, BlobStore blobs, CancellationToken cancellationToken)
    {
        ArtifactEndpoints.RefuseDotSegments(context);
        var (model, number) = (Required(Query(context, "name"), "name"), Number(Query(context, "version")));
        var path = ArtifactPath.Parse(Required(Query(context, "path"), "path"));
        var version = registry.Find(model, Text(number)) ?? throw NoVersion(model, number);
        var file = version.Files.FirstOrDefault(file => file.Path == path)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"Model Version (name={model}, version={number}) has no artifact '{path}'.");
        if (!await blobs.VerifyAsync(file.Sha256, cancellationToken))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' of version {number} of '{model}' is missing or was changed since it was registered.");
        }

        return ArtifactEndpoints.Send(context, new RunArtifact(file.Path, file.Sha256, file.SizeBytes), blobs);
    }

    private static (string Model, long Number) Existing(string? name, string? version, RegistrySearch search)
    {
        var (model, number) = (Required(name, "name"), Number(version));
        return search.FindVersion(model, number) is not null ? (model, number) : throw NoVersion(model, number);
    }

    private static string TagKey(string? key) => Required(key, "key") != RegistrySearch.VersionTag
        ? key!
        : throw RunLimits.Invalid($"Invalid value for parameter 'key' supplied: the tag '{RegistrySearch.VersionTag}' shows the semantic version and cannot be set; choose another key.");

    private static async Task<ChangeVersionRequest> ReadChangeAsync(HttpContext context, CancellationToken cancellationToken) =>
        RegisteredModelEndpoints.HasBody(context)
            ? await ReadAsync<ChangeVersionRequest>(context, cancellationToken)
            : new ChangeVersionRequest(Query(context, "name"), Query(context, "version"), null, Query(context, "key"), null, null, null);

    private static string? OrNull(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private static IResult Answer(string model, long number, RegistrySearch search) =>
        MlflowHttp.Answer(new ModelVersionResponse(search.FindVersion(model, number) ?? throw NoVersion(model, number)));
}
