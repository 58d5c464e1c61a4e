using System.Diagnostics;
using System.Globalization;

namespace Slipway.Bench;

/// <summary>One load of one server.</summary>
/// <param name="Requests">Answered.</param>
/// <param name="PerSecond">Answered per second.</param>
/// <param name="CpuMicroseconds">Processor time of the server per request, user and system, all threads.</param>
/// <param name="LatencyMsP50">As the load generator saw it.</param>
/// <param name="LatencyMsP99">As the load generator saw it.</param>
internal sealed record Load(long Requests, double PerSecond, double CpuMicroseconds, double LatencyMsP50, double LatencyMsP99);

/// <summary>The load generator.</summary>
internal static class Wrk
{
    public static async Task<Load> RunAsync(MeasuredProcess server, string path, string bodies, int seconds, BenchSettings settings)
    {
        string[] wrk =
        [
            "wrk", "-t1", $"-c{settings.Connections.ToString(CultureInfo.InvariantCulture)}", $"-d{seconds.ToString(CultureInfo.InvariantCulture)}s",
            "-s", Path.Combine(BenchSettings.Root, "bench", "wrk.lua"), new Uri(server.Address, path).ToString(), "--", bodies,
        ];
        string[] command = settings.Pin ? ["taskset", "-c", (Environment.ProcessorCount - 1).ToString(CultureInfo.InvariantCulture), .. wrk] : wrk;
        var start = new ProcessStartInfo(command[0]) { UseShellExecute = false, RedirectStandardOutput = true };
        foreach (var argument in command.Skip(1))
        {
            start.ArgumentList.Add(argument);
        }

        var cpuBefore = server.CpuMicroseconds();
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        var cpu = server.CpuMicroseconds() - cpuBefore;

        var line = output.Split('\n').FirstOrDefault(line => line.StartsWith("RESULT ", StringComparison.Ordinal)) ?? throw new InvalidOperationException($"wrk printed no result: {output}");
        var figures = line.Split(' ').Skip(1).Select(figure => double.Parse(figure, CultureInfo.InvariantCulture)).ToArray();
        return figures[2] == 0
            ? new Load((long)figures[0], figures[0] / (figures[1] / 1e6), cpu / figures[0], figures[3] / 1000, figures[4] / 1000)
            : throw new InvalidOperationException($"{figures[2]} requests to {server.Address}{path} failed, so that their rate would mean nothing.");
    }
}
