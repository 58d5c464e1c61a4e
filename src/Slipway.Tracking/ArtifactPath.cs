using System.Buffers;
using Slipway.Contracts;

namespace Slipway.Tracking;

/// <summary>Checks the path of a run's file. A path is a key of a table here and never reaches the file system; clients do turn it into one.</summary>
public static class ArtifactPath
{
    private const int LengthMax = 1000;

    private static readonly SearchValues<string> Encoded =
        SearchValues.Create(["%2e", "%2f", "%5c", "%00", "%25", "%c0", "%c1"], StringComparison.OrdinalIgnoreCase);

    /// <summary>The path as given when it is canonical.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: absolute, holds '..', a backslash, a drive, a control character or an encoded form of these.</exception>
    public static string Parse(string? path)
    {
        if (string.IsNullOrEmpty(path) || path.Length > LengthMax)
        {
            throw Refused(path, $"it must have 1 to {LengthMax} characters");
        }

        if (path.Any(char.IsControl) || path.Contains('\\', StringComparison.Ordinal))
        {
            throw Refused(path, "it may not hold a backslash or a control character");
        }

        // Encoded twice, or as overlong UTF-8 (%c0, %c1): what reaches us still holds an escape after the server has undone one.
        if (path.AsSpan().ContainsAny(Encoded))
        {
            throw Refused(path, "it may not hold an encoded '.', '/', '\\', '%' or NUL");
        }

        if (path.Split('/').Any(segment => segment is "" or "." or ".."))
        {
            throw Refused(path, "it must be relative, without empty, '.' or '..' parts");
        }

        return path is [_, ':', ..] && char.IsAsciiLetter(path[0]) ? throw Refused(path, "it may not begin with a drive letter") : path;
    }

    private static SlipwayException Refused(string? path, string why)
    {
        var shown = new string([.. (path ?? "").Take(100).Select(c => char.IsControl(c) ? '?' : c)]);
        return new SlipwayException(ErrorCode.InvalidArgument, $"Invalid path '{shown}': {why}.");
    }
}
