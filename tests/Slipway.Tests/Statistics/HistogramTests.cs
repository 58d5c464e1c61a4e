using Slipway.Statistics.Drift;
using Slipway.Statistics.Histograms;

namespace Slipway.Tests.Statistics;

public sealed class HistogramTests
{
    [Fact]
    public void Every_value_has_a_count_even_missing_and_outside_ones()
    {
        var histogram = new NumericHistogram([0.0, 1.0, 2.0]);
        histogram.Add([-0.5, 0.0, 0.999, 1.0, 2.0, 2.1, double.NaN, double.NegativeInfinity, double.PositiveInfinity]);
        histogram.Add([0.5f, float.NaN]);
        histogram.AddMissing(3);

        Assert.Equal([2, 3, 2, 2], histogram.Counts);
        Assert.Equal([3, 2], histogram.BinCounts);
        Assert.Equal(2, histogram.UnderflowCount);
        Assert.Equal(2, histogram.OverflowCount);
        Assert.Equal(5, histogram.MissingCount);
        Assert.Equal(9, histogram.ValueCount);
    }

    public static TheoryData<string> EdgeShapes { get; } = ["even", "quantiles", "heavy tail", "repeated", "single", "tiny"];

    [Theory, MemberData(nameof(EdgeShapes))]
    public void Streaming_counts_equal_a_plain_count_for_every_shape_of_edges(string shape)
    {
        var random = new Random(7);
        double[] values = [.. Enumerable.Range(0, 20_000).Select(_ => Math.Exp(3 * (random.NextDouble() + random.NextDouble() - 1)))];
        double[] edges = shape switch
        {
            "even" => Histogram.EqualWidthEdges(0.05, 15, 37),
            "quantiles" => Histogram.QuantileEdges(values, 10),
            "heavy tail" => [.. Enumerable.Range(0, 60).Select(i => 0.05 + 1e-6 * i), 1e9],
            "repeated" => [0.1, 0.1, 0.5, 1, 1, 1, 3, 3],
            "single" => [1, 1],
            _ => [1, Math.BitIncrement(1.0), Math.BitIncrement(Math.BitIncrement(1.0)), 2],
        };
        double[] all = [.. values, .. edges];
        var streamed = new NumericHistogram(edges);
        foreach (var chunk in all.Chunk(777))
        {
            streamed.Add(chunk);
        }

        Assert.Equal(PlainCount(all, edges), streamed.BinCounts);
        Assert.Equal(PlainCount(all, edges), Histogram.Count(all, edges));
        Assert.Equal(all.Count(v => v < edges[0]), streamed.UnderflowCount);
        Assert.Equal(all.Count(v => v > edges[^1]), streamed.OverflowCount);
    }

    [Fact]
    public void Merged_and_restored_histograms_equal_one_that_saw_everything()
    {
        var random = new Random(3);
        double[] values = [.. Enumerable.Range(0, 1000).Select(i => i % 50 == 0 ? double.NaN : random.NextDouble() * 12 - 1)];
        var edges = Histogram.EqualWidthEdges(0, 10, 10);
        NumericHistogram whole = new(edges), first = new(edges), second = new(edges);
        whole.Add(values);
        first.Add(values.AsSpan(0, 300));
        second.Add(values.AsSpan(300));

        first.Merge(NumericHistogram.Restore(second.Edges, second.Counts, second.MissingCount));

        Assert.Equal(whole.Counts, first.Counts);
        Assert.Equal(whole.MissingCount, first.MissingCount);
        Assert.Throws<ArgumentException>(() => first.Merge(new NumericHistogram([0.0, 1.0])));
        Assert.Throws<ArgumentException>(() => NumericHistogram.Restore([0.0, 1.0], [1, 2], 0));
    }

