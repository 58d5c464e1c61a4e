using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Native.Files;

namespace Slipway.Storage.Blobs;

/// <summary>One stored blob.</summary>
/// <param name="Sha256">Lower-case hex, 64 characters; the blob's only name.</param>
/// <param name="SizeBytes">Its length.</param>
public sealed record Blob(string Sha256, long SizeBytes);

/// <summary>Content named by its SHA-256, in files or in an S3 bucket. A blob never changes; putting it again is free.</summary>
public abstract class BlobStore
{
    private const int VerifiedMax = 100_000;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    private readonly string _temporary;

    // Digests that this process computed, with the mark of the content they were computed from.
    private readonly ConcurrentDictionary<string, string> _verified = new(StringComparer.Ordinal);

    /// <summary>Clears what an interrupted write left.</summary>
    /// <param name="temporary">Folder for content that is still being received.</param>
    private protected BlobStore(string temporary)
    {
        _temporary = temporary;
        Directory.CreateDirectory(_temporary);

        // Another process may share the folder: what was written to lately is still under way.
        var old = TimeProvider.System.GetUtcNow().UtcDateTime - TimeSpan.FromHours(1);
        foreach (var file in Directory.EnumerateFiles(_temporary).Where(file => File.GetLastWriteTimeUtc(file) < old))
        {
            File.Delete(file);
        }
    }

    /// <summary>Opens the store that the options name.</summary>
    public static BlobStore Open(StorageOptions options) => options.BlobLocation is { } place ? new S3BlobStore(options, place) : new FileBlobStore(options);

    /// <summary>Where blobs are kept, for messages.</summary>
    public abstract string Place { get; }

    /// <summary>Whether the store answers and lets the server in; free for files.</summary>
    /// <exception cref="SlipwayException">Unavailable, FailedPrecondition: one sentence that names the store and the fix.</exception>
    public abstract Task CheckAsync(CancellationToken cancellationToken);

