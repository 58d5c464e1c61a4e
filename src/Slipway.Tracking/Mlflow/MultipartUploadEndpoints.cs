using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking.Mlflow;

/// <summary>Uploads in parts through MLflow's artifact proxy.</summary>
internal static class MultipartUploadEndpoints
{
    /// <summary>Maps what lies below <c>/2.0/mlflow-artifacts</c>.</summary>
    public static void MapUploads(RouteGroupBuilder group)
    {
        group.MapPost("/mpu/create/{**path}", Create).May(Permission.Write);
        group.MapPost("/mpu/complete/{**path}", Complete).May(Permission.Write);
        group.MapPost("/mpu/abort/{**path}", Abort).May(Permission.Write);
        // MLflow's clients put a part without credentials, as to a signed address of a store: what admits them is the upload's secret id.
        group.MapPut("/mpu/parts/{upload}/{part}", PutPart).May(Permission.None);
    }

    private static async Task<IResult> Create(
        HttpContext context, string path, MultipartUploads uploads, RunStore runs, LoggedModelStore models, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<CreateUploadRequest>(context, cancellationToken);
        var (runId, file) = File(context, path, request.Path, runs, models);
        var id = uploads.Begin(runId, file, MlflowHttp.Required(request.NumParts, "num_parts"));
        // Whoever ends TLS before us says so; a caller who lies gets an address that does not work for himself.
        var scheme = context.Request.Headers["X-Forwarded-Proto"] == "https" ? "https" : context.Request.Scheme;
        return MlflowHttp.Answer(new CreateUploadResponse(id, [.. Enumerable.Range(1, (int)request.NumParts!.Value).Select(number => new UploadCredential(
            $"{scheme}://{context.Request.Host}/api/2.0/mlflow-artifacts/mpu/parts/{id}/{number}", number, new Dictionary<string, string>()))]));
    }

    private static async Task<IResult> PutPart(HttpContext context, string upload, string part, MultipartUploads uploads, CancellationToken cancellationToken)
    {
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = ArtifactEndpoints.FileBytesMax;
        }

        var number = int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var whole) ? whole : throw RunLimits.Invalid($"A part's number must be a whole number, not '{part}'.");
        context.Response.Headers.ETag = $"\"{await uploads.PutPartAsync(upload, number, context.Request.Body, ArtifactEndpoints.FileBytesMax, cancellationToken)}\"";
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Complete(
        HttpContext context, string path, MultipartUploads uploads, RunStore runs, LoggedModelStore models, Caller by, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<EndUploadRequest>(context, cancellationToken);
        var (runId, file) = File(context, path, request.Path, runs, models);
        var parts = (request.Parts ?? []).Select((part, index) => (
            MlflowHttp.Required(part?.PartNumber, $"parts[{index}].part_number"), MlflowHttp.Required(part!.Etag, $"parts[{index}].etag"))).ToList();
        await uploads.CompleteAsync(MlflowHttp.Required(request.UploadId, "upload_id"), runId, file, parts, by, ArtifactEndpoints.FileBytesMax, cancellationToken);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> Abort(
        HttpContext context, string path, MultipartUploads uploads, RunStore runs, LoggedModelStore models, CancellationToken cancellationToken)
    {
        var request = await MlflowHttp.ReadAsync<EndUploadRequest>(context, cancellationToken);
        var (runId, file) = File(context, path, request.Path, runs, models);
        uploads.Abort(MlflowHttp.Required(request.UploadId, "upload_id"), runId, file);
        return MlflowHttp.Nothing();
    }

    // The address names the folder, and the body the file by its path on the client, of which only the name counts.
    private static (string RunId, string Path) File(HttpContext context, string folder, string? local, RunStore runs, LoggedModelStore models)
    {
        var (runId, below) = ArtifactEndpoints.ParseProxyPath(context, folder, runs, models);
        var name = MlflowHttp.Required(local, "path");
        name = name[(name.LastIndexOfAny(['/', '\\']) + 1)..];
        return (runId, ArtifactPath.Parse(below is null ? name : $"{below}/{name}"));
    }
}
