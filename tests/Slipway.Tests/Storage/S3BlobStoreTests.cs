using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.S3;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

[Trait("database", "none")]
public sealed class S3BlobStoreTests : IAsyncLifetime
{
    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
    private S3Server _server = null!;

    public async ValueTask InitializeAsync() => _server = await S3Server.StartAsync();

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        Directory.Delete(_data, recursive: true);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(16 << 20)]
    [InlineData((16 << 20) + 1)]
    [InlineData(37_000_000)]
    [Trait("capability", "INT-04")]
    public async Task What_is_put_comes_back_byte_for_byte_from_memory_to_many_parts(int size)
    {
        var bytes = new byte[size];
        new Random(size).NextBytes(bytes);
        var blobs = Open();

        var blob = await blobs.PutAsync(new MemoryStream(bytes), default);

        Assert.Equal(new Blob(Convert.ToHexStringLower(SHA256.HashData(bytes)), size), blob);
        Assert.True(await blobs.VerifyAsync(blob.Sha256, default));
        var read = await blobs.ReadVerifiedAsync(blob.Sha256, default);
        Assert.True(bytes.AsSpan().SequenceEqual(read));
        Assert.Equal([blob.Sha256], blobs.List());
        AssertNothingLeftBehind();
    }

    [Fact]
    public async Task The_same_bytes_are_one_blob_and_may_be_read_from_any_position()
    {
        var bytes = RandomNumberGenerator.GetBytes(300_000);
        var file = Path.Combine(_data, "made-elsewhere");
        await File.WriteAllBytesAsync(file, bytes);
        var blobs = Open();
        var first = await blobs.PutAsync(bytes, default);
        Assert.Equal(first, await blobs.PutFileAsync(file, default));
        Assert.False(File.Exists(file));
        Assert.Equal([first.Sha256], blobs.List());

        await using var stream = await blobs.OpenReadAsync(first.Sha256, default);
        var tail = new byte[1000];
        stream.Position = 299_000;
        await stream.ReadExactlyAsync(tail);

        Assert.Equal(bytes[299_000..], tail);
        Assert.Equal(0, await stream.ReadAsync(tail));
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<SlipwayException>(() => blobs.OpenReadAsync(new string('0', 64), default))).Code);
        Assert.False(blobs.Exists(new string('0', 64)));
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => blobs.PathOf("../../etc/passwd")).Code);
    }

    [Fact]
    public async Task A_reader_that_wants_a_path_gets_a_checked_copy_and_old_copies_make_room()
    {
        var blobs = BlobStore.Open(new StorageOptions
        {
            DataDirectory = _data,
            DatabasePath = "",
            BlobDirectory = "",
            BlobLocation = new S3Location(S3Server.Bucket, "team/a"),
            S3 = _server.Settings,
            CacheBytesMax = 150_000,
        });
        var old = await blobs.PutAsync(RandomNumberGenerator.GetBytes(100_000), default);
        var young = await blobs.PutAsync(RandomNumberGenerator.GetBytes(100_000), default);

        var paths = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => blobs.PathOf(old.Sha256))));
        Assert.Single(paths.Distinct());
        Assert.Equal(old.Sha256, Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(paths[0]))));
        _ = blobs.PathOf(young.Sha256);
        Assert.True(File.Exists(paths[0])); // Used a moment ago: its reader may not have opened it yet.

        File.SetLastWriteTimeUtc(paths[0], new DateTime(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        var third = await blobs.PutAsync(RandomNumberGenerator.GetBytes(10_000), default);
        _ = blobs.PathOf(third.Sha256);

        Assert.False(File.Exists(paths[0]));
        Assert.Equal(old.Sha256, Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(blobs.PathOf(old.Sha256)))));
    }

    [Fact, Trait("capability", "DAT-03")]
    public async Task Each_wrong_setting_is_told_in_one_sentence_that_names_the_store_and_the_fix()
    {
        // Port 1 is for those who may listen below 1024, and nobody does.
        var silent = new S3Settings { Endpoint = new Uri("http://127.0.0.1:1"), PathStyle = true, AccessKey = "a", SecretKey = "topsecret" };
        // s3rver does not check the signatures of today.
        await using var strict = WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false"]).Build();
        strict.Urls.Add("http://127.0.0.1:0");
        strict.Run(context =>
        {
            context.Response.StatusCode = 403;
            return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : context.Response.WriteAsync("<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>");
        });
        await strict.StartAsync();
        var cases = new (S3Settings Settings, string Bucket, ErrorCode Code, string Fix)[]
        {
            (_server.With("nobody", "topsecret"), S3Server.Bucket, ErrorCode.FailedPrecondition, "AWS_ACCESS_KEY_ID"),
            (new S3Settings { Endpoint = new Uri(strict.Urls.Single()), PathStyle = true, AccessKey = "known", SecretKey = "topsecret" }, S3Server.Bucket, ErrorCode.FailedPrecondition, "(SignatureDoesNotMatch); correct AWS_ACCESS_KEY_ID"),
            (_server.With(null, "topsecret"), S3Server.Bucket, ErrorCode.FailedPrecondition, "only AWS_SECRET_ACCESS_KEY is set"),
            (_server.Settings, "no-such-bucket", ErrorCode.FailedPrecondition, "make the bucket 'no-such-bucket'"),
            (silent, S3Server.Bucket, ErrorCode.Unavailable, "--s3-endpoint"),
        };
        foreach (var (settings, bucket, code, fix) in cases)
        {
            var blobs = Open(settings, bucket);
            foreach (var ask in (Func<Task>[])[() => blobs.CheckAsync(default), () => blobs.PutAsync("x"u8.ToArray(), default), () => blobs.OpenReadAsync(new string('0', 64), default)])
            {
                var error = await Record.ExceptionAsync(ask) as SlipwayException;

                Assert.True(error is not null, $"A wrong setting went unnoticed: {fix}.");
                Assert.Equal(code, error.Code);
                Assert.Contains(settings.Endpoint!.Authority, error.Message, StringComparison.Ordinal);
                Assert.DoesNotContain("topsecret", error.ToString(), StringComparison.Ordinal);
                Assert.Contains(fix, error.Message, StringComparison.Ordinal);
            }

            AssertNothingLeftBehind();
        }
    }

    [Fact]
    public async Task A_store_that_dies_is_unavailable_and_nothing_is_acknowledged()
    {
        var blobs = Open();
        await blobs.CheckAsync(default);
        _server.Kill();

        Assert.Equal(ErrorCode.Unavailable, (await Assert.ThrowsAsync<SlipwayException>(() => blobs.PutAsync("x"u8.ToArray(), default))).Code);
        AssertNothingLeftBehind();
    }

    [Theory]
    [InlineData("s3://B/x")]
    [InlineData("s3://")]
    [InlineData("s3://bucket/../x")]
    [InlineData("s3://bucket//x")]
    [InlineData("s3://bucket/a;b")]
    [InlineData("s3://bucket/%2e%2e")]
    [InlineData("s3://bucket/a#b")]
    [InlineData("s3://key:secret@bucket/a")]
    public void A_place_that_is_not_canonical_is_refused(string text) =>
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => StorageOptions.Resolve(_data, artifactRoot: text)).Code);

    private BlobStore Open(S3Settings? settings = null, string bucket = S3Server.Bucket) => BlobStore.Open(new StorageOptions
    {
        DataDirectory = _data,
        DatabasePath = "",
        BlobDirectory = "",
        BlobLocation = new S3Location(bucket, "team/a"),
        S3 = settings ?? _server.Settings,
    });

    private void AssertNothingLeftBehind() => Assert.Empty(Directory.GetFiles(Path.Combine(_data, "cache", "tmp")));
}
