using Slipway.Contracts;

namespace Slipway.Governance.Documents;

/// <summary>Text that people give for a document, by key; a version inherits what the one before it was given.</summary>
internal static class SuppliedText
{
    private const int KeysMax = 100;
    private const int LengthMax = 100_000;

    /// <exception cref="SlipwayException">InvalidArgument: a key or text is out of bounds.</exception>
    public static void Check(IReadOnlyDictionary<string, string>? supplied)
    {
        if (supplied is null)
        {
            return;
        }

        if (supplied.Count > KeysMax)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'supplied' may hold at most {KeysMax} texts, not {supplied.Count}.");
        }

        foreach (var (key, text) in supplied)
        {
            if (key.Length is 0 or > 60 || key.Any(character => !char.IsAsciiLetterLower(character) && !char.IsAsciiDigit(character) && character != '_'))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'supplied' keys are lower-case words such as risk_tier, not '{key}'.");
            }

            if (text is null || text.Length > LengthMax)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'supplied.{key}' must be a text of at most {LengthMax:N0} characters.");
            }
        }
    }

    public static SortedDictionary<string, string> Merge(SortedDictionary<string, string> before, IReadOnlyDictionary<string, string>? supplied)
    {
        var merged = new SortedDictionary<string, string>(before, StringComparer.Ordinal);
        foreach (var (key, text) in supplied ?? new Dictionary<string, string>())
        {
            if (string.IsNullOrWhiteSpace(text))
            {
                merged.Remove(key);
            }
            else
            {
                merged[key] = text;
            }
        }

        return merged;
    }
}
