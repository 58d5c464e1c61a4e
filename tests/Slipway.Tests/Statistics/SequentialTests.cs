using System.Text.Json;
using Slipway.Statistics;
using Slipway.Statistics.Distributions;
using Slipway.Statistics.Sequential;

namespace Slipway.Tests.Statistics;

/// <summary>Each claimed error rate is backed by seeded simulation with a look after every batch.</summary>
[Trait("capability", "ABX-05")]
public sealed class SequentialTests
{
    private const int Looks = 60;
    private const double StableErrorRate = 0.005;

    // One-minute looks for an hour, canary with 10 % of traffic at 100 requests a minute: the published gate simulation.
    [Fact]
    public void Error_gate_rolls_back_an_equal_canary_in_well_under_alpha_of_rollouts()
    {
        var falseRollbacks = ErrorGate(runs: 4000, canaryPerMinute: 100, ratio: 1, alpha: 0.05).Count(minute => minute > 0);
        var strict = ErrorGate(runs: 4000, canaryPerMinute: 100, ratio: 1, alpha: 0.01).Count(minute => minute > 0);

        // Published: 0.6 % and 0.1 %.
        Assert.InRange(falseRollbacks / 4000.0, 0.0005, 0.012);
        Assert.InRange(strict / 4000.0, 0, 0.004);
    }

    [Theory]
    [InlineData(20, 3, 0.721, 34)]
    [InlineData(20, 10, 1.0, 7)]
    [InlineData(100, 3, 1.0, 10)]
    [InlineData(100, 10, 1.0, 2)]
    [InlineData(1000, 3, 1.0, 1)]
    public void Error_gate_catches_a_worse_canary_as_fast_as_published(int perMinute, double ratio, double published, int publishedMedian)
    {
        var minutes = ErrorGate(runs: 1000, perMinute, ratio, alpha: 0.05);

        Assert.Equal(published, minutes.Count(m => m > 0) / 1000.0, 0.05);
        int[] caught = [.. minutes.Where(m => m > 0).Order()];
        Assert.InRange(caught[caught.Length / 2], publishedMedian - 2, publishedMedian + 2);
    }

    [Fact]
    public void Error_evidence_equals_the_closed_formula()
    {
        var process = new ErrorRateEProcess(0.1);
        Assert.Equal(0, process.LogE, 1e-12);

        process.Add(100, 4, 900, 6);

        // B(2 + 4, 18 + 6)/B(2, 18) / (0.1^4 0.9^6): gamma functions of whole numbers.
        static double LogBeta(int a, int b) =>
            Enumerable.Range(1, a - 1).Sum(i => Math.Log(i)) + Enumerable.Range(1, b - 1).Sum(i => Math.Log(i)) - Enumerable.Range(1, a + b - 1).Sum(i => Math.Log(i));
        Assert.Equal(LogBeta(6, 24) - LogBeta(2, 18) - 4 * Math.Log(0.1) - 6 * Math.Log(0.9), process.LogE, 1e-10);
    }

    // A gate may advance on proof that the canary fails less than twice as often; an hour at 200 canary requests a minute.
    [Fact]
    public void A_canary_is_cleared_against_a_tolerated_ratio_and_wrongly_so_in_at_most_alpha_of_rollouts()
    {
        double Cleared(double ratio)
        {
            var random = new Random(12);
            var cleared = 0;
            for (var run = 0; run < 2000; run++)
            {
                var gate = new RateLimitEProcess(ErrorRateEProcess.ShareOfErrors(0.1, 2));
                for (var look = 0; look < Looks; look++)
                {
                    var canary = Binomial.Draw(200, ratio * StableErrorRate, random);
                    gate.Add(canary + Binomial.Draw(1800, StableErrorRate, random), canary);
                }

                cleared += gate.Verdict == SequentialVerdict.NotWorse ? 1 : 0;
            }

            return cleared / 2000.0;
        }

        Assert.InRange(Cleared(ratio: 2), 0, 0.05);
        Assert.InRange(Cleared(ratio: 1), 0.95, 1);
        Assert.Equal(0.2 / 1.1, ErrorRateEProcess.ShareOfErrors(0.1, 2), 1e-15);
    }

