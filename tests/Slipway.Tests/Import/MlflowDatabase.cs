using System.Data.Common;
using System.Globalization;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Native.Sqlite;

namespace Slipway.Tests.Import;

/// <summary>A database as an MLflow server leaves it, filled with what is hard to bring over.</summary>
internal sealed class MlflowDatabase
{
    public const double Infinity = 1.7976931348623157e308;

    private static readonly string[] Statuses = ["FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED"];

    /// <summary>Makes a SQLite file.</summary>
    public static string Sqlite(string folder, int version, int runs = 120, int pointsPerRun = 40)
    {
        var path = Path.Combine(folder, $"mlflow-{version}.db");
        using var connection = Open(path);
        Fill(connection, version, runs, pointsPerRun);
        return path;
    }

    /// <summary>Opens the file as MLflow does: to write.</summary>
    public static SqliteConnection Open(string path)
    {
        SqliteLibrary.Initialize();
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        connection.Open();
        return connection;
    }

    /// <summary>Makes the tables and fills them.</summary>
    public static void Fill(DbConnection connection, int version, int runs, int pointsPerRun)
    {
        foreach (var file in Enumerable.Range(2, version - 1))
        {
            connection.Execute(File.ReadAllText(Path.Combine(Repository.Root, "tests", "Slipway.Tests", "Import", $"mlflow-{file}.sql")));
        }

        using var transaction = connection.BeginTransaction();
        Experiments(connection);
        for (var i = 0; i < runs; i++)
        {
            Run(connection, i, pointsPerRun);
        }

        RegisteredModels(connection);
        if (version > 2)
        {
            Version3(connection);
        }

        transaction.Commit();
    }

    public static string RunId(int number) => string.Create(CultureInfo.InvariantCulture, $"{number * 2654435761L % 0xffffffff:x8}{number:x24}");

    private static void Experiments(DbConnection connection)
    {
        foreach (var (id, name, stage) in new[] { (0, "Default", "active"), (1, "prévisions météo ☀", "active"), (7, "abandoned", "deleted"), (12, "credit/2024", "active") })
        {
            connection.Execute(
                "INSERT INTO experiments VALUES (@id, @name, @place, @stage, @created, @updated)",
                new { id, name, place = $"mlflow-artifacts:/{id}", stage, created = 1_600_000_000_000 + id, updated = 1_650_000_000_000 + id });
        }

        connection.Execute("INSERT INTO experiment_tags VALUES ('owner', 'Zoë', 1), ('mlflow.note.content', @note, 12)", new { note = new string('n', 4900) });
    }

    private static void Run(DbConnection connection, int number, int points)
    {
        var run = RunId(number);
        var experiment = (number % 10) switch { 0 => 0, 1 => 7, < 6 => 1, _ => 12 };
        var deleted = experiment == 7 || number % 9 == 4;
        var status = Statuses[number % 5];
        var start = 1_700_000_000_000 + (number * 60_000L);
        connection.Execute(
            """
            INSERT INTO runs VALUES (@run, @name, 'LOCAL', '', '', @user, @status, @start, @end, '', @stage, @place, @experiment, @deletedAt)
            """,
            new
            {
                run,
                name = $"run № {number}",
                user = number % 4 == 0 ? "björk" : "ada",
                status,
                start,
                end = status is "RUNNING" or "SCHEDULED" ? (long?)null : start + 30_000,
                stage = deleted ? "deleted" : "active",
                place = $"mlflow-artifacts:/{experiment}/{run}/artifacts",
                experiment,
                deletedAt = deleted ? start + 90_000 : (long?)null,
            });
        Pair(connection, "tags", run, "mlflow.runName", $"run № {number}");
        Pair(connection, "tags", run, "mlflow.user", "ada");
        if (number % 6 == 5)
        {
            Pair(connection, "tags", run, "mlflow.parentRunId", RunId(number - 1));
            Pair(connection, "tags", run, "long", new string('λ', 7_999));
        }

        Pair(connection, "params", run, "lr", (0.1 / (number + 1)).ToString("R", CultureInfo.InvariantCulture));
        Pair(connection, "params", run, "text with spaces/and.parts", "日本語 🚀 'quoted' \"double\"\nsecond line");
        if (number % 7 == 0)
        {
            Pair(connection, "params", run, "long", new string('x', 5_999));
        }

        Metrics(connection, run, number, points, start);
        if (number % 3 == 0)
        {
            Inputs(connection, run, experiment, number);
        }
    }

