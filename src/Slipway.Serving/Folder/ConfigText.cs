using System.Globalization;
using System.Text;

namespace Slipway.Serving.Folder;

/// <summary>A message of protobuf's text format, as <c>config.pbtxt</c> is written: fields in order, each a text, or a message.</summary>
/// <remarks>Grammar: https://protobuf.dev/reference/protobuf/textformat-spec</remarks>
internal sealed class ConfigText
{
    private const int DepthMax = 32;

    private readonly List<(string Name, object Value)> _fields = [];

    /// <summary>Names of the fields, each once.</summary>
    public IEnumerable<string> Names => _fields.Select(entry => entry.Name).Distinct();

    /// <exception cref="FormatException">One sentence with the line.</exception>
    public static ConfigText Parse(string text)
    {
        var at = 0;
        var config = ReadMessage(text, ref at, '\0', 0);
        return config;
    }

    /// <summary>Values of a field that are no messages.</summary>
    public IEnumerable<string> Texts(string name) => _fields.Where(field => field.Name == name).Select(field => field.Value).OfType<string>();

    /// <summary>Values of a field that are messages.</summary>
    public IEnumerable<ConfigText> Messages(string name) => _fields.Where(field => field.Name == name).Select(field => field.Value).OfType<ConfigText>();

    /// <summary>The last value of a field; null when there is none.</summary>
    public string? Text(string name) => Texts(name).LastOrDefault();

    /// <summary>Whole numbers of a field.</summary>
    /// <exception cref="FormatException">One is none.</exception>
    public IReadOnlyList<long> Numbers(string name) => [.. Texts(name).Select(text => long.TryParse(text, CultureInfo.InvariantCulture, out var number) ? number
        : throw new FormatException($"'{name}' must be a whole number, not '{text}'"))];

    private static ConfigText ReadMessage(string text, ref int at, char end, int depth)
    {
        if (depth > DepthMax)
        {
            throw Fault(text, at, $"messages are nested deeper than {DepthMax}");
        }

        var message = new ConfigText();
        while (Peek(text, ref at) is var next && next != end)
        {
            var name = Word(text, ref at);
            var colon = Peek(text, ref at) == ':';
            at += colon ? 1 : 0;
            switch (Peek(text, ref at))
            {
                case '[':
                    at++;
                    while (Peek(text, ref at) != ']')
                    {
                        message._fields.Add((name, ReadValue(text, ref at, depth)));
                        at += Peek(text, ref at) == ',' ? 1 : 0;
                    }

                    at++;
                    break;
                case '{' or '<':
                    message._fields.Add((name, ReadValue(text, ref at, depth)));
                    break;
                default:
                    message._fields.Add((name, colon ? ReadValue(text, ref at, depth) : throw Fault(text, at, $"'{name}' has no value")));
                    break;
            }

            at += Peek(text, ref at) is ',' or ';' ? 1 : 0;
        }

        return message;
    }

    private static object ReadValue(string text, ref int at, int depth)
    {
        switch (Peek(text, ref at))
        {
            case '{' or '<':
                var close = text[at] == '{' ? '}' : '>';
                at++;
                var message = ReadMessage(text, ref at, close, depth + 1);
                at++;
                return message;
            case '"' or '\'':
                var whole = new StringBuilder();
                while (Peek(text, ref at) is '"' or '\'')
                {
                    whole.Append(Quoted(text, ref at)); // Texts side by side are one.
                }

                return whole.ToString();
            default:
                return Word(text, ref at);
        }
    }

    private static string Quoted(string text, ref int at)
    {
        var quote = text[at++];
        var content = new StringBuilder();
        while (at < text.Length && text[at] != quote && text[at] != '\n')
        {
            if (text[at] == '\\' && ++at < text.Length)
            {
                content.Append(text[at] switch { 'n' => '\n', 't' => '\t', 'r' => '\r', '\\' or '"' or '\'' => text[at], _ => throw Fault(text, at, $"the escape \\{text[at]} is not known here") });
                at++;
            }
            else
            {
                content.Append(text[at++]);
            }
        }

        return at < text.Length && text[at++] == quote ? content.ToString() : throw Fault(text, at, "a text has no end");
    }

    private static string Word(string text, ref int at)
    {
        Peek(text, ref at);
        var start = at;
        while (at < text.Length && (char.IsAsciiLetterOrDigit(text[at]) || text[at] is '_' or '-' or '+' or '.'))
        {
            at++;
        }

        return at > start ? text[start..at] : throw Fault(text, at, at < text.Length ? $"'{text[at]}' stands where a name or a value should" : "it ends too early");
    }

    // The next character that is neither blank nor comment; zero at the end.
    private static char Peek(string text, ref int at)
    {
        while (at < text.Length && (char.IsWhiteSpace(text[at]) || text[at] == '#'))
        {
            at = text[at] != '#' ? at + 1 : text.IndexOf('\n', at) is >= 0 and var line ? line : text.Length;
        }

        return at < text.Length ? text[at] : '\0';
    }

    private static FormatException Fault(string text, int at, string what) =>
        new($"line {text.AsSpan(0, Math.Min(at, text.Length)).Count('\n') + 1}: {what}");
}
