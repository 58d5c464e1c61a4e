using Microsoft.Win32.SafeHandles;
using Slipway.Contracts;

namespace Slipway.Client.Runs;

/// <summary>
/// The file that a run is written to before it is sent: lines of JSON, only ever added to. Beside it lie a lock, held while a
/// process writes, a note of how far the server has it, and the run's files that wait.
/// </summary>
internal sealed class RunJournal : IDisposable
{
    private const string Extension = ".jsonl";

    private readonly FileStream _lock;
    private readonly SafeFileHandle _file;
    private long _length;

    private RunJournal(string path, FileStream lockFile, SafeFileHandle file, long length)
    {
        Path = path;
        _lock = lockFile;
        _file = file;
        _length = length;
    }

    public string Path { get; }

    /// <summary>Bytes of whole lines.</summary>
    public long Length => Volatile.Read(ref _length);

    public string FilesDirectory => FilesOf(Path);

    /// <summary>SLIPWAY_JOURNALS, else <c>slipway/runs</c> in the user's local data folder.</summary>
    public static string DefaultDirectory =>
        Environment.GetEnvironmentVariable("SLIPWAY_JOURNALS") is { Length: > 0 } named
            ? named
            : System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify) is { Length: > 0 } local
                ? local : System.IO.Path.GetTempPath(), "slipway", "runs");

    public static string SentOf(string path) => System.IO.Path.ChangeExtension(path, ".sent");

    public static string RefusedOf(string path) => System.IO.Path.ChangeExtension(path, ".refused");

    public static string FilesOf(string path) => System.IO.Path.ChangeExtension(path, ".files");

    /// <summary>The journals in a folder, oldest first; none when there is no folder.</summary>
    public static IReadOnlyList<string> In(string directory) =>
        Directory.Exists(directory) ? [.. Directory.EnumerateFiles(directory, "*" + Extension).OrderBy(File.GetCreationTimeUtc).ThenBy(path => path, StringComparer.Ordinal)] : [];

    /// <summary>Opens a run's journal, making it when there is none. What a killed process left half-written at its end is cut off.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: another process has it open, or the folder cannot be written to.</exception>
    public static RunJournal Open(string directory, string runId)
    {
        try
        {
            Directory.CreateDirectory(directory);
            var path = System.IO.Path.Combine(directory, runId + Extension);
            var locked = TryLock(path) ?? throw new SlipwayException(ErrorCode.FailedPrecondition, $"Run {runId} is being written by another process ('{path}'); end that one first.");
            try
            {
                var file = File.OpenHandle(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
                var length = WholeLines(file);
                RandomAccess.SetLength(file, length);
                return new RunJournal(path, locked, file, length);
            }
            catch
            {
                locked.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The run's journal cannot be written in '{directory}' ({e.Message.TrimEnd('.')}); name another folder with SLIPWAY_JOURNALS or RunOptions.JournalDirectory.", e);
        }
    }

    /// <summary>Holds a journal against other processes until disposed; null when one has it. The system lets go when the process dies.</summary>
    public static FileStream? TryLock(string path)
    {
        for (var tries = 0; ; tries++)
        {
            try
            {
                return new FileStream(System.IO.Path.ChangeExtension(path, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
            }
            catch (IOException e) when (e is not (DirectoryNotFoundException or PathTooLongException) && (e.HResult & 0xFFFF) != 28)
            {
                if (tries == 3)
                {
                    return null;
                }

                // A child process that is just being started holds a lock for a moment after it was let go here.
                Thread.Sleep(20);
            }
        }
    }

    /// <summary>Adds whole lines. When the disk refuses, nothing is added and the same call may be tried again.</summary>
    public void Append(ReadOnlySpan<byte> lines)
    {
        // At the known end, not at the file's: a write that failed half-way is written over.
        RandomAccess.Write(_file, lines, _length);
        Volatile.Write(ref _length, _length + lines.Length);
    }

    /// <summary>Returns when what was added survives the loss of power.</summary>
    public void FlushToDisk() => RandomAccess.FlushToDisk(_file);

    /// <summary>Removes the journal and all beside it, after the server has everything. Lines it refused stay.</summary>
    public static void Delete(string path)
    {
        File.Delete(path);
        File.Delete(SentOf(path));
        if (Directory.Exists(FilesOf(path)))
        {
            Directory.Delete(FilesOf(path), recursive: true);
        }
    }

    public void Dispose()
    {
        _file.Dispose();
        Release(_lock, Path);
    }

    /// <summary>Lets go of a journal, and takes the lock's file away when the journal has gone.</summary>
    public static void Release(FileStream locked, string path)
    {
        if (!File.Exists(path))
        {
            File.Delete(locked.Name);
        }

        locked.Dispose();
    }

    private static long WholeLines(SafeFileHandle file)
    {
        var end = RandomAccess.GetLength(file);
        Span<byte> part = stackalloc byte[4096];
        while (end > 0)
        {
            var start = Math.Max(0, end - part.Length);
            var read = RandomAccess.Read(file, part[..(int)(end - start)], start);
            var newline = part[..read].LastIndexOf((byte)'\n');
            if (newline >= 0)
            {
                return start + newline + 1;
            }

            end = start;
        }

        return 0;
    }
}
