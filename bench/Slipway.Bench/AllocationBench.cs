using System.Buffers.Text;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.NoEmit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Client;
using Slipway.Web;

namespace Slipway.Bench;

/// <summary>
/// Bytes that a request allocates on the managed heap, by BenchmarkDotNet: of the whole server with its prediction log, and of bare Kestrel. Both run in this
/// process; the client, which asks on one connection, allocates nothing, and what the server does every second, asked or not, does not happen.
/// </summary>
[MemoryDiagnoser(displayGenColumns: false)]
public class AllocationBench
{
    private static RawClient bare = null!;
    private static RawClient features = null!;
    private static RawClient keys = null!;

    /// <summary>Measures, and prints a line for each.</summary>
    internal static async Task RunAsync()
    {
        await using (var server = await MeasuredProcess.SlipwayAsync(ServedModel.Data, pin: false))
        {
            await ServedModel.PrepareAsync(server.Address);
        }

        await using var slipway = SlipwayServer.Build(new ServerOptions { DataDirectory = ServedModel.Data, Port = 0, GrpcPort = 0 }, services => services.AddSingleton<TimeProvider>(new NoTimers()));
        await slipway.StartAsync();
        using var client = new SlipwayClient(new Uri(slipway.Urls.First()));
        while (!await client.IsModelReadyAsync(ServedModel.Name, default))
        {
            await Task.Delay(50);
        }

        var row = (await ServedModel.RowsAsync(client))[0];
        features = new RawClient(slipway, $"/v2/models/{ServedModel.Name}/infer", row.Features);
        keys = new RawClient(slipway, $"/v2/models/{ServedModel.Name}/infer", row.Keys);
        features.Ask();
        await using var kestrel = BareServer(Encoding.UTF8.GetBytes(features.Answer));
        await kestrel.StartAsync();
        bare = new RawClient(kestrel, "/", row.Features);

        // In this process, since BenchmarkDotNet would otherwise write and build a project for each.
        var job = Job.Default.WithToolchain(InProcessNoEmitToolchain.Instance).WithWarmupCount(3).WithIterationCount(5).WithInvocationCount(20_000).WithUnrollFactor(1);
        var config = ManualConfig.CreateEmpty().AddJob(job).AddLogger(NullLogger.Instance).AddColumnProvider(DefaultColumnProviders.Instance).WithArtifactsPath(Path.Combine(BenchSettings.Folder, "allocations"));
        var summary = BenchmarkRunner.Run<AllocationBench>(config);
        Console.WriteLine($"\nBytes allocated for each request, by BenchmarkDotNet; {ServedModel.Description}");
        foreach (var report in summary.Reports)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"  {report.BenchmarkCase.Descriptor.WorkloadMethodDisplayInfo.Trim('\'')}: {report.GcStats.GetBytesAllocatedPerOperation(report.BenchmarkCase)} B"));
        }

        if (summary.HasCriticalValidationErrors || summary.Reports.Length != 3 || summary.Reports.Any(report => !report.Success))
        {
            throw new InvalidOperationException($"BenchmarkDotNet failed: {string.Join(' ', summary.ValidationErrors.Select(error => error.Message))}");
        }

        bare.Dispose();
        features.Dispose();
        keys.Dispose();
        await slipway.StopAsync();
    }

    /// <summary>The floor.</summary>
    [Benchmark(Baseline = true, Description = "bare Kestrel, the same bytes")]
    public void Bare() => bare.Ask();

    /// <summary>A tensor of features.</summary>
    [Benchmark(Description = "features tensor")]
    public void Features() => features.Ask();

    /// <summary>Entity keys, of which the feature store makes the features.</summary>
    [Benchmark(Description = "entity keys")]
    public void Keys() => keys.Ask();

    private static WebApplication BareServer(byte[] answer)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Loopback, 0);
        });
        var app = builder.Build();
        app.Run(context => BareKestrel.BareAnswer.WriteAsync(context, answer, isGrpc: false));
        return app;
    }

    private sealed class NoTimers : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => base.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Sends one request again and again on one connection.</summary>
    private sealed class RawClient : IDisposable
    {
        private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        private readonly byte[] _request;
        private readonly byte[] _answer = new byte[8192];
        private int _body;
        private int _end;

        public RawClient(WebApplication server, string path, string body)
        {
            var address = new Uri(server.Urls.First());
            _request = Encoding.UTF8.GetBytes($"POST {path} HTTP/1.1\r\nHost: {address.Authority}\r\nContent-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n\r\n{body}");
            _socket.Connect(IPAddress.Loopback, address.Port);
        }

        /// <summary>The last answer's body.</summary>
        public string Answer => Encoding.UTF8.GetString(_answer.AsSpan(_body, _end - _body));

        public void Ask()
        {
            _socket.Send(_request);
            (_body, _end) = (0, 0);
            var length = 0;
            while (_body == 0 || _end < _body + length)
            {
                var read = _socket.Receive(_answer.AsSpan(_end));
                _end += read;
                if (read == 0)
                {
                    throw new InvalidOperationException("The server hung up.");
                }

                var head = _answer.AsSpan(0, _end).IndexOf("\r\n\r\n"u8);
                if (_body == 0 && head > 0)
                {
                    var at = _answer.AsSpan(0, head).IndexOf("Content-Length: "u8) + 16;
                    if (!_answer.AsSpan().StartsWith("HTTP/1.1 200"u8) || !Utf8Parser.TryParse(_answer.AsSpan(at), out length, out _))
                    {
                        throw new InvalidOperationException($"The server answered {Encoding.UTF8.GetString(_answer.AsSpan(0, _end))}.");
                    }

                    _body = head + 4;
                }
            }
        }

        public void Dispose() => _socket.Dispose();
    }
}