    /// <summary>Streams the content in; durable when the task completes.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="limitBytes">Refuse longer content.</param>
    /// <param name="cancellationToken">Leaves nothing behind.</param>
    /// <exception cref="SlipwayException">TooLarge; Unavailable: the disk is full.</exception>
    public async Task<Blob> PutAsync(Stream content, CancellationToken cancellationToken, long limitBytes = long.MaxValue)
    {
        var temporary = Path.Combine(_temporary, Guid.NewGuid().ToString("N"));
        try
        {
            var (digest, size) = await BlobReceiver.ReceiveAsync(content, temporary, limitBytes, cancellationToken);
            return await StoreAsync(temporary, new Blob(digest, size), cancellationToken);
        }
        catch (IOException e) when (IsDiskFull(e))
        {
            throw DiskFull(e);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>Stores bytes at hand; see the streaming overload.</summary>
    public Task<Blob> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancellationToken) =>
        PutAsync(new MemoryStream(content.ToArray(), writable: false), cancellationToken);

    /// <summary>Takes over a file made elsewhere, such as one DuckDB wrote under <see cref="StorageOptions.TemporaryDirectory"/>; the file is moved away.</summary>
    public async Task<Blob> PutFileAsync(string path, CancellationToken cancellationToken)
    {
        // First next to the blobs: from another disk this is a copy, and a copy broken off may not bear a blob's name.
        var temporary = Path.Combine(_temporary, Guid.NewGuid().ToString("N"));
        try
        {
            File.Move(path, temporary);
            string digest;
            long size;
            await using (var file = new FileStream(temporary, FileMode.Open, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0, useAsync: true))
            {
                WriteBack.Begin(file.SafeFileHandle, 0, 0); // Meanwhile the disk is at work.
                digest = await BlobReceiver.HashAsync(file, cancellationToken);
                size = file.Length;
                RandomAccess.FlushToDisk(file.SafeFileHandle);
            }

            return await StoreAsync(temporary, new Blob(digest, size), cancellationToken);
        }
        catch (IOException e) when (IsDiskFull(e))
        {
            throw DiskFull(e);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    /// <summary>A file with the blob's content, for readers that want a path (DuckDB, ONNX Runtime). From S3 it is a copy, checked against its name when it was fetched.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: not a SHA-256; Unavailable.</exception>
    public abstract string PathOf(string sha256);

    /// <summary>Whether the blob is here.</summary>
    public abstract bool Exists(string sha256);

    /// <summary>Opens a blob for reading on this machine; see <see cref="PathOf"/>.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: not a SHA-256.</exception>
    public Stream OpenRead(string sha256) => File.OpenRead(PathOf(sha256));

    /// <summary>Opens a blob to be sent on: seekable, with a length, read only with the asynchronous methods. Nothing is copied to this machine's disk.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: not a SHA-256; Unavailable.</exception>
    public abstract Task<Stream> OpenReadAsync(string sha256, CancellationToken cancellationToken);

    /// <summary>Reads a whole blob and checks it against its name.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: the content was changed.</exception>
    public async Task<byte[]> ReadVerifiedAsync(string sha256, CancellationToken cancellationToken)
    {
        await using var content = await OpenReadAsync(sha256, cancellationToken);
        var bytes = new byte[content.Length];
        await content.ReadExactlyAsync(bytes, cancellationToken);
        return Convert.ToHexStringLower(SHA256.HashData(bytes)) == sha256 ? bytes : throw Changed(sha256);
    }

    /// <summary>Recomputes the digest of one blob; false when it differs or the blob is gone.</summary>
    public async Task<bool> VerifyAsync(string sha256, CancellationToken cancellationToken)
    {
        if (!Exists(sha256))
        {
            return false;
        }

        await using var content = await OpenReadAsync(sha256, cancellationToken);
        return await BlobReceiver.HashAsync(content, cancellationToken) == sha256;
    }

    /// <summary>
    /// As <see cref="VerifyAsync"/>, without reading again what this process has hashed since it started and nobody has written to
    /// since: a model is then read once on its way in. An audit of the disk asks <see cref="VerifyAsync"/>.
    /// </summary>
    public async Task<bool> IsIntactAsync(string sha256, CancellationToken cancellationToken)
    {
        if (Mark(sha256) is { } mark && _verified.TryGetValue(sha256, out var known) && known == mark)
        {
            return true;
        }

        if (!await VerifyAsync(sha256, cancellationToken))
        {
            return false;
        }

        Remember(sha256);
        return true;
    }

    /// <summary>Every blob's digest, in no order.</summary>
    public abstract IEnumerable<string> List();

    /// <summary>What tells the stored content from a later one without reading it, such as length and time of the last write; null when there is no blob.</summary>
    private protected abstract string? Mark(string sha256);

    /// <summary>Gives received content its name; false when a blob of that name and size was kept in its place. The file may be moved away.</summary>
    private protected abstract Task<bool> AdoptAsync(string temporary, string sha256, long size, CancellationToken cancellationToken);

    private protected static SlipwayException Missing(string sha256) => new(ErrorCode.NotFound, $"There is no blob {sha256}.");

    private protected static SlipwayException Changed(string sha256) =>
        new(ErrorCode.FailedPrecondition, $"Blob {sha256} has been changed on disk: its content no longer has this SHA-256.");

    private protected static void CheckName(string sha256)
    {
        if (sha256.Length != 64 || sha256.AsSpan().ContainsAnyExcept(HexDigits))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{sha256}' is not a SHA-256 in lower-case hex.");
        }
    }

    internal static bool IsDiskFull(IOException e) => (e.HResult & 0xFFFF) is 28 or 112;

    private async Task<Blob> StoreAsync(string temporary, Blob blob, CancellationToken cancellationToken)
    {
        if (await AdoptAsync(temporary, blob.Sha256, blob.SizeBytes, cancellationToken))
        {
            Remember(blob.Sha256);
        }

        return blob;
    }

    private void Remember(string sha256)
    {
        if (Mark(sha256) is { } mark)
        {
            if (_verified.Count >= VerifiedMax)
            {
                _verified.Clear();
            }

            _verified[sha256] = mark;
        }
    }

    private SlipwayException DiskFull(IOException e) =>
        new(ErrorCode.Unavailable, $"The disk that holds '{_temporary}' is full; free some space and try again. Nothing was stored.", e);
}
