using System.Diagnostics;
using System.Globalization;
using Slipway.Client;
using Slipway.Contracts;

namespace Slipway.Cli.Demo;

/// <summary>The demo's own server: a second process of this program, so that it can be killed and started like any other.</summary>
internal sealed class DemoServer : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StreamWriter _log;

    private DemoServer(Process process, StreamWriter log, Uri address)
    {
        _process = process;
        _log = log;
        Address = address;
    }

    public Uri Address { get; }

    /// <summary>Resident memory now, in bytes.</summary>
    public long MemoryBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>Highest resident memory so far, in bytes.</summary>
    public long MemoryPeakBytes
    {
        get
        {
            _process.Refresh();
            return Math.Max(_process.PeakWorkingSet64, _process.WorkingSet64);
        }
    }

    /// <summary>Starts the server and waits for its first answer.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it did not start; the message is the server's own.</exception>
    public static async Task<DemoServer> StartAsync(int port, int grpcPort, string data, CancellationToken ct)
    {
        Directory.CreateDirectory(data);
        var log = new StreamWriter(new FileStream(Path.Combine(data, "server.log"), FileMode.Append, FileAccess.Write, FileShare.ReadWrite)) { AutoFlush = true };
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            ArgumentList =
            {
                "server", "--port", port.ToString(CultureInfo.InvariantCulture), "--grpc-port", grpcPort.ToString(CultureInfo.InvariantCulture), "--data", data,
            },
        };
        var process = Process.Start(start)!;
        var lastLines = new Queue<string>();
        void Keep(string? line)
        {
            if (line is null)
            {
                return;
            }

            lock (lastLines)
            {
                log.WriteLine(line);
                lastLines.Enqueue(line);
                if (lastLines.Count > 5)
                {
                    lastLines.Dequeue();
                }
            }
        }

        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();

        var address = new Uri($"http://127.0.0.1:{port}");
        using var client = new SlipwayClient(address);
        var server = new DemoServer(process, log, address);
        while (!await client.IsHealthyAsync(ct) || process.HasExited)
        {
            if (process.HasExited)
            {
                process.WaitForExit(); // Also waits for the last lines.
                string said;
                lock (lastLines)
                {
                    said = string.Join(Environment.NewLine, lastLines);
                }

                await server.DisposeAsync();
                throw new SlipwayException(ErrorCode.FailedPrecondition, said.Length > 0 ? said : $"The server ended with exit code {process.ExitCode}; see {Path.Combine(data, "server.log")}.");
            }

            await Task.Delay(50, ct);
        }

        return server;
    }

    /// <summary>Waits until the server ends by itself or the user presses Ctrl-C.</summary>
    public Task WaitAsync(CancellationToken ct) => _process.WaitForExitAsync(ct);

    /// <summary>Asks the server to finish its work and stop, and waits for it.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using (var term = Process.Start(new ProcessStartInfo("kill") { ArgumentList = { "-TERM", _process.Id.ToString(CultureInfo.InvariantCulture) } }))
            {
                term?.WaitForExit();
            }

            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
            }
        }

        _process.WaitForExit();
        _process.Dispose();
        await _log.DisposeAsync();
    }
}
