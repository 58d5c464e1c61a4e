using Slipway.Statistics.Distributions;
using Slipway.Statistics.Evaluation;

namespace Slipway.Tests.Statistics;

[Trait("capability", "EVL-01")]
public sealed class EvaluationTests
{
    private static readonly bool[] Labels = [.. Goldens.Cases("classification.json")[0].Numbers("y").Select(y => y == 1)];
    private static readonly double[] Scores = Goldens.Cases("classification.json")[0].Numbers("score");

    [Fact]
    public void Classification_metrics_match_the_reference()
    {
        var expected = Goldens.Cases("classification.json")[0].GetProperty("expected");
        var matrix = ConfusionMatrix.At(Labels, Scores);

        Goldens.Close(expected.Number("roc_auc"), BinaryMetrics.RocAuc(Labels, Scores));
        Goldens.Close(expected.Number("average_precision"), BinaryMetrics.AveragePrecision(Labels, Scores));
        Goldens.Close(expected.Number("log_loss"), BinaryMetrics.LogLoss(Labels, Scores));
        Goldens.Close(expected.Number("brier"), BinaryMetrics.Brier(Labels, Scores));
        Goldens.Close(expected.Number("accuracy"), matrix.Accuracy);
        Goldens.Close(expected.Number("precision"), matrix.Precision);
        Goldens.Close(expected.Number("recall"), matrix.Recall);
        Goldens.Close(expected.Number("f1"), matrix.F1);
        Goldens.Close(expected.Number("mcc"), matrix.Mcc);
        Goldens.Close(expected.Number("kappa"), matrix.Kappa);
        Assert.Equal(400, matrix.Count);
    }

    // The worked example of fairlearn's documentation: overall rates of 18 rows.
    [Fact]
    public void Rates_match_the_published_fairness_example()
    {
        bool[] truth = [.. "011110101000111111".Select(c => c == '1')];
        double[] predicted = [.. "001011100111100110".Select(c => c - '0')];

        var matrix = ConfusionMatrix.At(truth, predicted);

        Assert.Equal(0.5, matrix.Recall, 1e-12);
        Assert.Equal(2.0 / 3, matrix.FalsePositiveRate, 1e-12);
        Assert.Equal(0.555556, matrix.SelectionRate, 1e-6);
        Assert.Equal(0.444444, matrix.Accuracy, 1e-6);
    }

    [Fact]
    public void Undefined_ratios_are_zero_so_that_a_minimum_gate_fails()
    {
        var matrix = ConfusionMatrix.At([true, true], [0.1, 0.2]);

        Assert.Equal((0, 0, 0, 0, 0), (matrix.Precision, matrix.F1, matrix.Mcc, matrix.Kappa, matrix.Specificity));
        Assert.Throws<ArgumentException>(() => BinaryMetrics.RocAuc([true, true], [0.1, 0.2]));
        Assert.Throws<ArgumentException>(() => BinaryMetrics.AveragePrecision([false], [0.1]));
        Assert.Throws<ArgumentException>(() => BinaryMetrics.RocAuc([true, false], [0.1, double.NaN]));
        Assert.Throws<ArgumentException>(() => BinaryMetrics.RocAuc([true, false], [0.1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => BinaryMetrics.LogLoss([true], [1.5]));
    }

    [Fact]
    public void Area_under_the_curve_equals_the_share_of_pairs_won_and_survives_any_increasing_transform()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var n = random.Next(4, 60);
            bool[] labels = [true, false, .. Enumerable.Range(0, n).Select(_ => random.Next(2) == 1)];
            double[] scores = [.. labels.Select(_ => random.Next(8) / 4.0 - 1)];

            var auc = BinaryMetrics.RocAuc(labels, scores);

            Assert.Equal(PairsWon(labels, scores), auc, 1e-12);
            Assert.Equal(auc, BinaryMetrics.RocAuc(labels, [.. scores.Select(s => Math.Exp(3 * s) - 7)]), 1e-12);
            Assert.Equal(1 - auc, BinaryMetrics.RocAuc(labels, [.. scores.Select(s => -s)]), 1e-12);
            Assert.Equal(1 - auc, BinaryMetrics.RocAuc([.. labels.Select(l => !l)], scores), 1e-12);
        }
    }

