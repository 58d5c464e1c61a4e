using Slipway.Client.Registry;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Client;

public sealed partial class SlipwayClient
{
    // More at once only share the wire and the disk.
    private const int UploadsAtOnce = 4;

    // Below this, the two requests of a hand-over cost more than they spare.
    private const long HandOverBytesMin = 4 << 20;
    private const int CopyBlockBytes = 1 << 20;
    private const int FlushBytes = 16 << 20;

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

        if (await HandOverAsync(file, sent, cancellationToken) is { } taken)
        {
            cache.Add(file, taken.Sha256);
            return taken;
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

    // On the server's own machine a copy beside its blobs, which the server hashes and renames: a third of the work of sending it. Null: send it.
    private async Task<StoredBlob?> HandOverAsync(FileInfo file, Action<long> sent, CancellationToken cancellationToken)
    {
        if (!Server.IsLoopback || file.Length < HandOverBytesMin)
        {
            return null;
        }

        var copied = 0L;
        string? made = null;
        try
        {
            var place = await PostAsync<HandOver>("blobs/hand-overs", null, cancellationToken);
            // Whoever listens on this port may not choose the name of a file of ours.
            if (!Guid.TryParseExact(place.Token, "N", out _) || Path.GetFileName(place.Path) != place.Token)
            {
                return null;
            }

            await CopyAsync(file, place.Path, () => made = place.Path, bytes => { copied += bytes; sent(bytes); }, cancellationToken);
            var blob = await PostAsync<StoredBlob>($"blobs/hand-overs/{place.Token}", null, cancellationToken);
            return blob.SizeBytes == copied ? blob : throw new IOException($"Of {copied:N0} bytes that were copied, {blob.SizeBytes:N0} arrived.");
        }
        catch (Exception e) when (e is SlipwayException or IOException or UnauthorizedAccessException)
        {
            // An older server, one in a container or behind a tunnel, another user's, a full disk: sending works, or says what is wrong.
            sent(-copied);
            return null;
        }
        finally
        {
            if (made is not null)
            {
                Remove(made);
            }
        }
    }

    private static async Task CopyAsync(FileInfo file, string path, Action made, Action<int> copied, CancellationToken cancellationToken)
    {
        var target = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            target.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        await using var from = new FileStream(file.FullName, new FileStreamOptions { BufferSize = 0, Options = FileOptions.SequentialScan });
        await using var to = new FileStream(path, target);
        made();
        var buffer = new byte[CopyBlockBytes];
        var (flushing, waiting) = (Task.CompletedTask, 0);
        try
        {
            int read;
            while ((read = await from.ReadAsync(buffer, cancellationToken)) > 0)
            {
                await to.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
                copied(read);
                waiting += read;
                if (waiting >= FlushBytes && flushing.IsCompletedSuccessfully)
                {
                    // Beside the copy, so that the server's own flush, which is the one that counts, finds most of it on disk.
                    (flushing, waiting) = (Task.Run(() => RandomAccess.FlushToDisk(to.SafeFileHandle), CancellationToken.None), 0);
                }
            }
        }
        finally
        {
            await flushing;
        }
    }

    // Gone already where the server has taken it.
    private static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody else has taken the folder away.
        }
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
