using System.Data.Common;
using Dapper;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>What lies along x.</summary>
public enum MetricAxis
{
    /// <summary>The caller's step.</summary>
    Step,

    /// <summary>Unix milliseconds of each point.</summary>
    Time,
}

/// <summary>Reads curves of any length point by point, for those who thin them.</summary>
public sealed class MetricSeries(Database database)
{
    /// <summary>Where a metric begins and ends; null when the run never logged it.</summary>
    /// <exception cref="Contracts.SlipwayException">NotFound: the run.</exception>
    public (long From, long To)? Range(string runId, string key, MetricAxis axis) => database.Read(connection =>
    {
        using var command = Command(connection, $"SELECT min({Column(axis)}), max({Column(axis)}) FROM metric_points WHERE run = @run AND key = @key", runId, key);
        using var reader = command.ExecuteReader();
        return reader.Read() && !reader.IsDBNull(0) ? (reader.GetInt64(0), reader.GetInt64(1)) : ((long, long)?)null;
    });

    /// <summary>Hands over the points of a range by step, one at a time. NaN and infinities arrive as NaN.</summary>
    /// <param name="runId">The run.</param>
    /// <param name="key">The metric.</param>
    /// <param name="axis">What <paramref name="from"/>, <paramref name="to"/> and x count.</param>
    /// <param name="from">First x.</param>
    /// <param name="to">Last x, itself in the range.</param>
    /// <param name="point">Takes x and value.</param>
    /// <param name="cancellationToken">Stops between two points.</param>
    public void Read(string runId, string key, MetricAxis axis, long from, long to, Action<long, double> point, CancellationToken cancellationToken) =>
        database.Read(connection =>
        {
            using var command = Command(
                connection,
                $"""
                SELECT {Column(axis)}, value, is_nan FROM metric_points
                 WHERE run = @run AND key = @key AND {Column(axis)} >= @from AND {Column(axis)} <= @to
                 ORDER BY step, at_ms
                """,
                runId, key);
            command.Add("@from", System.Data.DbType.Int64).Value = from;
            command.Add("@to", System.Data.DbType.Int64).Value = to;
            using var reader = command.ExecuteReader();
            for (var count = 0L; reader.Read(); count++)
            {
                if ((count & 0xFFF) == 0)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                }

                var value = reader.GetDouble(1);
                // An infinity is kept as the largest number of its sign, which no chart could scale to.
                point(reader.GetInt64(0), reader.GetInt64(2) != 0 || Math.Abs(value) == double.MaxValue ? double.NaN : value);
            }

            return true;
        });

    /// <summary>Values of one metric at evenly spread steps of each run: what a sparkline shows. Costs the same for runs of any length.</summary>
    /// <param name="runIds">At most a page of runs.</param>
    /// <param name="key">The metric.</param>
    /// <param name="points">Values of each run, at least 2.</param>
    /// <returns>Run id to values in order of step; runs with fewer than two steps are left out.</returns>
    public IReadOnlyDictionary<string, IReadOnlyList<double>> Sparklines(IReadOnlyList<string> runIds, string key, int points) => database.Read(connection =>
    {
        var rows = connection.Query<SparkRow>(
            $"""
            WITH RECURSIVE
            place (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM place WHERE i < @last),
            ends AS (
                SELECT l.run, r.run_id, l.step AS high, (SELECT min(p.step) FROM metric_points p WHERE p.run = l.run AND p.key = l.key) AS low
                  FROM runs r JOIN latest_metrics l ON l.run = r.id AND l.key = @key
                 WHERE r.run_id {database.Dialect.InTexts("@ids")} AND l.step > 0 AND l.step < 1000000000000000)
            SELECT e.run_id AS RunId,
                   (SELECT p.value FROM metric_points p
                     WHERE p.run = e.run AND p.key = @key AND p.is_nan = 0 AND p.step >= e.low + (e.high - e.low) * n.i / @last
                     ORDER BY p.step, p.at_ms LIMIT 1) AS Value
              FROM ends e CROSS JOIN place n
             WHERE e.high > e.low AND e.low > -1000000000000000
             ORDER BY e.run, n.i
            """,
            new { ids = System.Text.Json.JsonSerializer.Serialize(runIds), key, last = (long)points - 1 });
        return rows.Where(row => row.Value is { } value && Math.Abs(value) < double.MaxValue).GroupBy(row => row.RunId)
            .ToDictionary(group => group.Key, IReadOnlyList<double> (group) => [.. group.Select(row => row.Value!.Value)], StringComparer.Ordinal);
    });

    private static string Column(MetricAxis axis) => axis is MetricAxis.Step ? "step" : "at_ms";

    private static DbCommand Command(DbConnection connection, string text, string runId, string key)
    {
        var command = connection.CreateCommand();
        command.CommandText = text;
        command.Add("@run", System.Data.DbType.Int64).Value = RunStore.Number(connection, runId);
        command.Add("@key", System.Data.DbType.String).Value = key;
        return command;
    }

    private sealed class SparkRow
    {
        public string RunId { get; init; } = "";

        public double? Value { get; init; }
    }
}
