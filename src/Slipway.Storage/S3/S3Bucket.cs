using System.Net;
using System.Runtime.CompilerServices;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;
using Slipway.Contracts;

namespace Slipway.Storage.S3;

/// <summary>One object of a bucket.</summary>
/// <param name="Key">Its whole key; for a folder of a listing, with a '/' at the end.</param>
/// <param name="SizeBytes">Its length.</param>
/// <param name="ETag">The store's mark of its content, without quotes; changes when the object is written again.</param>
public sealed record S3Entry(string Key, long SizeBytes, string ETag);

/// <summary>A part of an upload that its sender has put.</summary>
/// <param name="Number">From 1.</param>
/// <param name="ETag">What the store answered.</param>
public sealed record S3Part(int Number, string ETag);

/// <summary>One bucket of an S3-compatible store. Every fault of the store becomes one sentence that names the store and the way out.</summary>
public sealed class S3Bucket : IDisposable
{
    private const long PartBytesMin = 16 << 20;
    private const int PartsMax = 10_000;

    private readonly S3Settings _settings;
    private readonly string _bucket;
    private readonly Lazy<AmazonS3Client> _client;

    /// <summary>Connects on first use.</summary>
    public S3Bucket(S3Settings settings, string bucket)
    {
        _settings = settings;
        _bucket = bucket;
        _client = new Lazy<AmazonS3Client>(settings.Connect);
    }

    /// <summary>Asks the store for the bucket, so that a wrong setting is told at once and not by the first upload.</summary>
    /// <exception cref="SlipwayException">Unavailable: the store does not answer; FailedPrecondition: it refuses.</exception>
    public Task CheckAsync(CancellationToken cancellationToken) =>
        AskAsync(client => client.ListObjectsV2Async(new ListObjectsV2Request { BucketName = _bucket, MaxKeys = 1 }, cancellationToken));

    /// <summary>Size and mark of an object; null when there is none.</summary>
    public async Task<S3Entry?> FindAsync(string key, CancellationToken cancellationToken)
    {
        try
        {
            var found = await AskAsync(client => client.GetObjectMetadataAsync(new GetObjectMetadataRequest { BucketName = _bucket, Key = key }, cancellationToken));
            return new S3Entry(key, found.ContentLength, Unquote(found.ETag));
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound)
        {
            return null;
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.FailedPrecondition)
        {
            await CheckAsync(cancellationToken); // This request's answer has no body to say why; another's has.
            throw;
        }
    }

    /// <summary>Puts a file; durable when the task completes. Large ones go in parts, one after the other, so that memory stays flat.</summary>
    public async Task<S3Entry> PutFileAsync(string key, string path, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        var size = file.Length;
        if (size <= PartBytesMin)
        {
            var put = await AskAsync(client => client.PutObjectAsync(
                new PutObjectRequest { BucketName = _bucket, Key = key, InputStream = file, UseChunkEncoding = false, AutoCloseStream = false }, cancellationToken));
            return new S3Entry(key, size, Unquote(put.ETag));
        }

        var upload = await StartUploadAsync(key, cancellationToken);
        try
        {
            var partBytes = Math.Max(PartBytesMin, (size + PartsMax - 1) / PartsMax);
            var parts = new List<S3Part>();
            for (long offset = 0; offset < size; offset += partBytes)
            {
                var request = new UploadPartRequest
                {
                    BucketName = _bucket,
                    Key = key,
                    UploadId = upload,
                    PartNumber = parts.Count + 1,
                    PartSize = Math.Min(partBytes, size - offset),
                    InputStream = new StreamWindow(file, offset, Math.Min(partBytes, size - offset)),
                    UseChunkEncoding = false,
                };
                var answer = await AskAsync(client => client.UploadPartAsync(request, cancellationToken));
                parts.Add(new S3Part(request.PartNumber.Value, answer.ETag));
            }

            return new S3Entry(key, size, await CompleteUploadAsync(key, upload, parts, cancellationToken));
        }
        catch
        {
            await TryAbortAsync(key, upload);
            throw;
        }
    }

