using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Statistics;
using Slipway.Statistics.Drift;
using Slipway.Statistics.Histograms;

namespace Slipway.Monitoring.Drift;

/// <summary>Drift of one window from its reference, from counts alone.</summary>
internal static class DriftEvaluation
{
    public const string Psi = "psi";
    public const string Ks = "ks";
    public const string KsP = "ks_p";
    public const string NullShare = "null_share";

    /// <summary>The readings of all watched features and of the prediction.</summary>
    /// <param name="layout">The bins.</param>
    /// <param name="reference">Reference counts in these bins.</param>
    /// <param name="counts">The window's counts.</param>
    /// <param name="rows">The window's rows.</param>
    /// <param name="monitor">Limits.</param>
    public static IReadOnlyList<Reading> Evaluate(BinLayout layout, long[] reference, long[] counts, long rows, MonitorDefinition monitor)
    {
        var readings = new List<Reading>(layout.Subjects * 4);
        for (var i = 0; i < layout.Subjects; i++)
        {
            var subject = layout.Subject(i);
            if (i < layout.Features.Count && !monitor.Watches(subject))
            {
                continue;
            }

            var r = reference.AsSpan(layout.Slots(i));
            var c = counts.AsSpan(layout.Slots(i));
            if (Sum(r) == 0 || Sum(c) == 0)
            {
                continue;
            }

            var psi = PsiOf(r, c);
            var band = rows < monitor.MinRows ? MonitorBand.Insufficient : BandOf(psi, monitor);
            readings.Add(new Reading(subject, Psi, psi, band, rows, band == MonitorBand.Act ? monitor.PsiAct : monitor.PsiInvestigate));
            readings.Add(new Reading(subject, NullShare, (double)c[^1] / Sum(c), MonitorBand.None, rows));
            if (KsOf(layout.Edges(i), r, c) is { } ks)
            {
                readings.Add(new Reading(subject, Ks, ks.Statistic, MonitorBand.None, rows));
                readings.Add(new Reading(subject, KsP, ks.PValue, MonitorBand.None, rows));
            }
        }

        return readings;
    }

    /// <summary>ok below the lower limit, act from the upper limit on.</summary>
    public static MonitorBand BandOf(double psi, MonitorDefinition monitor) =>
        psi < monitor.PsiInvestigate ? MonitorBand.Ok : psi < monitor.PsiAct ? MonitorBand.Investigate : MonitorBand.Act;

    /// <summary>Missing values are one more bin when either side has any; otherwise the bin is left out.</summary>
    public static double PsiOf(ReadOnlySpan<long> reference, ReadOnlySpan<long> counts)
    {
        var bins = reference[^1] == 0 && counts[^1] == 0 ? reference.Length - 1 : reference.Length;
        return Divergence.Psi(reference[..bins], counts[..bins], ZeroFill.PerSide);
    }

    /// <summary>The largest gap of the two distribution functions at the edges, over the values present; null when a side has none.</summary>
    public static TestResult? KsOf(ReadOnlySpan<double> edges, ReadOnlySpan<long> reference, ReadOnlySpan<long> counts)
    {
        var r = reference[..^1];
        var c = counts[..^1];
        var (n, m) = (Sum(r), Sum(c));
        if (n == 0 || m == 0)
        {
            return null;
        }

        var statistic = edges.Length == 0 ? 0 : BinnedDistance.KolmogorovSmirnov(Restore(edges, r), Restore(edges, c));

        return new TestResult(statistic, PValueOf(statistic, n, m));
    }

    // The exact law costs the product of the sizes, the asymptotic one their sum: too slow where each hour asks for a dozen.
    // Far out the bound of Massart (1990), 2 exp(-2 n d²), says the same: nothing there is decided by the digits.
    private static double PValueOf(double statistic, long reference, long current)
    {
        var effective = reference * (double)current / (reference + current);
        var exponent = effective * statistic * statistic;
        return exponent > 8 ? 2 * Math.Exp(-2 * exponent) : KolmogorovSmirnov.PValue(statistic, reference, current, Alternative.TwoSided, KolmogorovSmirnovMethod.Asymptotic);
    }

    public static long Sum(ReadOnlySpan<long> counts)
    {
        var sum = 0L;
        foreach (var count in counts)
        {
            sum += count;
        }

        return sum;
    }

    // The open bins at both ends are the histogram's under- and overflow. A single edge is written twice, with an empty bin between.
    private static NumericHistogram Restore(ReadOnlySpan<double> edges, ReadOnlySpan<long> counts) => edges.Length == 1
        ? NumericHistogram.Restore([edges[0], edges[0]], [counts[0], 0, counts[1]], 0)
        : NumericHistogram.Restore(edges, counts, 0);
}
