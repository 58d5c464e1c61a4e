using System.Text;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage.Blobs;
using Slipway.Storage.Configs;

namespace Slipway.Tracking.Configs;

/// <summary>Compares the configuration that runs keep under <c>config/</c>: JSON and YAML value by value, other texts line by line.</summary>
public sealed class ConfigComparer(RunStore runs, BlobStore blobs)
{
    private const int BytesMax = 256 * 1024;
    private const int FilesMax = 100;
    private const int ChangesMax = 500;
    private const int ValueMax = 500;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Compares two runs.</summary>
    /// <param name="runA">The run compared with.</param>
    /// <param name="runB">The run compared.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="SlipwayException">NotFound: a run.</exception>
    public async Task<ConfigComparison> CompareAsync(string runA, string runB, CancellationToken cancellationToken)
    {
        var (a, b) = (Files(runs.Get(runA)), Files(runs.Get(runB)));
        var paths = a.Keys.Union(b.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal).ToList();
        var files = new List<ConfigFileComparison>();
        foreach (var path in paths.Take(FilesMax))
        {
            files.Add(await CompareAsync(path, a.GetValueOrDefault(path), b.GetValueOrDefault(path), cancellationToken));
        }

        return new ConfigComparison(runA, runB, Summary(files, paths.Count), files);
    }

    private static string Summary(List<ConfigFileComparison> files, int paths)
    {
        if (files.Count == 0)
        {
            return $"Neither run has a file under {ConfigComparison.Folder}; log one there, as with log_artifact(path, \"config\") or LogConfigAsync.";
        }

        var differing = files.Count(file => file.State is not ConfigState.Same);
        var values = files.Sum(file => file.Changes.Count);
        var unread = paths > files.Count ? $" Only the first {files.Count} of {paths} files were looked at." : "";
        return differing == 0
            ? $"The configuration is the same: {files.Count} {(files.Count == 1 ? "file" : "files")}.{unread}"
            : $"{differing} of {files.Count} {(files.Count == 1 ? "file" : "files")} {(differing == 1 ? "differs" : "differ")}, in {values} {(values == 1 ? "place" : "places")}.{unread}";
    }

    private static Dictionary<string, RunArtifact> Files(RunRecord run) =>
        run.Artifacts.Where(file => file.Path.StartsWith(ConfigComparison.Folder, StringComparison.Ordinal)).ToDictionary(file => file.Path, StringComparer.Ordinal);

    private async Task<ConfigFileComparison> CompareAsync(string path, RunArtifact? a, RunArtifact? b, CancellationToken cancellationToken)
    {
        if (a is null || b is null)
        {
            return new ConfigFileComparison(path, a is null ? ConfigState.Added : ConfigState.Removed, null, [], null);
        }

        if (a.Sha256 == b.Sha256)
        {
            return new ConfigFileComparison(path, ConfigState.Same, null, [], null);
        }

        if (Math.Max(a.SizeBytes, b.SizeBytes) > BytesMax)
        {
            return Unread(path, $"It has more than {BytesMax / 1024} KiB: download both and compare them with a tool of your own.");
        }

        try
        {
            return Compare(path, await blobs.ReadVerifiedAsync(a.Sha256, cancellationToken), await blobs.ReadVerifiedAsync(b.Sha256, cancellationToken));
        }
        catch (DecoderFallbackException)
        {
            return Unread(path, "It is not UTF-8 text.");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound or ErrorCode.FailedPrecondition)
        {
            return Unread(path, e.Message); // The bytes are gone or were changed.
        }
    }

    private static ConfigFileComparison Compare(string path, byte[] bytesA, byte[] bytesB)
    {
        var (textA, textB) = (Text(bytesA), Text(bytesB));
        string? note = null;
        if (Format(path) is { } format)
        {
            var (valuesA, valuesB) = (Flat(format, textA, out var faultA), Flat(format, textB, out var faultB));
            if (valuesA is not null && valuesB is not null)
            {
                var changes = Changes(valuesA, valuesB);
                return Bounded(path, format, changes, changes.Count == 0 ? "The values are the same: only order, layout or comments differ." : null);
            }

            note = $"Compared line by line, because in run {(faultA is null ? "b" : "a")} {faultA ?? faultB}.";
        }

        return LineDiff.Of(textA, textB) is { } lines
            ? Bounded(path, "text", lines, note ?? (lines.Count == 0 ? "Only the ends of lines differ." : null))
            : Unread(path, $"{(note is null ? "" : note + " ")}It differs in more than {LineDiff.LinesMax} lines: download both and compare them with a tool of your own.");
    }

    private static string? Format(string path) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".json" => "json",
        ".yaml" or ".yml" => "yaml",
        _ => null,
    };

    private static IReadOnlyDictionary<string, string>? Flat(string format, string text, out string? fault) =>
        format == "json" ? FlatConfig.Json(Encoding.UTF8.GetBytes(text), out fault) : FlatConfig.Yaml(text, out fault);

    private static List<ConfigChange> Changes(IReadOnlyDictionary<string, string> a, IReadOnlyDictionary<string, string> b) =>
    [
        .. a.Keys.Union(b.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal)
            .Select(key => (Key: key, A: a.GetValueOrDefault(key), B: b.GetValueOrDefault(key))).Where(value => value.A != value.B)
            .Select(value => new ConfigChange(value.Key, value.A is null ? ConfigState.Added : value.B is null ? ConfigState.Removed : ConfigState.Changed, value.A, value.B)),
    ];

    private static ConfigFileComparison Bounded(string path, string format, IReadOnlyList<ConfigChange> changes, string? note) => new(
        path, ConfigState.Changed, format, [.. changes.Take(ChangesMax).Select(change => change with { A = Short(change.A), B = Short(change.B) })],
        changes.Count > ChangesMax ? $"{(note is null ? "" : note + " ")}The first {ChangesMax} of {changes.Count} differences are shown." : note);

    private static ConfigFileComparison Unread(string path, string note) => new(path, ConfigState.Changed, null, [], note);

    private static string? Short(string? value) => value is { Length: > ValueMax } ? value[..ValueMax] + "…" : value;

    private static string Text(byte[] bytes)
    {
        var text = StrictUtf8.GetString(bytes).TrimStart('\uFEFF');
        return text.Contains('\0', StringComparison.Ordinal) ? throw new DecoderFallbackException() : text;
    }
}
