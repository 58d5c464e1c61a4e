using System.Text.RegularExpressions;

namespace Slipway.FeatureStore;

/// <summary>The naming convention: features are called <c>entity:feature</c>, both in lower-case snake case.</summary>
public static partial class FeatureNames
{
    /// <summary>Whether a text can name an entity, a feature, a key or an input.</summary>
    public static bool IsName(string text) => NamePattern().IsMatch(text);

    /// <summary>Whether a text can name a view or a service; dashes are allowed here.</summary>
    public static bool IsTitle(string text) => TitlePattern().IsMatch(text);

    /// <summary>Whether a text is a reference <c>entity:feature</c>.</summary>
    public static bool IsReference(string text) => ReferencePattern().IsMatch(text);

    [GeneratedRegex("^[a-z][a-z0-9_]{0,62}$", RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern();

    [GeneratedRegex("^[a-z][a-z0-9_-]{0,99}$", RegexOptions.CultureInvariant)]
    private static partial Regex TitlePattern();

    [GeneratedRegex("^[a-z][a-z0-9_]{0,62}:[a-z][a-z0-9_]{0,62}$", RegexOptions.CultureInvariant)]
    private static partial Regex ReferencePattern();
}
