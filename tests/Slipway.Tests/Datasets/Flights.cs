using System.Runtime.CompilerServices;

namespace Slipway.Tests.Datasets;

/// <summary>The example that users copy, as the tests find it.</summary>
internal static class Flights
{
    public static string Folder { get; } = Path.Combine(Repository(), "examples", "flights");

    public static string ParquetPath { get; } = Path.Combine(Repository(), "native", "node_modules", "vega-datasets", "data", "flights-3m.parquet");

    public static string Definition(string name) => Path.Combine(Folder, name);

    private static string Repository([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));
}
