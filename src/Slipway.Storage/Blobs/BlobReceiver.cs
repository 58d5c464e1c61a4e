using System.Buffers;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Slipway.Contracts;
using Slipway.Native.Files;

namespace Slipway.Storage.Blobs;

/// <summary>
/// Writes a stream to a file, with its digest. Each byte is hashed once, on its way: while a block arrives, the one before it is hashed
/// on one thread and written on another, and what was written is already on its way to the disk.
/// </summary>
public static class BlobReceiver
{
    // Large enough that handing a block to two threads costs nothing beside hashing it, small enough that it is still in the processor's cache.
    private const int BlockBytes = 512 * 1024;

    // The disk takes few large pieces faster than many small ones.
    private const long WriteBackBytes = 8 << 20;

    /// <summary>Receives all of the content; durable when the task completes, but for the file's name.</summary>
    /// <param name="content">Read to its end.</param>
    /// <param name="path">A file that is not there yet. After a failure it is left as far as it came.</param>
    /// <param name="limitBytes">Refuse longer content.</param>
    /// <param name="cancellationToken">Stops between two blocks.</param>
    /// <exception cref="SlipwayException">TooLarge.</exception>
    public static async Task<(string Sha256, long SizeBytes)> ReceiveAsync(Stream content, string path, long limitBytes, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        // Shared with readers, as a child process that is just being started holds this file open for a moment after it is closed here.
        using var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        byte[]? arriving = null;
        byte[]? leaving = null;
        var kept = Task.CompletedTask;
        long size = 0;
        try
        {
            int length;
            do
            {
                arriving ??= ArrayPool<byte>.Shared.Rent(BlockBytes);
                length = await content.ReadAtLeastAsync(arriving.AsMemory(0, BlockBytes), BlockBytes, throwOnEndOfStream: false, cancellationToken);
                if (size + length > limitBytes)
                {
                    throw new SlipwayException(ErrorCode.TooLarge, $"The content is over the limit of {limitBytes:N0} bytes.");
                }

                await kept; // From here on nobody uses the other buffer.
                kept = KeepAsync(hash, file, arriving, length, size);
                size += length;
                (arriving, leaving) = (leaving, arriving);
            }
            while (length == BlockBytes);

            await kept;
            RandomAccess.FlushToDisk(file);
            return (Convert.ToHexStringLower(hash.GetHashAndReset()), size);
        }
        finally
        {
            // Also after a failure the threads are done before the buffers, the hash and the file are given up.
            await kept.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            foreach (var buffer in (byte[]?[])[arriving, leaving])
            {
                if (buffer is not null)
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
        }
    }

    /// <summary>The digest of a stream, read to its end in large pieces.</summary>
    /// <returns>Lower-case hex.</returns>
    public static async Task<string> HashAsync(Stream content, CancellationToken cancellationToken)
    {
        // SHA256.HashDataAsync reads 4 KiB at a time, and each of them is a turn of the thread pool.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = ArrayPool<byte>.Shared.Rent(BlockBytes);
        try
        {
            int read;
            while ((read = await content.ReadAsync(buffer, cancellationToken)) > 0)
            {
                hash.AppendData(buffer, 0, read);
            }

            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static Task KeepAsync(IncrementalHash hash, SafeFileHandle file, byte[] block, int length, long offset)
    {
        if (length < BlockBytes)
        {
            // The last of a large content, or all of a small one: not worth two threads.
            Write();
            Hash();
            return Task.CompletedTask;
        }

        return Task.WhenAll(Task.Run(Hash, CancellationToken.None), Task.Run(Write, CancellationToken.None));

        void Hash() => hash.AppendData(block, 0, length);

        void Write()
        {
            RandomAccess.Write(file, block.AsSpan(0, length), offset);
            var end = offset + length;
            if (end / WriteBackBytes != offset / WriteBackBytes)
            {
                WriteBack.Begin(file, (offset / WriteBackBytes) * WriteBackBytes, WriteBackBytes);
            }
        }
    }
}