    [Fact]
    [Trait("capability", "EVL-02")]
    public void Precision_at_k_counts_positives_at_the_top_and_averages_over_ties()
    {
        bool[] labels = [true, false, true, true, false];
        double[] scores = [0.9, 0.8, 0.7, 0.2, 0.1];

        Assert.Equal(1, BinaryMetrics.PrecisionAtK(labels, scores, 1));
        Assert.Equal(0.5, BinaryMetrics.PrecisionAtK(labels, scores, 2));
        Assert.Equal(2.0 / 3, BinaryMetrics.PrecisionAtK(labels, scores, 3), 1e-15);
        Assert.Equal(0.6, BinaryMetrics.PrecisionAtK(labels, scores, 5), 1e-15);
        Assert.Equal(2.0 / 3, BinaryMetrics.RecallAtK(labels, scores, 3), 1e-15);

        // Rank 1 is a positive; rank 2 is one of three tied rows of which one is positive.
        Assert.Equal((1 + 1.0 / 3) / 2, BinaryMetrics.PrecisionAtK([false, true, true, false], [0.5, 0.5, 0.9, 0.5], 2), 1e-15);
        Assert.Throws<ArgumentOutOfRangeException>(() => BinaryMetrics.PrecisionAtK(labels, scores, 6));
        Assert.Throws<ArgumentOutOfRangeException>(() => BinaryMetrics.PrecisionAtK(labels, scores, 0));
    }

    [Fact]
    public void Calibration_curve_and_error_follow_from_the_bins()
    {
        bool[] labels = [false, true, true, true];
        double[] probabilities = [0.1, 0.15, 0.95, 1.0];

        var curve = Calibration.Curve(labels, probabilities);

        Assert.Equal(2, curve.Length);
        Assert.Equal((0.1, 2, 0.5), (curve[0].Lower, curve[0].Count, curve[0].PositiveShare));
        Assert.Equal(0.125, curve[0].MeanPredicted, 1e-15);
        Assert.Equal((0.9, 1.0, 2, 1.0), (curve[1].Lower, curve[1].Upper, curve[1].Count, curve[1].PositiveShare));
        Assert.Equal(0.5 * 0.375 + 0.5 * 0.025, Calibration.ExpectedError(labels, probabilities), 1e-12);
    }

    [Fact]
    public void DeLong_error_equals_its_definition_over_all_pairs()
    {
        var (auc, error) = DeLongByDefinition(Labels, Scores);

        var estimate = DeLong.Estimate(Labels, Scores);

        Assert.Equal(auc, estimate.Auc, 1e-12);
        Assert.Equal(error, estimate.StandardError, 1e-12);
        Assert.Equal(BinaryMetrics.RocAuc(Labels, Scores), estimate.Auc, 1e-12);
        Assert.True(estimate.Interval().Contains(estimate.Auc));
    }

    [Fact]
    public void DeLong_interval_covers_the_true_area_and_the_paired_test_keeps_its_level()
    {
        const int runs = 1000;
        const int rows = 200;

        // Scores of positives are shifted by one standard deviation: the true area is Φ(1/√2).
        var truth = Normal.Cdf(1 / Math.Sqrt(2));
        int covered = 0, rejected = 0, found = 0;
        for (var run = 0; run < runs; run++)
        {
            var random = new Random(run);
            double Noise() => Normal.Quantile(Math.Max(random.NextDouble(), 1e-12));
            bool[] labels = [.. Enumerable.Range(0, rows).Select(i => i % 3 == 0)];
            double[] shared = [.. labels.Select(l => (l ? 1 : 0) + Noise())];
            double[] first = [.. shared.Select(s => s + 0.5 * Noise())];
            double[] second = [.. shared.Select(s => s + 0.5 * Noise())];
            double[] worse = [.. shared.Select(s => s + 2 * Noise())];

            covered += DeLong.Estimate(labels, shared).Interval().Contains(truth) ? 1 : 0;
            rejected += DeLong.Compare(labels, first, second).PValue <= 0.05 ? 1 : 0;
            found += DeLong.Compare(labels, first, worse) is { PValue: <= 0.05, Difference: < 0 } ? 1 : 0;
        }

        Assert.InRange(covered / (double)runs, 0.93, 0.97);
        Assert.InRange(rejected / (double)runs, 0.03, 0.07);
        Assert.InRange(found / (double)runs, 0.6, 1);
    }

