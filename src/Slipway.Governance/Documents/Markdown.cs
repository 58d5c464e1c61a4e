using System.Text;

namespace Slipway.Governance.Documents;

/// <summary>Escapes text from records and people, so that it stays text.</summary>
internal static class Markdown
{
    /// <summary>One line of plain text: no table, link, HTML or placeholder can come of it.</summary>
    public static string Text(string value)
    {
        var text = new StringBuilder(value.Length);
        foreach (var character in value.ReplaceLineEndings(" "))
        {
            text.Append(character switch
            {
                '<' => "&lt;",
                '>' => "&gt;",
                '|' => "\\|",
                '[' => "\\[",
                ']' => "\\]",
                '*' => "\\*",
                '`' => "'",
                _ when char.IsControl(character) => " ",
                _ => character.ToString(),
            });
        }

        return text.ToString().Trim();
    }
}
