using System.Diagnostics;
using System.Globalization;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Storage;

namespace Slipway.Bench;

/// <summary>Which version answers for a name, with many models there. Their rows are written to the database directly: through the API it would take hours.</summary>
internal static class RegistryBench
{
    private const int Models = 10_000;
    private const int VersionsPerModel = 100;
    private const int Asked = 2000;
    private const double LimitMs = 1;

    private static readonly (string Name, string Path)[] Questions =
    [
        ("models:/name/Production", "/api/2.0/mlflow/registered-models/get-latest-versions?name={0}&stages=Production"),
        ("models:/name/latest", "/api/2.0/mlflow/registered-models/get-latest-versions?name={0}"),
        ("models:/name@champion", "/api/2.0/mlflow/registered-models/alias?name={0}&alias=champion"),
        ("models:/name/73", "/api/2.0/mlflow/model-versions/get?name={0}&version=73"),
        ("our own: production", "/api/slipway/v1/models/{0}/production"),
        ("our own: one model", "/api/slipway/v1/models/{0}"),
        ("a floor: /health", "/health"),
    ];

    public static async Task RunAsync(string? database)
    {
        var data = Path.Combine(BenchSettings.Folder, database is null ? "registry-data" : "registry-postgres-data");
        if (!File.Exists(Path.Combine(data, "seeded")))
        {
            await using (await MeasuredProcess.SlipwayAsync(data, pin: false, database))
            {
                // It makes the tables.
            }

            await SeedAsync(data, database);
            await File.WriteAllTextAsync(Path.Combine(data, "seeded"), "");
        }

        await using var server = await MeasuredProcess.SlipwayAsync(data, pin: false, database);
        using var http = await HttpConnection.OpenAsync(server.Address);
        Console.WriteLine(
            $"\n{Models:N0} models x {VersionsPerModel} versions in {(database is null ? "SQLite" : "PostgreSQL")}, {Asked} answers each over one connection, ms from request to answer; "
            + $"limit {LimitMs} for the median; load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        Console.WriteLine($"  {"",-28}{"median",9}{"p99",9}{"processor",11}");
        var random = new Random(1);
        foreach (var (name, path) in Questions)
        {
            var times = new double[Asked];
            double cpu = 0;
            for (var i = -Asked / 10; i < Asked; i++)
            {
                if (i == 0)
                {
                    cpu = server.CpuMicroseconds();
                }

                var target = string.Format(CultureInfo.InvariantCulture, path, $"model-{random.Next(1, Models + 1)}");
                var start = Stopwatch.GetTimestamp();
                await http.AskAsync(target);
                if (i >= 0)
                {
                    times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                }
            }

            cpu = (server.CpuMicroseconds() - cpu) / Asked / 1000;
            Array.Sort(times);
            Console.WriteLine($"  {name,-28}{times[Asked / 2],9:0.000}{times[Asked * 99 / 100],9:0.000}{cpu,11:0.000}{(times[Asked / 2] > LimitMs ? "  over the limit" : "")}");
        }
    }

    private static async Task SeedAsync(string data, string? url)
    {
        await using var database = Database.Open(StorageOptions.Resolve(data, url), [], TimeProvider.System, NullLogger<Database>.Instance);
        await database.WriteAsync(transaction =>
        {
            foreach (var sql in (string[])
            [
                $$"""
                INSERT INTO models (name, created_by, created_at_ms, updated_at_ms)
                WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {{Models}}) SELECT 'model-' || i, 'bench', i, i FROM n
                """,
                $$"""
                INSERT INTO model_versions (model, version, number, stage, run_id, bump, bump_reason, description, owner, tags, signature, feature_schema, datasets, created_by, created_at_ms, updated_at_ms)
                WITH RECURSIVE v (j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM v WHERE j < {{VersionsPerModel}})
                SELECT m.name, '1.0.' || (j - 1), j, CASE j WHEN 90 THEN 'production' WHEN 95 THEN 'staging' ELSE 'archived' END, 'run-' || m.name || '-' || j, 'patch', 'seeded', '', 'bench',
                       '{"team":"ops"}', '{"inputs":[],"outputs":[]}', '{"service":"","service_version":0,"features":[],"view_versions":[]}', '[]', 'bench', j, j
                  FROM models m CROSS JOIN v
                """,
                "INSERT INTO model_version_files (model, version, path, sha256, size_bytes) SELECT model, version, 'model.onnx', '0', 1 FROM model_versions",
                "INSERT INTO model_aliases (model, alias, version, set_by, set_at_ms) SELECT name, 'champion', '1.0.89', 'bench', 1 FROM models",
            ])
            {
                transaction.Connection.Execute(sql, commandTimeout: 0);
            }

            if (url is not null)
            {
                transaction.Connection.Execute("ANALYZE", commandTimeout: 0);
            }
        }, CancellationToken.None);
    }
}
