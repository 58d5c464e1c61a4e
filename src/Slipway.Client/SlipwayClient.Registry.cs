using Slipway.Client.Registry;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    // More at once only share the wire and the disk.
    private const int UploadsAtOnce = 4;

    /// <summary>Sends files as blobs, in constant memory and a few at once; those that an earlier, broken attempt sent are not sent again.</summary>
    /// <param name="files">What to send.</param>
    /// <param name="progress">Told the bytes done so far.</param>
    /// <param name="cancellationToken">Stops; what was sent stays.</param>
    /// <param name="cacheFolder">Where digests of sent files are remembered; null takes the user's own.</param>
    /// <returns>In the order of <paramref name="files"/>.</returns>
    /// <exception cref="SlipwayException">The server's refusal; or what arrived is not what was sent.</exception>
    public async Task<IReadOnlyList<ArtifactFile>> UploadFilesAsync(
        IReadOnlyList<ModelFile> files, IProgress<long>? progress, CancellationToken cancellationToken, string? cacheFolder = null)
    {
        var cache = DigestCache.Load(cacheFolder);
        var done = 0L;
        var stored = new ArtifactFile[files.Count];
        await Parallel.ForAsync(0, files.Count, new ParallelOptions { MaxDegreeOfParallelism = UploadsAtOnce, CancellationToken = cancellationToken }, async (i, token) =>
        {
            var blob = await UploadFileAsync(files[i].File, cache, sent => progress?.Report(Interlocked.Add(ref done, sent)), token);
            stored[i] = new ArtifactFile(files[i].Path, blob.Sha256, blob.SizeBytes);
        });
        return stored;
    }

    private async Task<StoredBlob> UploadFileAsync(FileInfo file, DigestCache cache, Action<long> sent, CancellationToken cancellationToken)
    {
        if (cache.Find(file) is { } known && await FindBlobAsync(known, cancellationToken) is { } there && there.SizeBytes == file.Length)
        {
            sent(file.Length);
            return there;
        }

        await using var stream = new FileStream(file.FullName, new FileStreamOptions { BufferSize = 0, Options = FileOptions.Asynchronous | FileOptions.SequentialScan });
        using var content = new HashedFileContent(stream, bytes => sent(bytes));
        var blob = await SendAsync<StoredBlob>(HttpMethod.Post, "blobs", content, cancellationToken);
        if (blob.Sha256 != content.Sha256)
        {
            throw new SlipwayException(ErrorCode.Unavailable, $"'{file.FullName}' was sent as {content.Sha256} and arrived as {blob.Sha256}; send it again.");
        }

        cache.Add(file, blob.Sha256);
        return blob;
    }

    private async Task<StoredBlob?> FindBlobAsync(string sha256, CancellationToken cancellationToken)
    {
        try
        {
            return await GetAsync<StoredBlob>($"blobs/{sha256}", cancellationToken);
        }
        catch (SlipwayException e) when (e.Code == ErrorCode.NotFound)
        {
            return null;
        }
    }
}
