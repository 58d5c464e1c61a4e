using Slipway.Statistics;
using Slipway.Statistics.Contingency;
using Slipway.Statistics.MultipleTesting;
using Slipway.Statistics.Proportions;

namespace Slipway.Tests.Statistics;

/// <summary>Tests on counts: contingency tables, proportions, and adjustment of many p-values.</summary>
public sealed class CountTests
{
    public static TheoryData<string> Tables { get; } = Goldens.Names("contingency.json");

    public static TheoryData<string> Pairs { get; } = Goldens.Names("proportions.json");

    [Theory, MemberData(nameof(Tables))]
    [Trait("capability", "MON-01")]
    public void Chi_squared_tests_match_the_reference(string name)
    {
        var golden = Goldens.Case("contingency.json", name);
        long[][] rows = [.. golden.GetProperty("table").EnumerateArray().Select(r => r.EnumerateArray().Select(c => c.GetInt64()).ToArray())];
        long[] table = [.. rows.SelectMany(r => r)];
        var columns = rows[0].Length;
        var expected = golden.GetProperty("expected");
        void Same(string key, ChiSquaredResult result)
        {
            Goldens.Close(expected.GetProperty(key).Number("statistic"), result.Statistic, what: key);
            Goldens.Close(expected.GetProperty(key).Number("pvalue"), result.PValue, what: key);
            Assert.Equal(expected.GetProperty(key).GetProperty("dof").GetInt32(), result.DegreesOfFreedom);
        }

        Same("chi2_contingency_correction_True", ChiSquaredTest.Independence(table, columns));
        Same("chi2_contingency_correction_False", ChiSquaredTest.Independence(table, columns, yatesCorrection: false));
        Same("g_test", ChiSquaredTest.LikelihoodRatio(table, columns));
        Goldens.Close(expected.Number("cramers_v"), ChiSquaredTest.CramersV(table, columns));
        if (expected.TryGetProperty("evidently_chisquare_cur_vs_scaled_ref", out var scaled))
        {
            var result = ChiSquaredTest.AgainstScaledReference(rows[0], rows[1]);
            Goldens.Close(scaled.Number("statistic"), result.Statistic);
            Goldens.Close(scaled.Number("pvalue"), result.PValue);
        }
    }

    [Fact]
    public void A_table_with_an_empty_row_or_wrong_shape_is_refused()
    {
        Assert.Throws<ArgumentException>(() => ChiSquaredTest.Independence([1, 2, 0, 0], 2));
        Assert.Throws<ArgumentException>(() => ChiSquaredTest.Independence([1, 2, 3], 2));
        Assert.Throws<ArgumentOutOfRangeException>(() => ChiSquaredTest.Independence([1, 2, -3, 4], 2));
        Assert.Throws<ArgumentException>(() => ChiSquaredTest.AgainstScaledReference([0, 0], [1, 2]));
    }

    [Theory, MemberData(nameof(Pairs))]
    public void Proportion_tests_and_intervals_match_the_reference(string name)
    {
        var golden = Goldens.Case("proportions.json", name);
        long Count(string key) => golden.GetProperty(key).GetInt64();
        var (x1, n1, x2, n2) = (Count("x1"), Count("n1"), Count("x2"), Count("n2"));
        var expected = golden.GetProperty("expected");
        void SameTest(string key, Alternative alternative)
        {
            var result = Proportion.TwoProportionZ(x1, n1, x2, n2, alternative);
            Goldens.Close(expected.GetProperty(key).Number("z"), result.Statistic, what: key);
            Goldens.Close(expected.GetProperty(key).Number("pvalue"), result.PValue, what: key);
        }

        void SameInterval(string key, Interval interval, double tolerance)
        {
            var ends = expected.Numbers(key);
            Goldens.Close(ends[0], interval.Lower, tolerance, what: key);
            Goldens.Close(ends[1], interval.Upper, tolerance, what: key);
        }

        SameTest("ztest_pooled_two-sided", Alternative.TwoSided);
        SameTest("ztest_pooled_smaller", Alternative.Less);
        SameTest("ztest_pooled_larger", Alternative.Greater);
        SameInterval("ci95_arm2_wilson", Proportion.WilsonInterval(x2, n2), 1e-9);
        SameInterval("ci95_arm2_beta", Proportion.ClopperPearsonInterval(x2, n2), 1e-8);
        SameInterval("ci95_arm2_jeffreys", Proportion.JeffreysInterval(x2, n2), 1e-8);
        SameInterval("diff_ci95_newcomb", Proportion.NewcombeDifferenceInterval(x1, n1, x2, n2), 1e-9);
    }

    // Newcombe (1998), Table I, method 3.
    [Theory]
    [InlineData(81, 263, 0.2553, 0.3662)]
    [InlineData(0, 20, 0.0000, 0.1611)]
    public void Wilson_interval_matches_the_published_table(long successes, long trials, double lower, double upper)
    {
        var interval = Proportion.WilsonInterval(successes, trials);

        Assert.Equal(lower, interval.Lower, precision: 4);
        Assert.Equal(upper, interval.Upper, precision: 4);
    }

    [Fact]
    public void Counts_outside_their_range_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Proportion.WilsonInterval(1, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Proportion.WilsonInterval(-1, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => Proportion.WilsonInterval(6, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => Proportion.WilsonInterval(1, 5, double.NaN));
    }

    [Theory]
    [InlineData("bonferroni", MultipleTestingMethod.Bonferroni)]
    [InlineData("holm", MultipleTestingMethod.Holm)]
    [InlineData("fdr_bh", MultipleTestingMethod.BenjaminiHochberg)]
    [InlineData("fdr_by", MultipleTestingMethod.BenjaminiYekutieli)]
    public void Adjusted_p_values_match_the_reference(string key, MultipleTestingMethod method)
    {
        foreach (var golden in Goldens.Cases("multiple_testing.json"))
        {
            var expected = golden.GetProperty("expected").GetProperty(key);

            var adjusted = AdjustedPValues.Adjust(golden.Numbers("pvalues"), method);

            foreach (var (want, got) in expected.Numbers("adjusted").Zip(adjusted))
            {
                Goldens.Close(want, got, 1e-12);
            }

            Assert.Equal(expected.GetProperty("reject").EnumerateArray().Select(r => r.GetBoolean()), adjusted.Select(p => p <= 0.05));
        }
    }
}
