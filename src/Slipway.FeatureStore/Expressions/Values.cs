using System.Globalization;
using System.Text;
using Slipway.Native.DuckDb;

namespace Slipway.FeatureStore.Expressions;

/// <summary>A value of the request.</summary>
internal sealed class InputValue(ExpressionType type, int input) : Expression(type)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = row.Number(input);
        return !row.IsNull(input);
    }

    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        value = row.Number(input) != 0;
        return !row.IsNull(input);
    }

    public override bool TryText(FeatureRequest row, out ReadOnlySpan<char> value)
    {
        value = row.Text(input);
        return !row.IsNull(input);
    }

    public override bool TryInstant(FeatureRequest row, out long micros)
    {
        micros = row.Micros(input);
        return !row.IsNull(input);
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) =>
        sql.Append(CultureInfo.InvariantCulture, $"CAST({columns[input]} AS {SqlType(Type)})");

    internal static string SqlType(ExpressionType type) => type switch
    {
        ExpressionType.Number => "DOUBLE",
        ExpressionType.Boolean => "BOOLEAN",
        ExpressionType.Text => "VARCHAR",
        _ => "TIMESTAMP",
    };
}

/// <summary>A number in the text.</summary>
internal sealed class NumberValue(double number) : Expression(ExpressionType.Number)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = number;
        return true;
    }

    // By way of text, since DuckDB reads 0.1 as a decimal.
    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) =>
        sql.Append(CultureInfo.InvariantCulture, $"CAST('{number:R}' AS DOUBLE)");
}

/// <summary>A string in the text.</summary>
internal sealed class TextValue(string text) : Expression(ExpressionType.Text)
{
    public override bool TryText(FeatureRequest row, out ReadOnlySpan<char> value)
    {
        value = text;
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) => sql.Append(DuckDbLiteral.Quote(text));
}

/// <summary><c>TIMESTAMP '2001-05-01'</c>.</summary>
internal sealed class InstantValue(DateTimeOffset instant) : Expression(ExpressionType.Instant)
{
    private readonly long _micros = DuckDbTime.ToMicros(instant);

    public override bool TryInstant(FeatureRequest row, out long micros)
    {
        micros = _micros;
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) => sql.Append(CultureInfo.InvariantCulture, $"make_timestamp({_micros})");
}

/// <summary>TRUE or FALSE.</summary>
internal sealed class BooleanValue(bool truth) : Expression(ExpressionType.Boolean)
{
    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        value = truth;
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) => sql.Append(truth ? "TRUE" : "FALSE");
}

/// <summary>NULL, of the type that its place asks for.</summary>
internal sealed class NullValue(ExpressionType type) : Expression(type)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = 0;
        return false;
    }

    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        value = false;
        return false;
    }

    public override bool TryText(FeatureRequest row, out ReadOnlySpan<char> value)
    {
        value = default;
        return false;
    }

    public override bool TryInstant(FeatureRequest row, out long micros)
    {
        micros = 0;
        return false;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) =>
        sql.Append(CultureInfo.InvariantCulture, $"CAST(NULL AS {InputValue.SqlType(Type)})");
}
