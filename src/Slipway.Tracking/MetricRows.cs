using System.Data.Common;
using Slipway.Contracts.Tracking;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>Writes metric points: <c>metric_points</c> keeps every one, <c>latest_metrics</c> the newest of each key.</summary>
internal static class MetricRows
{
    private const string InsertPoint = "INSERT INTO metric_points (run, key, step, at_ms, value, is_nan)";
    private const string UpsertLatest = "INSERT INTO latest_metrics (run, key, step, at_ms, value, is_nan, is_resting)";
    private const string OnKnownPoint = "ON CONFLICT DO NOTHING";

    // No read before it: the row itself decides whether the new point is newer. Of points with the same step and time the larger counts.
    private const string OnKnownKey =
        """
        ON CONFLICT (run, key) DO UPDATE SET step = excluded.step, at_ms = excluded.at_ms, value = excluded.value, is_nan = excluded.is_nan, is_resting = 0
         WHERE (excluded.step, excluded.at_ms, excluded.value) > (latest_metrics.step, latest_metrics.at_ms, latest_metrics.value)
        """;

    private const string Values = "VALUES ($1, $2, $3, $4, $5, $6";
    private const string Columns = "SELECT $1, p.key, p.step, p.at_ms, p.value, p.is_nan";
    private const string Arrays = "FROM unnest($2, $3, $4, $5, $6) AS p (key, step, at_ms, value, is_nan)";

    public static void Write(DbConnection connection, long run, IReadOnlyList<MetricPoint> metrics)
    {
        if (metrics.Count == 0)
        {
            return;
        }

        // By key and step, as the table is ordered: neighbours then share a page of the file, and each key's newest comes last.
        var points = new MetricPoint[metrics.Count];
        for (var i = 0; i < points.Length; i++)
        {
            points[i] = metrics[i];
        }

        MovingRuns.Add(connection, run);
        if (points.Length > 1)
        {
            Array.Sort(points, Compare);
        }

        var newest = new List<MetricPoint>();
        for (var i = 0; i < points.Length; i++)
        {
            if (i == points.Length - 1 || points[i].Key != points[i + 1].Key)
            {
                newest.Add(points[i]);
            }
        }

        if (points.Length > 1 && SqlDialect.Of(connection) == SqlDialect.Postgres)
        {
            RunAtOnce(connection, $"{InsertPoint} {Columns} {Arrays} {OnKnownPoint}", run, points);
            RunAtOnce(connection, $"{UpsertLatest} {Columns}, 0 {Arrays} {OnKnownKey}", run, newest);
            return;
        }

        RunEach(connection, $"{InsertPoint} {Values}) {OnKnownPoint}", run, points);
        RunEach(connection, $"{UpsertLatest} {Values}, 0) {OnKnownKey}", run, newest);
    }

    private static void RunEach(DbConnection connection, string sql, long run, IReadOnlyList<MetricPoint> points)
    {
        using var statement = Statement.Of(connection, sql);
        statement.Bind(1, run);
        foreach (var point in points)
        {
            statement.Bind(2, point.Key);
            statement.Bind(3, point.Step);
            statement.Bind(4, point.TimestampMs);
            statement.Bind(5, Stored(point.Value));
            statement.Bind(6, double.IsNaN(point.Value) ? 1L : 0L);
            statement.Run();
        }
    }

    // A server across a socket wants one message, not a thousand.
    private static void RunAtOnce(DbConnection connection, string sql, long run, IReadOnlyList<MetricPoint> points)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        foreach (var value in (object[])
        [
            run, points.Select(point => point.Key).ToArray(), points.Select(point => point.Step).ToArray(), points.Select(point => point.TimestampMs).ToArray(),
            points.Select(point => Stored(point.Value)).ToArray(), points.Select(point => double.IsNaN(point.Value) ? 1L : 0L).ToArray(),
        ])
        {
            var parameter = command.CreateParameter();
            parameter.Value = value;
            command.Parameters.Add(parameter);
        }

        command.ExecuteNonQuery();
    }

    // NaN is a zero beside a mark, and an infinity the largest number of its sign, as in MLflow's databases.
    private static double Stored(double value) => double.IsNaN(value) ? 0.0 : Math.Clamp(value, -double.MaxValue, double.MaxValue);

    private static int Compare(MetricPoint left, MetricPoint right)
    {
        var order = string.CompareOrdinal(left.Key, right.Key);
        order = order != 0 ? order : left.Step.CompareTo(right.Step);
        order = order != 0 ? order : left.TimestampMs.CompareTo(right.TimestampMs);
        order = order != 0 ? order : Stored(left.Value).CompareTo(Stored(right.Value));
        return order != 0 ? order : double.IsNaN(left.Value).CompareTo(double.IsNaN(right.Value));
    }
}
