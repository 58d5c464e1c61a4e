using System.Runtime.InteropServices;

namespace Slipway.Native.Files;

/// <summary>
/// A file's bytes outside the managed heap, for what is needed for a moment: a model's gigabytes would otherwise stay until the next full collection, for which a server
/// that nobody asks has no reason.
/// </summary>
public sealed unsafe class FileContent : IDisposable
{
    private readonly int length;
    private void* bytes;

    private FileContent(int length)
    {
        this.length = length;
        bytes = NativeMemory.Alloc((nuint)length);
    }

    /// <summary>The bytes, until it is disposed.</summary>
    public ReadOnlySpan<byte> Span => Room;

    private Span<byte> Room => bytes is not null || length == 0 ? new(bytes, length) : throw new ObjectDisposedException(nameof(FileContent));

    /// <summary>Reads a file of less than 2 GB.</summary>
    /// <exception cref="IOException">It is not there, or is larger.</exception>
    public static FileContent Read(string path)
    {
        using var file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        var size = RandomAccess.GetLength(file);
        var content = new FileContent(size <= int.MaxValue ? (int)size : throw new IOException($"The file {path} has {size:N0} bytes; at most 2 GB are read."));
        try
        {
            for (var at = 0; at < content.length;)
            {
                var read = RandomAccess.Read(file, content.Room[at..], at);
                at += read > 0 ? read : throw new EndOfStreamException($"The file {path} became shorter while it was read.");
            }

            return content;
        }
        catch
        {
            content.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(bytes);
        bytes = null;
    }
}
