using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Slipway.Native.Files;

/// <summary>Makes renames in a folder durable; .NET opens no handle on a folder.</summary>
public static partial class DirectoryFlush
{
    /// <summary>Flushes the folder's entries to disk (POSIX only).</summary>
    /// <exception cref="IOException">The system call failed.</exception>
    public static void Flush(string path)
    {
        const int readOnly = 0;
        var descriptor = Open(path, readOnly);
        if (descriptor < 0)
        {
            throw new IOException($"Cannot open folder '{path}'.", new Win32Exception(Marshal.GetLastPInvokeError()));
        }

        var status = Fsync(descriptor);
        var error = Marshal.GetLastPInvokeError();
        _ = Close(descriptor);
        if (status != 0)
        {
            throw new IOException($"Cannot flush folder '{path}'.", new Win32Exception(error));
        }
    }

    // https://man7.org/linux/man-pages/man2/open.2.html
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);
}
