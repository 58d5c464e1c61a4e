using Microsoft.Win32.SafeHandles;
using Slipway.Native.Files;

namespace Slipway.Storage;

/// <summary>Files below a folder that others write to, who may put pipes and links there, or change one for another at any moment.</summary>
public static class PlainFiles
{
    /// <summary>Opens a file for reading.</summary>
    /// <param name="root">The folder; it may itself be reached by a link.</param>
    /// <param name="path">Below the root, spelled as the root is.</param>
    /// <returns>Null when it is no file of bytes, or a part of its path below the root is a link.</returns>
    /// <exception cref="FileNotFoundException">There is nothing at the path.</exception>
    /// <exception cref="UnauthorizedAccessException">This account may not read it.</exception>
    public static FileStream? OpenRead(string root, string path)
    {
        var stream = new FileStream(NonBlockingFile.OpenRead(path), FileAccess.Read, bufferSize: 0);
        if (stream.CanSeek && IsAt(stream.SafeFileHandle, root, path))
        {
            return stream;
        }

        stream.Dispose();
        return null;
    }

    // Looked at once it is open: what the path led to before may be another thing by now. Only Linux tells.
    private static bool IsAt(SafeFileHandle file, string root, string path) =>
        !OperatingSystem.IsLinux()
        || File.ResolveLinkTarget($"/proc/self/fd/{file.DangerousGetHandle()}", returnFinalTarget: false)?.FullName == RealPath(root) + path[root.Length..];

    private static string RealPath(string path)
    {
        if (Path.GetDirectoryName(path) is not { } parent)
        {
            return path;
        }

        var here = Path.Combine(RealPath(parent), Path.GetFileName(path));
        return Directory.ResolveLinkTarget(here, returnFinalTarget: false) is { } target ? RealPath(target.FullName) : here;
    }
}
