using System.Data.Common;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>A point and the run it belongs to.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Point">The point.</param>
public readonly record struct RunMetricPoint(string RunId, MetricPoint Point);

/// <summary>Reads one metric of many runs at once.</summary>
public sealed class MetricHistories(Database database)
{
    /// <summary>The first points of a metric over several runs: by run id, then time, then step. Runs that do not exist have none.</summary>
    public IReadOnlyList<RunMetricPoint> Read(IReadOnlyCollection<string> runIds, string key, int max)
    {
        // Read in the order of the key, which needs no sorting and ends at the limit however long the curves are; put in order of time run by run.
        var rows = database.Read(connection => connection.Query<(string RunId, long Step, long AtMs, double Value, long IsNan)>(
            $"""
            SELECT r.run_id, p.step, p.at_ms, p.value, p.is_nan FROM runs r JOIN metric_points p ON p.run = r.id AND p.key = @key
             WHERE r.run_id {SqlDialect.Of(connection).InTexts("@ids")}
             ORDER BY r.run_id, p.step, p.at_ms LIMIT @max
            """,
            new { key, max, ids = JsonSerializer.Serialize(runIds) }).AsList());
        return [.. rows.OrderBy(row => row.RunId, StringComparer.Ordinal).ThenBy(row => row.AtMs).ThenBy(row => row.Step).ThenBy(row => row.Value)
            .Select(row => new RunMetricPoint(row.RunId, Point(key, row.Value, row.AtMs, row.Step, row.IsNan)))];
    }

    /// <summary>A metric of several runs at the same steps, as <see cref="MetricSampling"/> chooses them; run by run in the given order, by step.</summary>
    /// <param name="runIds">Each once.</param>
    /// <param name="key">The metric.</param>
    /// <param name="range">First and last step; null for all from 0.</param>
    /// <param name="max">How many steps to choose.</param>
    /// <exception cref="SlipwayException">NotFound: a run.</exception>
    public IReadOnlyList<RunMetricPoint> ReadSampled(IReadOnlyList<string> runIds, string key, (long From, long To)? range, int max) => database.Read(connection =>
    {
        var runs = Ends(connection, runIds, key);
        if (runIds.FirstOrDefault(id => !runs.ContainsKey(id)) is { } unknown)
        {
            throw RunStore.NoRun(unknown);
        }

        var ends = runs.Values.Where(run => run.First is not null).Select(run => (run.First!.Value, run.Last!.Value)).ToList();
        var (from, to) = range ?? (0, ends.Select(end => end.Item2).DefaultIfEmpty(0).Max());
        var measured = $"[{string.Join(',', runs.Values.Where(run => run.First is not null).Select(run => run.Id))}]";
        var chosen = MetricSampling.Choose(Steps(connection, measured, key, from, to), ends, from, to, max);
        var points = connection.Query<(long Run, long Step, long AtMs, double Value, long IsNan)>(
            $"""
            SELECT run, step, at_ms, value, is_nan FROM metric_points
             WHERE run {SqlDialect.Of(connection).InNumbers("@measured")} AND key = @key AND step {SqlDialect.Of(connection).InNumbers("@steps")}
             ORDER BY run, step, at_ms, value
            """,
            new { measured, key, steps = $"[{string.Join(',', chosen)}]" }).ToLookup(row => row.Run);
        // A run may hold many points at one step; MLflow's limit for one run keeps such an answer bounded.
        return (IReadOnlyList<RunMetricPoint>)[.. runIds.SelectMany(id => points[runs[id].Id].Take(RunLimits.HistoryPageMax)
            .Select(row => new RunMetricPoint(id, Point(key, row.Value, row.AtMs, row.Step, row.IsNan))))];
    });

    private static MetricPoint Point(string key, double value, long atMs, long step, long isNan) => new(key, isNan != 0 ? double.NaN : value, atMs, step);

    private static Dictionary<string, RunEnds> Ends(DbConnection connection, IReadOnlyList<string> runIds, string key) => connection.Query<RunEnds>(
        $"""
        SELECT r.run_id AS RunId, r.id AS Id,
               (SELECT p.step FROM metric_points p WHERE p.run = r.id AND p.key = @key ORDER BY p.step LIMIT 1) AS First,
               (SELECT p.step FROM metric_points p WHERE p.run = r.id AND p.key = @key ORDER BY p.step DESC LIMIT 1) AS Last
          FROM runs r WHERE r.run_id {SqlDialect.Of(connection).InTexts("@ids")}
        """,
        new { key, ids = JsonSerializer.Serialize(runIds) }).ToDictionary(run => run.RunId, StringComparer.Ordinal);

    // Ascending, each once. Runs mostly share their steps, so that merging here is cheaper than DISTINCT in the database.
    private static List<long> Steps(DbConnection connection, string runs, string key, long from, long to)
    {
        var seen = new HashSet<long>();
        var last = long.MinValue;
        foreach (var step in AllSteps(connection, runs, key, from, to))
        {
            if (step != last)
            {
                seen.Add(step);
                last = step;
            }
        }

        List<long> sorted = [.. seen];
        sorted.Sort();
        return sorted;
    }

    private static IEnumerable<long> AllSteps(DbConnection connection, string runs, string key, long from, long to)
    {
        var dialect = SqlDialect.Of(connection);
        var text = $"SELECT step FROM metric_points WHERE run {dialect.InNumbers("@runs")} AND key = @key AND step >= @from AND step <= @to ORDER BY run, step";
        var values = new { runs, key, from, to };
        // Across a socket a row costs far more than a number of an array.
        return dialect == SqlDialect.Postgres
            ? connection.ExecuteScalar<long[]>($"SELECT coalesce(array_agg(step), ARRAY[]::bigint[]) FROM ({text}) steps", values)!
            : connection.Query<long>(text, values, buffered: false);
    }

    private sealed class RunEnds
    {
        public required string RunId { get; init; }

        public required long Id { get; init; }

        public long? First { get; init; }

        public long? Last { get; init; }
    }
}
