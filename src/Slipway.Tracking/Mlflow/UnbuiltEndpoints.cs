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
        // Artifact proxy
        ("POST", "/2.0/mlflow-artifacts/mpu/abort/{**artifact_path}"),
        ("POST", "/2.0/mlflow-artifacts/mpu/complete/{**artifact_path}"),
        ("POST", "/2.0/mlflow-artifacts/mpu/create/{**artifact_path}"),
        // Eval datasets
        ("DELETE", "/3.0/mlflow/datasets/{dataset_id}"),
        ("DELETE", "/3.0/mlflow/datasets/{dataset_id}/tags/{key}"),
        ("GET", "/3.0/mlflow/datasets/search"),
        ("GET", "/3.0/mlflow/datasets/{dataset_id}"),
        ("GET", "/3.0/mlflow/datasets/{dataset_id}/experiment-ids"),
        ("GET", "/3.0/mlflow/datasets/{dataset_id}/records"),
        ("PATCH", "/3.0/mlflow/datasets/{dataset_id}/tags"),
        ("POST", "/3.0/mlflow/datasets/create"),
        ("POST", "/3.0/mlflow/datasets/search"),
        ("POST", "/3.0/mlflow/datasets/{dataset_id}/add-experiments"),
        ("POST", "/3.0/mlflow/datasets/{dataset_id}/records"),
        ("POST", "/3.0/mlflow/datasets/{dataset_id}/remove-experiments"),
        // Experiments
        ("POST", "/2.0/mlflow/experiments/delete-experiment-tag"),
        ("POST", "/2.0/mlflow/experiments/search-datasets"),
        // Logged models
        ("DELETE", "/2.0/mlflow/logged-models/{model_id}"),
        ("DELETE", "/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}"),
        ("GET", "/2.0/mlflow/logged-models/{model_id}"),
        ("GET", "/2.0/mlflow/logged-models/{model_id}/artifacts/directories"),
        ("PATCH", "/2.0/mlflow/logged-models/{model_id}"),
        ("PATCH", "/2.0/mlflow/logged-models/{model_id}/tags"),
        ("POST", "/2.0/mlflow/logged-models"),
        ("POST", "/2.0/mlflow/logged-models/search"),
        ("POST", "/2.0/mlflow/logged-models/{model_id}/params"),
        // Metrics
        ("GET", "/2.0/mlflow/metrics/get-history-bulk-interval"),
        // Other
        ("GET", "/2.0/mlflow/get-online-trace-details"),
        // Registry
        ("DELETE", "/2.0/mlflow/model-versions/delete"),
        ("DELETE", "/2.0/mlflow/model-versions/delete-tag"),
        ("DELETE", "/2.0/mlflow/registered-models/alias"),
        ("DELETE", "/2.0/mlflow/registered-models/delete"),
        ("DELETE", "/2.0/mlflow/registered-models/delete-tag"),
        ("GET", "/2.0/mlflow/model-versions/get"),
        ("GET", "/2.0/mlflow/model-versions/get-download-uri"),
        ("GET", "/2.0/mlflow/model-versions/search"),
        ("GET", "/2.0/mlflow/registered-models/alias"),
        ("GET", "/2.0/mlflow/registered-models/get"),
        ("GET", "/2.0/mlflow/registered-models/get-latest-versions"),
        ("GET", "/2.0/mlflow/registered-models/search"),
        ("PATCH", "/2.0/mlflow/model-versions/update"),
        ("PATCH", "/2.0/mlflow/registered-models/update"),
        ("POST", "/2.0/mlflow/model-versions/create"),
        ("POST", "/2.0/mlflow/model-versions/set-tag"),
        ("POST", "/2.0/mlflow/model-versions/transition-stage"),
        ("POST", "/2.0/mlflow/registered-models/alias"),
        ("POST", "/2.0/mlflow/registered-models/create"),
        ("POST", "/2.0/mlflow/registered-models/get-latest-versions"),
        ("POST", "/2.0/mlflow/registered-models/rename"),
        ("POST", "/2.0/mlflow/registered-models/set-tag"),
        // Runs
        ("POST", "/2.0/mlflow/runs/log-model"),
        ("POST", "/2.0/mlflow/runs/outputs"),
        // Scorers
        ("DELETE", "/3.0/mlflow/scorers/delete"),
        ("GET", "/3.0/mlflow/scorers/get"),
        ("GET", "/3.0/mlflow/scorers/list"),
        ("GET", "/3.0/mlflow/scorers/versions"),
        ("POST", "/3.0/mlflow/scorers/register"),
        // Tracing
        ("DELETE", "/2.0/mlflow/traces/{request_id}/tags"),
        ("DELETE", "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}"),
        ("DELETE", "/3.0/mlflow/traces/{trace_id}/tags"),
        ("GET", "/2.0/mlflow/traces"),
        ("GET", "/2.0/mlflow/traces/{request_id}/info"),
        ("GET", "/3.0/mlflow/traces/batchGet"),
        ("GET", "/3.0/mlflow/traces/get"),
        ("GET", "/3.0/mlflow/traces/{trace_id}"),
        ("GET", "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}"),
        ("PATCH", "/2.0/mlflow/traces/{request_id}"),
        ("PATCH", "/2.0/mlflow/traces/{request_id}/tags"),
        ("PATCH", "/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id}"),
        ("PATCH", "/3.0/mlflow/traces/{trace_id}/tags"),
        ("POST", "/2.0/mlflow/traces"),
        ("POST", "/2.0/mlflow/traces/delete-traces"),
        ("POST", "/2.0/mlflow/traces/link-to-run"),
        ("POST", "/3.0/mlflow/traces"),
        ("POST", "/3.0/mlflow/traces/calculate-filter-correlation"),
        ("POST", "/3.0/mlflow/traces/delete-traces"),
        ("POST", "/3.0/mlflow/traces/search"),
        ("POST", "/3.0/mlflow/traces/{trace_id}/assessments"),
        // Tracing (Databricks only)
        ("GET", "/2.0/mlflow/unified-traces"),
        // Webhooks
        ("DELETE", "/2.0/mlflow/webhooks/{webhook_id}"),
        ("GET", "/2.0/mlflow/webhooks"),
        ("GET", "/2.0/mlflow/webhooks/{webhook_id}"),
        ("PATCH", "/2.0/mlflow/webhooks/{webhook_id}"),
        ("POST", "/2.0/mlflow/webhooks"),
        ("POST", "/2.0/mlflow/webhooks/{webhook_id}/test"),
    ];

    public static void MapUnbuilt(IEndpointRouteBuilder app)
    {
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
