using System.Text.Json;
using Dapper;
using Slipway.Storage;

namespace Slipway.Tracking;

/// <summary>What goes on in an experiment.</summary>
/// <param name="Runs">Runs that are not in the bin.</param>
/// <param name="LastStartMs">Newest start; null without runs.</param>
/// <param name="StorageBytes">Bytes of its runs' files; the same bytes in two runs count twice.</param>
/// <param name="Metric">The metric that most of the newest runs have; null without one.</param>
/// <param name="Trend">Its newest value in each of the newest runs, oldest first.</param>
public sealed record ExperimentActivity(long Runs, long? LastStartMs, long StorageBytes, string? Metric, IReadOnlyList<double> Trend);

/// <summary>Sums up experiments for their list.</summary>
public sealed class ExperimentOverview(Database database)
{
    private const int TrendRuns = 24;

    /// <summary>The activity of each experiment, by id.</summary>
    /// <param name="experimentIds">A page of them.</param>
    /// <param name="preferred">Metrics to prefer for the trend, best first.</param>
    public IReadOnlyDictionary<string, ExperimentActivity> Of(IReadOnlyList<string> experimentIds, IReadOnlyList<string> preferred) => database.Read(connection =>
    {
        var ids = new { ids = JsonSerializer.Serialize(experimentIds.Select(id => ExperimentStore.TryId(id, out var number) ? number : -1)) };
        var chosen = database.Dialect.InNumbers("@ids");
        var counts = connection.Query<CountRow>(
            $"""
            SELECT experiment_id AS Experiment, count(*) AS Runs, max(start_at_ms) AS LastStartMs
              FROM runs WHERE experiment_id {chosen} AND lifecycle_stage = 'active' GROUP BY experiment_id
            """, ids).ToDictionary(row => row.Experiment);
        var bytes = connection.Query<(long Experiment, double Bytes)>(
            $"""
            SELECT r.experiment_id, CAST(sum(a.size_bytes) AS DOUBLE PRECISION) FROM run_artifacts a JOIN runs r ON r.id = a.run
             WHERE r.experiment_id {chosen} GROUP BY r.experiment_id
            """, ids).ToDictionary(row => row.Experiment, row => (long)row.Bytes);
        return experimentIds.ToDictionary(id => id, id =>
        {
            var number = long.Parse(id, System.Globalization.CultureInfo.InvariantCulture);
            if (!counts.TryGetValue(number, out var count))
            {
                return new ExperimentActivity(0, null, bytes.GetValueOrDefault(number), null, []);
            }

            var metrics = connection.Query<(string Key, double Value)>(
                $"""
                SELECT m.key, m.value
                  FROM (SELECT id, start_at_ms, run_id FROM runs WHERE experiment_id = @number AND lifecycle_stage = 'active' ORDER BY start_at_ms DESC, run_id LIMIT {TrendRuns}) r
                  JOIN latest_metrics m ON m.run = r.id
                 WHERE m.is_nan = 0 AND m.key NOT LIKE 'system/%'
                 ORDER BY r.start_at_ms, r.run_id DESC
                """, new { number }).GroupBy(metric => metric.Key).ToList();
            var shown = metrics.OrderByDescending(metric => metric.Count()).ThenBy(metric => Rank(metric.Key)).ThenBy(metric => metric.Key, StringComparer.Ordinal).FirstOrDefault();
            return new ExperimentActivity(
                count.Runs, count.LastStartMs, bytes.GetValueOrDefault(number), shown?.Key,
                [.. shown?.Select(metric => metric.Value).Where(value => Math.Abs(value) < double.MaxValue) ?? []]);
        }, StringComparer.Ordinal);

        int Rank(string key)
        {
            var at = preferred.ToList().IndexOf(key);
            return at < 0 ? int.MaxValue : at;
        }
    });

    private sealed class CountRow
    {
        public long Experiment { get; init; }

        public long Runs { get; init; }

        public long? LastStartMs { get; init; }
    }
}
