using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd.Demo;

/// <summary>
/// The demo, once for all its tests: started, killed hard in the middle, started again to its end. Its server then runs for the tests.
/// </summary>
public sealed class DemoFixture : IAsyncLifetime
{
    private RunningServer? _server;

    /// <summary>What the finished run printed.</summary>
    public string Output { get; private set; } = "";

    /// <summary>The finished run's exit code.</summary>
    public int ExitCode { get; private set; } = -1;

    /// <summary>The demo's data folder, with the server on it.</summary>
    public string Data { get; } = SlipwayProgram.NewDataFolder();

    /// <summary>Address of the running server.</summary>
    public Uri Address => _server!.Address;

    public async ValueTask InitializeAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(8));
        var port = FreePort.Next();
        string[] arguments = ["demo", "--exit", "--port", $"{port}", "--grpc-port", "0", "--data", Data];

        // Killed hard once traffic flows: the demo and its server, as a crashed machine would.
        using (var first = SlipwayProgram.Start(arguments))
        {
            _ = first.StandardOutput.ReadToEndAsync(limit.Token);
            _ = first.StandardError.ReadToEndAsync(limit.Token);
            var state = Path.Combine(Data, "demo.json");
            while (!first.HasExited && !(File.Exists(state) && (await File.ReadAllTextAsync(state, limit.Token)).Contains("replayed_to", StringComparison.Ordinal)))
            {
                await Task.Delay(100, limit.Token);
            }

            first.Kill(entireProcessTree: true);
            await first.WaitForExitAsync(limit.Token);
        }

        // The server is the demo's child, and may end a moment after it.
        for (var held = true; held;)
        {
            try
            {
                new FileStream(Path.Combine(Data, "server.lock"), FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
                held = false;
            }
            catch (IOException)
            {
                await Task.Delay(50, limit.Token);
            }
        }

        (ExitCode, Output, var error) = await SlipwayProgram.RunAsync(limit.Token, arguments);
        Output += error;
        if (ExitCode == 0)
        {
            _server = await RunningServer.StartAsync(Data, limit.Token);
            // The model in production is loaded behind the first answer.
            using var client = new HttpClient { BaseAddress = _server.Address };
            while (!(await client.GetAsync(new Uri("/v2/health/ready", UriKind.Relative), limit.Token)).IsSuccessStatusCode)
            {
                await Task.Delay(20, limit.Token);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        Directory.Delete(Data, recursive: true);
    }
}
