using System.Globalization;

namespace Slipway.Bench;

/// <summary>How the tracking load is run.</summary>
internal sealed record TrackingSettings
{
    public List<Uri> Servers { get; } = [];

    public int?[] Processes { get; } = [null, null];

    public int Runs { get; init; } = 10_000;

    public int Rounds { get; init; } = 3;

    public double Seconds { get; init; } = 2;

    public int Connections { get; init; } = 8;

    /// <summary>Count the processor time of all of PostgreSQL's processes too.</summary>
    public bool Postgres { get; init; }

    /// <summary>Only cases whose name contains this.</summary>
    public string? Only { get; init; }
}

/// <summary>MLflow's API under load: processor time per request beside the limits, for one server or two in turn.</summary>
internal static class TrackingBench
{
    /// <summary>A thirtieth (log-batch: a twentieth) of what MLflow 3.6 takes with 4 workers, SQLite and 10,000 runs on two processors.</summary>
    private static readonly Case[] Cases =
    [
        new("get-run", 5.5 / 30, (data, runs) => (connection, i) => runs.Get[(int)((i + (connection * 131)) % runs.Get.Length)]),
        new("log-metric", 3.5 / 30, (data, runs) => (connection, i) => runs.Post("/api/2.0/mlflow/runs/log-metric",
            string.Create(CultureInfo.InvariantCulture, $$"""{"run_id":"{{runs.Written[connection % runs.Written.Length]}}","key":"loss","value":{{Math.Cos(i):R}},"timestamp":{{runs.Stamp + i}},"step":{{i}}}"""))),
        new("create-run", 5.8 / 30, (data, runs) => (connection, i) => runs.Post("/api/2.0/mlflow/runs/create",
            $$"""{"experiment_id":"{{data.WriteExperiment}}","run_name":"new-{{connection}}-{{i}}","user_id":"bench","start_time":{{runs.Stamp + i}},"tags":[{"key":"team","value":"ops"}]}""")),
        new("log-batch, 1000 points of 10 metrics", 81.0 / 20, (data, runs) => (connection, i) => runs.Post("/api/2.0/mlflow/runs/log-batch",
            TrackingData.Batch(runs.Written[connection % runs.Written.Length], runs.NextSteps(), 10))),
        new("log-batch, 1000 metrics", 81.0 / 20, (data, runs) => (connection, i) => runs.Post("/api/2.0/mlflow/runs/log-batch",
            TrackingData.Batch(runs.Written[connection % runs.Written.Length], runs.NextSteps(), 1000))),
        new("search, 100 runs", 86.0 / 30, (data, runs) => Same(runs.Post("/api/2.0/mlflow/runs/search",
            $$"""{"experiment_ids":["{{data.Experiment}}"],"max_results":100}"""))),
        new("search, 1000 runs", 900.0 / 30, (data, runs) => Same(runs.Post("/api/2.0/mlflow/runs/search",
            $$"""{"experiment_ids":["{{data.Experiment}}"],"max_results":1000}"""))),
        new("search, 1000 filtered and ordered", 1990.0 / 30, (data, runs) => Same(runs.Post("/api/2.0/mlflow/runs/search",
            $$"""{"experiment_ids":["{{data.Experiment}}"],"filter":"metrics.m3 > 0.3 AND params.p1 != '7' AND tags.team = 'ops'","order_by":["metrics.m5 DESC"],"max_results":1000}"""))),
        new("history page, 25,000 points", 1330.0 / 30, (data, runs) => Same(runs.GetPath($"/api/2.0/mlflow/metrics/get-history?run_id={data.ShortRun}&metric_key=loss&max_results=25000"))),
        new("chart of 100,000 points", 3000.0 / 30, (data, runs) => Same(runs.GetPath(
            $"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={data.LongRun}&metric_key=loss&max_results=320"))),
    ];

