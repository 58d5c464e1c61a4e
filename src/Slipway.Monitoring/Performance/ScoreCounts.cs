using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Drift;

namespace Slipway.Monitoring.Performance;

/// <summary>One labelled prediction.</summary>
internal readonly record struct LabelledScore(float Score, bool Positive);

/// <summary>
/// Quality of labelled predictions from counts over fine score bins, which rows can enter and leave: a rolling window moves by
/// adding one step and taking one away.
/// </summary>
/// <remarks>
/// Rows within one of the 2,000 bins count as tied for the area under the ROC curve, so that it differs from the exact one by at
/// most half the sum over bins of (positives' share × negatives' share), about 0.0003 for scores spread over half the range. Log loss
/// and the calibration error take each row's own score; the calibration bins are the ten of <see cref="Statistics.Evaluation.Calibration"/>.
/// </remarks>
internal sealed class ScoreCounts
{
    public const int Bins = 2000;
    private const int CalibrationBins = 10;

    private readonly int[] _positives = new int[Bins];
    private readonly int[] _negatives = new int[Bins];
    private readonly double[] _calibrationSums = new double[CalibrationBins];
    private readonly long[] _calibrationPositives = new long[CalibrationBins];
    private readonly long[] _calibrationRows = new long[CalibrationBins];
    private readonly double _threshold;
    private double _logLoss;
    private double _squares;
    private long _truePositives;
    private long _falsePositives;

    public ScoreCounts(double threshold) => _threshold = threshold;

    public long Rows { get; private set; }

    public long Positives { get; private set; }

    /// <param name="row">The row.</param>
    /// <param name="sign">1 to add it, -1 to take it away.</param>
    public void Add(LabelledScore row, int sign)
    {
        var score = Math.Clamp((double)row.Score, 0, 1);
        var bin = Math.Min(Bins - 1, (int)(score * Bins));
        (row.Positive ? _positives : _negatives)[bin] += sign;
        var calibration = Math.Min(CalibrationBins - 1, (int)(score * CalibrationBins));
        _calibrationRows[calibration] += sign;
        _calibrationSums[calibration] += sign * score;
        _calibrationPositives[calibration] += row.Positive ? sign : 0;

        const double clip = 2.220446049250313e-16;
        var p = Math.Clamp(score, clip, 1 - clip);
        _logLoss -= sign * Math.Log(row.Positive ? p : 1 - p);
        var difference = score - (row.Positive ? 1 : 0);
        _squares += sign * difference * difference;
        Rows += sign;
        Positives += row.Positive ? sign : 0;
        if (score >= _threshold)
        {
            _truePositives += row.Positive ? sign : 0;
            _falsePositives += row.Positive ? 0 : sign;
        }
    }

    /// <summary>The readings of a window; those that its rows cannot give are left out.</summary>
    public IReadOnlyList<Reading> Readings(PerformanceDefinition performance, BaselinePerformance baseline, long predictions)
    {
        var readings = new List<Reading>(10)
        {
            new(Reading.Performance, "label_coverage", predictions == 0 ? 0 : (double)Rows / predictions, MonitorBand.None, predictions),
        };
        if (Rows == 0)
        {
            return readings;
        }

        void Add(string name, double value, PerformanceMetric? metric = null)
        {
            var (band, limit) = metric == performance.Metric ? Judge(performance, baseline, value) : (MonitorBand.None, 0);
            readings.Add(new Reading(Reading.Performance, name, value, band, Rows, limit));
        }

        if (Positives > 0 && Positives < Rows)
        {
            Add("auc", Auc(), PerformanceMetric.Auc);
        }

        Add("log_loss", _logLoss / Rows, PerformanceMetric.LogLoss);
        Add("brier", _squares / Rows, PerformanceMetric.Brier);
        Add("ece", CalibrationError(), PerformanceMetric.Ece);
        var (tp, fp, fn) = (_truePositives, _falsePositives, Positives - _truePositives);
        Add("accuracy", (double)(Rows - fp - fn) / Rows);
        Ratio("precision", tp, tp + fp);
        Ratio("recall", tp, tp + fn);
        Ratio("f1", 2 * tp, 2 * tp + fp + fn);
        return readings;

        void Ratio(string name, long part, long whole)
        {
            if (whole > 0)
            {
                Add(name, (double)part / whole);
            }
        }
    }

    /// <summary>The value of the metric on the test split, and the limits that follow from it.</summary>
    public static (double Baseline, double Warning, double Critical) Limits(PerformanceDefinition performance, BaselinePerformance baseline)
    {
        var value = performance.Metric switch
        {
            PerformanceMetric.Auc => baseline.Auc,
            PerformanceMetric.LogLoss => baseline.LogLoss,
            PerformanceMetric.Brier => baseline.Brier,
            _ => baseline.Ece,
        };
        var sign = performance.Metric == PerformanceMetric.Auc ? -1 : 1;
        return (value, value + sign * performance.WarningDrop, value + sign * performance.CriticalDrop);
    }

    private (MonitorBand Band, double Limit) Judge(PerformanceDefinition performance, BaselinePerformance baseline, double value)
    {
        if (Rows < performance.MinLabels)
        {
            return (MonitorBand.Insufficient, 0);
        }

        var (_, warning, critical) = Limits(performance, baseline);
        bool Beyond(double limit) => performance.Metric == PerformanceMetric.Auc ? value <= limit : value >= limit;
        return Beyond(critical) ? (MonitorBand.Critical, critical) : Beyond(warning) ? (MonitorBand.Warning, warning) : (MonitorBand.Ok, warning);
    }

    private double Auc()
    {
        double wins = 0, negativesBelow = 0;
        for (var bin = 0; bin < Bins; bin++)
        {
            wins += _positives[bin] * (negativesBelow + 0.5 * _negatives[bin]);
            negativesBelow += _negatives[bin];
        }

        return wins / ((double)Positives * (Rows - Positives));
    }

    private double CalibrationError()
    {
        var sum = 0.0;
        for (var bin = 0; bin < CalibrationBins; bin++)
        {
            sum += Math.Abs(_calibrationSums[bin] - _calibrationPositives[bin]);
        }

        return sum / Rows;
    }
}
