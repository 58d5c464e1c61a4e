using System.Buffers;
using System.Globalization;
using System.Text;

namespace Slipway.Contracts.Tracking;

/// <summary>Which names metrics, parameters and tags may have, as MLflow has it (<c>mlflow/utils/validation.py</c>): one rule for server and client.</summary>
public static class RunKeys
{
    /// <summary>Longest name.</summary>
    public const int LengthMax = 250;

    private static readonly SearchValues<char> Punctuation = SearchValues.Create("_-. :/");

    /// <summary>What is wrong with a name; null when nothing is.</summary>
    /// <param name="what">metric, param or tag.</param>
    /// <param name="key">The name.</param>
    public static string? Fault(string what, string? key)
    {
        if (string.IsNullOrEmpty(key))
        {
            return $"Missing value for required parameter 'key' of a {what}.";
        }

        // Characters as Python counts them: one beyond the basic plane is one.
        if (key.Length > LengthMax && key.EnumerateRunes().Count() is var length && length > LengthMax)
        {
            return $"The {what} name '{Shorten(key)}' has {length} characters; at most {LengthMax} are allowed.";
        }

        if (!IsWritten(key))
        {
            return $"The {what} name '{Shorten(key)}' may hold only letters, digits, '_', '-', '.', ' ', ':' and '/'.";
        }

        // Names become paths in clients that keep runs as files.
        return key.StartsWith("..", StringComparison.Ordinal) || key.Split('/').Any(segment => segment is "" or "." or "..")
            ? $"The {what} name '{Shorten(key)}' must be a clean relative path: no leading, trailing or doubled '/', no '.' or '..' part."
            : null;
    }

    // Python's \w, and what MLflow allows besides.
    private static bool IsWritten(string key)
    {
        foreach (var rune in key.EnumerateRunes())
        {
            var known = Rune.IsLetterOrDigit(rune) || (rune.IsAscii
                ? Punctuation.Contains((char)rune.Value)
                : Rune.GetUnicodeCategory(rune) is UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber);
            if (!known)
            {
                return false;
            }
        }

        return true;
    }

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