    /// <summary>Opens an object for reading from a position; seekable, each move being a new request.</summary>
    /// <param name="entry">What <see cref="FindAsync"/> told of it. When the object is written again meanwhile, reading fails rather than mixing the two.</param>
    public Stream OpenRead(S3Entry entry) => new S3ReadStream(this, entry);

    /// <summary>Objects and folders directly below a prefix that ends in '/', or all objects below it.</summary>
    public async IAsyncEnumerable<S3Entry> ListAsync(string prefix, bool recursive, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string? next = null;
        do
        {
            var request = new ListObjectsV2Request { BucketName = _bucket, Prefix = prefix, Delimiter = recursive ? null : "/", ContinuationToken = next };
            var page = await AskAsync(client => client.ListObjectsV2Async(request, cancellationToken));
            foreach (var entry in page.S3Objects ?? [])
            {
                yield return new S3Entry(entry.Key, entry.Size ?? 0, Unquote(entry.ETag));
            }

            foreach (var folder in page.CommonPrefixes ?? [])
            {
                yield return new S3Entry(folder, 0, "");
            }

            next = page.IsTruncated == true ? page.NextContinuationToken : null;
        }
        while (next is not null);
    }

    /// <summary>Removes an object; one that is not there is no fault.</summary>
    public Task DeleteAsync(string key, CancellationToken cancellationToken) =>
        AskAsync(client => client.DeleteObjectAsync(new DeleteObjectRequest { BucketName = _bucket, Key = key }, cancellationToken));

    /// <summary>Begins an upload in parts.</summary>
    public async Task<string> StartUploadAsync(string key, CancellationToken cancellationToken) =>
        (await AskAsync(client => client.InitiateMultipartUploadAsync(new InitiateMultipartUploadRequest { BucketName = _bucket, Key = key }, cancellationToken))).UploadId;

    /// <summary>An address to which whoever holds it may put one part of one upload, for a while.</summary>
    public string PartUrl(string key, string upload, int part, DateTimeOffset until)
    {
        try
        {
            return _client.Value.GetPreSignedURL(new GetPreSignedUrlRequest
            {
                BucketName = _bucket,
                Key = key,
                Verb = HttpVerb.PUT,
                UploadId = upload,
                PartNumber = part,
                Expires = until.UtcDateTime,
                Protocol = _settings.Endpoint?.Scheme == "http" ? Protocol.HTTP : Protocol.HTTPS,
            });
        }
        catch (AmazonClientException e)
        {
            throw Translate(e);
        }
    }

    /// <summary>Joins the parts to the object and returns its mark.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a part is missing or has another mark.</exception>
    public async Task<string> CompleteUploadAsync(string key, string upload, IEnumerable<S3Part> parts, CancellationToken cancellationToken)
    {
        var request = new CompleteMultipartUploadRequest
        {
            BucketName = _bucket,
            Key = key,
            UploadId = upload,
            PartETags = [.. parts.OrderBy(part => part.Number).Select(part => new PartETag(part.Number, part.ETag))],
        };
        return Unquote((await AskAsync(client => client.CompleteMultipartUploadAsync(request, cancellationToken))).ETag);
    }

