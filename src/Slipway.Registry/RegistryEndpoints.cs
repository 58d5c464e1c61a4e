using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Registry.External;
using Slipway.Registry.Formats;
using Slipway.Registry.Mlflow;
using Slipway.Registry.Provenance;
using Slipway.Registry.Stages;
using Slipway.Registry.Webhooks;
using Slipway.Storage;

namespace Slipway.Registry;

/// <summary>Maps models, versions, promotions and rollback.</summary>
public static class RegistryEndpoints
{
    /// <summary>Maps <c>/models</c>, <c>/promotions</c> and MLflow's registry routes and webhooks.</summary>
    public static void MapSlipwayRegistry(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Read)).AddEndpointFilter(ExternalEndpoints.Freshen);
        read.MapGet("/models", (ModelRegistry registry, Caller by) => TypedResults.Ok(new ModelList(by.Access.Visible(ResourceKind.Model, registry.ListModels(), model => model.Name)))).WithSummary("List models");
        read.MapGet("/inventory", (ModelRegistry registry) => TypedResults.Ok(registry.Inventory())).WithSummary("List every model with type, framework, owner, purpose and risk class");
        read.MapGet("/models/{model}", GetModel).WithSummary("Show a model");
        read.MapGet("/models/{model}/production", GetProduction).WithSummary("Show the version in production, now or as of a date");
        read.MapGet("/models/{model}/history", GetModelHistory).WithSummary("List a model's changes of stage");
        read.MapGet("/models/{model}/compare", Compare).WithSummary("Compare two versions");
        read.MapGet("/models/{model}/versions", ListVersions).WithSummary("List versions, newest first");
        read.MapGet("/models/{model}/versions/{version}", GetVersion).WithSummary("Show a version");
        read.MapGet("/models/{model}/versions/{version}/lineage", GetLineage).WithSummary("Show where a version came from and what came of it");
        read.MapGet("/models/{model}/versions/{version}/history", GetVersionHistory).WithSummary("List a version's changes of stage");
        read.MapGet("/models/{model}/versions/{version}/gate", GetGate).WithSummary("Show what stands between a version and a stage");
        read.MapGet("/models/{model}/versions/{version}/evaluation", GetEvaluation).WithSummary("Show a version's evaluation report");
        read.MapGet("/models/{model}/versions/{version}/load-tests", (string model, string version, ModelRegistry registry) => TypedResults.Ok(new LoadTestList(registry.LoadTests(model, version))))
            .WithSummary("List a version's load tests, newest first");
        read.MapGet("/models/{model}/versions/{version}/files/{**path}", GetFile).WithSummary("Fetch a file of a version, its SHA-256 checked");
        read.MapGet("/promotions", (string? model, ModelRegistry registry, Caller by) =>
            TypedResults.Ok(new PromotionList(by.Access.Visible(ResourceKind.Model, registry.ListPromotions(model), promotion => promotion.Model)))).WithSummary("List promotions, newest first");
        read.MapGet("/promotions/{id}", GetPromotion).WithSummary("Show a promotion");

        var write = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Write));
        write.MapPatch("/models/{model}", Describe).WithSummary("Say what a model is for, whose it is and how risky");
        write.MapPost("/models/{model}/versions", Register).WithSummary("Register a version from stored blobs");
        write.MapPost("/models/{model}/versions/{version}/load-tests", AddLoadTest).WithSummary("Keep a load test with the version it measured");
        write.MapPost("/models/{model}/versions/{version}/variants", MakeVariant).WithSummary("Make a smaller or faster form of a version, compare both and register it as its child");
        write.MapPut("/models/{model}/aliases/{alias}", PutAlias).WithSummary("Point an alias at a version");
        write.MapPost("/promotions", Request).WithSummary("Ask for a promotion");
        write.MapPost("/promotions/{id}/withdraw", Withdraw).WithSummary("Close a promotion that shall not be carried out");

        var operate = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Operate));
        operate.MapPost("/models/{model}/rollback", Rollback).WithSummary("Put an earlier production version back");
        operate.MapPost("/promotions/{id}/execute", Execute).WithSummary("Carry out a promotion, if its gate passes");

        var approve = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Approve));
        approve.MapPost("/promotions/{id}/approve", Approve).WithSummary("Approve a promotion");
        approve.MapPost("/promotions/{id}/reject", Reject).WithSummary("Reject a promotion");

        app.MapExternalRegistry();
        app.MapLineage();
        app.MapBlobs();
        app.MapStages();
        app.MapMlflowRegistry();
        app.MapWebhooks();
    }

    private static Ok<ModelSummary> GetModel(string model, ModelRegistry registry) => TypedResults.Ok(
        registry.FindModel(model) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists them."));

    private static Ok<ModelVersionRecord> GetProduction(string model, string? as_of, ModelRegistry registry)
    {
        DateTimeOffset? asOf = as_of is null ? null
            : DateTimeOffset.TryParse(as_of, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed) ? parsed
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'as_of' must be a date or instant such as 2001-05-31 or 2001-05-31T06:00:00Z, not '{as_of}'.");
        var version = asOf is { } instant ? registry.FindInProductionAsOf(model, instant) : registry.FindInStage(model, Stage.Production);
        return TypedResults.Ok(version ?? throw new SlipwayException(ErrorCode.NotFound,
            $"Model '{model}' has no version in production{(asOf is null ? "" : $" as of {asOf:u}")}."));
    }

    private static Ok<StageHistory> GetModelHistory(string model, ModelRegistry registry) => TypedResults.Ok(new StageHistory(registry.History(model)));

    private static async Task<Ok<VersionComparison>> Compare(string model, string? a, string? b, ModelRegistry registry, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.CompareAsync(model, Required("a", a), Required("b", b), cancellationToken));

    private static Ok<ModelVersionList> ListVersions(
        string model, string? stage, string? owner, string? approver, string? tag, string? run_id, ModelRegistry registry)
    {
        var (key, value) = tag?.Split(':', 2) switch { [var name, var text] => (name, text), [var name] => (name, null), _ => (null, (string?)null) };
        var search = new VersionSearch(stage is null ? null : StageRules.Parse(stage), owner, approver, key, value, run_id);
        return TypedResults.Ok(new ModelVersionList(registry.Search(model, search)));
    }

    private static Ok<ModelVersionRecord> GetVersion(string model, string version, ModelRegistry registry) => TypedResults.Ok(registry.Get(model, version));

    private static Ok<LineageGraph> GetLineage(string model, string version, ModelRegistry registry) =>
        TypedResults.Ok(registry.LineageOf(registry.Get(model, version)));

    private static Ok<StageHistory> GetVersionHistory(string model, string version, ModelRegistry registry) =>
        TypedResults.Ok(new StageHistory(registry.History(model, registry.Get(model, version).Version)));

    private static async Task<Ok<GateReport>> GetGate(string model, string version, string? to, ModelRegistry registry, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.CheckAsync(model, version, PromotionTarget.Parse(Required("to", to)), cancellationToken));

    private static async Task<Ok<EvaluationReport>> GetEvaluation(string model, string version, ModelRegistry registry, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.ReadReportAsync(registry.Get(model, version), cancellationToken)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"Version {version} of '{model}' was registered without an evaluation report."));

    private static async Task<FileContentHttpResult> GetFile(string model, string version, string path, ModelRegistry registry, HttpContext context, CancellationToken cancellationToken)
    {
        // Never shown by a browser: a model's file may hold anything.
        context.Response.Headers.XContentTypeOptions = "nosniff";
        var bytes = await registry.ReadFileAsync(registry.Get(model, version), path, cancellationToken);
        return TypedResults.File(bytes, "application/octet-stream", Path.GetFileName(path));
    }

    private static Ok<PromotionRecord> GetPromotion(string id, ModelRegistry registry) =>
        TypedResults.Ok(registry.FindPromotion(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no promotion '{id}'."));

    private static async Task<Created<ModelVersionRecord>> Register(string model, RegisterVersion request, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var version = await registry.RegisterAsync(request with { Model = model }, by, cancellationToken);
        return TypedResults.Created($"/api/slipway/v1/models/{version.Model}/versions/{version.Version}", version);
    }

    private static async Task<Created<ModelVersionRecord>> MakeVariant(string model, string version, MakeVariant request, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var made = await registry.MakeVariantAsync(model, version, request, by, cancellationToken);
        return TypedResults.Created($"/api/slipway/v1/models/{Uri.EscapeDataString(made.Model)}/versions/{made.Version}", made);
    }

    private static async Task<Created<LoadTest>> AddLoadTest(string model, string version, LoadTest request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Created(
            $"/api/slipway/v1/models/{Uri.EscapeDataString(model)}/versions/{Uri.EscapeDataString(version)}/load-tests", await registry.AddLoadTestAsync(model, version, request, by, cancellationToken));

    private static async Task<Ok<ModelSummary>> Describe(string model, DescribeModel request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.DescribeAsync(model, request, by, cancellationToken));

    private static async Task<Ok<ModelVersionRecord>> Rollback(string model, RollbackModel request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.RollbackAsync(model, request.ToVersion, request.Reason, by, cancellationToken));

    private static async Task<Ok<ModelVersionRecord>> PutAlias(string model, string alias, SetAlias request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.SetAliasAsync(model, alias, Required("version", request.Version), by, cancellationToken));

    private static async Task<Created<PromotionRecord>> Request(RequestPromotion request, ModelRegistry registry, Caller by, CancellationToken cancellationToken)
    {
        var (model, version) = (Required("model", request.Model), Required("version", request.Version));
        var to = (request.To, request.Environment) switch
        {
            ({ } stage, null) => stage,
            (null, { } environment) => new PromotionTarget(null, environment),
            (null, null) => throw new SlipwayException(ErrorCode.InvalidArgument, "'to' is missing; name the stage: staging, production, archived or development; or an 'environment' of the model's policy."),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, "'to' and 'environment' exclude each other; give one."),
        };
        var promotion = await registry.RequestPromotionAsync(model, version, to, request.Reason, by, cancellationToken, request.RollbackTo, request.Auto);
        return TypedResults.Created($"/api/slipway/v1/promotions/{promotion.Id}", promotion);
    }

    private static async Task<Ok<ModelVersionRecord>> Execute(string id, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.ExecutePromotionAsync(id, by, cancellationToken));

    private static async Task<Ok<PromotionRecord>> Withdraw(string id, DecidePromotion request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.WithdrawPromotionAsync(id, request.Comment, by, cancellationToken));

    private static async Task<Ok<PromotionRecord>> Approve(string id, DecidePromotion request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.ApproveAsync(id, request.Comment, by, cancellationToken));

    private static async Task<Ok<PromotionRecord>> Reject(string id, DecidePromotion request, ModelRegistry registry, Caller by, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.RejectAsync(id, request.Comment, by, cancellationToken));

    private static string Required(string field, string? value) => !string.IsNullOrWhiteSpace(value)
        ? value
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' is missing.");
}
