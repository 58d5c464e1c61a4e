using Slipway.Contracts.Serving;
using Slipway.Native.DuckDb;

namespace Slipway.Serving.Predictions;

/// <summary>Reads the prediction log's segments: what was served over all restarts.</summary>
internal sealed class LoggedPredictions(PredictionLog log, DuckDbDatabase duckDb)
{
    /// <summary>Counts by version and role; empty when nothing was logged.</summary>
    public async Task<IReadOnlyList<LoggedPredictionCount>> CountAsync(string model, CancellationToken cancellationToken)
    {
        await log.FlushAsync(cancellationToken);
        var segments = log.Segments(model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue);
        if (segments.Count == 0)
        {
            return [];
        }

        using var connection = duckDb.Connect();
        return
        [
            .. connection.QueryRows(
                $"""
                SELECT version, arm, count(DISTINCT prediction_id), count(DISTINCT prediction_id) FILTER (status >= 400)
                  FROM read_parquet([{string.Join(", ", segments.Select(DuckDbLiteral.Quote))}], union_by_name = true)
                 GROUP BY ALL ORDER BY ALL
                """, cancellationToken)
                .Select(row => new LoggedPredictionCount((string)row[0]!, (string)row[1]!, (long)row[2]!, (long)row[3]!)),
        ];
    }
}