    public static async Task RunAsync(TrackingSettings settings)
    {
        var contestants = new List<Contestant>();
        foreach (var (index, address) in settings.Servers.Index())
        {
            var data = await TrackingData.EnsureAsync(address, settings.Runs);
            var server = new ServerUnderLoad(address, settings.Processes[index], settings.Postgres);
            contestants.Add(new Contestant(server, data, await Requests.MakeAsync(address, data, settings.Connections)));
        }

        Console.WriteLine($"\nTracking: {settings.Runs:N0} runs, {settings.Connections} connections, {settings.Rounds} rounds of {settings.Seconds.ToString(CultureInfo.InvariantCulture)} s in turn, medians; load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        foreach (var (index, contestant) in contestants.Index())
        {
            Console.WriteLine($"  {(char)('A' + index)}: {contestant.Server.Address}, {contestant.Server.ResidentMiB():0} MiB before the load");
        }

        Console.WriteLine($"\n  {"",-38}{"limit",9}" + string.Concat(contestants.Index().Select(each => $"{(char)('A' + each.Index)} CPU-ms".PadLeft(12) + (settings.Postgres ? "+database".PadLeft(12) : "") + "per second".PadLeft(12))) + (contestants.Count > 1 ? "B / A".PadLeft(9) : ""));
        foreach (var one in Cases.Where(one => settings.Only is null || one.Name.Contains(settings.Only, StringComparison.OrdinalIgnoreCase)))
        {
            var loads = contestants.ConvertAll(_ => new List<TrackingLoad>());
            var refused = new string?[contestants.Count];
            for (var round = -1; round < settings.Rounds; round++)
            {
                foreach (var (index, contestant) in contestants.Index())
                {
                    if (refused[index] is not null)
                    {
                        continue;
                    }

                    try
                    {
                        var load = await HttpLoad.RunAsync(contestant.Server, one.Request(contestant.Data, contestant.Requests), settings.Connections, settings.Seconds);
                        if (round >= 0) // The round before the first warms up.
                        {
                            loads[index].Add(load);
                        }
                    }
                    catch (HttpRequestException e) when (e.StatusCode is { } status)
                    {
                        refused[index] = ((int)status).ToString(CultureInfo.InvariantCulture);
                    }
                }
            }

            Console.Write($"  {one.Name,-38}{Text(one.LimitMs),9}");
            foreach (var (index, all) in loads.Index())
            {
                Console.Write(refused[index] is { } status
                    ? $"answers {status}".PadLeft(settings.Postgres ? 36 : 24)
                    : Text(Median(all, load => load.CpuMs)).PadLeft(12) + (settings.Postgres ? Text(Median(all, load => load.DatabaseCpuMs)).PadLeft(12) : "") + $"{Median(all, load => load.PerSecond),12:0.0}");
            }

            var ratio = loads.Count == 2 && refused.All(status => status is null)
                ? Median(loads[1], load => load.CpuMs + load.DatabaseCpuMs) / Median(loads[0], load => load.CpuMs + load.DatabaseCpuMs) : (double?)null;
            Console.WriteLine(ratio is { } r ? $"{r,9:0.0}" : "");
        }

        foreach (var (index, contestant) in contestants.Index())
        {
            Console.WriteLine($"  {(char)('A' + index)}: {contestant.Server.ResidentMiB():0} MiB after the load");
        }
    }

    private static string Text(double ms) => ms.ToString(ms < 10 ? "0.000" : "0.0", CultureInfo.InvariantCulture);

    private static double Median(List<TrackingLoad> loads, Func<TrackingLoad, double> figure) => BenchSettings.Median(loads.Select(figure));

    private static Func<int, long, byte[]> Same(byte[] request) => (_, _) => request;

    private sealed record Case(string Name, double LimitMs, Func<TrackingData, Requests, Func<int, long, byte[]>> Request);

    private sealed record Contestant(ServerUnderLoad Server, TrackingData Data, Requests Requests);

    /// <summary>Requests made ready, and the runs that the load writes to.</summary>
    internal sealed class Requests(Uri server, byte[][] get, string[] written)
    {
        private long _steps;

        public byte[][] Get { get; } = get;

        public string[] Written { get; } = written;

        /// <summary>Later than whatever an earlier load wrote.</summary>
        public long Stamp { get; } = 1_700_000_000_000 + Environment.TickCount64;

        public byte[] Post(string path, string json) => HttpConnection.Request(server, path, json);

        public byte[] GetPath(string path) => HttpConnection.Request(server, path, null);

        public long NextSteps() => Interlocked.Add(ref _steps, 1000);

        public static async Task<Requests> MakeAsync(Uri server, TrackingData data, int connections)
        {
            using var http = await HttpConnection.OpenAsync(server);
            using var page = System.Text.Json.JsonDocument.Parse(
                await http.AskAsync("/api/2.0/mlflow/runs/search", $$"""{"experiment_ids":["{{data.Experiment}}"],"filter":"params.p1 != 'none'","max_results":500}"""));
            var get = page.RootElement.GetProperty("runs").EnumerateArray()
                .Select(run => HttpConnection.Request(server, $"/api/2.0/mlflow/runs/get?run_id={run.GetProperty("info").GetProperty("run_id").GetString()}", null)).ToArray();
            var written = new string[connections];
            for (var i = 0; i < connections; i++)
            {
                written[i] = await TrackingData.CreateRunAsync(http, data.WriteExperiment, $"written-{i}", 1_700_000_000_000);
            }

            return new Requests(server, get, written);
        }
    }
}
