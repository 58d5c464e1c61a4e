using System.Globalization;
using System.Text.RegularExpressions;

namespace Slipway.Tracking.Traces;

/// <summary>Instants and durations as protobuf's JSON writes them: RFC 3339, and seconds such as <c>1.500s</c>. Kept to the millisecond.</summary>
internal static partial class WireTime
{
    private static readonly long MsMax = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();
    private static readonly long MsMin = DateTimeOffset.MinValue.ToUnixTimeMilliseconds();

    public static string Instant(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(ms, MsMin, MsMax))
        .ToString(ms % 1000 == 0 ? "yyyy-MM-dd'T'HH:mm:ss'Z'" : "yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    public static string Duration(long ms) => ms % 1000 == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{ms / 1000}s")
        : string.Create(CultureInfo.InvariantCulture, $"{(decimal)ms / 1000:0.000}s");

    public static long? ReadInstant(string? text, string field)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        // More than seven decimals are legal, but not to .NET.
        var match = InstantPattern().Match(text);
        return match.Success && DateTimeOffset.TryParse(
                match.Groups["head"].Value + match.Groups["zone"].Value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var instant)
            ? instant.ToUnixTimeMilliseconds() + Milliseconds(match.Groups["fraction"].Value)
            : throw RunLimits.Invalid($"Invalid value '{Shorten(text)}' for parameter '{field}' supplied: it must be an instant such as 2025-11-20T12:00:00.123Z.");
    }

    public static long? ReadDuration(string? text, string field)
    {
        if (string.IsNullOrEmpty(text))
        {
            return null;
        }

        var match = DurationPattern().Match(text);
        return match.Success && long.TryParse(match.Groups["seconds"].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds <= 315_576_000_000
            ? (seconds * 1000) + Milliseconds(match.Groups["fraction"].Value)
            : throw RunLimits.Invalid($"Invalid value '{Shorten(text)}' for parameter '{field}' supplied: it must be a duration in seconds such as 1.5s, not negative.");
    }

    private static long Milliseconds(string fraction) =>
        fraction.Length == 0 ? 0 : int.Parse(fraction.PadRight(3, '0').AsSpan(0, 3), NumberStyles.None, CultureInfo.InvariantCulture);

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";

    [GeneratedRegex(@"^(?<head>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(\.(?<fraction>[0-9]{1,9}))?(?<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})$", RegexOptions.ExplicitCapture)]
    private static partial Regex InstantPattern();

    [GeneratedRegex(@"^(?<seconds>[0-9]{1,12})(\.(?<fraction>[0-9]{1,9}))?s$", RegexOptions.ExplicitCapture)]
    private static partial Regex DurationPattern();
}
