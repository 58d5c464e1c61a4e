using Slipway.Native.DuckDb;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;

namespace Slipway.Serving.Rollouts;

/// <summary>Joins a rollout's predictions with the labels that have come for them.</summary>
/// <remarks>
/// The comparison takes requests that both versions answered, which are those copied in shadow steps; their labels may come while
/// later steps run. The candidate's own figure takes all its labelled answers, but those to callers who named its version: whoever may ask would choose what the figure is of. The split takes what each version answered by itself in the running step;
/// what is drawn there is a key, or a request without one, so that answers to the same are one observation: the mean is that of all answers, its variance that of a ratio of sums over units
/// (linearized, as in Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", 2018), times their number.
/// </remarks>
internal sealed class LabelledPairs(PredictionLog predictions, LabelLog labels)
{
    /// <summary>The losses since the rollout began.</summary>
    public async Task<QualityEvidence> ReadAsync(RolloutRow rollout, QualityMetric metric, CancellationToken cancellationToken)
    {
        await labels.FlushAsync(cancellationToken);
        var labelFiles = Since(labels.Segments(rollout.Model), rollout.StartedAt);
        if (labelFiles.Count == 0)
        {
            return QualityEvidence.None;
        }

        await predictions.FlushAsync(cancellationToken);
        // Segments are listed by event time, which in a replay is far from now.
        var predictionFiles = Since(predictions.Segments(rollout.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue), rollout.StartedAt);
        return predictionFiles.Count == 0 ? QualityEvidence.None : await Task.Run(() => Join(rollout, metric, predictionFiles, labelFiles, cancellationToken), cancellationToken);
    }

    private static QualityEvidence Join(
        RolloutRow rollout, QualityMetric metric, List<string> predictionFiles, List<string> labelFiles, CancellationToken cancellationToken)
    {
        var loss = metric == QualityMetric.Brier ? "(output - label) * (output - label)" : "CAST((output >= 0.5) <> (label >= 0.5) AS DOUBLE)";
        using var database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 1, MemoryLimit = "256MB" });
        using var connection = database.Connect();
        var row = connection.QueryRows(
            $"""
            WITH truth AS (
                SELECT prediction_id, arg_max(label, received_ms) AS label
                  FROM read_parquet({Files(labelFiles)}) WHERE received_ms >= $1 GROUP BY prediction_id),
            scored AS (
                SELECT prediction_id, version, arg_max(output, at_ms) AS output, arg_max(arm, at_ms) AS arm, max(at_ms) AS at_ms, coalesce(arg_max(entity_key, at_ms), regexp_replace(prediction_id, '#[0-9]+$', '')) AS unit
                  FROM read_parquet({Files(predictionFiles)}, union_by_name = true)
                 WHERE at_ms >= $1 AND output IS NOT NULL AND (version = $2 AND arm IN ('candidate', 'shadow') OR version = $3 AND arm = 'stable') GROUP BY prediction_id, version),
            losses AS (SELECT prediction_id, version, arm, at_ms, unit, {loss} AS loss FROM scored JOIN truth USING (prediction_id)),
            candidate AS (SELECT prediction_id, loss FROM losses WHERE version = $2),
            units AS (
                SELECT arm, count(*) AS answers, sum(loss) AS loss FROM losses
                 WHERE at_ms >= $4 AND (version = $2 AND arm = 'candidate' OR version = $3 AND arm = 'stable') GROUP BY arm, unit),
            arms AS (SELECT arm, count(*) AS units, sum(answers) AS answers, sum(loss) / sum(answers) AS mean FROM units GROUP BY arm),
            spread AS (
                SELECT arm, units, answers, mean,
                       CASE WHEN units > 1 THEN units * (units / (units - 1.0)) * (SELECT sum((u.loss - a.mean * u.answers) ** 2) FROM units u WHERE u.arm = a.arm) / (answers * answers) ELSE 0 END AS variance
                  FROM arms a),
            mine AS (SELECT coalesce(max(units), 0) AS n, coalesce(max(mean), 0) AS mean, coalesce(max(variance), 0) AS variance, coalesce(max(answers), 0)::BIGINT AS answers FROM spread WHERE arm = 'candidate'),
            theirs AS (SELECT coalesce(max(units), 0) AS n, coalesce(max(mean), 0) AS mean, coalesce(max(variance), 0) AS variance, coalesce(max(answers), 0)::BIGINT AS answers FROM spread WHERE arm = 'stable'),
            pairs AS (SELECT c.loss - s.loss AS difference FROM candidate c JOIN losses s ON s.prediction_id = c.prediction_id AND s.version = $3)
            SELECT (SELECT count(*) FROM pairs), (SELECT coalesce(sum(difference), 0) FROM pairs), (SELECT coalesce(sum(difference * difference), 0) FROM pairs),
                   (SELECT count(*) FROM candidate), (SELECT coalesce(sum(loss), 0) FROM candidate),
                   mine.n, mine.mean, mine.variance, theirs.n, theirs.mean, theirs.variance, mine.answers, theirs.answers FROM mine, theirs
            """,
            cancellationToken, rollout.StartedAt.ToUnixTimeMilliseconds(), rollout.Version, rollout.StableVersion, rollout.StepStartedAt.ToUnixTimeMilliseconds())[0];
        return new QualityEvidence(
            (long)row[0]!, (double)row[1]!, (double)row[2]!, (long)row[3]!, (double)row[4]!,
            new SplitEvidence((long)row[5]!, (double)row[6]!, (double)row[7]!, (long)row[8]!, (double)row[9]!, (double)row[10]!) { CandidateAnswers = (long)row[11]!, StableAnswers = (long)row[12]! });
    }

    // A file last written before the rollout began holds nothing of it.
    private static List<string> Since(IReadOnlyList<string> files, DateTimeOffset start) => [.. files.Where(file => File.GetLastWriteTimeUtc(file) >= start.UtcDateTime)];

    private static string Files(List<string> files) => $"[{string.Join(", ", files.Select(DuckDbLiteral.Quote))}]";
}
