using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Slipway.Native.Files;

/// <summary>Opens what may not be a file at all: .NET's own open of a named pipe waits for a writer, perhaps for ever.</summary>
public static partial class NonBlockingFile
{
    /// <summary>Opens for reading; a named pipe too, without waiting.</summary>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    /// <exception cref="UnauthorizedAccessException">This account may not read it.</exception>
    /// <exception cref="IOException">It cannot be opened, as a socket cannot.</exception>
    public static SafeFileHandle OpenRead(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return File.OpenHandle(path);
        }

        // O_NONBLOCK | O_CLOEXEC: https://man7.org/linux/man-pages/man2/open.2.html and macOS's fcntl.h
        var descriptor = Open(path, OperatingSystem.IsLinux() ? 0x800 | 0x8_0000 : 0x4 | 0x100_0000);
        if (descriptor >= 0)
        {
            return new SafeFileHandle(descriptor, ownsHandle: true);
        }

        var error = Marshal.GetLastPInvokeError();
        var message = $"Cannot open '{path}': {Marshal.GetPInvokeErrorMessage(error)}.";
        throw error switch
        {
            2 or 20 => new FileNotFoundException(message, path), // ENOENT, ENOTDIR
            1 or 13 => new UnauthorizedAccessException(message), // EPERM, EACCES
            _ => new IOException(message, error),
        };
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
