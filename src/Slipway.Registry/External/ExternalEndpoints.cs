using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.External;

/// <summary>Shows and moves the mirror, and lets reads say how old they are.</summary>
internal static class ExternalEndpoints
{
    public static void MapExternalRegistry(this IEndpointRouteBuilder app)
    {
        app.MapGet("/api/slipway/v1/registry/external", Status).WithMetadata(new RequiredAccess(Permission.Read)).WithSummary("Show how the mirror of the external registry stands");
        app.MapPost("/api/slipway/v1/registry/external/sync", Sync).WithMetadata(new RequiredAccess(Permission.Write)).WithSummary("Look for changes on the external registry now");
    }

    /// <summary>
    /// A read that asks for what is not here, and any write, makes the mirror look once; every answer about mirrored models says by the
    /// header <c>Age</c> how many seconds old it is, as a cache does.
    /// </summary>
    public static async ValueTask<object?> Freshen(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var http = context.HttpContext;
        if (http.RequestServices.GetService<ExternalRegistry>() is not { } external)
        {
            return await next(context);
        }

        var model = Named(http, "model", "name");
        // Which model a write names stands in its body, which only its handler reads.
        if (!HttpMethods.IsGet(http.Request.Method)
            || (model is not null && http.RequestServices.GetRequiredService<ModelRegistry>().Find(model, Reference(http)) is null))
        {
            await external.FreshenAsync(http.RequestAborted);
        }

        if (model is null || external.Mirrors(model))
        {
            var status = external.Freshness();
            http.Response.Headers.Age = status.AgeSeconds is { } age ? Math.Floor(age).ToString(CultureInfo.InvariantCulture) : null;
            http.Response.Headers["Slipway-Registry"] = status.Reachable ? "mlflow" : "mlflow; unreachable";
        }

        return await next(context);
    }

    private static string Reference(HttpContext http) =>
        Named(http, "version", "version") ?? (http.Request.Query["alias"].FirstOrDefault() is { Length: > 0 } alias ? $"@{alias}" : "latest");

    private static string? Named(HttpContext http, string route, string query) =>
        http.Request.RouteValues.TryGetValue(route, out var value) ? value as string : http.Request.Query[query].FirstOrDefault();

    private static Ok<ExternalRegistryStatus> Status(HttpContext http) => TypedResults.Ok(Registry(http).Status());

    private static async Task<Ok<ExternalSyncReport>> Sync(HttpContext http, bool? full, CancellationToken cancellationToken) =>
        TypedResults.Ok(await Registry(http).SyncAsync(full ?? false, cancellationToken));

    private static ExternalRegistry Registry(HttpContext http) => http.RequestServices.GetService<ExternalRegistry>()
        ?? throw new SlipwayException(ErrorCode.FailedPrecondition, "This server keeps its registry itself; start it with --registry-provider mlflow and --registry-uri to put it over an MLflow server.");
}
