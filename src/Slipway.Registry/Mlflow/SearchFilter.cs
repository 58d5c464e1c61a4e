using System.Text.RegularExpressions;
using Slipway.Contracts;

namespace Slipway.Registry.Mlflow;

/// <summary>MLflow's registry filters: comparisons of names, run ids and tags, joined by AND.</summary>
internal static partial class SearchFilter
{
    /// <summary>Reads a filter into a predicate over an item's fields.</summary>
    /// <param name="filter">The text; null or blank lets all pass.</param>
    /// <param name="attributes">The names the search knows besides <c>tags.</c></param>
    /// <returns>Given a lookup of field to value (null when absent), whether the item passes.</returns>
    /// <exception cref="SlipwayException">InvalidArgument: not a filter, or an unknown field.</exception>
    public static Func<Func<string, string?>, bool> Parse(string? filter, params string[] attributes)
    {
        var clauses = new List<Func<Func<string, string?>, bool>>();
        var position = 0;
        var text = filter?.Trim() ?? "";
        while (position < text.Length)
        {
            var match = ClausePattern().Match(text, position);
            if (!match.Success)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"'filter' cannot be read from '{text[position..Math.Min(text.Length, position + 60)]}'; write clauses such as name = 'flight-delay' or tags.team LIKE 'ops%', joined by AND.");
            }

            var name = match.Groups["name"].Value;
            var field = match.Groups["tag"].Success ? $"tags.{name}" : name;
            if (!match.Groups["tag"].Success && !attributes.Contains(name))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'filter' names '{name}'; known here are {string.Join(", ", attributes)} and tags.<key>.");
            }

            var test = Test(match.Groups["comparator"].Value.ToUpperInvariant(), match.Groups["value"].Captures.Select(capture => capture.Value).ToList());
            clauses.Add(lookup => lookup(field) is { } value && test(value));
            position = match.Index + match.Length;
            if (position >= text.Length && match.Groups["and"].Value.Length > 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, "'filter' ends in AND; add the clause that is missing.");
            }
        }

        return lookup => clauses.TrueForAll(clause => clause(lookup));
    }

    private static Func<string, bool> Test(string comparator, List<string> values)
    {
        var first = values[0];
        switch (comparator)
        {
            case "=": return value => value == first;
            case "!=": return value => value != first;
            case "IN": return values.Contains;
            default:
                var pattern = new Regex(
                    $"\\A{Regex.Escape(first).Replace("%", ".*", StringComparison.Ordinal).Replace("_", ".", StringComparison.Ordinal)}\\z",
                    RegexOptions.NonBacktracking | RegexOptions.Singleline | (comparator == "ILIKE" ? RegexOptions.IgnoreCase : RegexOptions.None));
                return pattern.IsMatch;
        }
    }

    [GeneratedRegex(
        """
        \G\s*(?:(?<tag>tags?)\.)?(?:`(?<name>[^`]+)`|"(?<name>[^"]+)"|(?<name>[\w.\-/]+?))\s*
        (?:(?<comparator>!=|=|\bI?LIKE\b)\s*(?:'(?<value>[^']*)'|"(?<value>[^"]*)"|(?<value>\d+))
         |(?<comparator>\bIN)\s*\(\s*'(?<value>[^']*)'(?:\s*,\s*'(?<value>[^']*)')*\s*\))
        \s*(?:(?<and>\bAND\b)|\z)
        """,
        RegexOptions.IgnoreCase | RegexOptions.IgnorePatternWhitespace | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ClausePattern();
}
