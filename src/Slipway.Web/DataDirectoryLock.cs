using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Web;

/// <summary>One server per data folder. The lock ends with the process, however it ends.</summary>
internal sealed class DataDirectoryLock : IDisposable
{
    private readonly FileStream _file;

    private DataDirectoryLock(FileStream file) => _file = file;

    /// <summary>Makes the folder when absent and takes the lock.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: another server holds it.</exception>
    public static DataDirectoryLock Take(string directory)
    {
        Make(directory);
        var path = Path.Combine(directory, "server.lock");
        try
        {
            return new DataDirectoryLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException e) when (e.HResult != 28 && File.Exists(path))
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"Another Slipway server uses the folder '{directory}'; stop it, or give this one a folder of its own with --data.", e);
        }
    }

    private static void Make(string directory)
    {
        try
        {
            PrivateFiles.CreateDirectory(directory);
        }
        catch (IOException e) when ((e.HResult & 0xFFFF) != 28)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{directory}' cannot be a folder ({e.Message.TrimEnd('.')}); name one you may write to with --data.", e);
        }
    }

    public void Dispose() => _file.Dispose();
}