    [Fact]
    public void Edges_that_decrease_or_are_infinite_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new NumericHistogram([1.0]));
        Assert.Throws<ArgumentException>(() => new NumericHistogram([1.0, 0.0]));
        Assert.Throws<ArgumentException>(() => new NumericHistogram([0.0, double.NaN]));
        Assert.Throws<ArgumentException>(() => new NumericHistogram([0.0, double.PositiveInfinity]));
        Assert.Throws<ArgumentException>(() => Histogram.SturgesEdges([double.NaN]));
        Assert.Throws<ArgumentException>(() => Histogram.QuantileEdges([double.NaN]));
    }

    [Fact]
    public void Sturges_edges_of_a_constant_sample_span_one_unit() => Assert.Equal([2.5, 3.5], Histogram.SturgesEdges([3.0, 3.0]));

    [Fact]
    public void Deciles_of_the_first_hundred_numbers_interpolate_between_ranks() =>
        Assert.Equal([1, 10.9, 20.8, 30.7, 40.6, 50.5, 60.4, 70.3, 80.2, 90.1, 100],
            Histogram.QuantileEdges([.. Enumerable.Range(1, 100).Select(i => (double)i)]).Select(e => Math.Round(e, 10)));

    [Fact]
    public void Category_counts_merge_and_align_over_the_union_of_categories()
    {
        CategoryCounts reference = new(), current = new();
        reference.Add("a", 3);
        reference.Add("b");
        reference.Add((string?)null);
        current.Add("c".AsSpan());
        CategoryCounts more = new();
        more.Add("a", 2);
        more.Add(null, 4);
        current.Merge(more);

        var aligned = CategoryCounts.Align(reference, current);

        Assert.Equal(["a", "b", "c"], aligned.Categories);
        Assert.Equal([3, 1, 0], aligned.Reference);
        Assert.Equal([2, 0, 1], aligned.Current);
        Assert.Equal((4, 1), (reference.ValueCount, reference.MissingCount));
        Assert.Equal((3, 4), (current.ValueCount, current.MissingCount));
    }

    [Fact]
    [Trait("capability", "MON-01")]
    public void Binned_distances_approach_the_exact_ones_and_never_exceed_the_exact_Kolmogorov_Smirnov_statistic()
    {
        var random = new Random(11);
        double[] reference = [.. Enumerable.Range(0, 20_000).Select(_ => random.NextDouble() + random.NextDouble())];
        double[] current = [.. Enumerable.Range(0, 15_000).Select(_ => random.NextDouble() * 1.1 + random.NextDouble())];
        var edges = Histogram.EqualWidthEdges(0, 2.1, 500);
        NumericHistogram first = new(edges), second = new(edges);
        first.Add(reference);
        second.Add(current);

        var exact = KolmogorovSmirnov.Test(reference, current).Statistic;
        var binned = BinnedDistance.KolmogorovSmirnov(first, second);

        Assert.InRange(binned, exact - 0.01, exact);
        Assert.Equal(Wasserstein.Distance(reference, current), BinnedDistance.Wasserstein(first, second), 1e-4);
        Array.Sort(reference);
        foreach (var share in new[] { 0.01, 0.25, 0.5, 0.99 })
        {
            Assert.Equal(Histogram.QuantileOfSorted(reference, share), BinnedDistance.Quantile(first, share), 2.1 / 500);
        }
    }

    [Fact]
    [Trait("capability", "MON-02")]
    public void Values_that_leave_the_edges_raise_the_stability_index_and_bins_nobody_is_in_do_not()
    {
        NumericHistogram reference = new([0.0, 1.0, 2.0, 3.0]), same = new([0.0, 1.0, 2.0, 3.0]), escaped = new([0.0, 1.0, 2.0, 3.0]);
        for (var i = 0; i < 50_000; i++)
        {
            reference.Add(i == 0 ? 0.5 : 2.5);
            same.Add(i < 2 ? 0.5 : 2.5);
            escaped.Add(i < 25_000 ? 7 : 2.5);
        }

        // Nobody is in [1, 2), below 0 or above 3: only the two filled bins count.
        Assert.Equal(Divergence.Psi([1L, 49_999L], [2L, 49_998L]), BinnedDistance.Psi(reference, same), 1e-15);
        Assert.Equal(DriftBand.Act, PsiBands.Default.Of(BinnedDistance.Psi(reference, escaped)));
        Assert.Equal(DriftBand.Ok, PsiBands.Default.Of(BinnedDistance.Psi(reference, same)));
        Assert.Throws<ArgumentException>(() => BinnedDistance.Psi(reference, new NumericHistogram([0.0, 1.0])));
        Assert.Throws<ArgumentException>(() => BinnedDistance.Psi(reference, new NumericHistogram([0.0, 1.0, 2.0, 3.0])));
    }

    [Fact]
    public void Binned_quantiles_outside_the_edges_are_bounded_by_them()
    {
        var histogram = new NumericHistogram([0.0, 1.0]);
        histogram.Add([-5, -4, 0.5, 9]);

        Assert.Equal(0, BinnedDistance.Quantile(histogram, 0.4));
        Assert.Equal(1, BinnedDistance.Quantile(histogram, 0.9));
        Assert.Throws<ArgumentException>(() => BinnedDistance.Quantile(new NumericHistogram([0.0, 1.0]), 0.5));
    }

    private static long[] PlainCount(double[] values, double[] edges)
    {
        var bins = edges.Length - 1;
        var counts = new long[bins];
        for (var bin = 0; bin < bins; bin++)
        {
            var (low, high, last) = (edges[bin], edges[bin + 1], bin == bins - 1);
            counts[bin] = values.Count(v => v >= low && (v < high || (last && v == high)));
        }

        return counts;
    }
}
