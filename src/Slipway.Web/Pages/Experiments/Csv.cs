namespace Slipway.Web.Pages.Experiments;

/// <summary>Comma-separated values by RFC 4180.</summary>
internal static class Csv
{
    public static string Line(IEnumerable<string> cells) => string.Join(',', cells.Select(Quote)) + "\r\n";

    /// <summary>A text that others wrote, so that a spreadsheet shows it and does not take it for a formula.</summary>
    public static string Safe(string text) =>
        text.Length > 0 && (text[0] is '=' or '@' or '\t' or '\r' || (text[0] is '+' or '-' && !double.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, out _))) ? "'" + text : text;

    private static string Quote(string cell) =>
        cell.AsSpan().ContainsAny("\",\r\n") ? $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : cell;
}
