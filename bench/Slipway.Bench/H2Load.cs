using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Slipway.Bench;

/// <summary>The load generator that speaks HTTP/2.</summary>
internal static partial class H2Load
{
    /// <summary>As many gRPC calls as go, a few streams to each connection.</summary>
    public static Task<Load> GrpcAsync(MeasuredProcess server, int port, string call, string body, BenchSettings settings) => RunAsync(
        server, settings.Seconds,
        ["-t1", $"-c{Text(Math.Max(1, settings.Connections / 8))}", "-m8", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body, $"http://127.0.0.1:{Text(port)}{call}"]);

    private static async Task<Load> RunAsync(MeasuredProcess server, int seconds, string[] arguments)
    {
        var log = Path.Combine(BenchSettings.Folder, "h2load.log");
        File.Delete(log);
        var start = new ProcessStartInfo("h2load", ["-D", Text(seconds), $"--log-file={log}", .. arguments]) { UseShellExecute = false, RedirectStandardOutput = true };
        var cpuBefore = server.CpuMicroseconds();
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        var cpu = server.CpuMicroseconds() - cpuBefore;

        // Begun, status, microseconds. A request that the end of the load cut off has no status of success.
        var micros = new List<double>();
        await foreach (var line in File.ReadLinesAsync(log))
        {
            var fields = line.Split('\t');
            if (fields[1] == "200")
            {
                micros.Add(double.Parse(fields[2], CultureInfo.InvariantCulture));
            }
        }

        if (micros.Count == 0 || Failed().Match(output) is not { Success: true } failed || failed.Groups[1].Value != "0")
        {
            throw new InvalidOperationException($"h2load had failed requests, so that their rate would mean nothing: {output}");
        }

        micros.Sort();
        return new Load(micros.Count, (double)micros.Count / seconds, cpu / micros.Count, micros[micros.Count / 2] / 1000, micros[(int)(micros.Count * 0.99)] / 1000);
    }

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"status codes: \d+ 2xx, \d+ 3xx, (\d+) 4xx, \d+ 5xx")]
    private static partial Regex Failed();
}