    [Fact]
    public void Comparing_a_model_with_itself_finds_no_difference_and_separated_classes_still_have_an_interval()
    {
        var same = DeLong.Compare(Labels, Scores, Scores);
        Assert.Equal((0, 1), (same.Difference, same.PValue));

        var perfect = DeLong.Estimate([false, false, false, true, true, true], [1, 2, 3, 4, 5, 6]);
        Assert.Equal((1, 0), (perfect.Auc, perfect.StandardError));
        Assert.Equal(1, perfect.Interval().Upper);
        Assert.InRange(perfect.Interval().Lower, 0.2, 0.4);
        Assert.Throws<ArgumentException>(() => DeLong.Estimate([true, false, false], [1.0, 2, 3]));
    }

    [Fact]
    public void McNemar_is_exact()
    {
        // 2 (1 + 10) / 2^10.
        Assert.Equal(0.021484375, McNemar.Test(1, 9).PValue, 1e-12);
        Assert.Equal(1, McNemar.Test(0, 0).PValue);
        Assert.Equal(1, McNemar.Test(5, 5).PValue);
        Assert.Equal(0.021484375, McNemar.Test(
            [true, true, true, true, true, true, true, true, true, true, true],
            [true, false, false, false, false, false, false, false, false, false, true],
            [false, true, true, true, true, true, true, true, true, true, true]).PValue, 1e-12);
    }

    [Fact]
    public void Bootstrap_agrees_with_DeLong_and_repeats_with_its_seed()
    {
        var noise = new Random(4);
        double[] worse = [.. Scores.Select(s => s + noise.NextDouble())];

        var single = Bootstrap.Metric(Labels, Scores, BinaryMetrics.RocAuc, resamples: 1000);
        var paired = Bootstrap.PairedDifference(Labels, Scores, worse, BinaryMetrics.RocAuc, resamples: 1000);
        var comparison = DeLong.Compare(Labels, Scores, worse);

        Assert.Equal(DeLong.Estimate(Labels, Scores).StandardError, single.StandardError, 0.1 * single.StandardError);
        Assert.Equal(comparison.Difference, paired.Estimate, 1e-12);
        Assert.Equal(comparison.StandardError, paired.StandardError, 0.1 * paired.StandardError);
        Assert.Equal(comparison.Interval.Lower, paired.Interval.Lower, 0.02);
        Assert.Equal(comparison.Interval.Upper, paired.Interval.Upper, 0.02);
        Assert.Equal(paired, Bootstrap.PairedDifference(Labels, Scores, worse, BinaryMetrics.RocAuc, resamples: 1000));
        Assert.NotEqual(paired, Bootstrap.PairedDifference(Labels, Scores, worse, BinaryMetrics.RocAuc, resamples: 1000, seed: 2));
    }

    private static double PairsWon(bool[] labels, double[] scores)
    {
        double won = 0, pairs = 0;
        for (var i = 0; i < labels.Length; i++)
        {
            for (var j = 0; j < labels.Length; j++)
            {
                if (labels[i] && !labels[j])
                {
                    pairs++;
                    won += Kernel(scores[i], scores[j]);
                }
            }
        }

        return won / pairs;
    }

    private static (double Auc, double Error) DeLongByDefinition(bool[] labels, double[] scores)
    {
        double[] positives = [.. scores.Where((_, i) => labels[i])];
        double[] negatives = [.. scores.Where((_, i) => !labels[i])];
        double[] v10 = [.. positives.Select(x => negatives.Average(y => Kernel(x, y)))];
        double[] v01 = [.. negatives.Select(y => positives.Average(x => Kernel(x, y)))];
        var auc = v10.Average();
        var s10 = v10.Sum(v => (v - auc) * (v - auc)) / (v10.Length - 1);
        var s01 = v01.Sum(v => (v - auc) * (v - auc)) / (v01.Length - 1);
        return (auc, Math.Sqrt(s10 / v10.Length + s01 / v01.Length));
    }

    private static double Kernel(double positive, double negative) => positive > negative ? 1 : positive == negative ? 0.5 : 0;
}