    private static void Metrics(DbConnection connection, string run, int number, int points, long start)
    {
        var all = new List<(string Key, double Value, long At, long Step, bool Nan)>();
        for (var step = 0; step < points - 8; step++)
        {
            all.Add(("loss", 1.0 / (step + 1) + number, start + step, step, false));
        }

        // The same step logged twice at different times, and twice at the same time with different values: all stay.
        all.Add(("loss", 0.25, start + 100_000, 3, false));
        all.Add(("loss", 0.5, start + 100_000, 3, false));
        all.Add(("eval/acc uracy", 0.1 + number, start, -5, false));
        all.Add(("diverged", 0, start + 1, 1, true));
        all.Add(("diverged", 0, start + 1, 1, false));
        all.Add(("peak", Infinity, start + 2, 9, false));
        all.Add(("floor", -Infinity, start + 2, 9, false));
        all.Add(("mlflow.tiny", double.Epsilon, start + 2, long.MaxValue, false));
        foreach (var (key, value, at, step, nan) in all)
        {
            Point(connection, "metrics", "(key, value, timestamp, run_uuid, step, is_nan)", run, key, value, at, step, nan);
        }

        // As MLflow does: the highest step, then the latest time, then the highest value.
        foreach (var metric in all.GroupBy(point => point.Key))
        {
            var (key, value, at, step, nan) = metric.OrderByDescending(point => (point.Step, point.At, point.Value)).First();
            Point(connection, "latest_metrics", "(key, value, timestamp, run_uuid, step, is_nan)", run, key, value, at, step, nan);
        }
    }

    private static void Point(DbConnection connection, string table, string columns, string run, string key, double value, long at, long step, bool nan) =>
        connection.Execute($"INSERT INTO {table} {columns} VALUES (@key, @value, @at, @run, @step, @nan <> 0)", new { key, value, at, run, step, nan = nan ? 1 : 0 });

    private static void Pair(DbConnection connection, string table, string run, string key, string value) =>
        connection.Execute($"INSERT INTO {table} (key, value, run_uuid) VALUES (@key, @value, @run)", new { key, value, run });

    private static void Inputs(DbConnection connection, string run, int experiment, int number)
    {
        foreach (var (name, use) in new[] { ("flights", "training"), ("flights-eval", "évaluation") })
        {
            var dataset = $"{experiment:d4}-{name}";
            connection.Execute(
                """
                INSERT INTO datasets VALUES (@dataset, @experiment, @name, 'd1gest', 'local', '{"uri":"/data/x.parquet"}', '{"cols":[]}', '{"num_rows":9}') ON CONFLICT DO NOTHING
                """,
                new { dataset, experiment, name });
            var input = $"{number:d6}-{name}";
            connection.Execute(
                "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id) VALUES (@input, 'DATASET', @dataset, 'RUN', @run)", new { input, dataset, run });
            connection.Execute("INSERT INTO input_tags VALUES (@input, 'mlflow.data.context', @use), (@input, 'fold', '3')", new { input, use });
        }
    }

    private static void RegisteredModels(DbConnection connection)
    {
        connection.Execute("INSERT INTO registered_models VALUES ('delay', 1600000000000, 1600000000001, 'Delays of flights'), ('empty', 1600000000000, 1600000000001, NULL)");
        connection.Execute("INSERT INTO registered_model_tags VALUES ('team', 'ops', 'delay')");
        connection.Execute("INSERT INTO registered_model_aliases VALUES ('champion', 2, 'delay')");
        foreach (var (number, stage) in new[] { (1, "Archived"), (2, "Production"), (3, "None") })
        {
            connection.Execute(
                "INSERT INTO model_versions VALUES ('delay', @number, 1600000000000, 1600000000001, '', 'ada', @stage, 'runs:/x/model', @run, 'READY', '', '', '')",
                new { number, stage, run = RunId(number) });
        }

        connection.Execute("INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, execution_time_ms, status) VALUES ('tr-1', 1, 1700000000000, 120, 'OK')");
        connection.Execute("INSERT INTO trace_tags VALUES ('mlflow.traceName', 'ask', 'tr-1')");
    }

    private static void Version3(DbConnection connection)
    {
        connection.Execute("INSERT INTO logged_models VALUES ('m-1', 1, 'forest', 'mlflow-artifacts:/1/models/m-1/artifacts', 1700000000000, 1700000000001, 2, 'active', '', @run, '')", new { run = RunId(2) });
        connection.Execute("INSERT INTO inputs VALUES ('out-1', 'RUN_OUTPUT', @run, 'MODEL_OUTPUT', 'm-1', 3)", new { run = RunId(2) });
        connection.Execute(
            "INSERT INTO assessments VALUES ('a-1', 'tr-1', 'correct', 'feedback', 'true', NULL, 1700000000000, 1700000000000, 'HUMAN', 'ada', NULL, NULL, NULL, NULL, 1 = 1, NULL)");
    }
}
