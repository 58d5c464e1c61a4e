namespace Slipway.Bench;

/// <summary>What to measure, and for how long.</summary>
internal sealed record BenchSettings
{
    /// <summary>Each round measures every contestant once, one after the other; figures are medians over rounds.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>Length of one load of one contestant.</summary>
    public int Seconds { get; init; } = 4;

    /// <summary>Length of the load under which memory is looked at.</summary>
    public int Minutes { get; init; } = 10;

    /// <summary>Loads before the first that counts, a quarter of a minute in all: the runtime compiles hot code anew, from what it has seen, for that long.</summary>
    public int WarmUps => Math.Max(1, (15 + Seconds - 1) / Seconds);

    /// <summary>Open connections of the load generator; each has one request under way.</summary>
    public int Connections { get; init; } = 32;

    /// <summary>Servers on the first processor, the load generator on the last, so that they do not take time from each other.</summary>
    public bool Pin { get; init; }

    /// <summary>Entity rows of the point-in-time join.</summary>
    public int Labels { get; init; } = 1_000_000;

    /// <summary>Feature rows of the point-in-time join.</summary>
    public int Readings { get; init; } = 10_000_000;

    /// <summary>The checkout.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>What a run leaves behind for the next: the server's data and the generated rows.</summary>
    public static string Folder { get; } = Directory.CreateDirectory(Path.Combine(Root, "artifacts", "bench")).FullName;

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count % 2 == 1 ? sorted[sorted.Count / 2] : (sorted[(sorted.Count / 2) - 1] + sorted[sorted.Count / 2]) / 2;
    }

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Slipway.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new DirectoryNotFoundException("The benchmarks run from inside a checkout: no Slipway.slnx above them.");
    }
}
