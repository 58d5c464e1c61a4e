using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Slipway.Storage.Redis;

namespace Slipway.Tests.Hosting;

/// <summary>A Redis server of a test's own, on loopback and without files, with a password.</summary>
internal sealed class TestRedis : IAsyncDisposable
{
    private const string Password = "s3cret pass/word";

    private Process _process;

    private TestRedis(int port, Process process)
    {
        Address = RedisAddress.Parse(string.Create(CultureInfo.InvariantCulture, $"redis://:{Uri.EscapeDataString(Password)}@127.0.0.1:{port}/1"));
        _process = process;
    }

    public RedisAddress Address { get; }

    public static async Task<TestRedis> StartAsync()
    {
        var port = FreePort.Next();
        var redis = new TestRedis(port, Start(port));
        await redis.UntilItAnswersAsync();
        return redis;
    }

    /// <summary>As a failure of its machine: nothing is kept.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    public async Task StartAgainAsync()
    {
        _process = Start(Address.Port);
        await UntilItAnswersAsync();
    }

    public Task<RedisConnection> OpenAsync() => RedisConnection.OpenAsync(Address, TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync() => await KillAsync();

    private static Process Start(int port) => Process.Start(new ProcessStartInfo(
        "redis-server", ["--port", port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", Password, "--loglevel", "warning"])
    { RedirectStandardOutput = true })!;

    private async Task UntilItAnswersAsync()
    {
        for (var since = Stopwatch.GetTimestamp(); ;)
        {
            try
            {
                await using var connection = await OpenAsync();
                return;
            }
            catch (Exception e) when (e is SocketException or IOException && !_process.HasExited && Stopwatch.GetElapsedTime(since) < TimeSpan.FromMinutes(2))
            {
                await Task.Delay(25);
            }
        }
    }
}
