using Slipway.Contracts.Monitoring;
using Slipway.Serving;

namespace Slipway.Tests.Serving;

[Trait("database", "none")]
public sealed class ArmStatisticsTests
{
    [Fact, Trait("capability", "MON-10")]
    public void Quantiles_are_within_a_sixteenth_of_the_exact_ones()
    {
        var random = new Random(17);
        var durations = Enumerable.Range(0, 50_000).Select(_ => (long)Math.Exp(4 + (3 * random.NextDouble()) + random.NextDouble())).Order().ToArray();
        var statistics = new ArmStatistics();
        foreach (var duration in durations)
        {
            statistics.Record(duration);
        }

        var snapshot = statistics.Snapshot();

        Assert.Equal(durations.Length, snapshot.Requests);
        Assert.Equal(durations.Sum(), snapshot.LatencySumUs);
        foreach (var quantile in new[] { 0.5, 0.95, 0.99 })
        {
            var exact = durations[(int)Math.Ceiling(quantile * durations.Length) - 1];
            Assert.InRange(snapshot.Latency.QuantileUs(quantile), exact, exact * (1 + (1.0 / 16)));
        }
    }

    [Fact]
    public void Every_duration_falls_into_the_bucket_that_holds_it()
    {
        foreach (var us in Enumerable.Range(0, 5000).Select(i => (long)i).Concat([65_535, 65_536, 1_000_000, 4_294_967_295]))
        {
            var bucket = LatencyHistogram.BucketOf(us);
            Assert.InRange(us, LatencyHistogram.LowerBoundUs(bucket), LatencyHistogram.UpperBoundUs(bucket));
        }

        Assert.Equal(LatencyHistogram.BucketCount - 1, LatencyHistogram.BucketOf(long.MaxValue));
    }

    [Fact, Trait("capability", "MON-10")]
    public async Task Concurrent_records_are_all_counted_and_a_window_is_the_difference_of_two_snapshots()
    {
        var statistics = new ArmStatistics();
        statistics.Record(10_000, failed: true);
        var before = statistics.Snapshot();

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (var i = 0; i < 10_000; i++)
            {
                statistics.Record(latencyUs: 5, rows: 2, failed: i % 100 == 0);
            }
        })));

        var window = statistics.Snapshot().Since(before);
        Assert.Equal((40_000, 400, 80_000, 200_000), (window.Requests, window.Errors, window.Rows, window.LatencySumUs));
        Assert.Equal(0.01, window.ErrorRate, precision: 9);
        Assert.Equal(5, window.Latency.QuantileUs(0.99));
        Assert.Equal(0, window.Latency.CountAboveUs(100));
        Assert.Equal(1, statistics.Snapshot().Latency.CountAboveUs(100));
    }

    [Fact]
    public void A_shadow_disagrees_when_its_decision_differs_or_its_output_is_far_off()
    {
        var shadow = new ShadowStatistics(new ShadowCriteria(DecisionThreshold: 0.5, Tolerance: 0.2));
        shadow.Record(0.49, 0.51);
        shadow.Record(0.10, 0.25);
        shadow.Record(0.10, 0.45);
        shadow.Record(0.10, double.NaN);

        var snapshot = shadow.Snapshot();

        Assert.Equal((4, 3, 1), (snapshot.Compared, snapshot.Disagreements, snapshot.DecisionsDiffer));
    }

    [Fact]
    public void A_shadows_copies_are_counted_in_the_bins_of_both_versions()
    {
        static ModelBaseline Baseline(double edge) => new(new Dictionary<string, FeatureBaseline> { ["distance"] = new([edge], [1, 1], 0, 0, 1, 0, 30) }, new BaselineHistogram([0.5], [1, 1]), null!, 2);
        var shadow = new ShadowStatistics(new ShadowCriteria(), new FeatureSkew(["distance"], Baseline(10)), new FeatureSkew(["distance"], Baseline(20)));
        shadow.CountInputs([15]);
        shadow.CountInputs([float.NaN]);

        Assert.Equal([0, 1], shadow.StableSkew!.Snapshot()[0].Actual);
        Assert.Equal([1, 0], shadow.ShadowSkew!.Snapshot()[0].Actual);
        Assert.Equal(1, shadow.ShadowSkew.Snapshot()[0].ActualNulls);
    }
}
