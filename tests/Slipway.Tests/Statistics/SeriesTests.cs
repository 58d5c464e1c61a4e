using FsCheck;
using FsCheck.Fluent;
using Slipway.Statistics.Series;

namespace Slipway.Tests.Statistics;

public sealed class SeriesTests
{
    private static readonly Gen<double[]> Values = Gen.Choose(-1000, 1000).Select(value => value / 8.0).ArrayOf();

    [Fact]
    public void Largest_triangles_keep_both_ends_and_only_points_of_the_curve_in_order() =>
        Prop.ForAll(Values.ToArbitrary(), Gen.Choose(3, 40).ToArbitrary(), (y, max) =>
        {
            var x = y.Select((_, i) => (double)i * i).ToArray();

            var kept = Downsample.LargestTriangles(x, y, max);

            Assert.Equal(Math.Min(y.Length, max), kept.Length);
            Assert.Equal(kept.Order().Distinct(), kept);
            Assert.All(kept, index => Assert.InRange(index, 0, y.Length - 1));
            if (y.Length > 0)
            {
                Assert.Equal((0, y.Length - 1), (kept[0], kept[^1]));
            }
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Largest_triangles_keep_a_lone_peak()
    {
        var y = new double[1000];
        y[617] = 1;

        Assert.Contains(617, Downsample.LargestTriangles([.. Enumerable.Range(0, 1000).Select(i => (double)i)], y, 10));
    }

    [Fact]
    public void Sampling_keeps_the_ends_the_lowest_and_the_highest_of_every_bucket_and_invents_nothing() =>
        Prop.ForAll(Values.ToArbitrary(), Gen.Choose(4, 60).ToArbitrary(), (y, max) =>
        {
            var input = y.Select((value, i) => new SeriesPoint(i, value)).ToList();
            var sampler = new SeriesSampler(0, Math.Max(0, y.Length - 1), max);
            foreach (var point in input)
            {
                sampler.Add(point.X, point.Y);
            }

            var kept = sampler.Points();

            Assert.Equal(y.Length, sampler.Count);
            Assert.True(kept.Count <= max, $"{kept.Count} points of at most {max}.");
            Assert.Subset(input.ToHashSet(), kept.ToHashSet());
            Assert.Equal(kept.Select(point => point.X).Order(), kept.Select(point => point.X));
            if (y.Length <= max)
            {
                Assert.Equal(input, kept);
                return;
            }

            Assert.Equal((input[0], input[^1]), (kept[0], kept[^1]));
            var buckets = max / 4;
            foreach (var bucket in input.GroupBy(point => Math.Min((int)(point.X / (y.Length - 1) * buckets), buckets - 1)))
            {
                var left = kept.Where(point => point.X >= bucket.First().X && point.X <= bucket.Last().X).ToList();
                Assert.Equal((bucket.First(), bucket.Last()), (left[0], left[^1]));
                Assert.Equal(bucket.Min(point => point.Y), left.Min(point => point.Y));
                Assert.Equal(bucket.Max(point => point.Y), left.Max(point => point.Y));
            }
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Sampling_does_not_mind_the_order_in_which_points_come() =>
        Prop.ForAll(Values.ToArbitrary(), y =>
        {
            // Distinct values, so that the lowest and the highest are one point each.
            var input = y.Select((value, i) => new SeriesPoint(i, value + i / 4096.0)).ToList();
            var (ahead, back) = (new SeriesSampler(0, y.Length, 8), new SeriesSampler(0, y.Length, 8));
            input.ForEach(point => ahead.Add(point.X, point.Y));
            input.Reverse();
            input.ForEach(point => back.Add(point.X, point.Y));

            Assert.Equal(ahead.Points(), back.Points());
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Values_that_are_not_finite_are_gaps_that_sampling_keeps()
    {
        var sampler = new SeriesSampler(0, 9999, 40);
        for (var i = 0; i < 10_000; i++)
        {
            sampler.Add(i, i is 5000 ? double.NaN : i is 7000 ? double.PositiveInfinity : 1);
        }

        Assert.Equal((10_000L, 2L), (sampler.Count, sampler.Gaps));
        Assert.Equal([5000, 7000], sampler.Points().Where(point => double.IsNaN(point.Y)).Select(point => point.X));
        Assert.DoesNotContain(sampler.Points(), point => double.IsInfinity(point.Y));
    }

    [Fact]
    public void Sampling_refuses_ranges_without_sense()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SeriesSampler(1, 0, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SeriesSampler(double.NaN, 0, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SeriesSampler(0, 1, 3));
        Assert.Throws<ArgumentException>(() => Downsample.LargestTriangles([1], [], 3));
    }
}
