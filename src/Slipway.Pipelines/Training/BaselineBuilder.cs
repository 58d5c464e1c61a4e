using Slipway.Contracts.Monitoring;
using Slipway.Statistics;
using Slipway.Statistics.Histograms;

namespace Slipway.Pipelines.Training;

/// <summary>Makes the histograms that drift and skew checks compare live traffic with.</summary>
internal static class BaselineBuilder
{
    private const int ValuesAsBinsMax = 20;
    private const int PredictionBins = 20;

    /// <summary>One feature over the rows trained on.</summary>
    public static FeatureBaseline OfFeature(ReadOnlySpan<double> values)
    {
        var present = new double[values.Length];
        var count = 0;
        var moments = new RunningMoments();
        foreach (var value in values)
        {
            if (double.IsFinite(value))
            {
                present[count++] = value;
                moments.Add(value);
            }
        }

        var sorted = present.AsSpan(0, count);
        sorted.Sort();
        if (count == 0)
        {
            return new FeatureBaseline([], [0], values.Length, 0, 0, 0, 0);
        }

        var edges = Edges(sorted);
        return new FeatureBaseline(
            edges, Count(edges, sorted), values.Length - count, moments.Mean, count < 2 ? 0 : Math.Sqrt(moments.Variance), sorted[0], sorted[^1]);
    }

    /// <summary>Probabilities in bins of equal width.</summary>
    public static BaselineHistogram OfPredictions(ReadOnlySpan<double> predictions)
    {
        var edges = new double[PredictionBins - 1];
        for (var i = 0; i < edges.Length; i++)
        {
            edges[i] = (i + 1.0) / PredictionBins;
        }

        return new BaselineHistogram(edges, Count(edges, predictions));
    }

    // Few distinct values (an hour, a weekday) get a bin each; others get deciles. Edges that would leave a bin empty, because
    // one value fills several deciles, are left out.
    private static double[] Edges(ReadOnlySpan<double> sorted)
    {
        var distinct = new List<double>();
        foreach (var value in sorted)
        {
            if (distinct.Count == 0 || value != distinct[^1])
            {
                distinct.Add(value);
                if (distinct.Count > ValuesAsBinsMax)
                {
                    break;
                }
            }
        }

        if (distinct.Count <= ValuesAsBinsMax)
        {
            return [.. distinct.Skip(1).Zip(distinct, (upper, lower) => lower + (upper - lower) / 2)];
        }

        var (least, edges) = (sorted[0], new List<double>());
        foreach (var quantile in Histogram.QuantileEdges(sorted)[1..^1])
        {
            if (quantile > least && (edges.Count == 0 || quantile > edges[^1]))
            {
                edges.Add(quantile);
            }
        }

        return [.. edges];
    }

    private static long[] Count(double[] edges, ReadOnlySpan<double> values)
    {
        var counts = new long[edges.Length + 1];
        foreach (var value in values)
        {
            counts[BaselineHistogram.BinOf(edges, value)]++;
        }

        return counts;
    }
}
