using System.Security.Cryptography;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Tests.Storage;

[Trait("database", "none")]
public sealed class BlobStoreTests : IDisposable
{
    private readonly StorageOptions _options = StorageOptions.Resolve(Directory.CreateTempSubdirectory("slipway-test-").FullName);
    private readonly BlobStore _blobs;

    public BlobStoreTests() => _blobs = BlobStore.Open(_options);

    public void Dispose() => Directory.Delete(_options.DataDirectory, recursive: true);

    [Fact]
    public async Task The_same_bytes_are_one_blob_however_they_come()
    {
        var bytes = RandomNumberGenerator.GetBytes(400_000);
        var file = Path.Combine(_options.DataDirectory, "made-elsewhere");
        await File.WriteAllBytesAsync(file, bytes);

        var puts = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => _blobs.PutAsync(new MemoryStream(bytes), default)));
        var direct = await _blobs.PutAsync(bytes, default);
        var moved = await _blobs.PutFileAsync(file, default);

        Assert.All(puts.Append(direct).Append(moved), blob => Assert.Equal(new Blob(Convert.ToHexStringLower(SHA256.HashData(bytes)), 400_000), blob));
        Assert.Equal([direct.Sha256], _blobs.List());
        Assert.Equal(bytes, await _blobs.ReadVerifiedAsync(direct.Sha256, default));
        Assert.False(File.Exists(file));
        AssertNothingLeftBehind();
    }

    [Fact]
    public async Task Content_over_the_limit_is_refused_and_leaves_nothing()
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _blobs.PutAsync(new MemoryStream(new byte[1001]), default, limitBytes: 1000));
        await _blobs.PutAsync(new MemoryStream(new byte[1000]), default, limitBytes: 1000);

        Assert.Equal(ErrorCode.TooLarge, error.Code);
        Assert.Single(_blobs.List());
        AssertNothingLeftBehind();
    }

    [Fact]
    public async Task A_source_that_breaks_off_leaves_nothing()
    {
        await Assert.ThrowsAsync<IOException>(() => _blobs.PutAsync(new BrokenStream(), default));

        Assert.Empty(_blobs.List());
        AssertNothingLeftBehind();
    }

    [Fact]
    public async Task What_an_interrupted_write_left_is_cleared_at_the_next_start()
    {
        var half = Path.Combine(_options.BlobDirectory, "tmp", "half");
        var underWay = Path.Combine(_options.BlobDirectory, "tmp", "under-way");
        await File.WriteAllTextAsync(half, "half a blob");
        await File.WriteAllTextAsync(underWay, "another process is still writing");
        File.SetLastWriteTimeUtc(half, new DateTime(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc));

        _ = BlobStore.Open(_options);

        Assert.Equal([underWay], Directory.GetFiles(Path.Combine(_options.BlobDirectory, "tmp")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("abc")]
    [InlineData("../../../../etc/passwd")]
    [InlineData("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/a")]
    public void A_name_that_is_no_digest_is_refused(string name)
    {
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => _blobs.PathOf(name)).Code);
        Assert.Throws<SlipwayException>(() => _blobs.Exists(name));
    }

    [Fact]
    public async Task A_changed_byte_is_detected_and_a_missing_blob_is_not_found()
    {
        var blob = await _blobs.PutAsync("the weights"u8.ToArray(), default);
        Assert.True(await _blobs.VerifyAsync(blob.Sha256, default));

        var path = _blobs.PathOf(blob.Sha256);
        File.SetAttributes(path, FileAttributes.Normal);
        await File.WriteAllBytesAsync(path, "the Weights"u8.ToArray());

        Assert.False(await _blobs.VerifyAsync(blob.Sha256, default));
        Assert.Equal(ErrorCode.FailedPrecondition, (await Assert.ThrowsAsync<SlipwayException>(() => _blobs.ReadVerifiedAsync(blob.Sha256, default))).Code);
        var absent = new string('0', 64);
        Assert.False(await _blobs.VerifyAsync(absent, default));
        Assert.Equal(ErrorCode.NotFound, Assert.Throws<SlipwayException>(() => _blobs.OpenRead(absent)).Code);
    }

    private void AssertNothingLeftBehind() => Assert.Empty(Directory.GetFiles(Path.Combine(_options.BlobDirectory, "tmp")));

    private sealed class BrokenStream : MemoryStream
    {
        private int _reads;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            _reads++ == 0 ? ValueTask.FromResult(100) : throw new IOException("The connection broke.");
    }
}
