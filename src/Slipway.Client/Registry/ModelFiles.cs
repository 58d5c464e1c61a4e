using Slipway.Contracts;

namespace Slipway.Client.Registry;

/// <summary>One file to register.</summary>
/// <param name="Path">Its path in the version, such as <c>model.onnx</c>.</param>
/// <param name="File">Where it is now.</param>
public sealed record ModelFile(string Path, FileInfo File);

/// <summary>Lists the files of a model on disk.</summary>
public static class ModelFiles
{
    private const int FilesMax = 10_000;

    /// <summary>The file itself, or all files below the folder by path.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: there is nothing, or a link, which would register what lies elsewhere.</exception>
    public static IReadOnlyList<ModelFile> List(string path)
    {
        if (File.Exists(path))
        {
            var single = Checked(new FileInfo(path));
            return [new ModelFile(single.Name, single)];
        }

        if (!Directory.Exists(path))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"There is no file or folder '{path}'.");
        }

        var root = Path.GetFullPath(path);
        var files = new List<ModelFile>();
        var waiting = new Stack<DirectoryInfo>([new DirectoryInfo(root)]);
        while (waiting.TryPop(out var folder))
        {
            foreach (var entry in folder.EnumerateFileSystemInfos())
            {
                if (Checked(entry) is FileInfo file)
                {
                    files.Add(new ModelFile(Path.GetRelativePath(root, file.FullName).Replace('\\', '/'), file));
                }
                else
                {
                    waiting.Push((DirectoryInfo)entry);
                }
            }
        }

        return files.Count is > 0 and <= FilesMax
            ? [.. files.OrderBy(file => file.Path, StringComparer.Ordinal)]
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"The folder '{path}' holds {files.Count:N0} files; a version has 1 to {FilesMax:N0}.");
    }

    private static T Checked<T>(T entry)
        where T : FileSystemInfo => entry.LinkTarget is null
            ? entry
            : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{entry.FullName}' is a link to '{entry.LinkTarget}'; put the file itself there, so that the version holds what it names.");
}
