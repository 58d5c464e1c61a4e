using System.Globalization;
using System.Text;

namespace Slipway.Storage.Backups;

/// <summary>Values in the text form of PostgreSQL's COPY: fields between tabs, rows between line feeds, <c>\N</c> for null.</summary>
/// <remarks>https://www.postgresql.org/docs/current/sql-copy.html, "Text Format". Numbers are written as PostgreSQL writes them.</remarks>
internal static class CopyText
{
    private const string Null = @"\N";

    public static void Write(TextWriter to, object? value)
    {
        switch (value)
        {
            case null:
                to.Write(Null);
                break;
            case long number:
                to.Write(number.ToString(CultureInfo.InvariantCulture));
                break;
            case double real:
                to.Write(Real(real));
                break;
            case byte[] bytes:
                to.Write(@"\\x");
                to.Write(Convert.ToHexStringLower(bytes));
                break;
            case string text:
                WriteText(to, text);
                break;
            default:
                throw new InvalidOperationException($"A value of type {value.GetType().Name} cannot be backed up.");
        }
    }

    /// <summary>The shortest digits that give the number back, with an exponent below 1e-4 and from 1e15 on, as PostgreSQL writes them.</summary>
    /// <remarks>.NET's own choice between the two notations has been seen to change while a program runs, so only its digits are taken.</remarks>
    public static string Real(double real)
    {
        var text = real.ToString("R", CultureInfo.InvariantCulture);
        if (real == 0 || !double.IsFinite(real))
        {
            return text;
        }

        var sign = real < 0 ? "-" : "";
        var mantissa = text.AsSpan(sign.Length);
        var shift = 0;
        if (mantissa.IndexOf('E') is >= 0 and var at)
        {
            shift = int.Parse(mantissa[(at + 1)..], CultureInfo.InvariantCulture);
            mantissa = mantissa[..at];
        }

        var point = mantissa.IndexOf('.');
        var whole = point < 0 ? mantissa.Length : point;
        var all = mantissa.ToString().Replace(".", "", StringComparison.Ordinal);
        var digits = all.TrimStart('0');
        var exponent = whole - 1 + shift - (all.Length - digits.Length);
        digits = digits.TrimEnd('0');
        return exponent switch
        {
            < -4 or >= 15 => $"{sign}{digits[0]}{(digits.Length > 1 ? "." : "")}{digits.AsSpan(1)}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}",
            < 0 => $"{sign}0.{new string('0', -exponent - 1)}{digits}",
            _ when digits.Length <= exponent + 1 => sign + digits.PadRight(exponent + 1, '0'),
            _ => $"{sign}{digits.AsSpan(0, exponent + 1)}.{digits.AsSpan(exponent + 1)}",
        };
    }

    public static object? Read(string field, ColumnType type) => field == Null ? null : type switch
    {
        ColumnType.Integer => long.Parse(field, CultureInfo.InvariantCulture),
        ColumnType.Real => double.Parse(field, CultureInfo.InvariantCulture),
        ColumnType.Bytes => Convert.FromHexString(field.AsSpan(3)),
        _ => ReadText(field),
    };

    private static void WriteText(TextWriter to, string text)
    {
        foreach (var c in text)
        {
            var escape = c switch { '\\' => '\\', '\b' => 'b', '\t' => 't', '\n' => 'n', '\v' => 'v', '\f' => 'f', '\r' => 'r', _ => '\0' };
            if (escape != '\0')
            {
                to.Write('\\');
            }

            to.Write(escape != '\0' ? escape : c);
        }
    }

    private static string ReadText(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }

        var text = new StringBuilder(field.Length);
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] != '\\')
            {
                text.Append(field[i]);
                continue;
            }

            i++;
            text.Append(i == field.Length ? '\\' : field[i] switch { 'b' => '\b', 't' => '\t', 'n' => '\n', 'v' => '\v', 'f' => '\f', 'r' => '\r', var c => c });
        }

        return text.ToString();
    }
}
