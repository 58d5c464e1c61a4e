using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Tracking.Mlflow;

/// <summary>Files of runs: MLflow's listing, its download, and the proxy through which its clients put and fetch files.</summary>
internal static class ArtifactEndpoints
{
    internal const long FileBytesMax = 64L * 1024 * 1024 * 1024;

    public static void MapListing(RouteGroupBuilder group) => group.MapGet("/artifacts/list", List).May(Permission.Read);

    public static void MapProxy(RouteGroupBuilder group)
    {
        group.MapGet("/artifacts", ProxyList).May(Permission.Read);
        group.MapGet("/artifacts/{**path}", ProxyGet).May(Permission.Read);
        group.MapPut("/artifacts/{**path}", ProxyPut).May(Permission.Write);
        group.MapDelete("/artifacts/{**path}", ProxyDelete).May(Permission.Write);
    }

    public static void MapDownload(IEndpointRouteBuilder app) =>
        app.MapGet("/get-artifact", Download).May(Permission.Read).WithMetadata(new ErrorShape(ErrorEnvelope.Mlflow));

    private static async Task<IResult> List(HttpContext context, RunStore runs, DirectArtifacts direct, CancellationToken cancellationToken)
    {
        var run = runs.Get(RunEndpoints.QueryRunId(context));
        var folder = MlflowHttp.Query(context, "path");
        var files = Children(run.Artifacts, folder, fullPath: true);
        if (run.ArtifactLocation is not null)
        {
            // What the server was sent comes first where both have a name.
            var own = files.Select(file => file.Path).ToHashSet(StringComparer.Ordinal);
            files.AddRange((await direct.ListAsync(run, folder, cancellationToken)).Where(file => !own.Contains(file.Path)).Select(file => new MlflowFile(file.Path, file.SizeBytes is null, file.SizeBytes)));
            files.Sort((a, b) => string.CompareOrdinal(a.Path, b.Path));
        }

        return MlflowHttp.Answer(new ListArtifactsResponse(run.ArtifactUri, MlflowHttp.OrNull(files)));
    }

    private static async Task<IResult> Download(HttpContext context, RunStore runs, ArtifactStore artifacts, DirectArtifacts direct, BlobStore blobs, CancellationToken cancellationToken)
    {
        var (runId, path) = (RunEndpoints.QueryRunId(context), MlflowHttp.Required(MlflowHttp.Query(context, "path"), "path"));
        try
        {
            return Send(context, artifacts.Get(runId, path), blobs);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            if (runs.Find(runId) is { ArtifactLocation: not null } run && await direct.OpenAsync(run, path, cancellationToken) is { } content)
            {
                Guard(context);
                return Results.Stream(content, "application/octet-stream", path[(path.LastIndexOf('/') + 1)..], enableRangeProcessing: true);
            }

            throw;
        }
    }

    private static IResult ProxyList(HttpContext context, RunStore runs, LoggedModelStore models, ArtifactStore artifacts)
    {
        var (runId, folder) = ParseProxyPath(context, MlflowHttp.Query(context, "path"), runs, models);
        return MlflowHttp.Answer(new ListArtifactsResponse(null, MlflowHttp.OrNull(Children(artifacts.List(runId), folder, fullPath: false))));
    }

    private static IResult ProxyGet(HttpContext context, string path, RunStore runs, LoggedModelStore models, ArtifactStore artifacts, BlobStore blobs)
    {
        var (runId, file) = ParseProxyPath(context, path, runs, models);
        return Send(context, artifacts.Get(runId, MlflowHttp.Required(file, "artifact_path")), blobs);
    }

