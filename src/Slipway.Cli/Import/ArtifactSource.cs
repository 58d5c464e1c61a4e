using Slipway.Contracts;

namespace Slipway.Cli.Import;

/// <summary>Where the bytes of runs' files can be read: a folder, or the MLflow server itself.</summary>
internal interface IArtifactSource
{
    /// <summary>All files of a run.</summary>
    IAsyncEnumerable<SourceFile> FilesAsync(SourceRun run, CancellationToken ct);
}

/// <summary>A file of a run.</summary>
/// <param name="Path">Relative, with '/'.</param>
/// <param name="SizeBytes">Null when the source does not say.</param>
/// <param name="Open">Opens its bytes.</param>
internal sealed record SourceFile(string Path, long? SizeBytes, Func<CancellationToken, Task<Stream>> Open);

/// <summary>Files below a folder that the user named: MLflow's artifact root, or a copy of it.</summary>
internal sealed class ArtifactFolder : IArtifactSource
{
    private readonly string _root;

    /// <exception cref="SlipwayException">InvalidArgument: there is no such folder.</exception>
    public ArtifactFolder(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"--artifact-source '{folder}' is not a folder.");
        }

        _root = Canonical(folder);
    }

    public async IAsyncEnumerable<SourceFile> FilesAsync(SourceRun run, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        await Task.CompletedTask; // Folders are listed at once; the interface is for servers too.
        if (FolderOf(run) is not { } folder)
        {
            yield break;
        }

        // Links are not followed: one could lead out of the folder that the user named.
        var options = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = false };
        foreach (var file in new DirectoryInfo(folder).EnumerateFiles("*", options).OrderBy(file => file.FullName, StringComparer.Ordinal))
        {
            ct.ThrowIfCancellationRequested();
            var path = Path.GetRelativePath(folder, file.FullName).Replace(Path.DirectorySeparatorChar, '/');
            yield return new SourceFile(path, file.Length, _ => Task.FromResult<Stream>(file.OpenRead()));
        }
    }

    /// <summary>The run's folder below the root; null when there is none.</summary>
    internal string? FolderOf(SourceRun run)
    {
        // MLflow puts a run at <root>/<experiment>/<run>/artifacts, whatever it calls the root: a folder, a bucket, its own proxy.
        List<string> candidates = [Path.Combine(_root, run.ExperimentId, run.RunId, "artifacts")];
        const string Proxy = "mlflow-artifacts:/";
        if (run.ArtifactUri is { } uri)
        {
            if (uri.StartsWith(Proxy, StringComparison.Ordinal))
            {
                var path = uri[Proxy.Length..].TrimStart('/');
                candidates.Insert(0, Path.Combine(_root, path));
            }
            else if (uri.StartsWith('/') || uri.StartsWith("file:/", StringComparison.Ordinal))
            {
                candidates.Insert(0, uri.StartsWith('/') ? uri : new Uri(uri).LocalPath);
            }
        }

        return candidates.Where(Directory.Exists).Select(Canonical).FirstOrDefault(folder => folder.StartsWith(_root + Path.DirectorySeparatorChar, StringComparison.Ordinal));
    }

    // The path with all its links resolved, each part in turn.
    private static string Canonical(string path)
    {
        var whole = Path.GetPathRoot(Path.GetFullPath(path))!;
        foreach (var part in Path.GetFullPath(path)[whole.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            whole = Path.Combine(whole, part);
            whole = new DirectoryInfo(whole).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? whole;
        }

        return whole;
    }
}
