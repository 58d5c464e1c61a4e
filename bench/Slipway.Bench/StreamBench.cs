using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Slipway.Client;
using Slipway.Contracts.Host;
using Slipway.Storage.Redis;
using Slipway.Tests.Hosting;

namespace Slipway.Bench;

/// <summary>Events of a Redis stream, from when they are all there to when all are answered.</summary>
internal static class StreamBench
{
    private const int Events = 100_000;

    public static async Task RunAsync(BenchSettings settings)
    {
        var port = FreePort.Next();
        using var redis = Process.Start(new ProcessStartInfo(
            "redis-server", ["--port", port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        { RedirectStandardOutput = true })!;
        try
        {
            var address = $"redis://127.0.0.1:{port.ToString(CultureInfo.InvariantCulture)}/0";
            await using var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, settings.Pin, redis: address);
            using var client = new SlipwayClient(server.Address, await ServedModel.PrepareAsync(server.Address));
            await using var connection = await RedisConnection.OpenAsync(RedisAddress.Parse(address), default);
            var rows = await ServedModel.RowsAsync(client);
            Console.WriteLine($"\nStream: {ServedModel.Description}; {Events:N0} events of {settings.Rounds} rounds, the whole request in a field");
            foreach (var batch in new[] { 64, 512 })
            {
                var rates = new List<double>();
                for (var round = 0; round < settings.Rounds; round++)
                {
                    var name = $"bench-{batch}-{round}";
                    for (var i = 0; i < Events; i += 1000)
                    {
                        await connection.SendAsync([.. Enumerable.Range(i, 1000).Select(n => new object[] { "XADD", name, "*", "request", rows[n % rows.Count].Features })], default);
                    }

                    await client.PostAsync<ApplyResponse>("definitions", new ApplyRequest([new DefinitionFile(
                        "stream.yaml", $"kind: stream\nname: {name}\nmodel: {ServedModel.Name}\ninput: {name}\noutput: {name}-scores\nbatch: {batch}\n")]), default);
                    while ((await connection.CallAsync(default, "XLEN", $"{name}-scores")).Integer < 1000)
                    {
                        await Task.Delay(1);
                    }

                    var (from, cpu, watch) = ((await connection.CallAsync(default, "XLEN", $"{name}-scores")).Integer!.Value, server.CpuMicroseconds(), Stopwatch.StartNew());
                    while ((await connection.CallAsync(default, "XLEN", $"{name}-scores")).Integer < Events)
                    {
                        await Task.Delay(1);
                    }

                    rates.Add((Events - from) / watch.Elapsed.TotalSeconds);
                    Console.WriteLine($"  batch {batch}: {rates[^1]:0} events/s, {(server.CpuMicroseconds() - cpu) / (Events - from):0.0} us of the server's processor time each");
                    await connection.CallAsync(default, "DEL", name, $"{name}-scores");
                    await client.PostAsync<JsonNode>($"streams/{name}/pause", new { reason = "measured" }, default);
                }
            }
        }
        finally
        {
            redis.Kill();
            await redis.WaitForExitAsync();
        }
    }
}
