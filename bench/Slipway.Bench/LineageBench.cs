using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Storage;

namespace Slipway.Bench;

/// <summary>Every question about lineage on a graph of a million edges, on the database that was named.</summary>
internal static class LineageBench
{
    private const double LimitMs = 50;

    public static async Task<int> RunAsync(string[] args)
    {
        var (rounds, database) = (50, (string?)null);
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--rounds" when i + 1 < args.Length && int.TryParse(args[i + 1], CultureInfo.InvariantCulture, out rounds) && rounds > 0: i++; break;
                case "--database" when i + 1 < args.Length: database = args[++i]; break;
                default:
                    Console.Error.WriteLine("usage: bench/lineage.sh [--rounds N] [--database postgresql://…]");
                    return 2;
            }
        }

        var data = Path.Combine(BenchSettings.Folder, "lineage");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        var services = new ServiceCollection();
        services.AddLogging();
        services.AddSlipwayStorage(StorageOptions.Resolve(data, database));
        await using var provider = services.BuildServiceProvider();
        var store = provider.GetRequiredService<Database>();
        var lineage = provider.GetRequiredService<Lineage>();
        var watch = Stopwatch.StartNew();
        var graph = await LineageData.WriteAsync(store);
        Console.WriteLine($"{store.Location}: {graph.Count:N0} edges between {graph.NodeCount:N0} nodes, written in {watch.Elapsed.TotalSeconds:0} s; load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        Console.WriteLine($"  {"",-64}{"met",8}{"min ms",9}{"median",9}{"p95",9}");
        var slow = 0;
        foreach (var (name, ask) in Questions(lineage))
        {
            var met = ask(); // The first also plans the statement and reads the pages.
            var times = new double[rounds];
            for (var i = 0; i < rounds; i++)
            {
                var start = Stopwatch.GetTimestamp();
                ask();
                times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }

            Array.Sort(times);
            var (median, p95) = (BenchSettings.Median(times), times[(int)(0.95 * (rounds - 1))]);
            var counts = !name.Contains("10,000", StringComparison.Ordinal); // Who asks for ten times the default bound waits longer.
            slow += counts && p95 > LimitMs ? 1 : 0;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {name,-64}{met,8:N0}{times[0],9:0.00}{median,9:0.00}{p95,9:0.00}{(counts && p95 > LimitMs ? "  over 50 ms" : "")}"));
        }

        return slow == 0 ? 0 : 1;
    }

    private static IEnumerable<(string Name, Func<int> Ask)> Questions(Lineage lineage)
    {
        Func<int> Walk(NodeRef start, LineageDirection direction, int limit = 1000, int? depth = null, LineageScope scope = LineageScope.Making) =>
            () => lineage.Walk([start], direction, limit, depth, scope).Nodes.Count;
        var version = LineageData.Version(400, 9);
        yield return ("upstream of a version", Walk(version, LineageDirection.Upstream));
        yield return ("upstream of a version, with its history", Walk(version, LineageDirection.Upstream, scope: LineageScope.History));
        yield return ("upstream of a version, with its history, 10,000 nodes", Walk(version, LineageDirection.Upstream, 10_000, scope: LineageScope.History));
        yield return ("upstream of the last of 5,000 versions, with its history", Walk(new NodeRef(NodeKinds.ModelVersion, "old@1.5000.0"), LineageDirection.Upstream, 10_000, scope: LineageScope.History));
        yield return ("upstream of the last of 2,000 models made from each other", Walk(new NodeRef(NodeKinds.ModelVersion, "tuned-2000@1.0.0"), LineageDirection.Upstream, 10_000));
        yield return ("downstream of a rare view", Walk(LineageData.View(470, 2), LineageDirection.Downstream));
        yield return ("downstream of the view that all share, 1,000 nodes", Walk(LineageData.View(0, 1), LineageDirection.Downstream));
        yield return ("downstream of the view that all share, 10,000 nodes", Walk(LineageData.View(0, 1), LineageDirection.Downstream, 10_000));
        yield return ("downstream of the dataset that most share, 10,000 nodes", Walk(LineageData.Dataset(0, 5), LineageDirection.Downstream, 10_000));
        yield return ("the same to a depth of 2, 10,000 nodes", Walk(LineageData.Dataset(0, 5), LineageDirection.Downstream, 10_000, depth: 2));
        var live = Enumerable.Range(0, 1000).Select(model => LineageData.Version(model, 9)).ToList();
        Func<int> Impact(NodeRef changed) => () => lineage.VersionsMadeFrom([changed], live, 200).Total;
        yield return ("impact of the view that all share: versions, 1,000 live ones first", Impact(LineageData.View(0, 1)));
        yield return ("impact of the dataset that most share", Impact(LineageData.Dataset(0, 5)));
        yield return ("impact of a rare view", Impact(LineageData.View(470, 2)));
        yield return ("round a ring of 1,000", Walk(new NodeRef(NodeKinds.Run, "ring-3"), LineageDirection.Downstream, 10_000));
        Func<int> Path(NodeRef from, NodeRef to) => () => lineage.FindPath(from, to).Edges.Count;
        yield return ("path from a dataset to a deployment", Path(LineageData.Dataset(0, 5), new NodeRef(NodeKinds.Deployment, "400-9")));
        yield return ("path along 2,000 models", Path(new NodeRef(NodeKinds.ModelVersion, "tuned-0@1.0.0"), new NodeRef(NodeKinds.ModelVersion, "tuned-2000@1.0.0")));
        yield return ("path along 5,000 versions (history)", Path(new NodeRef(NodeKinds.ModelVersion, "old@1.1.0"), new NodeRef(NodeKinds.ModelVersion, "old@1.5000.0")));
        yield return ("no path: a deployment to a view", Path(new NodeRef(NodeKinds.Deployment, "400-9"), LineageData.View(0, 1)));
        yield return ("no path: a shared view to the ring", Path(LineageData.View(0, 1), new NodeRef(NodeKinds.Run, "ring-3")));
    }
}
