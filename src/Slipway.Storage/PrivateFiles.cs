namespace Slipway.Storage;

/// <summary>Files and folders that only their owner may read: they hold password hashes, keys, or everything there is.</summary>
public static class PrivateFiles
{
    private const UnixFileMode OwnersFile = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode OwnersFolder = OwnersFile | UnixFileMode.UserExecute;

    /// <summary>Makes a folder with those above it; one that is there stays as it is.</summary>
    public static void CreateDirectory(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path); // Below a user's own folder, where the rights come from.
        }
        else
        {
            Directory.CreateDirectory(path, OwnersFolder);
        }
    }

    /// <summary>How to open a file so that, if this makes it, only its owner may read it from its first moment on.</summary>
    public static FileStreamOptions Options(FileMode mode, FileAccess access)
    {
        var options = new FileStreamOptions { Mode = mode, Access = access };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = OwnersFile;
        }

        return options;
    }

    /// <summary>Whether others than the owner may do anything with the file; false on Windows, which is not asked.</summary>
    public static bool IsOpenToOthers(string path) => !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & ~OwnersFolder) != 0;

    /// <summary>Takes a file's rights from all but its owner.</summary>
    /// <exception cref="UnauthorizedAccessException">It belongs to somebody else.</exception>
    public static void Restrict(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, OwnersFile);
        }
    }

    /// <summary>Writes a file under a name of its own first, so that no half-written one is ever read; durable when it returns.</summary>
    /// <param name="path">Where to.</param>
    /// <param name="content">All of it.</param>
    /// <param name="replace">Whether one may stand there already.</param>
    /// <exception cref="IOException">One stands there already.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content, bool replace)
    {
        var partial = $"{path}.{Guid.NewGuid():N}.part";
        try
        {
            using (var stream = new FileStream(partial, Options(FileMode.CreateNew, FileAccess.Write)))
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }

            File.Move(partial, path, replace);
            if (!OperatingSystem.IsWindows())
            {
                Native.Files.DirectoryFlush.Flush(Path.GetDirectoryName(path)!);
            }
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }
}
