namespace Slipway.Tracking.Search;

internal enum TokenKind
{
    /// <summary>Anything unquoted: part of a key, a keyword or a number.</summary>
    Word,

    /// <summary>In backticks: always a name.</summary>
    Name,

    /// <summary>In double quotes: a name where a key is due, a text where a value is due.</summary>
    DoubleQuoted,

    /// <summary>In single quotes: always a text.</summary>
    Text,

    /// <summary>= != &lt; &lt;= &gt; &gt;=</summary>
    Comparator,

    /// <summary>( ) ,</summary>
    Mark,

    /// <summary>After the last one.</summary>
    End,
}

/// <summary>A piece of a filter.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Value">Without quotes.</param>
/// <param name="Position">Where it begins, from 1.</param>
/// <param name="Glued">Whether no space lies before it: <c>metrics."my key"</c> is one key.</param>
internal readonly record struct FilterToken(TokenKind Kind, string Value, int Position, bool Glued)
{
    public bool Is(string word) => Kind is TokenKind.Word && Value.Equals(word, StringComparison.OrdinalIgnoreCase);
}

/// <summary>Cuts a filter into tokens.</summary>
internal static class FilterTokens
{
    public static List<FilterToken> Read(string text)
    {
        var tokens = new List<FilterToken>();
        var at = 0;
        while (at < text.Length)
        {
            var c = text[at];
            if (char.IsWhiteSpace(c))
            {
                at++;
                continue;
            }

            var start = at;
            var glued = start > 0 && !char.IsWhiteSpace(text[start - 1]);
            switch (c)
            {
                case '\'' or '"' or '`':
                    var value = Quoted(text, ref at);
                    tokens.Add(new FilterToken(c switch { '\'' => TokenKind.Text, '"' => TokenKind.DoubleQuoted, _ => TokenKind.Name }, value, start + 1, glued));
                    break;
                case '(' or ')' or ',':
                    tokens.Add(new FilterToken(TokenKind.Mark, c.ToString(), start + 1, glued));
                    at++;
                    break;
                case '=' or '!' or '<' or '>':
                    at += at + 1 < text.Length && text[at + 1] == '=' && c != '=' ? 2 : 1;
                    tokens.Add(new FilterToken(TokenKind.Comparator, text[start..at], start + 1, glued));
                    break;
                default:
                    while (at < text.Length && !char.IsWhiteSpace(text[at]) && !"'\"`(),=!<>".Contains(text[at], StringComparison.Ordinal))
                    {
                        at++;
                    }

                    tokens.Add(new FilterToken(TokenKind.Word, text[start..at], start + 1, glued));
                    break;
            }
        }

        tokens.Add(new FilterToken(TokenKind.End, "", text.Length + 1, false));
        return tokens;
    }

    // A doubled quote inside stands for one, as in SQL.
    private static string Quoted(string text, ref int at)
    {
        var quote = text[at];
        var start = ++at;
        while (at < text.Length)
        {
            if (text[at] != quote)
            {
                at++;
            }
            else if (at + 1 < text.Length && text[at + 1] == quote)
            {
                at += 2;
            }
            else
            {
                at++;
                return text[start..(at - 1)].Replace(new string(quote, 2), quote.ToString(), StringComparison.Ordinal);
            }
        }

        throw RunLimits.Invalid($"Invalid filter: the quote {quote} at position {start} is never closed.");
    }
}
