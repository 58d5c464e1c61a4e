using System.Collections.Frozen;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Slipway.Contracts;

namespace Slipway.Storage.Audit;

/// <summary>
/// Hides secrets before they reach the audit trail, which can never forget them again: values under names such as <c>password</c> or
/// <c>api_key</c>, values of labels so named, and passwords inside addresses.
/// </summary>
public sealed partial class AuditRedaction
{
    /// <summary>What stands in the place of a hidden value.</summary>
    public const string Hidden = "[redacted]";

    /// <summary>A name is hidden when its last word is one of these; <c>api_token</c> is, <c>max_tokens</c> and <c>token_hash</c> are not.</summary>
    private static readonly FrozenSet<string> LastWords = FrozenSet.Create(
        StringComparer.OrdinalIgnoreCase, "password", "passwd", "passphrase", "secret", "token", "credential", "credentials", "authorization", "cookie", "apikey");

    /// <summary>Before the last word "key", which alone mostly names a label.</summary>
    private static readonly FrozenSet<string> BeforeKey = FrozenSet.Create(StringComparer.OrdinalIgnoreCase, "api", "access", "private", "secret", "signing", "encryption");

    private readonly FrozenSet<string> _more;

    /// <param name="more">Further names, whatever their case, and with '-' or '_' alike.</param>
    public AuditRedaction(IEnumerable<string> more) => _more = more.Select(Plain).ToFrozenSet(StringComparer.OrdinalIgnoreCase);

    /// <summary>The value as JSON, secrets hidden; null for null.</summary>
    public string? Json(object? value)
    {
        if (value is null)
        {
            return null;
        }

        var json = JsonSerializer.Serialize(value, value.GetType(), JsonDefaults.Options);
        if (!MayHoldSecret(json))
        {
            return json;
        }

        var node = JsonNode.Parse(json)!;
        Hide(node);
        return node is JsonValue text && text.TryGetValue(out string? word) ? JsonSerializer.Serialize(Text(word), JsonDefaults.Options) : node.ToJsonString(JsonDefaults.Options);
    }

    /// <summary>A free text, passwords in addresses hidden; null for null.</summary>
    public static string? Text(string? text) => text is not null && text.Contains("://", StringComparison.Ordinal) ? Password().Replace(text, Hidden) : text;

    /// <summary>Whether values under this name are hidden.</summary>
    public bool Hides(ReadOnlySpan<char> name)
    {
        var last = LastWord(name, out var rest);
        return Holds(LastWords, last)
            || (last.Equals("key", StringComparison.OrdinalIgnoreCase) && Holds(BeforeKey, LastWord(rest, out _)))
            || (_more.Count > 0 && _more.Contains(Plain(name.ToString())));
    }

    // "apiKey", "API_KEY" and "api-key" are the words api and key.
    private static ReadOnlySpan<char> LastWord(ReadOnlySpan<char> name, out ReadOnlySpan<char> rest)
    {
        var end = name.Length;
        while (end > 0 && !char.IsAsciiLetter(name[end - 1]))
        {
            end--;
        }

        var start = end;
        while (start > 0 && char.IsAsciiLetterLower(name[start - 1]))
        {
            start--;
        }

        if (start == end)
        {
            while (start > 0 && char.IsAsciiLetterUpper(name[start - 1]))
            {
                start--;
            }
        }
        else if (start > 0 && char.IsAsciiLetterUpper(name[start - 1]))
        {
            start--;
        }

        rest = name[..start];
        return name[start..end];
    }

    // Most rows hold no such name: looking costs less than taking the value apart.
    private bool MayHoldSecret(string json)
    {
        if (json.Contains("://", StringComparison.Ordinal))
        {
            return true;
        }

        var quote = 0;
        while ((quote = json.IndexOf('"', quote)) >= 0)
        {
            var end = json.IndexOf('"', quote + 1);
            if (end < 0)
            {
                return false;
            }

            // Every text, not only names: a label's name is a value beside "key".
            if (json[end - 1] == '\\' || Hides(json.AsSpan(quote + 1, end - quote - 1)))
            {
                return true;
            }

            quote = end + 1;
        }

        return false;
    }

    private void Hide(JsonNode? node)
    {
        if (node is JsonArray list)
        {
            for (var i = 0; i < list.Count; i++)
            {
                if (Replacement(list[i], hidden: false) is { } other)
                {
                    list[i] = other;
                }
            }
        }
        else if (node is JsonObject fields)
        {
            var label = Label(fields);
            foreach (var name in fields.Select(field => field.Key).ToList())
            {
                if (Replacement(fields[name], Hides(name) || (name == "value" && label is not null && Hides(label))) is { } other)
                {
                    fields[name] = other;
                }
            }
        }
    }

    // Null where the node may stay.
    private JsonValue? Replacement(JsonNode? node, bool hidden)
    {
        if (node is null)
        {
            return null;
        }

        if (hidden)
        {
            return JsonValue.Create(Hidden);
        }

        Hide(node);
        return node is JsonValue value && value.TryGetValue(out string? text) && Text(text) is { } clean && clean != text ? JsonValue.Create(clean) : null;
    }

    private static string? Label(JsonObject fields) =>
        (fields["key"] ?? fields["name"]) is JsonValue value && value.TryGetValue(out string? label) ? label : null;

    private static bool Holds(FrozenSet<string> words, ReadOnlySpan<char> word) => words.GetAlternateLookup<ReadOnlySpan<char>>().Contains(word);

    private static string Plain(string name) => name.Trim().Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal);

    // postgresql://user:password@host, https://user:token@host
    [GeneratedRegex(@"(?<=://[^/\s:@]*:)[^/\s@]+(?=@)")]
    private static partial Regex Password();
}
