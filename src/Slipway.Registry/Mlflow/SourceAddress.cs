using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Tracking;

namespace Slipway.Registry.Mlflow;

/// <summary>Where a caller says that a model's files are: checked as a text before anything is looked up.</summary>
/// <param name="Scheme">In lower case; <c>file</c> for a plain path.</param>
/// <param name="Authority">Between <c>//</c> and the path; empty when there is none.</param>
/// <param name="Path">Without the slashes at its ends.</param>
/// <param name="Text">As given.</param>
internal sealed partial record SourceAddress(string Scheme, string Authority, string Path, string Text)
{
    private const int LengthMax = 2000;

    /// <summary>Reads an address.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: it could be read as another place than the one it seems to name, or its scheme is not known.</exception>
    public static SourceAddress Parse(string source)
    {
        if (source.Length > LengthMax)
        {
            throw Refused(source, $"it has {source.Length} characters; at most {LengthMax} are allowed");
        }

        // What one reader takes for a part of the path is the end of it to another: each of these has hidden a '..' from somebody's check.
        if (source.Any(char.IsControl) || source.IndexOfAny(['\\', ';', '#', '?']) >= 0)
        {
            throw Refused(source, "it may not hold a backslash, ';', '#', '?' or a control character");
        }

        if (AddressPattern().Match(source) is not { Success: true } match)
        {
            throw Refused(source, "it must be an address such as runs:/<run_id>/model, models:/<model_id>, mlflow-artifacts:/…, s3://… or an absolute path");
        }

        var (scheme, authority, path) = (match.Groups["scheme"].Value.ToLowerInvariant(), match.Groups["authority"].Value, match.Groups["path"].Value);
        scheme = scheme.Length == 0 ? "file" : scheme;
        var clean = path.Trim('/');
        if (Undone(clean).Split('/').Any(segment => segment is "" or "." or ".." || segment.Contains("..\\", StringComparison.Ordinal)) && clean.Length > 0)
        {
            throw Refused(source, "it may not hold empty, '.' or '..' parts, encoded or not");
        }

        if (clean.Contains('%', StringComparison.Ordinal) && Undone(clean).Contains('\\', StringComparison.Ordinal))
        {
            throw Refused(source, "it may not hold an encoded backslash");
        }

        return new SourceAddress(scheme, authority, clean, source);
    }

    /// <summary>The refusal of this address.</summary>
    public SlipwayException Refused(string why) => Refused(Text, why);

    // Undone as often as somebody behind us might do it.
    private static string Undone(string path)
    {
        for (var i = 0; i < 4 && path.Contains('%', StringComparison.Ordinal); i++)
        {
            path = Uri.UnescapeDataString(path);
        }

        return path;
    }

    private static SlipwayException Refused(string source, string why)
    {
        var shown = new string([.. source.Take(200).Select(c => char.IsControl(c) ? '?' : c)]);
        return RunLimits.Invalid($"Invalid model version source: '{shown}': {why}.");
    }

    [GeneratedRegex(@"\A(?:(?<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?<authority>[^/]*))?(?<path>/.*)|(?<scheme>[A-Za-z][A-Za-z0-9+-]*)://(?<authority>[^/]+)|(?<path>/(?!/).*))\z",
        RegexOptions.ExplicitCapture | RegexOptions.Singleline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex AddressPattern();
}