    [Fact]
    public void A_canary_that_is_better_is_never_rolled_back_however_strong_the_evidence()
    {
        var process = new ErrorRateEProcess(0.5);
        process.Add(10_000, 10, 10_000, 900);

        Assert.True(process.LogE > 100);
        Assert.Equal(SequentialVerdict.Inconclusive, process.Verdict);
    }

    [Fact]
    public void Evidence_carries_over_a_change_of_share_and_the_error_bound_holds_over_all_steps()
    {
        var random = new Random(42);
        double[] shares = [0.05, 0.25, 0.5];
        var falseRollbacks = 0;
        for (var run = 0; run < 3000; run++)
        {
            var process = new ErrorRateEProcess(shares[0], alpha: 0.1);
            foreach (var share in shares)
            {
                process.ChangeShare(share);
                for (var look = 0; look < 20; look++)
                {
                    var canary = (int)(1000 * share);
                    process.Add(canary, Binomial.Draw(canary, 0.02, random), 1000 - canary, Binomial.Draw(1000 - canary, 0.02, random));
                }
            }

            falseRollbacks += process.Verdict == SequentialVerdict.Worse ? 1 : 0;
        }

        Assert.InRange(falseRollbacks / 3000.0, 0.001, 0.1);

        var before = new ErrorRateEProcess(0.1);
        before.Add(100, 9, 900, 9);
        var evidence = before.LogE;
        before.ChangeShare(0.5);
        Assert.Equal(evidence, before.LogE, 1e-12);
    }

    [Fact]
    public void No_requests_on_one_side_gives_no_verdict_and_impossible_counts_change_nothing()
    {
        var process = new ErrorRateEProcess(0.1);
        Assert.Equal(SequentialVerdict.Inconclusive, process.Add(100, 90, 0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => process.Add(10, 11, 10, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => process.Add(10, 1, 10, -1));
        Assert.Equal(100, process.CanaryRequests);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ErrorRateEProcess(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ErrorRateEProcess(0.1, double.NaN));
    }

    // Exceedance of stable's p95 or p99; traffic shares 10 % and 50 %; an equal canary and one whose tail is three times as heavy.
    [Theory]
    [InlineData(0.05, 100, 900)]
    [InlineData(0.01, 100, 900)]
    [InlineData(0.05, 200, 200)]
    public void Latency_gate_keeps_its_error_bound_and_catches_a_heavier_tail(double exceedance, int canary, int stable)
    {
        var falseAlarms = ExceedanceGate(2000, canary, stable, exceedance, exceedance).Count(m => m > 0);
        int[] caught = [.. ExceedanceGate(500, canary, stable, 3 * exceedance, exceedance).Where(m => m > 0).Order()];

        Assert.InRange(falseAlarms / 2000.0, 0, 0.05);
        Assert.InRange(caught.Length / 500.0, 0.97, 1);
        Assert.InRange(caught[caught.Length / 2], 2, 20);
    }

    [Fact]
    public void Latency_gate_stays_valid_when_the_common_rate_moves_during_the_day()
    {
        var random = new Random(9);
        var falseAlarms = 0;
        for (var run = 0; run < 2000; run++)
        {
            var process = new ExceedanceEProcess();
            for (var look = 0; look < Looks; look++)
            {
                var rate = look is > 20 and < 40 ? 0.2 : 0.02;
                process.Add(100, Binomial.Draw(100, rate, random), 900, Binomial.Draw(900, rate, random));
            }

            falseAlarms += process.Verdict == SequentialVerdict.Worse ? 1 : 0;
        }

        Assert.InRange(falseAlarms / 2000.0, 0, 0.05);
    }

    [Fact]
    public void Latencies_are_counted_above_the_limit_and_missing_ones_count_as_above()
    {
        var process = new ExceedanceEProcess();
        process.Add([0.1, 0.2, double.NaN], [0.2, 0.3], limit: 0.2);

        Assert.Equal((3, 1), (process.CanaryRequests, process.CanaryEvents));
        Assert.Equal((2, 1), (process.StableRequests, process.StableEvents));
        Assert.Throws<ArgumentException>(() => process.Add([0.1], [0.1], double.NaN));
    }

    [Theory]
    [Trait("capability", "SRV-09")]
    [InlineData(0.01)]
    [InlineData(0.1)]
    public void Disagreement_gate_errs_in_neither_direction_at_its_limit_and_decides_away_from_it(double limit)
    {
        var atLimit = DisagreementGate(3000, limit, limit);
        Assert.InRange(atLimit.Count(v => v == SequentialVerdict.Worse) / 3000.0, 0, 0.05);
        Assert.InRange(atLimit.Count(v => v == SequentialVerdict.NotWorse) / 3000.0, 0, 0.05);

        Assert.InRange(DisagreementGate(500, limit, 2 * limit).Count(v => v == SequentialVerdict.Worse) / 500.0, 0.97, 1);
        Assert.InRange(DisagreementGate(500, limit, limit / 3).Count(v => v == SequentialVerdict.NotWorse) / 500.0, 0.97, 1);
    }

    [Fact]
    public void Disagreement_evidence_stays_finite_and_one_sided_far_from_the_limit()
    {
        var process = new RateLimitEProcess(0.3);
        Assert.Equal(0, process.LogEAbove, 1e-9);
        Assert.Equal(0, process.LogEBelow, 1e-9);

        process.Add(1_000_000, 1000);

        Assert.True(process.LogEAbove < 0 && double.IsFinite(process.LogEAbove));
        Assert.True(process.LogEBelow > 100_000 && double.IsFinite(process.LogEBelow));
        Assert.Equal(SequentialVerdict.NotWorse, process.Verdict);
    }

    [Fact]
    public void Sequence_half_width_matches_the_reference()
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(SharedFiles.Golden("gbstats.json")));
        var compared = 0;
        foreach (var golden in document.RootElement.GetProperty("sequential_halfwidth").EnumerateArray())
        {
            var n = (long)golden.Number("n");
            var sequence = new MeanDifferenceSequence(golden.Number("alpha"), (long)golden.Number("tau"), minimumPerSide: 2);

            // Two equal halves with variance s²/4 each have the standard error of one sample of n with variance s².
            var half = RunningMoments.Of(n / 2, 0, golden.Number("s2") / 4);
            sequence.Merge(half, half);

            Goldens.Close(golden.Number("halfwidth"), sequence.Interval.Upper);
            Goldens.Close(golden.Number("rho"), Math.Sqrt(MeanDifferenceSequence.RhoSquared(golden.Number("alpha"), golden.Number("tau"))));
            compared++;
        }

        Assert.Equal(24, compared);
    }

