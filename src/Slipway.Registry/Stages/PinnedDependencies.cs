using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Slipway.Registry.Stages;

/// <summary>Reads an environment file for dependencies without an exact version.</summary>
internal static partial class PinnedDependencies
{
    private const int NamedMax = 3;

    /// <summary>What was found.</summary>
    /// <param name="Pinned">True when every dependency has an exact version, false when one has not; null when the file is in no known form.</param>
    /// <param name="Detail">Part of a sentence.</param>
    internal sealed record Finding(bool? Pinned, string Detail);

    /// <summary>Knows a run's recorded environment, lock files of NuGet and npm, and requirements in pip's form.</summary>
    public static Finding Read(byte[] content)
    {
        var text = Encoding.UTF8.GetString(content);
        return text.AsSpan().TrimStart() is ['{', ..] ? ReadJson(text) : ReadRequirements(text);
    }

    private static Finding ReadJson(string text)
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            var root = json.RootElement;
            if (root.TryGetProperty("lockfileVersion", out _) || (root.TryGetProperty("dependencies", out _) && root.TryGetProperty("version", out _)))
            {
                return new Finding(true, "the environment file is a lock file");
            }

            return root.TryGetProperty("packages", out var packages) && packages.ValueKind is JsonValueKind.Object
                ? Judge([.. packages.EnumerateObject().Select(package => (package.Name, Version: package.Value.ValueKind is JsonValueKind.String ? package.Value.GetString()! : ""))])
                : new Finding(null, "the environment file names no packages");
        }
        catch (JsonException)
        {
            return new Finding(null, "the environment file is not valid JSON");
        }
    }

    private static Finding ReadRequirements(string text)
    {
        var requirements = new List<(string Name, string Version)>();
        foreach (var line in text.Split('\n').Select(line => line.Split('#')[0].Trim()).Where(line => line.Length > 0 && line[0] != '-' && !line.EndsWith('\\')))
        {
            if (Requirement().Match(line) is not { Success: true } match)
            {
                return new Finding(null, "the environment file is in no known form");
            }

            requirements.Add((match.Groups["name"].Value, match.Groups["exact"].Value));
        }

        // A single bare word may be anything; a name with a version may not.
        return requirements is [{ Version: "" }] ? new Finding(null, "the environment file is in no known form") : Judge(requirements);
    }

    private static Finding Judge(List<(string Name, string Version)> packages)
    {
        var loose = packages.Where(package => !Exact().IsMatch(package.Version)).Select(package => package.Name).ToList();
        return packages.Count == 0 ? new Finding(null, "the environment file names no packages")
            : loose.Count == 0 ? new Finding(true, $"all {packages.Count} packages have an exact version")
            : new Finding(false, $"{loose.Count} of {packages.Count} packages have no exact version: {string.Join(", ", loose.Take(NamedMax))}{(loose.Count > NamedMax ? " …" : "")}");
    }

    [GeneratedRegex(@"\A(?<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*((===?\s*(?<exact>[^\s;,*<>~!]+))|([<>~!=]=?[^;]*)|(@\s*\S+))?\s*(;.*)?(--hash.*)?\z")]
    private static partial Regex Requirement();

    [GeneratedRegex(@"\A[vV]?[0-9][0-9A-Za-z.+_!-]*\z")]
    private static partial Regex Exact();
}
