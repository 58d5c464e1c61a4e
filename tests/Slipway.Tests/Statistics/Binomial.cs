using System.Collections.Concurrent;

namespace Slipway.Tests.Statistics;

/// <summary>Binomial draws by inversion of a table kept per (n, p).</summary>
internal static class Binomial
{
    private static readonly ConcurrentDictionary<(int N, double P), double[]> Tables = [];

    public static int Draw(int n, double p, Random random)
    {
        var table = Tables.GetOrAdd((n, p), static key => Cumulative(key.N, key.P));
        var index = Array.BinarySearch(table, random.NextDouble());
        return Math.Min(n, index < 0 ? ~index : index + 1);
    }

    private static double[] Cumulative(int n, double p)
    {
        var table = new double[n + 1];
        var probability = Math.Exp(n * Math.Log(1 - p));
        var sum = 0.0;
        for (var k = 0; k <= n; k++)
        {
            sum += probability;
            table[k] = sum;
            probability *= (n - k) * p / ((k + 1) * (1 - p));
        }

        return table;
    }
}
