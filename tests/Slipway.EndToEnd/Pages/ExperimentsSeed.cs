using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Tracking;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Tracking;
using Slipway.Web;

namespace Slipway.EndToEnd.Pages;

/// <summary>An experiment of 10,000 runs, a run of a million points, a run with files of every kind. Written by the thousand, in SQL.</summary>
internal static class ExperimentsSeed
{
    public const string Name = "churn-2026";
    public const int Runs = 10_000;
    public const int LongPoints = 1_000_000;

    private static readonly Caller Ada = new("ada", null);

    public static async Task<(string Long, string Files, string Parent)> WriteAsync(string data)
    {
        await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Port = 0, GrpcPort = 0 });
        var experiments = app.Services.GetRequiredService<ExperimentStore>();
        var experiment = await experiments.CreateAsync(Name, new Dictionary<string, string> { ["owner"] = "ada", ["team"] = "retention" }, Ada, default);
        await app.Services.GetRequiredService<Database>().WriteAsync(transaction => WriteRuns(transaction, long.Parse(experiment, CultureInfo.InvariantCulture)), default);
        var runs = app.Services.GetRequiredService<RunStore>();
        var other = await experiments.CreateAsync("forecast", null, Ada, default);
        return (await LongAsync(app.Services, runs, other), await FilesAsync(app.Services, runs, other), await NestedAsync(runs, other));
    }

    private static void WriteRuns(WriteTransaction transaction, long experiment)
    {
        // Every figure follows from the run's number, so that tests know what to expect.
        const string Numbers = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @count - 1)";
        var values = new { experiment, count = Runs, now = transaction.NowMs, tags = "{}" };
        transaction.Connection.Execute(
            $"""
            {Numbers}
            INSERT INTO runs (run_id, experiment_id, name, user_id, status, start_at_ms, end_at_ms, lifecycle_stage)
            SELECT substr('00000000000000000000000000000000' || i, -32), @experiment,
                   CASE i % 4 WHEN 0 THEN 'xgboost' WHEN 1 THEN 'logistic' WHEN 2 THEN 'forest' ELSE 'mlp' END || '-' || substr('0000' || i, -5),
                   CASE i % 3 WHEN 0 THEN 'ada' WHEN 1 THEN 'grace' ELSE 'viola' END,
                   CASE WHEN i % 29 = 7 THEN 'FAILED' WHEN i % 97 = 5 THEN 'KILLED' WHEN i > @count - 4 THEN 'RUNNING' ELSE 'FINISHED' END,
                   @now - (@count - i) * 240000, CASE WHEN i > @count - 4 THEN NULL ELSE @now - (@count - i) * 240000 + 30000 + i % 211 * 1000 END, 'active'
              FROM n
            """, values);
        foreach (var (key, value) in new[]
        {
            ("trainer", "CASE i % 4 WHEN 0 THEN 'xgboost' WHEN 1 THEN 'logistic' WHEN 2 THEN 'forest' ELSE 'mlp' END"), ("max_depth", "CAST(2 + i % 9 AS TEXT)"),
            ("learning_rate", "CASE i % 5 WHEN 0 THEN '0.3' WHEN 1 THEN '0.1' WHEN 2 THEN '0.05' WHEN 3 THEN '0.03' ELSE '0.01' END"), ("seed", "CAST(i % 1000 AS TEXT)"),
            ("features", "CASE i % 2 WHEN 0 THEN 'base' ELSE 'base+usage' END"),
        })
        {
            Write("params", key, value);
        }

        Write("tags", "team", "CASE i % 2 WHEN 0 THEN 'retention' ELSE 'growth' END");
        Write("tags", "mlflow.runName", "r.name");
        foreach (var (key, value) in new[]
        {
            // Deeper trees and smaller steps help, with noise that looks like noise: a hash of the number.
            ("val_auc", "0.70 + 0.012 * (2 + i % 9) + 0.01 * (i % 5) + ((i * 7919) % 1000) / 40000.0"), ("val_loss", "0.62 - 0.013 * (2 + i % 9) - 0.008 * (i % 5) + ((i * 104729) % 1000) / 30000.0"),
            ("accuracy", "0.78 + 0.008 * (2 + i % 9) + ((i * 1299709) % 1000) / 30000.0"), ("fit_seconds", "4 + i % 211 + ((i * 15485863) % 1000) / 1000.0"),
        })
        {
            foreach (var table in new[] { "latest_metrics", "metric_points" })
            {
                transaction.Connection.Execute(
                    $"""
                    {Numbers}
                    INSERT INTO {table} (run, key, step, at_ms, value, is_nan) SELECT r.id, '{key}', {(key == "val_loss" ? "60" : "0")}, r.start_at_ms + 30000, {value}, 0
                      FROM n JOIN runs r ON r.run_id = substr('00000000000000000000000000000000' || i, -32)
                    """, values);
            }
        }

        // The newest 300 and the best have a curve before their last value.
        transaction.Connection.Execute(
            """
            WITH RECURSIVE s (step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM s WHERE step < 59)
            INSERT INTO metric_points (run, key, step, at_ms, value, is_nan)
            SELECT m.run, m.key, s.step, m.at_ms - 30000 + s.step * 500, m.value + 0.4 / (1 + s.step * (1 + m.run % 5) / 6.0) + ((m.run * 31 + s.step * 7919) % 100) / 9000.0, 0
              FROM latest_metrics m JOIN runs r ON r.id = m.run CROSS JOIN s
             WHERE m.key = 'val_loss' AND (r.run_id >= '00000000000000000000000000009700' OR CAST(r.run_id AS INTEGER) % 45 = 44)
            """);
        transaction.Connection.Execute(
            $"""
            {Numbers}
            INSERT INTO run_inputs (run, name, digest, context, source_type, source, row_count, tags_json)
            SELECT r.id, 'churn@' || (1 + i % 2), CASE i % 2 WHEN 0 THEN 'aaaaaaaa11111111' ELSE 'bbbbbbbb22222222' END, 'test', 'slipway', 'churn', 5000, @tags
              FROM n JOIN runs r ON r.run_id = substr('00000000000000000000000000000000' || i, -32)
            """, values);

        void Write(string table, string key, string value) => transaction.Connection.Execute(
            $"""
            {Numbers}
            INSERT INTO {table} (run, key, value) SELECT r.id, '{key}', {value} FROM n JOIN runs r ON r.run_id = substr('00000000000000000000000000000000' || i, -32)
            """, values);
    }

    private static async Task<string> LongAsync(IServiceProvider services, RunStore runs, string experiment)
    {
        var run = await runs.CreateRunAsync(experiment, "a-million-steps", null, Ada, default);
        await services.GetRequiredService<Database>().WriteAsync(
            transaction =>
            {
                transaction.Connection.Execute(
                    """
                    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @count - 1)
                    INSERT INTO metric_points (run, key, step, at_ms, value, is_nan)
                    SELECT r.id, 'train_loss', i, r.start_at_ms + i * 10, CASE WHEN i = 600000 THEN 6.0 ELSE 0.2 + 2.0 / (1 + i / 40000.0) + ((i * 7919) % 1000) / 4000.0 END, 0
                      FROM n JOIN runs r ON r.run_id = @run
                    """, new { count = LongPoints, run = run.RunId });
                transaction.Connection.Execute(
                    "INSERT INTO latest_metrics (run, key, step, at_ms, value, is_nan) SELECT run, key, step, at_ms, value, is_nan FROM metric_points WHERE run = (SELECT id FROM runs WHERE run_id = @run) AND step = @last",
                    new { run = run.RunId, last = LongPoints - 1 });
            }, default);
        var points = Enumerable.Range(0, 90).SelectMany(step => new[]
        {
            new MetricPoint("system/cpu_percent", 40 + 30 * Math.Sin(step / 9.0), run.StartTimeMs + step * 10_000, step), new MetricPoint("system/memory_mb", 900 + step * 3, run.StartTimeMs + step * 10_000, step),
            new MetricPoint("val_loss", step is 40 ? double.NaN : 0.4 + 1.5 / (1 + step), run.StartTimeMs + step * 111_000, step * 11_111),
        }).ToList();
        await runs.LogBatchAsync(run.RunId, points, [new("optimizer", "adam"), new("layers", "12")], [new("mlflow.note.content", "Spike at 600,000 after the schedule restarted.")], Ada, default);
        await runs.LogInputAsync(run.RunId, new RunInput("tokens", "cccccccc33333333", "s3://corpus/tokens", "train", 12_000_000), Ada, default);
        await runs.EndRunAsync(run.RunId, RunStatus.Finished, Ada, default);
        return run.RunId;
    }

    private static async Task<string> FilesAsync(IServiceProvider services, RunStore runs, string experiment)
    {
        var run = await runs.CreateRunAsync(experiment, "with-files", new Dictionary<string, string> { [RunRecord.FailureReasonTag] = "out of memory in epoch 3" }, Ada, default);
        var artifacts = services.GetRequiredService<ArtifactStore>();
        const string Evil = "<script>document.title='ran'; window.ran=1; fetch('/api/2.0/mlflow/experiments/create',{method:'POST',body:'{}'})</script>";
        foreach (var (path, content) in new[]
        {
            ("report/notes.txt", "First line\nSecond line with <b>markup</b>\n"), ("report/page.html", $"<html><body onload=\"window.ran=1\">{Evil}</body></html>"),
            ("report/picture.svg", $"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"window.ran=1\">{Evil}</svg>"), ("report/lies.png", $"<html>{Evil}</html>"),
            ("tables/scores.csv", "id,score,comment\n" + string.Concat(Enumerable.Range(0, 200).Select(i => $"{i},{i / 200.0:0.000},\"{(i == 3 ? "<img src=x onerror=window.ran=1>" : "fine")}\"\n"))),
            ("config/params.json", "{\"depth\": 6, \"eta\": 0.1}"),
        })
        {
            await artifacts.LogAsync(run.RunId, path, Encoding.UTF8.GetBytes(content), Ada, default);
        }

        await artifacts.LogAsync(run.RunId, "plots/confusion.png", Png(), Ada, default);
        await artifacts.LogAsync(run.RunId, "tables/scores.parquet", Parquet(), Ada, default);
        await artifacts.LogAsync(run.RunId, "model.bin", Enumerable.Range(0, 4096).Select(i => (byte)(i * 31)).ToArray(), Ada, default);
        await runs.EndRunAsync(run.RunId, RunStatus.Failed, Ada, default);
        return run.RunId;
    }

    private static async Task<string> NestedAsync(RunStore runs, string experiment)
    {
        var parent = await runs.CreateRunAsync(experiment, "study", null, Ada, default);
        for (var i = 0; i < 6; i++)
        {
            var child = await runs.CreateRunAsync(experiment, $"trial-{i}", new Dictionary<string, string> { ["mlflow.parentRunId"] = parent.RunId }, Ada, default);
            await runs.LogBatchAsync(child.RunId, [new("val_loss", 0.5 - i * 0.02, child.StartTimeMs, 0)], [new("depth", $"{i}")], [], Ada, default);
            await runs.EndRunAsync(child.RunId, RunStatus.Finished, Ada, default);
        }

        return parent.RunId;
    }

    private static byte[] Parquet()
    {
        var path = Path.Combine(Path.GetTempPath(), $"slipway-seed-{Guid.NewGuid():N}.parquet");
        try
        {
            using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
            using var connection = database.Connect();
            connection.Execute($"COPY (SELECT i AS id, i / 7.0 AS score, 'row ' || i AS name, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS seen FROM range(300) t(i)) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)");
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    // A picture of 64 x 64 pixels in blue and orange.
    private static byte[] Png()
    {
        const int Size = 64;
        using var pixels = new MemoryStream();
        using (var zlib = new ZLibStream(pixels, CompressionLevel.Optimal, leaveOpen: true))
        {
            for (var y = 0; y < Size; y++)
            {
                zlib.WriteByte(0);
                for (var x = 0; x < Size; x++)
                {
                    zlib.Write((x < Size / 2) == (y < Size / 2) ? [31, 111, 235] : [217, 119, 6]);
                }
            }
        }

        using var png = new MemoryStream();
        png.Write([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]);
        Chunk("IHDR", [0, 0, 0, Size, 0, 0, 0, Size, 8, 2, 0, 0, 0]);
        Chunk("IDAT", pixels.ToArray());
        Chunk("IEND", []);
        return png.ToArray();

        void Chunk(string type, byte[] content)
        {
            Span<byte> number = stackalloc byte[4];
            BinaryPrimitives.WriteInt32BigEndian(number, content.Length);
            png.Write(number);
            byte[] named = [.. Encoding.ASCII.GetBytes(type), .. content];
            png.Write(named);
            BinaryPrimitives.WriteUInt32BigEndian(number, Crc(named));
            png.Write(number);
        }

        static uint Crc(byte[] bytes)
        {
            var crc = uint.MaxValue;
            foreach (var value in bytes)
            {
                crc ^= value;
                for (var bit = 0; bit < 8; bit++)
                {
                    crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
                }
            }

            return ~crc;
        }
    }
}
