using System.Diagnostics;
using System.Globalization;

namespace Slipway.Bench;

/// <summary>Mixed load for minutes; memory beside the time shows whether it grows.</summary>
internal static class TrackingSoak
{
    /// <param name="minutes">How long.</param>
    /// <param name="perSecond">Requests a second that each connection sends at most; null for as many as it can.</param>
    public static async Task RunAsync(double minutes, double? perSecond)
    {
        var data = Path.Combine(BenchSettings.Folder, "soak-data");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        await using var server = await MeasuredProcess.SlipwayAsync(data, pin: false);
        var prepared = await TrackingData.EnsureAsync(server.Address, runs: 2000);
        using var http = await HttpConnection.OpenAsync(server.Address);
        var run = await TrackingData.CreateRunAsync(http, prepared.WriteExperiment, "soak", 1_700_000_000_000);
        var address = server.Address;
        var watch = Stopwatch.StartNew();
        var end = TimeSpan.FromMinutes(minutes);
        long requests = 0;
        // What a busy team does at once: training that logs, pages that are looked at, charts that are drawn.
        Func<long, byte[]>[] mix =
        [
            i => HttpConnection.Request(address, "/api/2.0/mlflow/runs/log-batch", TrackingData.Batch(run, i * 100)),
            i => HttpConnection.Request(address, "/api/2.0/mlflow/runs/create", $$"""{"experiment_id":"{{prepared.WriteExperiment}}","run_name":"soak-{{i}}","start_time":{{1_700_000_000_000 + i}}}"""),
            i => HttpConnection.Request(address, "/api/2.0/mlflow/runs/log-metric", $$"""{"run_id":"{{run}}","key":"loss","value":0.5,"timestamp":{{1_700_000_000_000 + i}},"step":{{i}}}"""),
            _ => HttpConnection.Request(address, $"/api/2.0/mlflow/runs/get?run_id={prepared.ShortRun}", null),
            _ => HttpConnection.Request(address, "/api/2.0/mlflow/runs/search", $$"""{"experiment_ids":["{{prepared.Experiment}}"],"max_results":1000}"""),
            _ => HttpConnection.Request(address, "/api/2.0/mlflow/runs/search", $$"""{"experiment_ids":["{{prepared.Experiment}}"],"filter":"metrics.m3 > 0.3 AND tags.team = 'ops'","order_by":["metrics.m5 DESC"],"max_results":100}"""),
            _ => HttpConnection.Request(address, $"/api/2.0/mlflow/metrics/get-history?run_id={prepared.ShortRun}&metric_key=loss&max_results=25000", null),
            _ => HttpConnection.Request(address, $"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={prepared.LongRun}&metric_key=loss&max_results=320", null),
        ];
        Console.WriteLine($"\nMixed load of {mix.Length} connections{(perSecond is { } rate ? string.Create(CultureInfo.InvariantCulture, $", at most {rate} requests a second each,") : "")} for {minutes.ToString(CultureInfo.InvariantCulture)} minutes\n  seconds  resident MiB  not file-backed  requests");
        var load = mix.Select(make => Task.Run(async () =>
        {
            using var own = await HttpConnection.OpenAsync(address);
            for (long i = 0; watch.Elapsed < end; i++)
            {
                var status = await own.SendAsync(make(i));
                if (status is not (200 or 501))
                {
                    throw new HttpRequestException($"The server answered {status}.");
                }

                Interlocked.Increment(ref requests);
                if (perSecond is { } most && TimeSpan.FromSeconds(i / most) - watch.Elapsed is { Ticks: > 0 } early)
                {
                    await Task.Delay(early);
                }
            }
        })).ToList();
        for (var part = 0; part < 20; part++)
        {
            await Task.WhenAny(Task.WhenAll(load), Task.Delay(end / 20));
            var (resident, anonymous) = server.MemoryMiB();
            Console.WriteLine($"  {watch.Elapsed.TotalSeconds,7:0}{resident,14:0}{anonymous,17:0}{Interlocked.Read(ref requests),10:N0}");
        }

        await Task.WhenAll(load);
        await Task.Delay(TimeSpan.FromSeconds(10));
        Console.WriteLine($"  ten seconds after the load: {server.MemoryMiB().Resident:0} MiB, not file-backed {server.MemoryMiB().Anonymous:0}");
    }
}
