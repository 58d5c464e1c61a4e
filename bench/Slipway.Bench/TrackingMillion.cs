using System.Diagnostics;
using System.Globalization;
using Microsoft.Data.Sqlite;
using Slipway.Native.Sqlite;

namespace Slipway.Bench;

/// <summary>Pages of searches over a million runs. They are written to the database directly: through the API it would take an hour.</summary>
internal static class TrackingMillion
{
    private const int Runs = 1_000_000;

    private static readonly (string Name, string Filter, string Order)[] Searches =
    [
        ("newest first", "", ""),
        ("run_name = 'run-500000'", "attributes.run_name = 'run-500000'", ""),
        ("params.seed = '123456' (one run)", "params.seed = '123456'", ""),
        ("params.depth = '7' (a tenth)", "params.depth = '7'", ""),
        ("tags.team = 'rare' (100 runs)", "tags.team = 'rare'", ""),
        ("metrics.auc > 0.9999 (100 runs)", "metrics.auc > 0.9999", ""),
        ("metrics.auc > 0.5 (half)", "metrics.auc > 0.5", ""),
        ("status = 'FAILED' (a hundredth)", "attributes.status = 'FAILED'", ""),
        ("start_time > … (the newest 1000)", "attributes.start_time > 1700000998999000", ""),
        ("ordered by metrics.auc DESC", "", "\"metrics.auc DESC\""),
        ("half, ordered by metrics.auc", "metrics.auc > 0.5 AND params.depth != '7'", "\"metrics.auc ASC\""),
        ("ordered by run_name", "", "\"attributes.run_name ASC\""),
        ("ordered by end_time DESC", "", "\"attributes.end_time DESC\""),
    ];

    public static async Task RunAsync()
    {
        var data = Path.Combine(BenchSettings.Folder, "million-data");
        if (!File.Exists(Path.Combine(data, "seeded")))
        {
            if (Directory.Exists(data))
            {
                Directory.Delete(data, recursive: true);
            }

            await using (await MeasuredProcess.SlipwayAsync(data, pin: false))
            {
                // It makes the tables.
            }

            Seed(Path.Combine(data, "slipway.db"));
            await File.WriteAllTextAsync(Path.Combine(data, "seeded"), "");
        }

        await using var server = await MeasuredProcess.SlipwayAsync(data, pin: false);
        using var http = await HttpConnection.OpenAsync(server.Address);
        await AskAsync(http, "", "", null); // The first request ever also starts the server's parts.
        Console.WriteLine($"\nSearch over {Runs:N0} runs, 100 to a page: ms to the answer, best of 5 (page 1000: best of 3); limit 100 for the first page; load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        Console.WriteLine($"  {"",-36}{"page 1",9}{"page 2",9}{"page 1000",11}");
        foreach (var (name, filter, order) in Searches)
        {
            var (first, next) = await TimeAsync(http, filter, order, null, 5);
            Console.Write($"  {name,-36}{first,9:0.0}");
            if (next is null)
            {
                Console.WriteLine("        –          –");
                continue;
            }

            var (second, token) = await TimeAsync(http, filter, order, next, 5);
            Console.Write($"{second,9:0.0}");
            if (second > 500)
            {
                Console.WriteLine("    (left out)");
                continue;
            }

            var page = 2;
            for (; page < 999 && token is not null; page++)
            {
                token = Token(await AskAsync(http, filter, order, token));
            }

            Console.WriteLine(token is null ? $"  ({page} pages)" : $"{(await TimeAsync(http, filter, order, token, 3)).Ms,11:0.0}");
        }

        Console.WriteLine($"  resident afterwards: {server.MemoryMiB().Resident:0} MiB");
    }

    private static async Task<(double Ms, string? Next)> TimeAsync(HttpConnection http, string filter, string order, string? token, int times)
    {
        var best = double.MaxValue;
        string? next = null;
        for (var i = 0; i < times; i++)
        {
            var watch = Stopwatch.StartNew();
            var answer = await AskAsync(http, filter, order, token);
            best = Math.Min(best, watch.Elapsed.TotalMilliseconds);
            next = Token(answer);
            if (best > 1000)
            {
                break;
            }
        }

        return (best, next);
    }

    private static Task<string> AskAsync(HttpConnection http, string filter, string order, string? token) => http.AskAsync("/api/2.0/mlflow/runs/search",
        $$"""{"experiment_ids":["0"],"filter":"{{filter}}","order_by":[{{order.Replace("\\", "", StringComparison.Ordinal)}}],"max_results":100,"page_token":"{{token}}"}""");

    private static string? Token(string answer) => TrackingData.Read(answer, "next_page_token");

    private static void Seed(string file)
    {
        Console.Error.WriteLine($"Writing {Runs:N0} runs to {file} …");
        var watch = Stopwatch.StartNew();
        SqliteLibrary.Initialize();
        using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = file, Pooling = false }.ToString());
        connection.Open();
        foreach (var sql in (string[])
        [
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; PRAGMA cache_size=-400000; BEGIN",
            $"""
            WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {Runs - 1})
            INSERT INTO runs (id, run_id, experiment_id, name, user_id, status, start_at_ms, end_at_ms, lifecycle_stage)
            SELECT i + 1, printf('%032x', i * 7919 % {Runs}), 0, 'run-' || i, 'bench', CASE WHEN i % 100 = 0 THEN 'FAILED' ELSE 'FINISHED' END, 1700000000000000 + i * 1000, 1700000000000000 + i * 1000 + i * 7919 % 100000, 'active' FROM n
            """,
            $"INSERT INTO latest_metrics (run, key, step, at_ms, value, is_nan) SELECT id, 'auc', 1, 1, (id * 7919 % {Runs}) / {Runs}.0, 0 FROM runs",
            "INSERT INTO params (run, key, value) SELECT id, 'depth', CAST(id * 31 % 97 % 10 AS TEXT) FROM runs",
            "INSERT INTO params (run, key, value) SELECT id, 'seed', CAST(id AS TEXT) FROM runs",
            "INSERT INTO tags (run, key, value) SELECT id, 'mlflow.runName', name FROM runs",
            "INSERT INTO tags (run, key, value) SELECT id, 'team', CASE WHEN id % 10000 = 17 THEN 'rare' WHEN id % 2 = 0 THEN 'ops' ELSE 'data' END FROM runs",
            "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
        ])
        {
            using var command = connection.CreateCommand();
            command.CommandText = sql;
            command.CommandTimeout = 0;
            command.ExecuteNonQuery();
        }

        Console.Error.WriteLine($"  {watch.Elapsed.TotalSeconds.ToString("0", CultureInfo.InvariantCulture)} s, {new FileInfo(file).Length >> 20} MiB");
    }
}
