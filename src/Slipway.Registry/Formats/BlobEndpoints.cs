using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
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
        write.MapGet("/blobs/{sha256}", Find).WithSummary("Say whether content is stored and whole");
    }

    private static async Task<Ok<StoredBlob>> Put(HttpContext context, string? sha256, BlobStore blobs, CancellationToken cancellationToken)
    {
        var blob = await blobs.PutAsync(context.Request.Body, cancellationToken, BytesMax);
        return sha256 is null || sha256 == blob.Sha256
            ? TypedResults.Ok(new StoredBlob(blob.Sha256, blob.SizeBytes))
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'sha256' says {sha256}, but the content that arrived has {blob.Sha256}; send it again.");
    }

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
