using System.Globalization;
using Slipway.Native.Onnx;
using Slipway.Storage.Redis;
using Slipway.Tests.Hosting;
using Slipway.Tests.Serving;

namespace Slipway.EndToEnd.Streams;

/// <summary>Servers killed hard while they score a stream.</summary>
public sealed class StreamCrashTests
{
    private const int Events = 6000;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact, Trait("capability", "SRV-03")]
    public async Task Every_event_is_answered_at_least_once_although_its_server_is_killed()
    {
        var folder = SlipwayProgram.NewDataFolder();
        var models = Path.Combine(folder, "models");
        Directory.CreateDirectory(Path.Combine(models, "echo", "1"));
        await File.WriteAllBytesAsync(Path.Combine(models, "echo", "1", "model.onnx"), TensorModels.Echo(OnnxElementType.Float, -1), Cancel);
        var definition = Path.Combine(folder, "stream.yaml");
        await File.WriteAllTextAsync(definition, "kind: stream\nname: events\nmodel: echo\ninput: events\noutput: scores\nretry: 2s\nbatch: 2\n", Cancel);
        await using var redis = await TestRedis.StartAsync();
        await using var connection = await redis.OpenAsync();
        var address = string.Create(CultureInfo.InvariantCulture, $"redis://:{Uri.EscapeDataString(redis.Address.Password!)}@127.0.0.1:{redis.Address.Port}/1");
        KeyValuePair<string, string>[] environment = [new("SLIPWAY_REDIS", address)];
        var server = await RunningServer.StartAsync(Path.Combine(folder, "data"), environment, Cancel, "--model-repository", models);
        try
        {
            var applied = await SlipwayProgram.RunAsync(Cancel, "--server", server.Address.ToString(), "apply", definition);
            Assert.True(applied.ExitCode == 0, applied.Error);
            var sent = new HashSet<string>();
            for (var i = 0; i < Events; i += 100)
            {
                sent.UnionWith((await connection.SendAsync([.. Enumerable.Range(i, 100).Select(n => new object[] { "XADD", "events", "*", "IN", n })], Cancel)).Select(reply => reply.Text));
            }

            // Twice, each time in the middle of it.
            foreach (var part in new[] { Events / 6, Events / 2 })
            {
                while ((await connection.CallAsync(Cancel, "XLEN", "scores")).Integer < part)
                {
                    await Task.Delay(1, Cancel);
                }

                await server.KillAsync(Cancel);
                Assert.InRange((await connection.CallAsync(Cancel, "XLEN", "scores")).Integer!.Value, part, Events - 1);
                await server.DisposeAsync();
                server = await RunningServer.StartAsync(Path.Combine(folder, "data"), environment, Cancel, "--model-repository", models);
            }

            var answered = new HashSet<string>();
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
            limit.CancelAfter(TimeSpan.FromMinutes(5));
            var answers = 0;
            while (answered.Count < Events)
            {
                await Task.Delay(200, limit.Token);
                var entries = (await connection.CallAsync(limit.Token, "XRANGE", "scores", "-", "+")).Items!;
                answers = entries.Count;
                answered = [.. entries.Select(entry => entry.Items![1].Items![1].Text)];
            }

            Assert.Equal(sent, answered);
            Assert.InRange(answers, Events, Events + 4); // No more again than the batch that was under way at each kill.
            await ShownAsync(server, connection);
        }
        finally
        {
            await server.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task ShownAsync(RunningServer server, RedisConnection connection)
    {
        while ((await connection.CallAsync(Cancel, "XPENDING", "events", "slipway")).Items![0].Integer > 0)
        {
            await Task.Delay(100, Cancel);
        }

        var shown = await SlipwayProgram.RunAsync(Cancel, "--server", server.Address.ToString(), "stream", "show", "events");
        Assert.True(shown.ExitCode == 0, shown.Error + shown.Output);
        Assert.Contains("running", shown.Output, StringComparison.Ordinal);
    }
}
