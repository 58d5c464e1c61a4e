using System.Text.Json;
using Slipway.Statistics;
using Slipway.Statistics.Contingency;
using Slipway.Statistics.Drift;
using Slipway.Statistics.Histograms;
using Slipway.Statistics.Proportions;

namespace Slipway.Tests.Statistics;

[Trait("capability", "MON-01")]
public sealed class DriftTests
{
    private const string TwoSample = "two_sample_numeric.json";
    private const string Binned = "binned_given_edges.json";
    private const string Evidently = "evidently.json";

    public static TheoryData<string> TwoSampleNames { get; } = Goldens.Names(TwoSample);

    public static TheoryData<string> BinnedNames { get; } = Goldens.Names(Binned);

    public static TheoryData<string> NumericNames { get; } = Goldens.Names(Evidently, c => c.GetProperty("type").GetString() == "num");

    public static TheoryData<string> CategoricalNames { get; } = Goldens.Names(Evidently, c => c.GetProperty("type").GetString() == "cat");

    [Theory, MemberData(nameof(TwoSampleNames))]
    public void Kolmogorov_Smirnov_matches_the_reference_for_every_method_and_side(string name)
    {
        var golden = Goldens.Case(TwoSample, name);
        var (x, y) = (golden.Numbers("x"), golden.Numbers("y"));
        var compared = 0;
        foreach (var (key, alternative, method) in new[]
        {
            ("ks_2samp_auto", Alternative.TwoSided, KolmogorovSmirnovMethod.Auto),
            ("ks_2samp_exact", Alternative.TwoSided, KolmogorovSmirnovMethod.Exact),
            ("ks_2samp_asymp", Alternative.TwoSided, KolmogorovSmirnovMethod.Asymptotic),
            ("ks_2samp_less", Alternative.Less, KolmogorovSmirnovMethod.Asymptotic),
            ("ks_2samp_greater", Alternative.Greater, KolmogorovSmirnovMethod.Asymptotic),
        })
        {
            if (golden.GetProperty("expected").TryGetProperty(key, out var expected))
            {
                var result = KolmogorovSmirnov.Test(x, y, alternative, method);
                Goldens.Close(expected.Number("statistic"), result.Statistic, what: key);
                Goldens.Close(expected.Number("pvalue"), result.PValue, 1e-7, what: key);
                compared++;
            }
        }

        Assert.True(compared >= 4);
    }

    [Theory, MemberData(nameof(TwoSampleNames))]
    public void Wasserstein_distance_matches_the_reference(string name)
    {
        var golden = Goldens.Case(TwoSample, name);
        var (x, y) = (golden.Numbers("x"), golden.Numbers("y"));
        var expected = golden.GetProperty("expected");

        Goldens.Close(expected.Number("wasserstein"), Wasserstein.Distance(x, y));
        Goldens.Close(expected.Number("wasserstein_normed_by_ref_std"), Wasserstein.NormedDistance(x, y));
    }

    [Theory, MemberData(nameof(BinnedNames))]
    public void Binned_distances_match_the_reference_over_given_edges(string name)
    {
        var golden = Goldens.Case(Binned, name);
        var pair = Goldens.Case(TwoSample, golden.GetProperty("pair").GetString()!);
        var (x, y, edges) = (pair.Numbers("x"), pair.Numbers("y"), golden.Numbers("edges"));
        var expected = golden.GetProperty("expected");

        var (countsX, countsY) = (Histogram.Count(x, edges), Histogram.Count(y, edges));
        Assert.Equal(golden.Counts("counts_x"), countsX);
        Assert.Equal(golden.Counts("counts_y"), countsY);
        var streamed = new NumericHistogram(edges);
        streamed.Add(x);
        Assert.Equal(countsX, streamed.BinCounts);
        Assert.Equal(x.Length, streamed.ValueCount);

        double[] p = [.. countsX.Select(c => (double)c / x.Length)];
        double[] q = [.. countsY.Select(c => (double)c / y.Length)];
        Goldens.Close(expected.Number("psi_evidently_zero_fill"), Divergence.Psi(p, q, ZeroFill.PerSide), what: "psi per side");
        Goldens.Close(expected.Number("psi_floor_1e6"), Divergence.Psi(p, q, ZeroFill.FloorMillionth), what: "psi floor");
        Goldens.Close(expected.Number("kl_ref_cur_evidently"), Divergence.KullbackLeibler(p, q), what: "kl");
        Goldens.Close(expected.Number("js_distance_base_e"), Divergence.JensenShannonDistance(p, q), 1e-9, 1e-7, "js e");
        Goldens.Close(expected.Number("js_distance_base_2"), Divergence.JensenShannonDistance(p, q, 2), 1e-9, 1e-7, "js 2");
        Goldens.Close(expected.Number("hellinger"), Divergence.Hellinger(p, q), 1e-9, 1e-7, "hellinger");
        Goldens.Close(expected.Number("linf"), Divergence.LInfinity(p, q), what: "linf");
        Goldens.Close(expected.Number("tvd"), Divergence.TotalVariation(p, q), what: "tvd");
    }

