using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking.Mlflow;

/// <summary>The upload of MLflow's web page: one small file as the body.</summary>
internal static class ArtifactUploadEndpoint
{
    private const long BytesMax = 10 * 1024 * 1024;

    public static void MapUpload(RouteGroupBuilder group) => group.MapPost("/upload-artifact", Upload).May(Permission.Write);

    private static async Task<IResult> Upload(HttpContext context, ArtifactStore artifacts, Caller by, CancellationToken cancellationToken)
    {
        var runId = RunEndpoints.QueryRunId(context);
        var path = MlflowHttp.Required(MlflowHttp.Query(context, "path"), "path");
        if (context.Request.ContentLength > BytesMax)
        {
            throw RunLimits.Invalid("Artifact size is too large. Max size is 10MB; larger files go through the artifact proxy.");
        }

        if (context.Request.ContentLength == 0 || context.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: false })
        {
            throw RunLimits.Invalid("Request must specify data: the file is the body.");
        }

        await artifacts.LogAsync(runId, path, context.Request.Body, by, cancellationToken, BytesMax);
        return MlflowHttp.Nothing();
    }
}
