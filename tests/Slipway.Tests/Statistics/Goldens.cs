using System.Globalization;
using System.Text.Json;

namespace Slipway.Tests.Statistics;

/// <summary>Reads golden files: numbers, with the strings "inf", "-inf" and "nan" for what JSON cannot write.</summary>
internal static class Goldens
{
    private static readonly Dictionary<string, JsonElement[]> Loaded = [];
    private static readonly Lock Gate = new();

    public static JsonElement[] Cases(string file)
    {
        lock (Gate)
        {
            if (!Loaded.TryGetValue(file, out var cases))
            {
                using var document = JsonDocument.Parse(File.ReadAllBytes(SharedFiles.Golden(file)));
                Loaded[file] = cases = [.. document.RootElement.GetProperty("cases").EnumerateArray().Select(c => c.Clone())];
            }

            return cases;
        }
    }

    public static JsonElement Case(string file, string name) =>
        Cases(file).Single(c => c.GetProperty("name").GetString() == name);

    public static TheoryData<string> Names(string file, Func<JsonElement, bool>? where = null) =>
        [.. Cases(file).Where(c => where is null || where(c)).Select(c => c.GetProperty("name").GetString()!)];

    public static double Number(this JsonElement element) => element.ValueKind == JsonValueKind.Number
        ? element.GetDouble()
        : element.GetString() switch
        {
            "inf" => double.PositiveInfinity,
            "-inf" => double.NegativeInfinity,
            "nan" => double.NaN,
            var text => double.Parse(text!, CultureInfo.InvariantCulture),
        };

    public static double Number(this JsonElement element, string property) => element.GetProperty(property).Number();

    public static double[] Numbers(this JsonElement element, string property) =>
        [.. element.GetProperty(property).EnumerateArray().Select(Number)];

    public static long[] Counts(this JsonElement element, string property) =>
        [.. element.GetProperty(property).EnumerateArray().Select(c => c.GetInt64())];

    /// <summary>Relative tolerance, with an absolute floor near 0.</summary>
    public static void Close(double expected, double actual, double relative = 1e-9, double absolute = 1e-12, string? what = null)
    {
        var close = expected.Equals(actual) || Math.Abs(expected - actual) <= Math.Max(absolute, relative * Math.Abs(expected));
        Assert.True(close, string.Create(CultureInfo.InvariantCulture, $"{what}: expected {expected:R}, got {actual:R}."));
    }
}
