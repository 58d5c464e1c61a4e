using System.Text;
using Slipway.Contracts;
using Slipway.Storage.Redis;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

/// <summary>The connection to Redis: against a real server, and against one that answers anything.</summary>
[Trait("database", "none")]
public sealed class RedisConnectionTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task All_kinds_of_replies_come_back_from_a_real_server()
    {
        await using var redis = await TestRedis.StartAsync();
        await using var connection = await redis.OpenAsync();

        Assert.Equal("OK", (await connection.CallAsync(Cancel, "SET", "key", new byte[] { 0, 255, 13, 10 })).Text);
        Assert.Equal([0, 255, 13, 10], (await connection.CallAsync(Cancel, "GET", "key")).Bytes);
        Assert.True((await connection.CallAsync(Cancel, "GET", "nothing")).IsNothing);
        Assert.Equal(7, (await connection.CallAsync(Cancel, "INCRBY", "count", 7)).Integer);
        var refused = await Assert.ThrowsAsync<RedisException>(() => connection.CallAsync(Cancel, "INCR", "key"));
        Assert.Contains("not an integer", refused.Message, StringComparison.Ordinal);
        var big = new byte[3 << 20];
        Random.Shared.NextBytes(big);
        var replies = await connection.SendAsync([["SET", "big", big], ["GET", "big"], ["MGET", "count", "nothing", "big"], ["NONSENSE"], ["EXISTS", "big"]], Cancel);
        Assert.Equal(big, replies[1].Bytes);
        Assert.Equal((3, "7", true), (replies[2].Items!.Count, replies[2].Items![0].Text, replies[2].Items![1].IsNothing));
        Assert.StartsWith("ERR unknown command", replies[3].Error, StringComparison.Ordinal);
        Assert.Equal(1, replies[4].Integer);
        await using var other = await RedisConnection.OpenAsync(redis.Address with { Database = 0 }, Cancel);
        Assert.True((await other.CallAsync(Cancel, "GET", "key")).IsNothing); // Another database of the server.
    }

    [Fact]
    public async Task A_wrong_password_and_a_server_that_is_not_there_are_told()
    {
        await using var redis = await TestRedis.StartAsync();

        var wrong = await Assert.ThrowsAsync<RedisException>(() => RedisConnection.OpenAsync(redis.Address with { Password = "guess" }, Cancel));
        Assert.Contains("WRONGPASS", wrong.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<System.Net.Sockets.SocketException>(() => RedisConnection.OpenAsync(redis.Address with { Port = 1 }, Cancel));
    }

    [Theory]
    [InlineData("")]
    [InlineData("\r\n")]
    [InlineData("?what\r\n")]
    [InlineData("$5\r\nabc")]
    [InlineData("$3\r\nabcdef\r\n")]
    [InlineData("$-2\r\n")]
    [InlineData("$99999999999\r\n")]
    [InlineData("*2147483647\r\n")]
    [InlineData("*1048576\r\n*1\r\n")]
    [InlineData(":12x\r\n")]
    [InlineData("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")]
    public async Task What_is_no_answer_is_an_error_and_takes_no_memory(string answer)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        await using var connection = RedisConnection.Over(new Scripted(Encoding.ASCII.GetBytes(answer)));

        await Assert.ThrowsAnyAsync<IOException>(() => connection.CallAsync(Cancel, "PING"));

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public async Task A_line_without_an_end_is_given_up()
    {
        await using var connection = RedisConnection.Over(new Scripted(Encoding.ASCII.GetBytes("+" + new string('a', 1 << 20))));

        var fault = await Assert.ThrowsAsync<RedisException>(() => connection.CallAsync(Cancel, "PING"));
        Assert.Contains("a line without an end", fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("redis://127.0.0.1", "127.0.0.1", 6379, null, null, 0, false)]
    [InlineData("rediss://ada:p%40ss@redis.internal:7000/3", "redis.internal", 7000, "ada", "p@ss", 3, true)]
    [InlineData("redis://:word@[::1]:7000/", "::1", 7000, null, "word", 0, false)]
    public void Addresses_are_read(string text, string host, int port, string? user, string? password, int database, bool encrypted)
    {
        var address = RedisAddress.Parse(text);

        Assert.Equal(new RedisAddress(host, port, user, password, database, encrypted), address);
        Assert.DoesNotContain(password ?? "ada", address.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:6379")]
    [InlineData("http://127.0.0.1:6379")]
    [InlineData("redis://127.0.0.1/zero")]
    [InlineData("redis://:secret@127.0.0.1:99999")]
    public void Other_texts_are_refused_without_showing_a_password(string text)
    {
        var fault = Assert.Throws<SlipwayException>(() => RedisAddress.Parse(text));
        Assert.Contains("--redis must be an address", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", fault.Message, StringComparison.Ordinal);
    }

    private sealed class Scripted(byte[] answer) : MemoryStream(answer)
    {
        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;
    }
}
