using System.Diagnostics;
using System.Globalization;

namespace Slipway.Bench;

/// <summary>From starting <c>slipway server</c> on a new database to its first answers, and its memory a little later.</summary>
internal static class TrackingStart
{
    public static async Task RunAsync(int rounds)
    {
        var data = Path.Combine(BenchSettings.Folder, "start-data");
        var (health, first, cpu, memory) = (new List<double>(), new List<double>(), new List<double>(), new List<(double Resident, double Anonymous)>());
        for (var round = 0; round < rounds; round++)
        {
            if (Directory.Exists(data))
            {
                Directory.Delete(data, recursive: true);
            }

            var watch = Stopwatch.StartNew();
            await using var server = await MeasuredProcess.SlipwayAsync(data, pin: false);
            using (var http = await HttpConnection.OpenAsync(server.Address))
            {
                await http.AskAsync("/api/2.0/mlflow/experiments/get?experiment_id=0");
            }

            health.Add(server.FirstAnswerMs);
            first.Add(watch.Elapsed.TotalMilliseconds);
            cpu.Add(server.CpuMicroseconds() / 1000);
            await Task.Delay(TimeSpan.FromSeconds(10));
            memory.Add(server.MemoryMiB());
        }

        Console.WriteLine($"\nStart on a new database: {rounds} rounds, medians (best); load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        Line("first answer of /health, ms", health, 500);
        Line("first answer of MLflow's API, ms", first, 500);
        Line("processor time until then, ms", cpu, null);
        Line("resident after 10 s idle, MiB", [.. memory.Select(sample => sample.Resident)], 100);
        Line("  of it not backed by files, MiB", [.. memory.Select(sample => sample.Anonymous)], null);
    }

    private static void Line(string name, List<double> figures, double? limit) =>
        Console.WriteLine($"  {name,-36}{BenchSettings.Median(figures),8:0} {$"({figures.Min():0})",8}{(limit is { } most ? $"   limit {most.ToString("0", CultureInfo.InvariantCulture)}" : "")}");
}
