using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tracking.Search;

/// <summary>An SQL text under construction with its parameters; values never enter the text.</summary>
internal sealed class SqlParts(SqlDialect dialect)
{
    private int _count;

    public SqlDialect Dialect => dialect;

    public DynamicParameters Parameters { get; } = new();

    public List<string> Joins { get; } = [];

    public List<string> Conditions { get; } = [];

    public string Parameter(object? value)
    {
        var name = $"@p{_count++}";
        Parameters.Add(name, value);
        return name;
    }

    public string Where => Conditions.Count == 0 ? "" : "WHERE " + string.Join("\n   AND ", Conditions);
}

/// <summary>An ordering that pages by its last row instead of by an offset, so that page 500 costs what page 1 costs.</summary>
internal sealed class Keyset
{
    private readonly List<Term> _terms = [];

    /// <summary>The terms' values, as a select list.</summary>
    public string Columns => string.Join(", ", _terms.Select((term, index) => $"{term.Expression} AS k{index}"));

    public string OrderBy => "ORDER BY " + string.Join(", ", Varying.SelectMany(pair => pair.Term.Sorted(pair.Term.Expression)));

    /// <summary>The same order over a query that selects <see cref="Columns"/>.</summary>
    public string OrderByColumns => "ORDER BY " + string.Join(", ", Varying.SelectMany(pair => pair.Term.Sorted($"k{pair.Index}")));

    public int Count => _terms.Count;

    private IEnumerable<(int Index, Term Term)> Varying => _terms.Index().Where(pair => !pair.Item.IsFixed);

    /// <summary>Adds a term.</summary>
    /// <param name="expression">What to order by.</param>
    /// <param name="descending">Highest first.</param>
    /// <param name="indexed">How an index keeps the expression where it does not keep it whole, such as <c>substr({0}, 1, 200)</c>; must order alike.</param>
    public void Add(string expression, bool descending, string indexed = "{0}") => _terms.Add(new Term(expression, descending, false, indexed));

    /// <summary>Adds a term that is the same in all rows of this query; it only takes its place in the page token.</summary>
    public void AddFixed(string literal) => _terms.Add(new Term(literal, false, true, "{0}"));

    /// <summary>Adds the condition "after this row".</summary>
    public void After(IReadOnlyList<object?> values, SqlParts sql)
    {
        var varying = Varying.ToList();
        var alternatives = new List<string>();
        foreach (var (place, (index, term)) in varying.Index())
        {
            // Nothing comes after null within its group: a term that can be null is preceded by one that says so.
            if (values[index] is null)
            {
                continue;
            }

            var equal = varying.Take(place).Select(pair => values[pair.Index] is null ? $"{pair.Term.Expression} IS NULL" : $"{pair.Term.Expression} = {sql.Parameter(values[pair.Index])}");
            alternatives.Add(string.Join(" AND ", equal.Append($"{term.Expression} {(term.Descending ? "<" : ">")} {sql.Parameter(values[index])}")));
        }

        sql.Conditions.Add($"(({string.Join(") OR (", alternatives)}))");
        var (firstIndex, first) = varying[0];
        if (values[firstIndex] is { } bound)
        {
            // Follows from the alternatives, but engines see no bound in those, and would walk all pages before this one.
            sql.Conditions.Add($"{first.InIndex(first.Expression)} {(first.Descending ? "<=" : ">=")} {first.InIndex(sql.Parameter(bound))}");
        }
    }

    private sealed record Term(string Expression, bool Descending, bool IsFixed, string Indexed)
    {
        public string InIndex(string expression) => Indexed.Replace("{0}", expression, StringComparison.Ordinal);

        public IEnumerable<string> Sorted(string expression) =>
            (Indexed == "{0}" ? [expression] : new[] { InIndex(expression), expression }).Select(term => Descending ? term + " DESC" : term);
    }
}

/// <summary>The opaque <c>page_token</c>: the last row's place, bound to the search it belongs to.</summary>
internal static class PageToken
{
    public static string Encode(string search, IReadOnlyList<object?> values) =>
        Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(new object?[] { Fingerprint(search), values }));

    public static IReadOnlyList<object?> Decode(string token, string search, int count)
    {
        try
        {
            if (token.Length <= 100_000 && JsonSerializer.Deserialize<JsonElement>(Base64Url.DecodeFromChars(token)) is { ValueKind: JsonValueKind.Array } root
                && root.GetArrayLength() == 2 && root[0].ValueKind is JsonValueKind.String && root[0].GetString() == Fingerprint(search) && root[1].GetArrayLength() == count)
            {
                return [.. root[1].EnumerateArray().Select(Value)];
            }
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'page_token' is not one this server gave; start the search again without it.", e);
        }

        throw RunLimits.Invalid("'page_token' belongs to another search; send the same filter and order_by as for the page before, or leave it out.");
    }

    private static object? Value(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.Number => element.TryGetInt64(out var whole) ? (object)whole : element.GetDouble(), // Without the cast both would be doubles, which lose large steps.
        JsonValueKind.String => element.GetString(),
        _ => throw new FormatException("A page token holds only numbers and texts."),
    };

    private static string Fingerprint(string search) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(search)).AsSpan(0, 6));
}
