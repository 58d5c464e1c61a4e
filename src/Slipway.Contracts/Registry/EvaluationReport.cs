namespace Slipway.Contracts.Registry;

/// <summary>The evaluation of one candidate on one untouched test set, stored as a JSON blob and named by a version.</summary>
public sealed record EvaluationReport
{
    /// <summary>The model's name.</summary>
    public required string Model { get; init; }

    /// <summary>The run that trained the candidate.</summary>
    public required string RunId { get; init; }

    /// <summary>Digest of the test rows: numbers of two reports compare only when these are equal.</summary>
    public required string TestSetSha256 { get; init; }

    /// <summary>Train, validation and test, with their rows.</summary>
    public required IReadOnlyList<EvaluationSplit> Splits { get; init; }

    /// <summary>The candidate's metrics on the test set, such as <c>auc</c>, <c>log_loss</c>, <c>brier</c>, <c>ece</c>.</summary>
    public required IReadOnlyDictionary<string, double> Metrics { get; init; }

    /// <summary>Simple rivals on the same test set.</summary>
    public required IReadOnlyList<BaselineMetrics> Baselines { get; init; }

    /// <summary>Predicted against observed rate per bin; empty when not a classifier.</summary>
    public IReadOnlyList<CalibrationBin> Calibration { get; init; } = [];

    /// <summary>Metrics of parts of the test set.</summary>
    public IReadOnlyList<SliceMetrics> Slices { get; init; } = [];

    /// <summary>Score at or above which the decision is positive; null when there is no decision.</summary>
    public double? Threshold { get; init; }

    /// <summary>The verdict against the limit set before training; null when none was set.</summary>
    public GoNoGoVerdict? GoNoGo { get; init; }

    /// <summary>The difference from the version in production then; null when there was none.</summary>
    public ProductionComparison? ComparedWithProduction { get; init; }

    /// <summary>What the model is worth to the business, beside what the metrics say; empty when nobody has stated it.</summary>
    public IReadOnlyList<BusinessMetric> BusinessMetrics { get; init; } = [];

    /// <summary>Time and size of one prediction; null when not measured.</summary>
    public InferenceCost? Cost { get; init; }

    /// <summary>Blob with the test rows' labels and scores, a CSV file with the header <c>label,score</c> in the test set's order; null when not kept. With both reports' a difference gets an interval.</summary>
    public string? PredictionsSha256 { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }
}

/// <summary>One split.</summary>
/// <param name="Name"><c>train</c>, <c>validation</c> or <c>test</c>.</param>
/// <param name="Rows">Rows in it.</param>
/// <param name="From">First event time; null when not split by time.</param>
/// <param name="To">Last event time; null when not split by time.</param>
/// <param name="Sha256">Digest of its rows; null when not kept.</param>
public sealed record EvaluationSplit(string Name, long Rows, DateTimeOffset? From = null, DateTimeOffset? To = null, string? Sha256 = null);

/// <summary>A simple rival's metrics on the same test set.</summary>
/// <param name="Name">Such as <c>majority_class</c>.</param>
/// <param name="Metrics">By name.</param>
public sealed record BaselineMetrics(string Name, IReadOnlyDictionary<string, double> Metrics);

/// <summary>One bin of a reliability diagram.</summary>
/// <param name="Lower">Lowest score in it.</param>
/// <param name="Upper">Highest score in it.</param>
/// <param name="Rows">Rows in it.</param>
/// <param name="MeanPredicted">Mean score.</param>
/// <param name="ObservedRate">Share of positives.</param>
public sealed record CalibrationBin(double Lower, double Upper, long Rows, double MeanPredicted, double ObservedRate);

/// <summary>Metrics of a part of the test set.</summary>
/// <param name="Slice">Such as <c>origin=ORD</c>.</param>
/// <param name="Rows">Rows in it.</param>
/// <param name="Metrics">By name.</param>
public sealed record SliceMetrics(string Slice, long Rows, IReadOnlyDictionary<string, double> Metrics);

/// <summary>The verdict against a limit that was set before training started.</summary>
/// <param name="Metric">Which metric.</param>
/// <param name="Minimum">The least that passes.</param>
/// <param name="SetAt">When the limit was stored.</param>
/// <param name="Value">What the candidate reached.</param>
/// <param name="Passed">Whether the candidate may go on.</param>
/// <param name="Reason">Why, in one sentence.</param>
public sealed record GoNoGoVerdict(string Metric, double Minimum, DateTimeOffset SetAt, double Value, bool Passed, string Reason);

/// <summary>The candidate against the version in production, both scored on the report's test set.</summary>
/// <param name="Version">The production version.</param>
/// <param name="Metric">Which metric.</param>
/// <param name="Production">Its value for production.</param>
/// <param name="Candidate">Its value for the candidate.</param>
/// <param name="Difference">Candidate minus production.</param>
/// <param name="Interval">Confidence interval of the difference.</param>
/// <param name="PValue">Two-sided, of no difference.</param>
public sealed record ProductionComparison(
    string Version, string Metric, double Production, double Candidate, double Difference, ConfidenceInterval Interval, double PValue);

/// <summary>What a model is worth to the business.</summary>
/// <param name="Name">Such as <c>cost_per_1000_flights</c>.</param>
/// <param name="Value">The figure.</param>
/// <param name="Unit">Such as <c>EUR</c>; null when it has none.</param>
/// <param name="Source">How it was found, such as the cost matrix or the test that measured it.</param>
public sealed record BusinessMetric(string Name, double Value, string? Unit = null, string? Source = null);

/// <summary>An interval with its level.</summary>
/// <param name="Lower">Lower end.</param>
/// <param name="Upper">Upper end.</param>
/// <param name="Level">Such as 0.95.</param>
public sealed record ConfidenceInterval(double Lower, double Upper, double Level = 0.95);

/// <summary>What one prediction costs.</summary>
/// <param name="LatencyUsP50">Median microseconds of one row.</param>
/// <param name="LatencyUsP95">95th percentile.</param>
/// <param name="SizeBytes">Model file.</param>
public sealed record InferenceCost(double LatencyUsP50, double LatencyUsP95, long SizeBytes);

/// <summary>Which way a metric is better.</summary>
public static class MetricDirection
{
    private static readonly HashSet<string> Lower = new(StringComparer.Ordinal)
    {
        "loss", "brier", "ece", "mce", "mae", "mape", "mse", "rmse", "error", "error_rate", "false_positive_rate", "false_negative_rate", "psi", "perplexity", "wer", "seconds", "duration",
    };

    /// <summary>
    /// True for accuracy-like metrics, false for losses, errors and latencies; also under the name of a split, as
    /// <c>val_loss</c>, <c>test/rmse</c> and <c>validation_log_loss</c> are.
    /// </summary>
    public static bool HigherIsBetter(string metric)
    {
        for (var at = 0; ; at++)
        {
            if (Lower.Contains(metric[at..]))
            {
                return false;
            }

            at = metric.AsSpan(at).IndexOfAny("_/.- ") is var next and >= 0 ? at + next : -1;
            if (at < 0)
            {
                return !metric.Contains("latency", StringComparison.Ordinal);
            }
        }
    }
}