    private static async Task<IResult> ProxyPut(HttpContext context, string path, RunStore runs, LoggedModelStore models, ArtifactStore artifacts, Caller by, CancellationToken cancellationToken)
    {
        var (runId, file) = ParseProxyPath(context, path, runs, models);
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } size)
        {
            size.MaxRequestBodySize = FileBytesMax; // Streamed to disk; only the digest passes through memory.
        }

        await artifacts.LogAsync(runId, MlflowHttp.Required(file, "artifact_path"), context.Request.Body, by, cancellationToken, FileBytesMax);
        return MlflowHttp.Nothing();
    }

    private static async Task<IResult> ProxyDelete(HttpContext context, string path, RunStore runs, LoggedModelStore models, ArtifactStore artifacts, Caller by, CancellationToken cancellationToken)
    {
        var (runId, file) = ParseProxyPath(context, path, runs, models);
        await artifacts.DeleteAsync(runId, MlflowHttp.Required(file, "artifact_path"), by, cancellationToken);
        return MlflowHttp.Nothing();
    }

    // "<experiment>/<run>/artifacts[/<path>]" or "<experiment>/models/<model>/artifacts[/<path>]", as the owner's artifact_uri says.
    internal static (string RunId, string? Path) ParseProxyPath(HttpContext context, string? path, RunStore runs, LoggedModelStore models)
    {
        RefuseDotSegments(context);
        var canonical = ArtifactPath.Parse(path);
        if (canonical.Split('/', 5) is [var place, "models", var modelId, "artifacts", .. var file])
        {
            return models.Get(modelId).ExperimentId == place
                ? (modelId, file.SingleOrDefault())
                : throw new SlipwayException(ErrorCode.NotFound, $"Logged model with ID '{modelId}' not found in experiment {place}.");
        }

        if (canonical.Split('/', 4) is not [var experiment, var runId, "artifacts", .. var rest])
        {
            throw RunLimits.Invalid($"Invalid path '{canonical}': it must be <experiment_id>/<run_id>/artifacts/<file>, as the run's artifact_uri says, or <experiment_id>/models/<model_id>/artifacts/<file>.");
        }

        return runs.Find(runId) is { } run && run.ExperimentId == experiment
            ? (runId, rest.SingleOrDefault())
            : throw new SlipwayException(ErrorCode.NotFound, $"Run with id={runId} not found in experiment {experiment}.");
    }

    // The server has already folded ".." away when a route is chosen; whoever sent it meant another file than the one left over.
    internal static void RefuseDotSegments(HttpContext context)
    {
        var target = context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "";
        var path = target.Split('?', 2)[0];
        if (path.Split('/').Any(segment => Uri.UnescapeDataString(segment) is "." or ".."))
        {
            throw RunLimits.Invalid("Invalid path: it may not hold '.' or '..' parts.");
        }
    }

    internal static List<MlflowFile> Children(IReadOnlyList<RunArtifact> artifacts, string? folder, bool fullPath)
    {
        var prefix = string.IsNullOrEmpty(folder) ? "" : ArtifactPath.Parse(folder) + "/";
        var children = new SortedDictionary<string, MlflowFile>(StringComparer.Ordinal);
        foreach (var artifact in artifacts.Where(artifact => artifact.Path.StartsWith(prefix, StringComparison.Ordinal)))
        {
            var rest = artifact.Path[prefix.Length..];
            var slash = rest.IndexOf('/', StringComparison.Ordinal);
            var name = slash < 0 ? rest : rest[..slash];
            children.TryAdd(name, new MlflowFile(fullPath ? prefix + name : name, slash >= 0, slash < 0 ? artifact.SizeBytes : null));
        }

        return [.. children.Values];
    }

    internal static IResult Send(HttpContext context, RunArtifact file, BlobStore blobs)
    {
        Guard(context);
        return Results.File(
            blobs.PathOf(file.Sha256), "application/octet-stream", file.Path[(file.Path.LastIndexOf('/') + 1)..],
            entityTag: new EntityTagHeaderValue($"\"{file.Sha256}\""), enableRangeProcessing: true);
    }

    // A file of a run may be anything, a page with scripts too: the browser saves it and never runs it in our name.
    private static void Guard(HttpContext context)
    {
        context.Response.Headers.XContentTypeOptions = "nosniff";
        context.Response.Headers.ContentSecurityPolicy = "default-src 'none'; sandbox";
    }
}
