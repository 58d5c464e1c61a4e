using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Reproductions;
using Slipway.Storage;

namespace Slipway.Pipelines;

/// <summary>Routes of pipelines and their runs.</summary>
public static class PipelinesEndpoints
{
    /// <summary>Maps them under <c>/api/slipway/v1/pipelines</c>.</summary>
    public static IEndpointRouteBuilder MapSlipwayPipelines(this IEndpointRouteBuilder app)
    {
        var pipelines = app.MapGroup("/api/slipway/v1/pipelines");
        pipelines.MapGet("", (PipelineService service, Caller by) => TypedResults.Ok(by.Access.Visible(ResourceKind.Model, service.Pipelines(), pipeline => pipeline.Model)))
            .WithSummary("List the pipelines in force").WithMetadata(new RequiredAccess(Permission.Read));
        pipelines.MapPost("/{name}/runs", Start).WithSummary("Start a pipeline").WithMetadata(new RequiredAccess(Permission.Write));
        pipelines.MapGet("/{name}/runs", List).WithSummary("List a pipeline's runs, newest first").WithMetadata(new RequiredAccess(Permission.Read));
        pipelines.MapGet("/runs/{id}", (string id, PipelineService service) => TypedResults.Ok(service.Get(id)))
            .WithSummary("One run with its stages and progress").WithMetadata(new RequiredAccess(Permission.Read));
        var version = app.MapGroup("/api/slipway/v1/models/{model}/versions/{version}");
        version.MapPost("/reproduce", Reproduce).WithSummary("Build a version again from its record and compare").WithMetadata(new RequiredAccess(Permission.Operate));
        version.MapGet("/reproductions", Reproductions).WithSummary("List what came of building a version again, newest first").WithMetadata(new RequiredAccess(Permission.Read));
        return app;
    }

    private static async Task<Created<PipelineRun>> Start(string name, StartPipelineRun? request, PipelineService service, Caller by, CancellationToken ct)
    {
        request ??= new StartPipelineRun();
        var id = await service.StartAsync(name, request.Trigger ?? "api", request.Reason ?? "started by hand", request.Parameters, by, ct, request.Stage);
        return TypedResults.Created($"/api/slipway/v1/pipelines/runs/{id}", service.Get(id));
    }

    private static async Task<Ok<Reproduction>> Reproduce(string model, string version, ReproductionService service, Caller by, CancellationToken ct) =>
        TypedResults.Ok(await service.StartAsync(model, version, by, ct));

    private static Ok<ReproductionList> Reproductions(string model, string version, ReproductionService service) =>
        TypedResults.Ok(new ReproductionList(service.List(model, version)));

    private static Ok<IReadOnlyList<PipelineRun>> List(string name, PipelineService service, int limit = 100) => TypedResults.Ok(service.List(name, limit));
}