    // Skewed latencies (log-normal), 10 % canary, a look after each batch of 100 requests.
    [Fact]
    public void Mean_difference_keeps_its_error_bound_under_skew_and_finds_a_slower_canary()
    {
        const int runs = 500;
        int missed = 0, falselyWorse = 0, caught = 0, cleared = 0;
        for (var run = 0; run < runs; run++)
        {
            var random = new Random(1000 + run);
            var (equal, slower) = (new MeanDifferenceSequence(), new MeanDifferenceSequence());
            bool everMissed = false, everWorse = false, everCaught = false, everCleared = false;
            var (canary, slow, stable) = (new double[10], new double[10], new double[90]);
            for (var look = 0; look < 150; look++)
            {
                Fill(canary, 1, random);
                Fill(slow, 1.25, random);
                Fill(stable, 1, random);
                equal.Add(canary, stable);
                slower.Add(slow, stable);
                everMissed |= !equal.Interval.Contains(0);
                everWorse |= equal.VerdictAt(0) == SequentialVerdict.Worse;
                everCleared |= equal.VerdictAt(0.2) == SequentialVerdict.NotWorse;
                everCaught |= slower.VerdictAt(0) == SequentialVerdict.Worse;
            }

            missed += everMissed ? 1 : 0;
            falselyWorse += everWorse ? 1 : 0;
            cleared += everCleared ? 1 : 0;
            caught += everCaught ? 1 : 0;
        }

        Assert.InRange(missed / (double)runs, 0, 0.05);
        Assert.InRange(falselyWorse / (double)runs, 0, 0.05);
        Assert.InRange(caught / (double)runs, 0.95, 1);
        Assert.InRange(cleared / (double)runs, 0.9, 1);

        static void Fill(double[] values, double scale, Random random)
        {
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = scale * Math.Exp(0.5 * Normal.Quantile(Math.Max(random.NextDouble(), 1e-12)));
            }
        }
    }

    [Fact]
    public void Mean_difference_says_nothing_before_the_minimum_of_evidence()
    {
        var sequence = new MeanDifferenceSequence(minimumPerSide: 100);
        sequence.Merge(RunningMoments.Of(99, 5, 1), RunningMoments.Of(1000, 1, 1));

        Assert.Equal(SequentialVerdict.Inconclusive, sequence.VerdictAt(0));
        Assert.Equal(double.PositiveInfinity, sequence.Interval.Upper);

        sequence.Add([5], []);
        Assert.Equal(SequentialVerdict.Worse, sequence.VerdictAt(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => sequence.Add([double.NaN], []));
    }

    [Fact]
    public void Bounded_mean_interval_covers_the_mean_at_every_look_and_shrinks()
    {
        const int runs = 2000;
        var missed = 0;
        var width = 0.0;
        for (var run = 0; run < runs; run++)
        {
            var random = new Random(run);
            var sequence = new BoundedMeanSequence(0, 10);
            for (var i = 0; i < 500; i++)
            {
                // A skewed score: 10 with probability 0.1, otherwise 0; mean 1.
                sequence.Add(random.NextDouble() < 0.1 ? 10.0 : 0.0);
            }

            // Intersected over all looks, so the last interval misses when any did.
            missed += sequence.Interval.Contains(1) ? 0 : 1;
            width += sequence.Interval.Upper - sequence.Interval.Lower;
        }

        Assert.InRange(missed / (double)runs, 0, 0.05);
        Assert.InRange(width / runs, 0.3, 1.6);
        Assert.Throws<ArgumentOutOfRangeException>(() => new BoundedMeanSequence(0, 1).Add(1.5));
        Assert.Equal(new Interval(-10, 10), BoundedMeanSequence.Difference(new(0, 10), new(0, 10)));
    }

    [Fact]
    public void Moments_merge_to_those_of_all_values()
    {
        double[] values = [1e9 + 1, 1e9 + 2, 1e9 + 4, 1e9 + 8, 1e9 + 16];
        RunningMoments whole = default, first = default, second = default;
        whole.Add(values);
        first.Add(values.AsSpan(0, 2));
        second.Add(values.AsSpan(2));
        first.Merge(second);

        Assert.Equal(37.2, whole.Variance, 1e-6);
        Assert.Equal(whole.Variance, first.Variance, 1e-6);
        Assert.Equal(1e9 + 6.2, first.Mean, 1e-6);
    }

    /// <summary>The minute of rollback of each run, 0 for none.</summary>
    private static int[] ErrorGate(int runs, int canaryPerMinute, double ratio, double alpha)
    {
        var random = new Random(20_260_101);
        var stablePerMinute = 9 * canaryPerMinute;
        return [.. Enumerable.Range(0, runs).Select(_ =>
        {
            var process = new ErrorRateEProcess(0.1, alpha);
            return FirstWorse(() => process.Add(
                canaryPerMinute,
                Binomial.Draw(canaryPerMinute, ratio * StableErrorRate, random),
                stablePerMinute,
                Binomial.Draw(stablePerMinute, StableErrorRate, random)));
        })];
    }

    private static int[] ExceedanceGate(int runs, int canary, int stable, double canaryRate, double stableRate)
    {
        var random = new Random(77);
        return [.. Enumerable.Range(0, runs).Select(_ =>
        {
            var process = new ExceedanceEProcess();
            return FirstWorse(() => process.Add(
                canary, Binomial.Draw(canary, canaryRate, random), stable, Binomial.Draw(stable, stableRate, random)));
        })];
    }

    private static SequentialVerdict[] DisagreementGate(int runs, double limit, double rate)
    {
        var random = new Random(5);
        return [.. Enumerable.Range(0, runs).Select(_ =>
        {
            var process = new RateLimitEProcess(limit);
            for (var look = 0; look < 100 && process.Verdict == SequentialVerdict.Inconclusive; look++)
            {
                process.Add(50, Binomial.Draw(50, rate, random));
            }

            return process.Verdict;
        })];
    }

    private static int FirstWorse(Func<SequentialVerdict> look)
    {
        for (var minute = 1; minute <= Looks; minute++)
        {
            if (look() == SequentialVerdict.Worse)
            {
                return minute;
            }
        }

        return 0;
    }
}
