using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Registry.Formats;

/// <summary>Where the files of a registration are sent first: content is named by its digest, so that what is there need not be sent again.</summary>
internal static class BlobEndpoints
{
    // A larger file than any model has; the body is streamed to disk.
    private const long BytesMax = 256L << 30;

    public static void MapBlobs(this IEndpointRouteBuilder app)
    {
        var write = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Write));
        write.MapPost("/blobs", Put).WithMetadata(new UploadLimit()).WithSummary("Store content under its SHA-256");
        write.MapPost("/blobs/hand-overs", Offer).WithSummary("Name a file that a caller on this machine may copy content to");
        write.MapPost("/blobs/hand-overs/{token}", Take).WithSummary("Store content that was copied there");
        write.MapGet("/blobs/{sha256}", Find).WithSummary("Say whether content is stored and whole");
    }

    private static async Task<Ok<StoredBlob>> Put(HttpContext context, string? sha256, BlobStore blobs, CancellationToken cancellationToken)
    {
        var blob = await blobs.PutAsync(context.Request.Body, cancellationToken, BytesMax);
        return sha256 is null || sha256 == blob.Sha256
            ? TypedResults.Ok(new StoredBlob(blob.Sha256, blob.SizeBytes))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'sha256' says {sha256}, but the content that arrived has {blob.Sha256}; send it again.");
    }

    // Who can write into the folder is the server's own user on the server's own machine; anybody else finds that out when he tries, and sends the content.
    private static Ok<HandOver> Offer(HttpContext context, StorageOptions options)
    {
        if (context.Connection.RemoteIpAddress is not { } caller || !IPAddress.IsLoopback(caller))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, "Content is handed over as a file on the server's own machine only; send it to POST /api/slipway/v1/blobs.");
        }

        var token = Guid.NewGuid().ToString("N");
        PrivateFiles.CreateDirectory(HandedFolder(options));
        return TypedResults.Ok(new HandOver(token, Path.Combine(HandedFolder(options), token)));
    }

    private static async Task<Ok<StoredBlob>> Take(string token, StorageOptions options, BlobStore blobs, CancellationToken cancellationToken)
    {
        // The token is a file's name: nothing else than what Offer made may lead to one.
        if (!Guid.TryParseExact(token, "N", out var parsed))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'token' must be one that POST /api/slipway/v1/blobs/hand-overs gave, not '{token}'.");
        }

        var file = new FileInfo(Path.Combine(HandedFolder(options), parsed.ToString("N")));
        if (!file.Exists || file.Attributes.HasFlag(FileAttributes.ReparsePoint))
        {
            throw new SlipwayException(ErrorCode.NotFound, $"No content was handed over as {token}; copy it to the path that POST /api/slipway/v1/blobs/hand-overs gave, or send it.");
        }

        try
        {
            var blob = await blobs.PutFileAsync(file.FullName, cancellationToken);
            return TypedResults.Ok(new StoredBlob(blob.Sha256, blob.SizeBytes));
        }
        catch (UnauthorizedAccessException e)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition, $"The content handed over as {token} belongs to another user than the server's; send it to POST /api/slipway/v1/blobs.", e);
        }
    }

    private static string HandedFolder(StorageOptions options) => Path.Combine(options.TemporaryDirectory, "handed");

    private static async Task<Ok<StoredBlob>> Find(string sha256, BlobStore blobs, CancellationToken cancellationToken)
    {
        if (!await blobs.IsIntactAsync(sha256, cancellationToken))
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no blob {sha256}.");
        }

        await using var content = await blobs.OpenReadAsync(sha256, cancellationToken);
        return TypedResults.Ok(new StoredBlob(sha256, content.Length));
    }

    private sealed class UploadLimit : IRequestSizeLimitMetadata
    {
        public long? MaxRequestBodySize => BytesMax;
    }
}
