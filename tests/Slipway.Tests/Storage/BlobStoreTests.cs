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

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(512 * 1024)]
    [InlineData((512 * 1024) + 1)]
    [InlineData(1024 * 1024)]
    [InlineData((20 * 1024 * 1024) + 4711)]
    public async Task Content_of_any_length_arrives_as_it_was_however_it_is_cut(int length)
    {
        var content = new byte[length];
        new Random(length).NextBytes(content);
        var expected = Convert.ToHexStringLower(SHA256.HashData(content));

        var received = await _blobs.PutAsync(new PiecesStream(content), default);
        Assert.Equal(new Blob(expected, length), received);
        Assert.Equal(content, await File.ReadAllBytesAsync(_blobs.PathOf(expected)));

        File.Delete(_blobs.PathOf(expected));
        var made = Path.Combine(_options.BlobDirectory, "made");
        await File.WriteAllBytesAsync(made, content);
        Assert.Equal(received, await _blobs.PutFileAsync(made, default));
        Assert.False(File.Exists(made));
        Assert.True(await _blobs.VerifyAsync(expected, default));
        AssertNothingLeftBehind();
    }

    [Theory]
    [InlineData(100)]
    [InlineData(3 * 1024 * 1024)]
    public async Task A_source_that_breaks_off_leaves_nothing(int after)
    {
        await Assert.ThrowsAsync<IOException>(() => _blobs.PutAsync(new BrokenStream(after), default));

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

    private sealed class BrokenStream(int after) : MemoryStream
    {
        private int _left = after;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = Math.Min(_left, Math.Min(buffer.Length, 100_000));
            _left -= read;
            return read > 0 ? ValueTask.FromResult(read) : throw new IOException("The connection broke.");
        }
    }

    private sealed class PiecesStream(byte[] content) : MemoryStream(content)
    {
        private int _reads;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, 1 + (_reads++ * 7919 % 65536))], cancellationToken);
    }
}