    /// <summary>Gives an upload up; its parts are removed. One that the store no longer knows is no fault.</summary>
    public async Task AbortUploadAsync(string key, string upload, CancellationToken cancellationToken)
    {
        try
        {
            await AskAsync(client => client.AbortMultipartUploadAsync(
                new AbortMultipartUploadRequest { BucketName = _bucket, Key = key, UploadId = upload }, cancellationToken));
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound or ErrorCode.InvalidArgument)
        {
            // Somebody was faster.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_client.IsValueCreated)
        {
            _client.Value.Dispose();
        }
    }

    internal async Task<Stream> OpenFromAsync(S3Entry entry, long offset, CancellationToken cancellationToken)
    {
        var request = new GetObjectRequest { BucketName = _bucket, Key = entry.Key, ByteRange = new ByteRange(offset, entry.SizeBytes - 1), EtagToMatch = entry.ETag };
        return (await AskAsync(client => client.GetObjectAsync(request, cancellationToken))).ResponseStream;
    }

    private async Task TryAbortAsync(string key, string upload)
    {
        try
        {
            // Not with the caller's token: it may be what broke the upload off.
            await AbortUploadAsync(key, upload, CancellationToken.None);
        }
        catch (SlipwayException)
        {
            // The first fault is the one to tell. The store's own rule for unfinished uploads clears the parts.
        }
    }

    private async Task<T> AskAsync<T>(Func<AmazonS3Client, Task<T>> ask)
    {
        try
        {
            return await ask(_client.Value);
        }
        catch (Exception e) when (e is AmazonServiceException or AmazonClientException or HttpRequestException or WebException or TaskCanceledException { InnerException: TimeoutException })
        {
            throw Translate(e);
        }
    }

    // Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
    private SlipwayException Translate(Exception fault)
    {
        var store = $"The artifact store s3://{_bucket} at {_settings.Name}";
        return fault switch
        {
            AmazonS3Exception { ErrorCode: "NoSuchBucket" } => new(ErrorCode.FailedPrecondition,
                $"{store} has no such bucket; make the bucket '{_bucket}' there, or name another.", fault),
            AmazonS3Exception { ErrorCode: "NoSuchUpload" } => new(ErrorCode.InvalidArgument, $"{store} knows no such upload: it was completed or given up already; start it again.", fault),
            AmazonS3Exception { ErrorCode: "InvalidPart" or "InvalidPartOrder" or "EntityTooSmall" or "MalformedXML" } part => new(ErrorCode.InvalidArgument,
                $"{store} cannot join the parts ({part.ErrorCode}): each must have been put, with the mark (etag) it was answered, and all but the last need 5 MB.", fault),
            AmazonS3Exception { ErrorCode: "InvalidAccessKeyId" or "SignatureDoesNotMatch" or "ExpiredToken" or "InvalidToken" or "TokenRefreshRequired" } refused => new(ErrorCode.FailedPrecondition,
                $"{store} refuses the server's credentials ({refused.ErrorCode}); correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the shared credentials file, and start the server again.", fault),
            AmazonS3Exception { StatusCode: HttpStatusCode.Forbidden } refused => new(ErrorCode.FailedPrecondition,
                $"{store} does not let the server in ({Name(refused, "AccessDenied")}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and allow them s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there.", fault),
            AmazonS3Exception { StatusCode: HttpStatusCode.PreconditionFailed } => new(ErrorCode.FailedPrecondition, $"A file in {store[4..]} was replaced while it was read; read it again.", fault),
            AmazonS3Exception { StatusCode: HttpStatusCode.NotFound } => new(ErrorCode.NotFound, $"{store} has no such object.", fault),
            AmazonS3Exception { StatusCode: HttpStatusCode.MovedPermanently or HttpStatusCode.TemporaryRedirect } => new(ErrorCode.FailedPrecondition,
                $"{store} keeps this bucket in another region; set AWS_REGION to it and start the server again.", fault),
            AmazonS3Exception { StatusCode: >= HttpStatusCode.InternalServerError } busy => new(ErrorCode.Unavailable, $"{store} cannot answer now ({Name(busy, "error")}); try again.", fault),
            AmazonS3Exception { StatusCode: not 0 } other => new(ErrorCode.Unavailable, $"{store} refused the request ({Name(other, other.StatusCode.ToString())}); see the store's log.", fault),
            AmazonClientException when fault.Message.Contains("credentials", StringComparison.OrdinalIgnoreCase) || fault.Message.Contains("metadata", StringComparison.OrdinalIgnoreCase) => new(ErrorCode.FailedPrecondition,
                $"{store} needs credentials, but none were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them into the shared credentials file (~/.aws/credentials), and start again.", fault),
            _ => new(ErrorCode.Unavailable, $"{store} cannot be reached; check the address (--s3-endpoint, AWS_ENDPOINT_URL) and that the store runs.", fault),
        };
    }

    private static string Name(AmazonS3Exception fault, string otherwise) => string.IsNullOrEmpty(fault.ErrorCode) ? otherwise : fault.ErrorCode;

    private static string Unquote(string? etag) => etag?.Trim('"') ?? "";
}
