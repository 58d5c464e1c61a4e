using System.Buffers.Binary;
using System.Net;

namespace Slipway.EndToEnd.BadInput;

/// <summary>Uploads that are not Parquet, cut short, or damaged.</summary>
[Collection(BadInputServer.Name)]
public sealed class ParquetTests(BadInputFixture server)
{
    private const string Versions = $"{BadInputFixture.Api}/datasets/flights/versions";

    [Fact, Trait("capability", "DAT-01")]
    public async Task Only_whole_Parquet_files_become_versions()
    {
        var good = await server.Client.GetByteArrayAsync(new Uri($"{Versions}/1/content", UriKind.Relative), TestContext.Current.CancellationToken);
        var before = (await server.SendAsync(HttpMethod.Get, $"{BadInputFixture.Api}/datasets/flights")).Text;
        var blobs = BlobCount();
        List<byte[]> bad =
        [
            [], "hello"u8.ToArray(), "PAR1PAR1"u8.ToArray(), [.. "PAR1"u8, 255, 255, 255, 127, .. "PAR1"u8], [.. "PAR1"u8, .. new byte[10_000], 16, 0, 0, 0, .. "PAR1"u8],
            good[..^100], [.. good[..^100], .. "PAR1"u8],
        ];

        // The pages of the columns wiped out, the footer whole: the file opens, and fails only when it is read.
        var footer = BinaryPrimitives.ReadInt32LittleEndian(good.AsSpan(good.Length - 8)) + 8;
        bad.Add([.. "PAR1"u8, .. Enumerable.Repeat((byte)0xFF, good.Length - footer - 4), .. good[^footer..]]);
        foreach (var file in bad)
        {
            await server.AssertRefusedAsync(await server.PostBytesAsync(Versions, file), "Parquet file");
        }

        Assert.Equal(before, (await server.SendAsync(HttpMethod.Get, $"{BadInputFixture.Api}/datasets/flights")).Text);
        Assert.Equal(blobs, BlobCount());
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(server.DataDirectory, "tmp"), "dataset-*"));
    }

    [Fact]
    public async Task Random_damage_to_a_Parquet_file_never_harms_the_server()
    {
        var good = await server.Client.GetByteArrayAsync(new Uri($"{Versions}/1/content", UriKind.Relative), TestContext.Current.CancellationToken);
        await server.ApplyAsync("kind: dataset\nname: damaged\ntimestamp: date\nsource: {type: file, owner: o, update_frequency: daily, pii: false, licence: l}\ncolumns: [{name: date, type: timestamp}]");
        var random = new Random(1);
        var footer = BinaryPrimitives.ReadInt32LittleEndian(good.AsSpan(good.Length - 8)) + 8;
        for (var i = 0; i < 40; i++)
        {
            var file = (byte[])good.Clone();
            for (var hit = 0; hit < 10; hit++)
            {
                // Every second file is hit in its footer only, which says where everything is.
                file[random.Next(i % 2 == 0 ? 4 : good.Length - footer, good.Length - 8)] = (byte)random.Next(256);
            }

            var answer = await server.PostBytesAsync($"{BadInputFixture.Api}/datasets/damaged/versions", file);
            if (answer.Status != HttpStatusCode.OK)
            {
                await server.AssertRefusedAsync(answer);
            }
        }
    }

    [Theory]
    [InlineData("nope")]
    [InlineData("..%5Cflights")]
    [InlineData("..%2Fflights")]
    [InlineData("%252e%252e")]
    public async Task A_dataset_that_is_not_defined_takes_no_file(string name) =>
        await server.AssertRefusedAsync(await server.PostBytesAsync($"{BadInputFixture.Api}/datasets/{name}/versions", "PAR1"u8.ToArray()), "There is no dataset");

    private int BlobCount() => Directory.EnumerateFiles(Path.Combine(server.DataDirectory, "blobs"), "*", SearchOption.AllDirectories).Count();
}
