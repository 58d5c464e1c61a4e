namespace Slipway.Native.DuckDb;

/// <summary>Quotes names of columns, tables and schemas for SQL text.</summary>
public static class DuckDbIdentifier
{
    /// <summary>The name in double quotes, with inner quotes doubled.</summary>
    public static string Quote(string name)
    {
        RefuseNul(name);
        return $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    // DuckDB reads SQL as a C string: a NUL would cut the statement short.
    internal static void RefuseNul(string text)
    {
        if (text.Contains('\0', StringComparison.Ordinal))
        {
            throw new ArgumentException("A name or text for SQL may not contain the NUL character.", nameof(text));
        }
    }
}

/// <summary>Quotes text for SQL where a parameter is not possible, such as the file of <c>COPY … TO</c>.</summary>
public static class DuckDbLiteral
{
    /// <summary>The text in single quotes, with inner quotes doubled.</summary>
    public static string Quote(string text)
    {
        DuckDbIdentifier.RefuseNul(text);
        return $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
    }
}
