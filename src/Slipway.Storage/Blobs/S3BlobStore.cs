using Slipway.Storage.S3;

namespace Slipway.Storage.Blobs;

/// <summary>Blobs as objects <c>blobs/ab/abcdef…</c> of a bucket, with copies on this machine for readers that want a path.</summary>
internal sealed class S3BlobStore : BlobStore, IDisposable
{
    private readonly S3Location _place;
    private readonly S3Bucket _bucket;
    private readonly BlobCache _cache;

    public S3BlobStore(StorageOptions options, S3Location place) : base(Path.Combine(options.CacheDirectory, "tmp"))
    {
        _place = place.Below("blobs");
        _bucket = new S3Bucket(options.S3, place.Bucket);
        _cache = new BlobCache(options.CacheDirectory, options.CacheBytesMax, FetchAsync);
    }

    public override string Place => _place.ToString();

    public override Task CheckAsync(CancellationToken cancellationToken) => _bucket.CheckAsync(cancellationToken);

    // The readers that want a path are synchronous, and none of them runs where waiting for a thread could lock it up.
    public override string PathOf(string sha256)
    {
        CheckName(sha256);
        return _cache.Find(sha256) ?? Task.Run(() => _cache.GetAsync(sha256)).GetAwaiter().GetResult();
    }

    public override bool Exists(string sha256)
    {
        var key = Key(sha256);
        return Task.Run(() => _bucket.FindAsync(key, CancellationToken.None)).GetAwaiter().GetResult() is not null;
    }

    public override async Task<Stream> OpenReadAsync(string sha256, CancellationToken cancellationToken)
    {
        if (await _bucket.FindAsync(Key(sha256), cancellationToken) is { } entry)
        {
            return _bucket.OpenRead(entry);
        }

        await CheckAsync(cancellationToken); // Without its bucket everything is missing.
        throw Missing(sha256);
    }

    public override IEnumerable<string> List() =>
        _bucket.ListAsync(_place.Prefix + "/", recursive: true, CancellationToken.None).ToBlockingEnumerable().Select(entry => entry.Key[(entry.Key.LastIndexOf('/') + 1)..]);

    public void Dispose() => _bucket.Dispose();

    private protected override string? Mark(string sha256)
    {
        var key = Key(sha256);
        return Task.Run(() => _bucket.FindAsync(key, CancellationToken.None)).GetAwaiter().GetResult()?.ETag;
    }

    private protected override async Task<bool> AdoptAsync(string temporary, string sha256, long size, CancellationToken cancellationToken)
    {
        var key = Key(sha256);
        if (await _bucket.FindAsync(key, cancellationToken) is { } there && there.SizeBytes == size)
        {
            return false;
        }

        await _bucket.PutFileAsync(key, temporary, cancellationToken);
        return true;
    }

    private async Task<string> FetchAsync(string sha256)
    {
        var entry = await _bucket.FindAsync(Key(sha256), CancellationToken.None) ?? throw Missing(sha256);
        var temporary = _cache.NewFile();
        try
        {
            await using (var content = _bucket.OpenRead(entry))
            {
                var (digest, _) = await BlobReceiver.ReceiveAsync(content, temporary, long.MaxValue, CancellationToken.None);
                if (digest != sha256)
                {
                    throw Changed(sha256);
                }
            }

            return temporary;
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private string Key(string sha256)
    {
        CheckName(sha256);
        return _place.Key($"{sha256[..2]}/{sha256}");
    }
}
