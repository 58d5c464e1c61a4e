using System.Globalization;
using Slipway.Contracts;

namespace Slipway.FeatureStore.Expressions;

internal enum TokenKind
{
    Word,
    QuotedName,
    Number,
    Text,
    Symbol,
    End,
}

/// <summary>One token.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Value">Words in lower case; texts and quoted names without their quotes.</param>
/// <param name="Position">In the expression, from 1.</param>
internal readonly record struct ExpressionToken(TokenKind Kind, string Value, int Position)
{
    private static readonly string[] Symbols = ["<>", "!=", "<=", ">=", "::", "+", "-", "*", "/", "%", "=", "<", ">", "(", ")", ","];

    /// <summary>Splits an expression.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: a character that does not belong, or an open quote.</exception>
    public static List<ExpressionToken> Split(string expression)
    {
        var tokens = new List<ExpressionToken>();
        var at = 0;
        while (at < expression.Length)
        {
            var first = expression[at];
            if (char.IsWhiteSpace(first))
            {
                at++;
            }
            else if (char.IsAsciiLetter(first) || first == '_')
            {
                var end = EndOf(expression, at, static c => char.IsAsciiLetterOrDigit(c) || c == '_');
                tokens.Add(new ExpressionToken(TokenKind.Word, expression[at..end].ToLowerInvariant(), at + 1));
                at = end;
            }
            else if (char.IsAsciiDigit(first) || (first == '.' && at + 1 < expression.Length && char.IsAsciiDigit(expression[at + 1])))
            {
                var end = EndOfNumber(expression, at);
                if (!double.TryParse(expression.AsSpan(at, end - at), NumberStyles.Float, CultureInfo.InvariantCulture, out var number) || !double.IsFinite(number))
                {
                    throw Fault(at + 1, $"'{expression[at..end]}' is not a number");
                }

                tokens.Add(new ExpressionToken(TokenKind.Number, expression[at..end], at + 1));
                at = end;
            }
            else if (first is '\'' or '"')
            {
                var (text, end) = ReadQuoted(expression, at);
                tokens.Add(new ExpressionToken(first == '"' ? TokenKind.QuotedName : TokenKind.Text, text, at + 1));
                at = end;
            }
            else
            {
                var symbol = Array.Find(Symbols, candidate => string.CompareOrdinal(expression, at, candidate, 0, candidate.Length) == 0)
                    ?? throw Fault(at + 1, $"'{first}' has no meaning here");
                tokens.Add(new ExpressionToken(TokenKind.Symbol, symbol == "!=" ? "<>" : symbol, at + 1));
                at += symbol.Length;
            }
        }

        tokens.Add(new ExpressionToken(TokenKind.End, "the end", expression.Length + 1));
        return tokens;
    }

    internal static SlipwayException Fault(int position, string message) =>
        new(ErrorCode.InvalidArgument, string.Create(CultureInfo.InvariantCulture, $"is not an expression that can be computed on demand: at character {position}, {message}."));

    private static int EndOf(string text, int start, Func<char, bool> belongs)
    {
        var end = start;
        while (end < text.Length && belongs(text[end]))
        {
            end++;
        }

        return end;
    }

    private static int EndOfNumber(string text, int start)
    {
        var end = EndOf(text, start, static c => char.IsAsciiDigit(c) || c == '.');
        if (end < text.Length && text[end] is 'e' or 'E')
        {
            var sign = end + 1 < text.Length && text[end + 1] is '+' or '-' ? 1 : 0;
            var digits = EndOf(text, end + 1 + sign, char.IsAsciiDigit);
            end = digits > end + 1 + sign ? digits : end;
        }

        return end;
    }

    // A quote inside is written twice.
    private static (string Text, int End) ReadQuoted(string expression, int start)
    {
        var quote = expression[start];
        var text = new System.Text.StringBuilder();
        for (var at = start + 1; at < expression.Length; at++)
        {
            if (expression[at] != quote)
            {
                text.Append(expression[at]);
            }
            else if (at + 1 < expression.Length && expression[at + 1] == quote)
            {
                text.Append(quote);
                at++;
            }
            else
            {
                return (text.ToString(), at + 1);
            }
        }

        throw Fault(start + 1, $"a {quote} is not closed");
    }
}
