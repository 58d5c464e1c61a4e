using System.Globalization;
using Slipway.Contracts.Registry;

namespace Slipway.Cli.Commands;

/// <summary>What is known of a version's files and cost, one line each.</summary>
internal static class ProfileLines
{
    public static IEnumerable<string> Of(ModelVersionRecord record)
    {
        if (record.Profile is not { } profile)
        {
            yield break;
        }

        yield return $"Format: {record.Format.ToString().ToLowerInvariant()}{(profile.Framework is { } framework ? $", made by {framework}" : "")}";
        if (record.Files.Count > 0)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"Files: {record.Files.Count}, {record.SizeBytes:N0} bytes, manifest sha256 {profile.ManifestSha256}");
        }

        if (profile.External is { } external)
        {
            yield return $"Run by {external.Provider} as {external.ModelId}; licence {external.Licence ?? "unknown"}; terms {external.TermsUrl ?? "unknown"}";
        }

        if (profile.Conversion is { } conversion)
        {
            yield return string.Create(CultureInfo.InvariantCulture,
                $"Converted from {conversion.From} ({conversion.Trees} trees): {conversion.Rows:N0} rows ({conversion.RowsFrom}) differ by at most {conversion.LargestDifference:0.##E+0}{(conversion.Library is { } library ? $", from {library} itself by {conversion.LibraryLargestDifference:0.##E+0}" : "")}; tolerance {conversion.Tolerance:0.##E+0}");
        }

        foreach (var pickle in profile.Pickles)
        {
            yield return $"Pickle {pickle.Path} imports {pickle.Globals.Count} names{(pickle.Dangerous.Count > 0 ? $"; DANGEROUS: {string.Join(", ", pickle.Dangerous)}" : "")}{(pickle.Whole ? "" : "; its opcodes could not be followed to the end")}";
        }

        if (profile.NotServed is { } notServed)
        {
            foreach (var line in $"Not served here: {notServed}".Split('\n'))
            {
                yield return line;
            }
        }

        if (profile.Benchmark is { Fault: { } fault })
        {
            yield return $"Benchmark: none, because {fault}";
        }
        else if (profile.Benchmark is { } benchmark)
        {
            yield return string.Create(CultureInfo.InvariantCulture,
                $"Benchmark: one row p50 {benchmark.LatencyUsP50:0.#} µs, p95 {benchmark.LatencyUsP95:0.#} µs, p99 {benchmark.LatencyUsP99:0.#} µs; {benchmark.RowsPerSecondBatch64:N0} rows/s in batches of 64; loads in {benchmark.LoadMs:0.#} ms; {benchmark.PeakMemoryBytes / 1e6:0.#} MB memory; {benchmark.SizeBytes:N0} bytes");
        }

        foreach (var line in profile.Variant is { } variant ? Of(variant) : [])
        {
            yield return line;
        }

        if (profile.LoadTest is { } load)
        {
            yield return string.Create(CultureInfo.InvariantCulture,
                $"Load test: {(load.SafeRate is { } safe ? $"{safe:0.#} req/s" : "no rate")} held within p95 {load.P95MsMax:0.#} ms and {load.ErrorShareMax:P1} errors; measured {load.MeasuredAt:u} by {load.MeasuredBy}");
        }
    }

    private static IEnumerable<string> Of(VariantReport variant)
    {
        yield return string.Create(CultureInfo.InvariantCulture,
            $"Variant of {variant.Of} ({variant.Kind.ToString().ToLowerInvariant()}{(variant.Weights is { } weights ? $", {weights} matrices as 8-bit integers" : "")}), both run on {variant.Rows:N0} rows ({variant.RowsFrom}):");
        foreach (var output in variant.Answers)
        {
            yield return string.Create(CultureInfo.InvariantCulture,
                $"  {output.Output}: {output.Unequal:N0} of {output.Values:N0} values differ, by {output.Mean:0.##E+0} in the mean and {output.Largest:0.##E+0} at most, of answers {output.Spread:0.####} apart");
        }

        var (before, after) = (variant.Before, variant.After);
        yield return string.Create(CultureInfo.InvariantCulture,
            $"  before {before.SizeBytes:N0} bytes, one row p50 {before.LatencyUsP50:0.#} µs, p95 {before.LatencyUsP95:0.#} µs, {before.RowsPerSecondBatch64:N0} rows/s in batches of 64, loads in {before.LoadMs:0.#} ms");
        yield return string.Create(CultureInfo.InvariantCulture,
            $"  after  {after.SizeBytes:N0} bytes, one row p50 {after.LatencyUsP50:0.#} µs, p95 {after.LatencyUsP95:0.#} µs, {after.RowsPerSecondBatch64:N0} rows/s in batches of 64, loads in {after.LoadMs:0.#} ms");
    }
}
