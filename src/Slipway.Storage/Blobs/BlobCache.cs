using System.Collections.Concurrent;

namespace Slipway.Storage.Blobs;

/// <summary>Copies of remote blobs on this machine, the least lately used of which go when they take too much room.</summary>
/// <param name="folder">Holds the copies, each under its digest. Removing the folder while the server is down is safe.</param>
/// <param name="bytesMax">What the copies may take. Those used within the last hour stay whatever they take: a reader may be about to open them.</param>
/// <param name="fetch">Brings one blob to a file made with <see cref="NewFile"/>, checked against its digest.</param>
internal sealed class BlobCache(string folder, long bytesMax, Func<string, Task<string>> fetch)
{
    private static readonly TimeSpan InUse = TimeSpan.FromHours(1);

    private readonly ConcurrentDictionary<string, Lazy<Task<string>>> _fetching = new(StringComparer.Ordinal);
    private readonly Lock _eviction = new();

    /// <summary>A new name for a file that is being received.</summary>
    public string NewFile() => Path.Combine(folder, "tmp", Guid.NewGuid().ToString("N"));

    /// <summary>The copy's path; null when there is none. Counts as use.</summary>
    public string? Find(string sha256)
    {
        var path = Path.Combine(folder, sha256);
        try
        {
            File.SetLastWriteTimeUtc(path, TimeProvider.System.GetUtcNow().UtcDateTime);
            return path;
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    /// <summary>The copy's path, fetched when absent; several callers share one fetch.</summary>
    public async Task<string> GetAsync(string sha256)
    {
        if (Find(sha256) is { } path)
        {
            return path;
        }

        var fetching = _fetching.GetOrAdd(sha256, digest => new Lazy<Task<string>>(() => AddAsync(digest)));
        try
        {
            return await fetching.Value;
        }
        finally
        {
            _fetching.TryRemove(new(sha256, fetching));
        }
    }

    private async Task<string> AddAsync(string sha256)
    {
        var path = Path.Combine(folder, sha256);
        File.Move(await fetch(sha256), path, overwrite: true);
        Evict();
        return path;
    }

    private void Evict()
    {
        lock (_eviction)
        {
            var copies = new DirectoryInfo(folder).EnumerateFiles().OrderBy(copy => copy.LastWriteTimeUtc).ToList();
            var excess = copies.Sum(copy => copy.Length) - bytesMax;
            var old = TimeProvider.System.GetUtcNow().UtcDateTime - InUse;
            foreach (var copy in copies.TakeWhile(copy => excess > 0 && copy.LastWriteTimeUtc < old))
            {
                excess -= copy.Length;
                copy.Delete();
            }
        }
    }
}
