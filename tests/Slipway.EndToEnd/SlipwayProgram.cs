using System.Diagnostics;
using System.Text;
using Slipway.Client;
using Slipway.Tests.Hosting;

namespace Slipway.EndToEnd;

/// <summary>The built program, started as its users start it.</summary>
internal static class SlipwayProgram
{
    public static string Root { get; } = FindRoot();

    public static string Path { get; } = System.IO.Path.Combine(Root, "artifacts", "bin", "Slipway.Cli", "release", "slipway");

    /// <summary>Runs a command to its end.</summary>
    public static async Task<(int ExitCode, string Output, string Error)> RunAsync(CancellationToken ct, params string[] arguments)
    {
        using var process = Start(arguments);
        var output = process.StandardOutput.ReadToEndAsync(ct);
        var error = process.StandardError.ReadToEndAsync(ct);
        await process.WaitForExitAsync(ct);
        return (process.ExitCode, await output, await error);
    }

    public static Process Start(params string[] arguments) => Start([], arguments);

    /// <summary>Starts it with variables of its own.</summary>
    public static Process Start(IEnumerable<KeyValuePair<string, string>> environment, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(Path)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = Root,
            StandardOutputEncoding = Encoding.UTF8,
        };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    public static string NewDataFolder() => Directory.CreateTempSubdirectory("slipway-e2e-").FullName;

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(System.IO.Path.Combine(folder.FullName, "Slipway.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new DirectoryNotFoundException("The tests run from inside a checkout: no Slipway.slnx above them.");
    }
}

/// <summary>A server process on a data folder.</summary>
public sealed class RunningServer : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _said = new();

    private RunningServer(Process process, Uri address)
    {
        _process = process;
        Address = address;
    }

    public Uri Address { get; }

    public string Said
    {
        get
        {
            lock (_said)
            {
                return _said.ToString();
            }
        }
    }

    public static Task<RunningServer> StartAsync(string data, CancellationToken ct, params string[] more) => StartAsync(data, [], ct, more);

    /// <summary>Starts it with variables of its own, such as the keys of a file store.</summary>
    public static async Task<RunningServer> StartAsync(string data, IEnumerable<KeyValuePair<string, string>> environment, CancellationToken ct, params string[] more)
    {
        var port = FreePort.Next();
        var server = new RunningServer(
            SlipwayProgram.Start(environment, ["server", "--port", $"{port}", .. more.Contains("--grpc-port") ? [] : (string[])["--grpc-port", "0"], "--data", data, .. more]), new Uri($"http://127.0.0.1:{port}"));
        void Keep(string? line)
        {
            lock (server._said)
            {
                server._said.AppendLine(line);
            }
        }

        server._process.OutputDataReceived += (_, line) => Keep(line.Data);
        server._process.ErrorDataReceived += (_, line) => Keep(line.Data);
        server._process.BeginOutputReadLine();
        server._process.BeginErrorReadLine();
        using var client = new SlipwayClient(server.Address);
        while (!await client.IsHealthyAsync(ct) || server._process.HasExited)
        {
            Assert.False(server._process.HasExited, $"The server ended: {server.Said}");
            await Task.Delay(20, ct);
        }

        return server;
    }

    /// <summary>What the server has cost so far: tells what a request takes even while the machine is busy with others.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>SIGKILL: no chance to finish anything.</summary>
    public async Task KillAsync(CancellationToken ct)
    {
        _process.Kill();
        await _process.WaitForExitAsync(ct);
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using (var term = Process.Start("kill", ["-TERM", $"{_process.Id}"]))
            {
                await term.WaitForExitAsync();
            }

            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
                await _process.WaitForExitAsync();
            }
        }

        _process.Dispose();
    }
}
