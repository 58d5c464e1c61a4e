using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;

namespace Slipway.Tracking.Search;

/// <summary>An SQL text under construction with its parameters; values never enter the text.</summary>
internal sealed class SqlParts
{
    private int _count;

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
    private readonly List<(string Expression, bool Descending)> _terms = [];

    /// <summary>The terms' values, as a select list.</summary>
    public string Columns => string.Join(", ", _terms.Select((term, index) => $"{term.Expression} AS k{index}"));

    public string OrderBy => "ORDER BY " + string.Join(", ", _terms.Select(term => term.Descending ? term.Expression + " DESC" : term.Expression));

    public int Count => _terms.Count;

    public void Add(string expression, bool descending) => _terms.Add((expression, descending));

    /// <summary>Adds the condition "after this row".</summary>
    public void After(IReadOnlyList<object?> values, SqlParts sql)
    {
        var alternatives = new List<string>();
        for (var i = 0; i < _terms.Count; i++)
        {
            // Nothing comes after null within its group: a term that can be null is preceded by one that says so.
            if (values[i] is null)
            {
                continue;
            }

            var equal = _terms.Take(i).Select((term, j) => $"{term.Expression} IS {sql.Parameter(values[j])}");
            var (expression, descending) = _terms[i];
            alternatives.Add(string.Join(" AND ", equal.Append($"{expression} {(descending ? "<" : ">")} {sql.Parameter(values[i])}")));
        }

        sql.Conditions.Add($"(({string.Join(") OR (", alternatives)}))");
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
        JsonValueKind.Number => element.TryGetInt64(out var whole) ? whole : element.GetDouble(),
        JsonValueKind.String => element.GetString(),
        _ => throw new FormatException("A page token holds only numbers and texts."),
    };

    private static string Fingerprint(string search) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(search)).AsSpan(0, 6));
}