    // The binning rules under test are those of the reference tool: Sturges edges over both samples when the reference has more
    // than 20 distinct values, one bin per distinct value otherwise; Hellinger: Sturges edges over the set of distinct values.
    [Theory, MemberData(nameof(NumericNames))]
    public void Numeric_drift_scores_match_the_reference_tool(string name)
    {
        var golden = Goldens.Case(Evidently, name);
        var (reference, current) = (golden.Numbers("reference"), golden.Numbers("current"));
        var expected = golden.GetProperty("expected");
        var tolerance = name == "large_magnitude" ? 1e-5 : 1e-7;
        void Score(string test, double score) =>
            Goldens.Close(expected.GetProperty(test).Number("score"), score, tolerance, 1e-7, $"{name} {test}");

        double[] distinct = [.. reference.Union(current).Order()];
        var (r, c) = reference.Distinct().Count() > 20
            ? Counted(Histogram.SturgesEdges(reference, current))
            : (CountEach(reference), CountEach(current));
        Score("psi", Divergence.Psi(r, c));
        Score("kl_div", Divergence.KullbackLeibler(r, c));
        Score("jensenshannon", Divergence.JensenShannonDistance(r, c));
        var (hellingerR, hellingerC) = Counted(Histogram.SturgesEdges(distinct));
        Score("hellinger", Divergence.Hellinger(hellingerR, hellingerC));
        Score("ks", KolmogorovSmirnov.Test(reference, current).PValue);
        Score("wasserstein", Wasserstein.NormedDistance(reference, current));

        (long[], long[]) Counted(double[] edges) => (Histogram.Count(reference, edges), Histogram.Count(current, edges));
        long[] CountEach(double[] sample) => [.. distinct.Select(v => (long)sample.Count(s => s == v))];
    }

    [Theory, MemberData(nameof(CategoricalNames))]
    public void Categorical_drift_scores_match_the_reference_tool(string name)
    {
        var golden = Goldens.Case(Evidently, name);
        var (reference, current) = (Categories(golden.GetProperty("reference")), Categories(golden.GetProperty("current")));
        var expected = golden.GetProperty("expected");
        void Score(string test, double score) =>
            Goldens.Close(expected.GetProperty(test).Number("score"), score, 1e-7, 1e-12, $"{name} {test}");

        var aligned = CategoryCounts.Align(reference, current);
        var (r, c) = (aligned.Reference, aligned.Current);
        Score("psi", Divergence.Psi(r, c));
        Score("kl_div", Divergence.KullbackLeibler(r, c));
        Score("jensenshannon", Divergence.JensenShannonDistance(r, c));
        Score("hellinger", Divergence.Hellinger(r, c));
        Score("chisquare", ChiSquaredTest.AgainstScaledReference(r, c).PValue);
        Score("z", Proportion.TwoProportionZ(r[0], r.Sum(), c[0], c.Sum()).PValue);
    }

    [Fact]
    public void Distances_equal_the_published_values_for_two_small_distributions()
    {
        double[] p = [0.25, 0.25, 0.25, 0.25];
        double[] q = [0.4, 0.3, 0.2, 0.1];

        Assert.Equal(0.2282174096, Divergence.Psi(p, q), 1e-10);
        Assert.Equal(0.2005033225, Divergence.JensenShannonDistance(p, q, 2), 1e-10);
        Assert.Equal(0.1678995964, Divergence.Hellinger(p, q), 1e-10);
    }

    [Theory]
    [Trait("capability", "MON-06")]
    [InlineData(0, DriftBand.Ok)]
    [InlineData(0.0999999, DriftBand.Ok)]
    [InlineData(0.1, DriftBand.Investigate)]
    [InlineData(0.2, DriftBand.Investigate)]
    [InlineData(0.2000001, DriftBand.Act)]
    [InlineData(double.PositiveInfinity, DriftBand.Act)]
    public void Stability_index_falls_into_three_bands(double psi, DriftBand band) => Assert.Equal(band, PsiBands.Default.Of(psi));

    [Fact]
    public void A_negative_or_missing_stability_index_has_no_band()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => PsiBands.Default.Of(double.NaN));
        Assert.Throws<ArgumentOutOfRangeException>(() => PsiBands.Default.Of(-0.1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PsiBands(0.3, 0.2));
    }

    [Fact]
    public void Empty_samples_and_missing_values_are_refused()
    {
        Assert.Throws<ArgumentException>(() => KolmogorovSmirnov.Test([], [1.0]));
        Assert.Throws<ArgumentException>(() => KolmogorovSmirnov.Test([1.0], [double.NaN]));
        Assert.Throws<ArgumentException>(() => Wasserstein.Distance([1.0], []));
        Assert.Throws<ArgumentException>(() => Divergence.Psi([0L, 0L], [1L, 2L]));
        Assert.Throws<ArgumentException>(() => Divergence.Psi([1L, 1L], [1L]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Divergence.Psi([1L, -1L], [1L, 1L]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Divergence.Psi([0.5, double.NaN], [0.5, 0.5]));
    }

    [Fact]
    public void Kolmogorov_Smirnov_compares_only_after_all_ties_are_passed()
    {
        Assert.Equal(1.0 / 3, KolmogorovSmirnov.Test([1.0], [1.0, 1.0, 2.0]).Statistic, 1e-15);
        Assert.Equal(0, KolmogorovSmirnov.Test([0.0, 1.0], [-0.0, 1.0]).Statistic);
    }

    [Fact]
    public void Exact_one_sided_probability_counts_the_merges_of_two_tiny_samples()
    {
        // Of the 6 merges of two and two, only 'first sample entirely below the second' reaches a distance of 1.
        var result = KolmogorovSmirnov.Test([1.0, 2], [3.0, 4], Alternative.Greater, KolmogorovSmirnovMethod.Exact);

        Assert.Equal(1, result.Statistic);
        Assert.Equal(1.0 / 6, result.PValue, 1e-15);
        Assert.Equal(1, KolmogorovSmirnov.Test([1.0, 2], [3.0, 4], Alternative.Less, KolmogorovSmirnovMethod.Exact).PValue);
    }

    private static CategoryCounts Categories(JsonElement values)
    {
        var counts = new CategoryCounts();
        foreach (var value in values.EnumerateArray())
        {
            counts.Add(value.ToString());
        }

        return counts;
    }
}
