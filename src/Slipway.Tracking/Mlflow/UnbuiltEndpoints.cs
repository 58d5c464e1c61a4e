using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;

namespace Slipway.Tracking.Mlflow;

/// <summary>MLflow 3.6 paths that are not built: its clients get an answer they understand instead of a page not found.</summary>
internal static class UnbuiltEndpoints
{
    /// <summary>Method and path below <c>/api</c> and <c>/ajax-api</c>.</summary>
    public static readonly IReadOnlyList<(string Method, string Path)> Paths =
    [
        // Gateway and jobs
        ("GET", "/2.0/mlflow/gateway-proxy"),
        ("POST", "/2.0/mlflow/gateway-proxy"),
        ("GET", "/3.0/jobs/{job_id}"),
        ("POST", "/3.0/jobs"),
        ("POST", "/3.0/jobs/search"),
        // Other
        ("GET", "/2.0/mlflow/get-online-trace-details"),
        // Permissions and users of MLflow's basic-auth app
        ("DELETE", "/2.0/mlflow/experiments/permissions/delete"),
        ("GET", "/2.0/mlflow/experiments/permissions/get"),
        ("PATCH", "/2.0/mlflow/experiments/permissions/update"),
        ("POST", "/2.0/mlflow/experiments/permissions/create"),
        ("DELETE", "/2.0/mlflow/registered-models/permissions/delete"),
        ("GET", "/2.0/mlflow/registered-models/permissions/get"),
        ("PATCH", "/2.0/mlflow/registered-models/permissions/update"),
        ("POST", "/2.0/mlflow/registered-models/permissions/create"),
        ("DELETE", "/3.0/mlflow/scorers/permissions/delete"),
        ("GET", "/3.0/mlflow/scorers/permissions/get"),
        ("PATCH", "/3.0/mlflow/scorers/permissions/update"),
        ("POST", "/3.0/mlflow/scorers/permissions/create"),
        ("DELETE", "/2.0/mlflow/users/delete"),
        ("GET", "/2.0/mlflow/users/get"),
        ("PATCH", "/2.0/mlflow/users/update-admin"),
        ("PATCH", "/2.0/mlflow/users/update-password"),
        ("POST", "/2.0/mlflow/users/create"),
        ("POST", "/2.0/mlflow/users/create-ui"),
        // Runs
        ("POST", "/2.0/mlflow/runs/create-promptlab-run"),
        // Tracing (Databricks only)
        ("GET", "/2.0/mlflow/unified-traces"),
    ];

    /// <summary>Method and path of what MLflow serves beside its API.</summary>
    public static readonly IReadOnlyList<(string Method, string Path)> RootPaths =
    [
        ("GET", "/graphql"),
        ("POST", "/graphql"),
    ];

    public static void MapUnbuilt(IEndpointRouteBuilder app)
    {
        foreach (var (method, path) in RootPaths)
        {
            app.MapMethods(path, [method], Answer).May(Permission.Read).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow)).WithOrder(1000);
        }

        foreach (var prefix in (string[])["/api", "/ajax-api"])
        {
            foreach (var (method, path) in Paths)
            {
                // Ordered last, so that another project may build a path without touching this table.
                app.MapMethods(prefix + path, [method], Answer).May(Permission.Read).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow)).WithOrder(1000);
            }
        }
    }

    private static IResult Answer(HttpContext context) =>
        throw new SlipwayException(ErrorCode.NotImplemented, $"{context.Request.Method} {context.Request.Path} is part of MLflow's API, but not implemented by this server.");
}
