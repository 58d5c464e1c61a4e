using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Slipway.Tests.Hosting;

namespace Slipway.Bench;

/// <summary>A server under measurement. Its output goes to a file beside its data.</summary>
internal sealed class MeasuredProcess : IAsyncDisposable
{
    // Linux counts processor time in hundredths of a second on every platform .NET runs on.
    private const double TickMicroseconds = 10_000;

    private readonly Process _process;

    private MeasuredProcess(Process process, Uri address, double firstAnswerMs)
    {
        _process = process;
        Address = address;
        FirstAnswerMs = firstAnswerMs;
    }

    public Uri Address { get; }

    /// <summary>From before the process was created to the first 200.</summary>
    public double FirstAnswerMs { get; }

    /// <summary>Slipway's own server on a data folder, as its launcher starts it.</summary>
    public static Task<MeasuredProcess> SlipwayAsync(string data, bool pin, string? database = null, string? models = null, int grpcPort = 0, string? redis = null)
    {
        var port = FreePort.Next();
        string[] more = [.. database is null ? [] : (string[])["--database", database], .. models is null ? [] : (string[])["--model-repository", models], .. redis is null ? [] : (string[])["--redis", redis]];
        return StartAsync(
            Program("Slipway.Cli", "slipway"), ["server", "--port", Text(port), "--grpc-port", Text(grpcPort), "--data", data, .. more], port, "/health", Path.Combine(BenchSettings.Folder, "server.log"), pin);
    }

    /// <summary>Fastify with onnxruntime-node, a worker to each processor.</summary>
    public static Task<MeasuredProcess> FastifyAsync(string model)
    {
        var port = FreePort.Next();
        return StartAsync("node", [Path.Combine(BenchSettings.Root, "bench", "peers", "fastify", "server.js"), Text(port), model], port, "/", Path.Combine(BenchSettings.Folder, "fastify.log"), pin: false);
    }

    /// <summary>FastAPI with scikit-learn under uvicorn, a worker to each processor.</summary>
    public static Task<MeasuredProcess> FastApiAsync()
    {
        var port = FreePort.Next();
        return StartAsync(
            "/usr/bin/python3",
            ["-m", "uvicorn", "--app-dir", Path.Combine(BenchSettings.Root, "bench", "peers", "fastapi"), "--port", Text(port), "--workers", Text(Environment.ProcessorCount), "--log-level", "warning", "server:app"],
            port, "/", Path.Combine(BenchSettings.Folder, "fastapi.log"), pin: false);
    }

    /// <summary>Kestrel that answers every request with the bytes of a file.</summary>
    /// <param name="answer">The file.</param>
    /// <param name="pin">To the first processor.</param>
    /// <param name="grpcPort">Where it answers them as gRPC does; 0 for nowhere.</param>
    public static Task<MeasuredProcess> BareKestrelAsync(string answer, bool pin, int grpcPort = 0)
    {
        var port = FreePort.Next();
        return StartAsync(Program("BareKestrel", "BareKestrel"), [Text(port), answer, Text(grpcPort)], port, "/", Path.Combine(BenchSettings.Folder, "bare-kestrel.log"), pin);
    }

    /// <summary>Processor time so far, user and system, of all threads and of the workers it started.</summary>
    public double CpuMicroseconds()
    {
        var total = 0d;
        foreach (var folder in Directory.EnumerateDirectories("/proc").Where(folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])))
        {
            string stat;
            try
            {
                stat = File.ReadAllText(Path.Combine(folder, "stat"));
            }
            catch (IOException)
            {
                continue; // It has ended since.
            }

            // The program's name stands in brackets and may hold spaces; the parent, utime and stime are fields 4, 14 and 15 of the whole line.
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            var id = Text(_process.Id);
            if (Path.GetFileName(folder) == id || fields[1] == id)
            {
                total += (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) * TickMicroseconds;
            }
        }

        return total;
    }

    /// <summary>Resident memory, MiB: all of it, and the part that is not backed by files.</summary>
    public (double Resident, double Anonymous) MemoryMiB()
    {
        var lines = File.ReadAllLines($"/proc/{Text(_process.Id)}/status");
        double Value(string name) => double.Parse(
            lines.First(line => line.StartsWith(name, StringComparison.Ordinal)).Split(':')[1].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) / 1024;
        return (Value("VmRSS:"), Value("RssAnon:"));
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using var term = Process.Start("kill", ["-TERM", Text(_process.Id)]);
            await term.WaitForExitAsync();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private static async Task<MeasuredProcess> StartAsync(string program, string[] arguments, int port, string path, string log, bool pin)
    {
        // The shell only redirects and is replaced by the program: the process id stays.
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var argument in (string[])["-c", (pin ? "exec taskset -c 0 " : "exec ") + "\"$0\" \"$@\" >\"$LOG\" 2>&1", program, .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["LOG"] = log;
        var watch = Stopwatch.StartNew();
        var process = Process.Start(start)!;
        var address = new Uri($"http://127.0.0.1:{Text(port)}");
        var request = System.Text.Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        while (!await AnswersAsync(port, request))
        {
            if (process.HasExited || watch.Elapsed > TimeSpan.FromSeconds(60))
            {
                throw new InvalidOperationException($"{program} did not start; {log} says: {await File.ReadAllTextAsync(log)}");
            }

            await Task.Delay(2);
        }

        return new MeasuredProcess(process, address, watch.Elapsed.TotalMilliseconds);
    }

    // A plain socket: an HttpClient's own start would be part of the first figure.
    private static async Task<bool> AnswersAsync(int port, byte[] request)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            await socket.SendAsync(request);
            var answer = new byte[64];
            var length = await socket.ReceiveAsync(answer);
            return answer.AsSpan(0, length).StartsWith("HTTP/1.1 200"u8);
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static string Program(string project, string name) => Path.Combine(BenchSettings.Root, "artifacts", "bin", project, "release", name);

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);
}
