using System.Globalization;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Tracking;
using Slipway.Datasets;
using Slipway.Identity;
using Slipway.Native.DuckDb;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;
using Slipway.Tracking;
using Slipway.Web;

namespace Slipway.EndToEnd.Pages;

/// <summary>
/// A small life: one dataset, three runs, versions 1.0.0 (production) and 1.1.0 (staging, may go on), 1.2.0 (waits for approval).
/// Written through the stores before the program starts on the folder.
/// </summary>
internal sealed class Seed
{
    public const string Model = "flight-delay";

    private static readonly string[] Features = ["flight:distance", "calendar:hour"];
    private static readonly Caller Ada = new("ada", null);
    private static readonly Caller Grace = new("grace", null);

    public string RunId { get; private set; } = "";

    public string ViewerToken { get; private set; } = "";

    public static async Task<Seed> WriteAsync(string data)
    {
        await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Port = 0, GrpcPort = 0 });
        var seed = new Seed();
        await seed.WriteAsync(app.Services);
        return seed;
    }

    /// <summary>A request of one flight.</summary>
    public static string Request(double distance, double hour) => string.Create(CultureInfo.InvariantCulture,
        $$"""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[{{distance}},{{hour}}]}]}""");

    private async Task WriteAsync(IServiceProvider services)
    {
        var users = services.GetRequiredService<UserStore>();
        await users.CreateAsync("ada", Role.MlEngineer, Caller.System("test"), default);
        await users.CreateAsync("grace", Role.Approver, Caller.System("test"), default);
        ViewerToken = (await users.CreateAsync("viola", Role.Viewer, Caller.System("test"), default)).Token;
        foreach (var yaml in new[] { Dataset, Rollout, Monitor, Slo, Review })
        {
            var kind = yaml[(yaml.IndexOf(' ', StringComparison.Ordinal) + 1)..yaml.IndexOf('\n', StringComparison.Ordinal)];
            await services.GetServices<IDefinitionKind>().Single(known => known.Kind == kind).ApplyAsync(yaml, Ada, default);
        }

        var datasets = services.GetRequiredService<DatasetStore>();
        DatasetVersionRecord flights = null!;
        foreach (var rows in new[] { 2000, 5000 })
        {
            flights = await datasets.AddVersionAsync("flights", new MemoryStream(Parquet(rows)), Ada, default);
            await datasets.ValidateAsync(flights, Ada, default);
        }

        var runs = services.GetRequiredService<RunStore>();
        var experiment = await runs.GetOrCreateExperimentAsync(Model, Ada, default);
        var trained = new List<string>();
        foreach (var (name, auc) in new[] { ("logistic", 0.645), ("xgboost", 0.661), ("xgboost-deep", 0.668) })
        {
            trained.Add(await TrainAsync(runs, experiment, name, auc, flights));
        }

        await runs.CreateRunAsync(experiment, "by hand, no data named", null, Ada, default);
        RunId = trained[1];

        var registry = services.GetRequiredService<ModelRegistry>();
        var blobs = services.GetRequiredService<BlobStore>();
        for (var i = 0; i < trained.Count; i++)
        {
            await RegisterAsync(registry, blobs, trained[i], 0.645 + i * 0.012, i * 0.1, flights);
        }

        await PromoteAsync(registry, "1.0.0", Stage.Staging);
        await PromoteAsync(registry, "1.0.0", Stage.Production);
        await PromoteAsync(registry, "1.1.0", Stage.Staging);
        var toProduction = await registry.RequestPromotionAsync(Model, "1.1.0", Stage.Production, "better AUC on the same test rows", Ada, default);
        await registry.ApproveAsync(toProduction.Id, "read the report", Grace, default);
        await registry.RequestPromotionAsync(Model, "1.2.0", Stage.Staging, "deeper trees", Ada, default);
        await services.GetRequiredService<Database>().WriteAsync(WriteMonitorResults, default);
        await services.GetRequiredService<Database>().WriteAsync(WriteServiceLevels, default);
    }

    // Two days of requests, of which half the error budget failed, and an alert that has passed.
    private static void WriteServiceLevels(WriteTransaction transaction)
    {
        const long Minute = 60_000;
        var now = transaction.NowMs / Minute * Minute;
        for (var i = 1; i <= 2880; i++)
        {
            transaction.Connection.Execute(
                "INSERT INTO slo_minutes (model, minute_ms, total, failed, slow, refused) VALUES (@Model, @at, 120, @failed, @slow, 0)",
                new { Model, at = now - (i * Minute), failed = i is > 700 and < 730 ? 6 : 0, slow = i % 3 });
        }

        transaction.Connection.Execute(
            """
            INSERT INTO slo_alerts (id, model, objective, level, highest, reason, opened_at_ms, closed_at_ms)
            VALUES ('alert-1', @Model, 'availability', 'fast', 'fast',
                'availability burns its budget 24.2 times too fast over 56 minutes and 50 times over 5 (limit 14.4); 50% of it is left: 99.9% of the requests are answered', @from, @to)
            """, new { Model, from = now - (715 * Minute), to = now - (695 * Minute) });
    }

    // Rows as a monitor leaves them after five days of windows: distance drifts, performance falls under its warning.
    private static void WriteMonitorResults(WriteTransaction transaction)
    {
        const long hour = 3_600_000;
        var start = new DateTimeOffset(2001, 5, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds();
        for (var i = 1; i <= 120; i++)
        {
            var end = start + i * hour;
            transaction.Connection.Execute(
                """
                INSERT INTO monitor_windows (monitor, window_end_ms, version, rows, definition_version, evaluated_at_ms) VALUES (@Model, @end, '1.0.0', 400, 1, @end)
                """, new { Model, end });
            foreach (var (subject, metric, value, band) in new[]
            {
                ("flight:distance", "psi", 0.02 + i * 0.0025, i < 32 ? "ok" : i < 72 ? "investigate" : "act"), ("flight:distance", "ks", 0.01 + i * 0.001, "none"),
                ("calendar:hour", "psi", 0.01 + i % 5 * 0.004, "ok"), ("prediction", "psi", 0.02 + i * 0.001, i < 80 ? "ok" : "investigate"),
                ("performance", "auc", 0.66 - i * 0.0004, i < 60 ? "ok" : "warning"), ("performance", "label_coverage", 0.95, "none"),
            })
            {
                transaction.Connection.Execute(
                    "INSERT INTO monitor_results (monitor, window_end_ms, subject, metric, value, band, n) VALUES (@Model, @end, @subject, @metric, @value, @band, 400)",
                    new { Model, end, subject, metric, value, band });
            }
        }

        transaction.Connection.Execute(
            """
            INSERT INTO alerts (id, monitor, model, kind, severity, status, message, subject, metric, value, limit_value, peak, subjects, windows, times_opened, owner, procedure,
                                first_window_end_ms, last_window_end_ms, opened_at_ms)
            VALUES ('alert-1', @Model, @Model, 'drift', 'critical', 'open', 'flight:distance drifted: PSI 0.32, limit 0.2, window to 2001-05-06 00:00 UTC.', 'flight:distance', 'psi',
                    0.32, 0.2, 0.32, '["flight:distance"]', 48, 1, 'ada', 'docs/how-to/answer-a-drift-alert.md', @first, @last, @now)
            """, new { Model, first = start + 72 * hour, last = start + 120 * hour, now = transaction.NowMs });
    }

    private static async Task<string> TrainAsync(RunStore runs, string experiment, string name, double auc, DatasetVersionRecord flights)
    {
        var run = await runs.CreateRunAsync(experiment, name, null, Ada, default);
        var start = run.StartTimeMs;
        var points = Enumerable.Range(0, 120).SelectMany(step => new[]
        {
            new MetricPoint("train_log_loss", 0.40 + 0.2 * Math.Exp(-step / 30.0), start + step, step),
            new MetricPoint("validation_log_loss", 0.43 + 0.18 * Math.Exp(-step / 25.0), start + step, step),
        }).Append(new MetricPoint("auc", auc, start + 120, 0)).ToList();
        await runs.LogBatchAsync(run.RunId, points,
            [new("trainer", name.Split('-')[0]), new("max_depth", name.EndsWith("deep", StringComparison.Ordinal) ? "8" : "5"), new("learning_rate", "0.1")], [new("team", "ops")], Ada, default);
        await runs.LogInputAsync(run.RunId, new RunInput("flights@2", flights.Sha256, "slipway", "train", flights.Rows), Ada, default);
        await runs.LogArtifactAsync(run.RunId, "report/summary.txt", Encoding.UTF8.GetBytes($"AUC {auc}"), Ada, default);
        await runs.SetEnvironmentAsync(run.RunId, new RunEnvironment("Debian 12", "X64", ".NET 10.0", "a processor", 2, 4L << 30, [],
            new Dictionary<string, string> { ["xgboost"] = "1.7.4" }, new GitState("0123456789abcdef0123456789abcdef01234567", "main", false, null), 42), Ada, default);
        await runs.EndRunAsync(run.RunId, RunStatus.Finished, Ada, default);
        return run.RunId;
    }

    private static async Task RegisterAsync(ModelRegistry registry, BlobStore blobs, string runId, double auc, double intercept, DatasetVersionRecord flights)
    {
        async Task<string> PutAsync<T>(T value) => (await blobs.PutAsync(JsonSerializer.SerializeToUtf8Bytes(value, JsonDefaults.Options), default)).Sha256;
        var onnx = await blobs.PutAsync(OnnxConverters.LogisticRegression(Features, [0, 0], [1, 1], [0.0005, 0.02], intercept - 1.5), default);
        var baseline = new ModelBaseline(
            new Dictionary<string, FeatureBaseline>
            {
                ["flight:distance"] = new([400, 800, 1200], [1000, 2000, 1500, 500], 0, 700, 300, 100, 2500),
                ["calendar:hour"] = new([6, 12, 18], [400, 1800, 1900, 900], 0, 12, 5, 0, 23),
            },
            new BaselineHistogram([0.25, 0.5, 0.75], [3000, 1500, 400, 100]), new BaselinePerformance(auc, auc - 0.01, auc + 0.01, 0.45, 0.14, 0.02, 0.2, 0.2, 2000), 5000);
        var report = new EvaluationReport
        {
            Model = Model,
            RunId = runId,
            TestSetSha256 = new string('e', 64),
            Splits = [new EvaluationSplit("train", 3000), new EvaluationSplit("test", 2000, DateTimeOffset.UnixEpoch.AddYears(31), DateTimeOffset.UnixEpoch.AddYears(31).AddDays(14))],
            Metrics = new Dictionary<string, double> { ["auc"] = auc, ["log_loss"] = 0.45, ["brier"] = 0.14, ["ece"] = 0.02 },
            Baselines =
            [
                new BaselineMetrics("majority_class", new Dictionary<string, double> { ["auc"] = 0.5, ["log_loss"] = 0.5 }),
                new BaselineMetrics("airport_late_rate", new Dictionary<string, double> { ["auc"] = 0.558, ["log_loss"] = 0.49 }),
            ],
            Calibration = [.. Enumerable.Range(0, 10).Select(i => new CalibrationBin(i / 10.0, (i + 1) / 10.0, 200, (i + 0.5) / 10, (i + 0.5) / 10 + (i % 2 == 0 ? 0.02 : -0.02)))],
            GoNoGo = new GoNoGoVerdict("auc", 0.6, DateTimeOffset.UnixEpoch.AddYears(31), auc, true, "The metric is over its minimum."),
            CreatedAt = DateTimeOffset.UnixEpoch.AddYears(31),
        };
        await registry.RegisterAsync(
            new RegisterVersion(
                Model, "minor", runId, [new ArtifactFile("model.onnx", onnx.Sha256, onnx.SizeBytes)],
                new ModelSignature([new SignatureField("features", "FP32", [-1, 2])], [new SignatureField("probability", "FP32", [-1, 1])]),
                new FeatureSchema("flight-delay", 1, [.. Features.Select(name => new FeatureField(name, "DOUBLE"))], ["calendar@1", "flight@1"]),
                await PutAsync(baseline), await PutAsync(new { name = "environment" }), await PutAsync(report), new string('a', 64), [new DatasetRef("flights", flights.Version, flights.Sha256)])
            {
                Commit = "0123456789abcdef0123456789abcdef01234567",
                PipelineRunId = "0000000000000000000000000000cafe",
                Description = "Will a flight be more than 15 minutes late?",
            },
            Ada, default);
    }

    private static async Task PromoteAsync(ModelRegistry registry, string version, Stage to)
    {
        var promotion = await registry.RequestPromotionAsync(Model, version, to, "better than before", Ada, default);
        await registry.ApproveAsync(promotion.Id, "read the report", Grace, default);
        await registry.ExecutePromotionAsync(promotion.Id, Ada, default);
    }

    private static byte[] Parquet(int rows)
    {
        var path = Path.Combine(Path.GetTempPath(), $"slipway-seed-{Guid.NewGuid():N}.parquet");
        try
        {
            using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1 });
            using var connection = database.Connect();
            connection.Execute(string.Create(CultureInfo.InvariantCulture,
                $"""
                COPY (SELECT TIMESTAMP '2001-01-01' + INTERVAL (i * 7) MINUTE AS date, (i * 37) % 90 - 20 AS delay, 100 + (i * 31) % 2000 AS distance,
                             ['ORD', 'ATL', 'DFW', 'SFO'][1 + i % 4] AS origin, ['LAX', 'JFK', 'SEA'][1 + i % 3] AS destination
                        FROM range({rows}) t(i)) TO {DuckDbLiteral.Quote(path)} (FORMAT parquet)
                """));
            return File.ReadAllBytes(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private const string Dataset =
        """
        kind: dataset
        name: flights
        description: Flights inside the United States.
        timestamp: date
        source: {type: file, owner: operations, update_frequency: daily, pii: false, licence: public domain}
        columns:
          - {name: date, type: timestamp}
          - {name: delay, type: int64}
          - {name: distance, type: int64}
          - {name: origin, type: string}
          - {name: destination, type: string}
        rules:
          - {column: distance, rule: range, min: 1, max: 6000, severity: block}
          - {column: delay, rule: range, min: -10, max: 1440, severity: alert}
        """;

    private const string Rollout =
        """
        kind: rollout
        name: flight-delay
        model: flight-delay
        alpha: 0.05
        min_evidence: 20
        sticky_key: none
        steps:
          - {shadow: true, min_requests: 60}
          - {percent: 50, min_requests: 60}
          - {percent: 100, min_requests: 30}
        triggers:
          error_rate: {max: 0.05, compare: stable}
          latency: {percentile: 95, max_ms: 500, compare: stable, tolerance_ratio: 20, tolerance_ms: 200}
          disagreement: {max_rate: 0.5, tolerance: 0.2}
          skew: {psi_max: 50, compare: stable}
          quality: {metric: brier, max_drop: 0.5, min_labels: 20, required_from_percent: 100}
        """;

    private const string Slo =
        """
        kind: slo
        name: flight-delay
        window: 28d
        availability: 0.999
        latency: {percentile: 99, max_ms: 50}
        """;

    private const string Review =
        """
        kind: review
        name: flight-delay
        band: {from: 0.4, to: 0.6}
        max_open: 12
        labels: true
        """;

    private const string Monitor =
        """
        kind: monitor
        name: flight-delay
        model: flight-delay
        owner: ada
        procedure: docs/how-to/answer-a-drift-alert.md
        cadence: 1h
        window: 24h
        min_rows: 20
        psi: {investigate: 0.1, act: 0.2}
        features: all
        performance: {metric: auc, window: 7d, min_labels: 100, warning_drop: 0.02, critical_drop: 0.05}
        consecutive: 3
        """;
}
