using System.Buffers;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.S3;

namespace Slipway.Tracking;

/// <summary>A file or folder that a client put below the artifact root by itself.</summary>
/// <param name="Path">Relative to the run's files.</param>
/// <param name="SizeBytes">Null for a folder.</param>
internal sealed record DirectArtifact(string Path, long? SizeBytes);

/// <summary>
/// Files that clients write below the artifact root (a folder, or a bucket's prefix) without asking the server. It reads them there when it is asked for them
/// and keeps neither copy nor digest; registering a model takes both. Nothing is read but below the root of today, and no link is followed.
/// </summary>
internal sealed class DirectArtifacts(StorageOptions options) : IDisposable
{
    private const string File = "file://";

    // Of what lies there, all is shown but links; what may not be looked at is told, not left out.
    private static readonly EnumerationOptions All = new() { AttributesToSkip = 0, IgnoreInaccessible = false };

    // What one answer lists: a client that wants more asks for the folders in it.
    private const int ListMax = 10_000;

    // What an address hides another path behind.
    private static readonly SearchValues<char> Forbidden = SearchValues.Create("\\?#%;:");

    private readonly Lazy<S3Bucket> _bucket = new(() => new S3Bucket(options.S3, S3Location.Parse(options.ArtifactRoot!, "--artifact-root").Bucket));

    /// <summary>What lies in a folder of the run; empty when its files are not below the root.</summary>
    /// <param name="run">The run.</param>
    /// <param name="folder">Relative to the run's files; null or empty for all of them.</param>
    /// <exception cref="SlipwayException">InvalidArgument: the path; Unavailable: the folder or the bucket cannot be read.</exception>
    public async Task<List<DirectArtifact>> ListAsync(RunRecord run, string? folder, CancellationToken cancellationToken)
    {
        var prefix = string.IsNullOrEmpty(folder) ? "" : ArtifactPath.Parse(folder) + "/";
        var found = new List<DirectArtifact>();
        if (FolderOf(run, prefix) is { } path)
        {
            try
            {
                foreach (var entry in Directory.Exists(path) ? new DirectoryInfo(path).EnumerateFileSystemInfos("*", All).Take(ListMax) : [])
                {
                    Add(found, prefix, entry);
                }
            }
            catch (UnauthorizedAccessException e)
            {
                throw Unreadable(path, e);
            }
        }
        else if (BucketOf(run) is { } place)
        {
            await foreach (var entry in _bucket.Value.ListAsync(place.Key(prefix.Length == 0 ? "" : prefix.TrimEnd('/')) + "/", recursive: false, cancellationToken))
            {
                var relative = place.Prefix.Length == 0 ? entry.Key : entry.Key[(place.Prefix.Length + 1)..];
                found.Add(new DirectArtifact(relative.TrimEnd('/'), relative.EndsWith('/') ? null : entry.SizeBytes));
                if (found.Count == ListMax)
                {
                    break;
                }
            }
        }

        found.Sort((a, b) => string.CompareOrdinal(a.Path, b.Path));
        return found;
    }

    /// <summary>Opens a file of the run; null when there is none.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the path; NotFound: it is no regular file, or a link leads there; Unavailable: the file or the bucket cannot be read.</exception>
    public async Task<Stream?> OpenAsync(RunRecord run, string path, CancellationToken cancellationToken)
    {
        var canonical = ArtifactPath.Parse(path);
        if (FolderOf(run, canonical) is { } file)
        {
            return Directory.Exists(file) ? null : Open(run, file, canonical);
        }

        return BucketOf(run) is { } place && await _bucket.Value.FindAsync(place.Key(canonical), cancellationToken) is { } entry ? _bucket.Value.OpenRead(entry) : null;
    }

    private static void Add(List<DirectArtifact> found, string prefix, FileSystemInfo entry)
    {
        try
        {
            if (entry.LinkTarget is null)
            {
                found.Add(new DirectArtifact(prefix + entry.Name, entry is FileInfo file ? file.Length : null));
            }
        }
        catch (FileNotFoundException)
        {
            // It was taken away meanwhile.
        }
    }

    private FileStream? Open(RunRecord run, string file, string path)
    {
        try
        {
            return PlainFiles.OpenRead(Root, file)
                ?? throw new SlipwayException(ErrorCode.NotFound, $"Run {run.RunId} has no artifact '{path}': what is there is no regular file, or a link leads to it.");
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (UnauthorizedAccessException e)
        {
            throw Unreadable(file, e);
        }
    }

    private static SlipwayException Unreadable(string path, UnauthorizedAccessException e) =>
        new(ErrorCode.Unavailable, $"The server may not read {path}; let the account that it runs as read all files and folders below the artifact root.", e);

    /// <summary>The place asked for as it is stored: below the root, without a slash at its end.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: there is no root, or the place is not below it.</exception>
    public string Checked(string location)
    {
        if (options.ArtifactRoot is not { } root)
        {
            throw RunLimits.Invalid("'artifact_location' cannot be chosen: this server keeps the files itself. Leave it out, or start the server with --artifact-root.");
        }

        var place = location.TrimEnd('/');
        var below = place.StartsWith(root + "/", StringComparison.Ordinal)
            && place[(root.Length + 1)..].Split('/').All(part => Uri.UnescapeDataString(part) is not ("" or "." or "..") && !part.AsSpan().ContainsAny(Forbidden));
        return below ? place : throw RunLimits.Invalid($"'artifact_location' must be a place below the server's artifact root, such as {root}/my-experiment; or leave it out.");
    }

    // Null when the run's files are not in a folder below the root, or a link leads there.
    private string? FolderOf(RunRecord run, string path)
    {
        if (!IsBelowRoot(run) || !run.ArtifactUri.StartsWith(File, StringComparison.Ordinal))
        {
            return null;
        }

        var root = Root;
        var whole = Path.GetFullPath($"{Uri.UnescapeDataString(run.ArtifactUri[File.Length..])}/{path}").TrimEnd('/');
        for (var part = whole; part.Length > root.Length; part = Path.GetDirectoryName(part)!)
        {
            if (new FileInfo(part).LinkTarget is not null)
            {
                throw new SlipwayException(ErrorCode.NotFound, $"Run {run.RunId} has no artifact '{path.TrimEnd('/')}': a part of its path is a link, and links are not followed.");
            }
        }

        return whole.StartsWith(root + "/", StringComparison.Ordinal) ? whole : null;
    }

    private S3Location? BucketOf(RunRecord run) =>
        IsBelowRoot(run) && S3Location.Is(run.ArtifactUri) ? S3Location.Parse(run.ArtifactUri, "artifact_uri") : null;

    public void Dispose()
    {
        if (_bucket.IsValueCreated)
        {
            _bucket.Value.Dispose();
        }
    }

    private string Root => Uri.UnescapeDataString(options.ArtifactRoot![File.Length..]);

    private bool IsBelowRoot(RunRecord run) => options.ArtifactRoot is { } root && run.ArtifactUri.StartsWith(root + "/", StringComparison.Ordinal);
}
