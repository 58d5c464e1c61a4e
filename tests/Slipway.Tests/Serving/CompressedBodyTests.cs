using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Slipway.Serving.Protocol;

namespace Slipway.Tests.Serving;

/// <summary>Compressed bodies: whole ones are read however they arrive, and others are never taken for shorter ones.</summary>
[Trait("database", "none")]
public sealed class CompressedBodyTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("gzip", CompressionLevel.Fastest)]
    [InlineData("gzip", CompressionLevel.NoCompression)]
    [InlineData("deflate", CompressionLevel.Fastest)]
    [InlineData("deflate", CompressionLevel.NoCompression)]
    public async Task A_body_that_is_cut_off_anywhere_is_not_a_shorter_one(string encoding, CompressionLevel level)
    {
        var plain = Rows(200);
        var packed = Pack(plain, encoding, level);

        for (var length = 1; length < packed.Length; length++)
        {
            var (bytes, fault) = await CompressedBody.ReadAsync(new MemoryStream(packed, 0, length), encoding, 1 << 20, Cancel);
            Assert.True(fault == InflateFault.EndsEarly && bytes.IsEmpty, $"{length} of {packed.Length} bytes: {fault}");
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task A_body_may_arrive_in_pieces_of_any_size(string encoding)
    {
        var plain = Rows(2000);
        var packed = Pack(plain, encoding);

        foreach (var size in (int[])[1, 2, 3, 7, 10, 18, packed.Length - 9, packed.Length - 8, packed.Length - 4, packed.Length - 1, packed.Length])
        {
            var (bytes, fault) = await CompressedBody.ReadAsync(new Pieces(packed, size), encoding, plain.Length, Cancel);
            Assert.Equal((InflateFault.None, true), (fault, bytes.Span.SequenceEqual(plain)));
        }
    }

    [Fact]
    public async Task Gzip_may_have_several_members_and_either_may_be_of_nothing()
    {
        byte[] gzipOfNothing = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // .NET writes none.
        byte[] zlibOfNothing = [0x78, 0x9C, 3, 0, 0, 0, 0, 1];
        byte[] several = [.. Pack(Rows(3), "gzip"), .. gzipOfNothing, .. Pack(Rows(5), "gzip")];
        byte[] expected = [.. Rows(3), .. Rows(5)];

        foreach (var size in (int[])[1, several.Length])
        {
            var (bytes, fault) = await CompressedBody.ReadAsync(new Pieces(several, size), "gzip", expected.Length, Cancel);
            Assert.Equal((InflateFault.None, true), (fault, bytes.Span.SequenceEqual(expected)));
            Assert.Equal((0, InflateFault.None), await NothingAsync(gzipOfNothing, "gzip", size));
            Assert.Equal((0, InflateFault.None), await NothingAsync(zlibOfNothing, "deflate", size));
        }

        static async Task<(int Length, InflateFault Fault)> NothingAsync(byte[] packed, string encoding, int size)
        {
            var (bytes, fault) = await CompressedBody.ReadAsync(new Pieces(packed, size), encoding, 0, Cancel);
            return (bytes.Length, fault);
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task The_limit_is_exact(string encoding)
    {
        var plain = Rows(5000);
        var packed = Pack(plain, encoding);

        Assert.Equal(InflateFault.None, (await CompressedBody.ReadAsync(new MemoryStream(packed), encoding, plain.Length, Cancel)).Fault);
        Assert.Equal(InflateFault.TooLarge, (await CompressedBody.ReadAsync(new MemoryStream(packed), encoding, plain.Length - 1, Cancel)).Fault);
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task What_follows_the_data_or_is_other_data_is_told_apart(string encoding)
    {
        byte[] longer = [.. Pack(Rows(10), encoding), .. "more"u8];

        foreach (var size in (int[])[1, longer.Length - 4, longer.Length])
        {
            Assert.Equal(InflateFault.GoesOn, (await CompressedBody.ReadAsync(new Pieces(longer, size), encoding, 1 << 20, Cancel)).Fault);
        }

        Assert.Equal(InflateFault.IsOtherData, (await CompressedBody.ReadAsync(new MemoryStream(Rows(10)), encoding, 1 << 20, Cancel)).Fault);
    }

    [Fact]
    public async Task Each_protocol_refuses_a_body_that_is_cut_off_and_knows_encodings_by_any_case()
    {
        await using var host = await ServingHost.StartServingAsync();
        var rows = JsonSerializer.SerializeToUtf8Bytes(ServingHost.Matrix([.. Enumerable.Range(0, 2000).Select(i => (float)i)]));
        var instances = Encoding.UTF8.GetBytes("""{"instances":[[100,1],[200,2]]}""");

        foreach (var (path, body) in new[] { ($"/v2/models/{ServingHost.Model}/infer", rows), ($"/v1/models/{ServingHost.Model}:predict", instances), ("/invocations", instances) })
        {
            foreach (var encoding in (string[])["gzip", "deflate"])
            {
                var packed = Pack(body, encoding);
                var (status, answer) = await PostAsync(host, path, packed[..^4], encoding);
                Assert.Equal(400, status);
                Assert.Contains($"The body ends before its {encoding} data does, as its Content-Encoding says; send it whole", answer, StringComparison.Ordinal);
                Assert.Equal(200, (await PostAsync(host, path, packed, encoding.ToUpperInvariant())).Status);
            }

            Assert.Equal(200, (await PostAsync(host, path, body, "Identity")).Status);
            (var refused, var why) = await PostAsync(host, path, body, "br");
            Assert.Equal(400, refused);
            Assert.Contains("Content-Encoding 'br' is not taken here; send gzip, deflate or no encoding.", why, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task Labels_and_the_index_may_be_asked_compressed(string encoding)
    {
        await using var host = await ServingHost.StartServingAsync();
        var labels = """{"labels":[{"id":"prediction-0001","label":1}]}"""u8.ToArray();
        var ready = """{"ready":true}"""u8.ToArray();

        Assert.Equal((200, """{"stored":1}"""), await PostAsync(host, $"/v2/models/{ServingHost.Model}/labels", Pack(labels, encoding), encoding));
        var (status, index) = await PostAsync(host, "/v2/repository/index", Pack(ready, encoding), encoding);
        Assert.Equal(200, status);
        Assert.Equal("READY", Assert.Single(JsonDocument.Parse(index).RootElement.EnumerateArray()).GetProperty("state").GetString());
        foreach (var (path, body) in new[] { ($"/v2/models/{ServingHost.Model}/labels", labels), ("/v2/repository/index", ready) })
        {
            (status, var answer) = await PostAsync(host, path, Pack(body, encoding)[..^5], encoding);
            Assert.Equal(400, status);
            Assert.Contains($"The body ends before its {encoding} data does", answer, StringComparison.Ordinal);
            Assert.Equal(200, (await PostAsync(host, path, body, "identity")).Status);
        }
    }

    private static async Task<(int Status, string Answer)> PostAsync(ServingHost host, string path, byte[] body, string encoding)
    {
        using var content = new ByteArrayContent(body);
        content.Headers.TryAddWithoutValidation("Content-Encoding", encoding);
        content.Headers.TryAddWithoutValidation("Content-Type", "application/json");
        using var response = await host.Area.Client.PostAsync(new Uri(path, UriKind.Relative), content, Cancel);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync(Cancel));
    }

    private static byte[] Rows(int count) => Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, count).Select(i => $"[{i},{i * 7919 % 1000}],")));

    private static byte[] Pack(byte[] plain, string encoding, CompressionLevel level = CompressionLevel.Optimal)
    {
        var into = new MemoryStream();
        using (Stream stream = encoding == "gzip" ? new GZipStream(into, level, leaveOpen: true) : new ZLibStream(into, level, leaveOpen: true))
        {
            stream.Write(plain);
        }

        return into.ToArray();
    }

    /// <summary>Gives so many bytes at a time.</summary>
    private sealed class Pieces(byte[] bytes, int size) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => base.ReadAsync(buffer[..Math.Min(buffer.Length, size)], cancellationToken);
    }
}
