using System.Buffers;
using System.Security.Cryptography;
using Slipway.Contracts;

namespace Slipway.Storage.Blobs;

/// <summary>One stored blob.</summary>
/// <param name="Sha256">Lower-case hex, 64 characters; the blob's only name.</param>
/// <param name="SizeBytes">Its length.</param>
public sealed record Blob(string Sha256, long SizeBytes);

/// <summary>Content-addressed files under one root. A blob never changes; putting it again is free.</summary>
public sealed class BlobStore
{
    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    private readonly string _root;
    private readonly string _temporary;

    /// <summary>Opens the store and clears what an interrupted write left.</summary>
    public BlobStore(StorageOptions options)
    {
        _root = options.BlobDirectory;
        _temporary = Path.Combine(_root, "tmp");
        Directory.CreateDirectory(_temporary);

        // Another process may share the folder: what was written to lately is still under way.
        var old = TimeProvider.System.GetUtcNow().UtcDateTime - TimeSpan.FromHours(1);
        foreach (var file in Directory.EnumerateFiles(_temporary).Where(file => File.GetLastWriteTimeUtc(file) < old))
        {
            File.Delete(file);
        }
    }

    /// <summary>Streams the content in; durable when the task completes.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="limitBytes">Refuse longer content.</param>
    /// <param name="cancellationToken">Leaves nothing behind.</param>
    /// <exception cref="SlipwayException">TooLarge; Unavailable: the disk is full.</exception>
    public async Task<Blob> PutAsync(Stream content, CancellationToken cancellationToken, long limitBytes = long.MaxValue)
    {
        var temporary = Path.Combine(_temporary, Guid.NewGuid().ToString("N"));
        var buffer = ArrayPool<byte>.Shared.Rent(128 * 1024);
        try
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            long size = 0;
            await using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0))
            {
                int read;
                while ((read = await content.ReadAsync(buffer, cancellationToken)) > 0)
                {
                    size += read;
                    if (size > limitBytes)
                    {
                        throw new SlipwayException(ErrorCode.TooLarge, $"The content is over the limit of {limitBytes:N0} bytes.");
                    }

                    hash.AppendData(buffer.AsSpan(0, read));
                    await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
                }

                file.Flush(flushToDisk: true);
            }

            return Adopt(temporary, Convert.ToHexStringLower(hash.GetHashAndReset()), size);
        }
        catch (IOException e) when (IsDiskFull(e))
        {
            throw DiskFull(e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
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
            await using (var file = new FileStream(temporary, FileMode.Open, FileAccess.ReadWrite, FileShare.Read))
            {
                digest = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken));
                size = file.Length;
                RandomAccess.FlushToDisk(file.SafeFileHandle);
            }

            return Adopt(temporary, digest, size);
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

    /// <summary>The file of a blob, for readers that want a path (DuckDB, ONNX Runtime).</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: not a SHA-256.</exception>
    public string PathOf(string sha256)
    {
        var path = Locate(sha256);
        return File.Exists(path) ? path : throw new SlipwayException(ErrorCode.NotFound, $"There is no blob {sha256}.");
    }

    /// <summary>Whether the blob is here.</summary>
    public bool Exists(string sha256) => File.Exists(Locate(sha256));

    /// <summary>Opens a blob for reading.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: not a SHA-256.</exception>
    public Stream OpenRead(string sha256) => File.OpenRead(PathOf(sha256));

    /// <summary>Reads a whole blob and checks it against its name.</summary>
    /// <exception cref="SlipwayException">NotFound; FailedPrecondition: the content was changed.</exception>
    public async Task<byte[]> ReadVerifiedAsync(string sha256, CancellationToken cancellationToken)
    {
        var bytes = await File.ReadAllBytesAsync(PathOf(sha256), cancellationToken);
        return Convert.ToHexStringLower(SHA256.HashData(bytes)) == sha256
            ? bytes
            : throw new SlipwayException(ErrorCode.FailedPrecondition, $"Blob {sha256} has been changed on disk: its content no longer has this SHA-256.");
    }

    /// <summary>Recomputes the digest of one blob; false when it differs or the file is gone.</summary>
    public async Task<bool> VerifyAsync(string sha256, CancellationToken cancellationToken)
    {
        var path = Locate(sha256);
        if (!File.Exists(path))
        {
            return false;
        }

        await using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken)) == sha256;
    }

    /// <summary>Every blob's digest, in no order.</summary>
    public IEnumerable<string> List() =>
        Directory.EnumerateDirectories(_root).Where(folder => Path.GetFileName(folder).Length == 2)
            .SelectMany(Directory.EnumerateFiles).Select(file => Path.GetFileName(file)!);

    private Blob Adopt(string temporary, string sha256, long size)
    {
        var target = Locate(sha256);
        var folder = Path.GetDirectoryName(target)!;
        if (!Directory.Exists(folder))
        {
            Directory.CreateDirectory(folder);
            FlushDirectory(_root);
        }

        if (!File.Exists(target))
        {
            File.Move(temporary, target, overwrite: true);
        }

        FlushDirectory(folder); // Also when it was there: the one who put it may not have come this far yet.
        return new Blob(sha256, size);
    }

    // Without this a power cut can lose the name of a file whose content is safe.
    private static void FlushDirectory(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        Native.Files.DirectoryFlush.Flush(path);
    }

    private string Locate(string sha256)
    {
        if (sha256.Length != 64 || sha256.AsSpan().ContainsAnyExcept(HexDigits))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{sha256}' is not a SHA-256 in lower-case hex.");
        }

        return Path.Combine(_root, sha256[..2], sha256);
    }

    private SlipwayException DiskFull(IOException e) =>
        new(ErrorCode.Unavailable, $"The disk that holds '{_root}' is full; free some space and try again. Nothing was stored.", e);

    private static bool IsDiskFull(IOException e) => (e.HResult & 0xFFFF) is 28 or 112;
}
