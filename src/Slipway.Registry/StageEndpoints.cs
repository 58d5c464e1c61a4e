using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Storage;

namespace Slipway.Registry;

/// <summary>Maps the life of a version: approvals, environments, as-of, deprecation, retirement, checklists, and copies on other servers.</summary>
internal static class StageEndpoints
{
    private const string Version = "/models/{model}/versions/{version}";
    private const long BlobBytesMax = 64L << 30;

    public static void MapStages(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Read)).AddEndpointFilter(ExternalEndpoints.Freshen);
        read.MapGet("/approvals", Approvals).WithSummary("List open promotion requests, oldest first");
        read.MapGet("/models/{model}/as-of", AsOf).WithSummary("Show what stood in a stage, an environment or under an alias at a date, and who let it in");
        read.MapGet("/models/{model}/environments", (string model, ModelRegistry registry) => TypedResults.Ok(new ModelEnvironmentList(registry.ListEnvironments(model)))).WithSummary("List a model's environments and what is in them");
        read.MapGet("/models/{model}/places", (string model, string? version, ModelRegistry registry) => TypedResults.Ok(new PlaceHistory(registry.PlaceHistory(model, version)))).WithSummary("List changes of environments and aliases");
        read.MapGet("/models/{model}/rollback-plan", RollbackPlan).WithSummary("Show what a rollback would do now; its target is tried");
        read.MapGet("/deprecations", (string? model, ModelRegistry registry, Caller by) => TypedResults.Ok(new DeprecationList(by.Access.Visible(ResourceKind.Model, registry.ListDeprecations(model), deprecation => deprecation.Model)))).WithSummary("List deprecated versions");
        read.MapGet($"{Version}/deprecation", Deprecation).WithSummary("Show a version's deprecation");
        read.MapGet($"{Version}/retirement", (string model, string version, ModelRegistry registry) => TypedResults.Ok(registry.GetRetirement(model, version))).WithSummary("Show how far a version's retirement is");
        read.MapGet($"{Version}/checklist", Checklist).WithSummary("Show a version's deployment checklist");
        read.MapGet($"{Version}/copies", (string model, string version, ModelRegistry registry) => TypedResults.Ok(new VersionCopyList(registry.ListCopies(model, version)))).WithSummary("List a version's copies on other servers");
        read.MapGet($"{Version}/passport", async (string model, string version, ModelRegistry registry, CancellationToken ct) => TypedResults.Ok(await registry.GetPassportAsync(model, version, ct))).WithSummary("Show all that a version brings along to another server");
        read.MapGet($"{Version}/blobs/{{sha256}}", Blob).WithSummary("Fetch a blob that a version's passport names");

        // Who may ask for a promotion or decide on one may speak about it, and no one route permission says so.
        read.MapPost("/promotions/{id}/comments", Comment).WithSummary("Comment on a promotion");

        var write = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Write));
        write.MapPost($"{Version}/checklist/{{item}}", (string model, string version, string item, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct) =>
            Tick(model, version, item, true, body, registry, by, ct)).WithSummary("Tick an item of a version's checklist");
        write.MapPost($"{Version}/checklist/{{item}}/open", (string model, string version, string item, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct) =>
            Tick(model, version, item, false, body, registry, by, ct)).WithSummary("Open an item of a version's checklist again");
        write.MapPost($"{Version}/copies", LinkCopy).WithSummary("Note that a copy of a version is on another server");
        write.MapPost("/registry/imports/blobs", FindBlobs).WithSummary("List which blobs of a version to import are missing");
        write.MapPost("/registry/imports/blobs/{sha256}", ReceiveBlob).WithSummary("Send a blob of a version to import");
        write.MapPost("/registry/imports", Import).WithSummary("Register a version of another server under its own number");

        var operate = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Operate));
        operate.MapPost($"{Version}/deprecation", Deprecate).WithSummary("Say that a version shall no longer be used");
        operate.MapPost($"{Version}/deprecation/withdraw", Undeprecate).WithSummary("Take a deprecation back");
        operate.MapPost($"{Version}/retirement/{{step}}", Retire).WithSummary("Do the next step of a version's retirement: notice, migration, archive or deletion");
    }

    private static async Task<Ok<PromotionList>> Approvals(string? model, ModelRegistry registry, Caller by, CancellationToken ct)
    {
        await registry.ExpireAsync(ct);
        return TypedResults.Ok(new PromotionList(by.Access.Visible(ResourceKind.Model, registry.ListOpenPromotions(model), promotion => promotion.Model)));
    }

    private static Ok<AsOfReport> AsOf(string model, string? at, string? place, ModelRegistry registry)
    {
        _ = registry.FindModel(model) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists them.");
        return TypedResults.Ok(registry.AsOf(model, string.IsNullOrWhiteSpace(place) ? "production" : place, Instant("at", at)));
    }

    private static async Task<Ok<RollbackPlan>> RollbackPlan(string model, ModelRegistry registry, CancellationToken ct) => TypedResults.Ok(await registry.PlanRollbackAsync(model, ct));

    private static Ok<Deprecation> Deprecation(string model, string version, ModelRegistry registry)
    {
        var record = registry.Get(model, version);
        return TypedResults.Ok(registry.FindDeprecation(model, record.Version) ?? throw new SlipwayException(ErrorCode.NotFound, $"{record.Node} is not deprecated."));
    }

    private static Ok<Checklist> Checklist(string model, string version, string? to, ModelRegistry registry) =>
        TypedResults.Ok(registry.GetChecklist(model, version, PromotionTarget.Parse(to ?? "production")));

    private static async Task<FileStreamHttpResult> Blob(string model, string version, string sha256, ModelRegistry registry, HttpContext context, CancellationToken ct)
    {
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return TypedResults.Stream(await registry.OpenBlobAsync(model, version, sha256, ct), "application/octet-stream");
    }

    private static async Task<Ok<PromotionRecord>> Comment(string id, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct) =>
        by.Access.May(Permission.Write) || by.Access.May(Permission.Approve)
            ? TypedResults.Ok(await registry.CommentAsync(id, body.Comment ?? "", by, ct))
            : throw new SlipwayException(ErrorCode.PermissionDenied, "Only users who may ask for promotions or approve them may comment on one.");

    private static async Task<Ok<Deprecation>> Deprecate(string model, string version, DeprecateVersion request, ModelRegistry registry, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await registry.DeprecateAsync(model, version, request, by, ct));

    private static async Task<NoContent> Undeprecate(string model, string version, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct)
    {
        await registry.UndeprecateAsync(model, version, body.Comment, by, ct);
        return TypedResults.NoContent();
    }

    private static async Task<Ok<Retirement>> Retire(string model, string version, string step, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await registry.RetireAsync(model, version, step, body.Comment, by, ct));

    private static async Task<NoContent> Tick(string model, string version, string item, bool done, CommentBody body, ModelRegistry registry, Caller by, CancellationToken ct)
    {
        await registry.TickAsync(model, version, item, done, body.Comment, by, ct);
        return TypedResults.NoContent();
    }

    private static async Task<Ok<VersionCopy>> LinkCopy(string model, string version, LinkCopy request, ModelRegistry registry, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await registry.LinkCopyAsync(model, version, request, by, ct));

    private static async Task<Ok<MissingBlobs>> FindBlobs(FindBlobs request, ModelRegistry registry, CancellationToken ct) => TypedResults.Ok(new MissingBlobs(
        await registry.FindMissingBlobsAsync(request.Sha256 ?? throw new SlipwayException(ErrorCode.InvalidArgument, "'sha256' is missing; give a list of digests."), ct)));

    private static async Task<Ok<ArtifactFile>> ReceiveBlob(string sha256, HttpContext context, ModelRegistry registry, CancellationToken ct)
    {
        Allow(context, BlobBytesMax);
        var blob = await registry.ReceiveBlobAsync(sha256, context.Request.Body, ct);
        return TypedResults.Ok(new ArtifactFile("", blob.Sha256, blob.SizeBytes));
    }

    private static async Task<IResult> Import(ImportVersion request, ModelRegistry registry, Caller by, CancellationToken ct)
    {
        var imported = await registry.ImportAsync(request, by, ct);
        return imported.Created
            ? TypedResults.Created($"/api/slipway/v1/models/{imported.Version.Model}/versions/{imported.Version.Version}", imported)
            : TypedResults.Ok(imported);
    }

    private static DateTimeOffset Instant(string field, string? text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed)
            ? parsed
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must be a date or instant such as 2001-05-31 or 2001-05-31T06:00:00Z, not '{text}'.");

    // Streamed to disk; only the digest passes through memory.
    private static void Allow(HttpContext context, long bytes)
    {
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = bytes;
        }
    }
}
