using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Slipway.Native.Files;

/// <summary>Sends written bytes on to the disk early, so that a flush at the end has little left to wait for.</summary>
public static partial class WriteBack
{
    private const uint Write = 2; // SYNC_FILE_RANGE_WRITE

    /// <summary>
    /// Begins to write a part of a file to disk and does not wait for it. Only a hint, and nothing at all outside Linux: what makes the
    /// bytes durable is the flush.
    /// </summary>
    /// <param name="file">Open for writing.</param>
    /// <param name="offset">First byte.</param>
    /// <param name="length">Bytes; 0 for all to the end.</param>
    public static void Begin(SafeFileHandle file, long offset, long length)
    {
        if (OperatingSystem.IsLinux())
        {
            // A file system that does not know the call refuses it, which loses time and nothing else.
            _ = SyncFileRange(file, offset, length, Write);
        }
    }

    // https://man7.org/linux/man-pages/man2/sync_file_range.2.html
    [LibraryImport("libc", EntryPoint = "sync_file_range")]
    private static partial int SyncFileRange(SafeFileHandle descriptor, long offset, long length, uint flags);
}
