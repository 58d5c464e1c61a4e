using System.Globalization;
using System.Text;

namespace Slipway.FeatureStore.Expressions;

/// <summary><c>a = b</c>, <c>&lt;&gt; &lt; &lt;= &gt; &gt;=</c> of two values of one type; NULL when either side is.</summary>
internal sealed class Comparison(string operation, Expression left, Expression right) : Expression(ExpressionType.Boolean)
{
    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        value = false;
        if (!TryOrder(row, out var order))
        {
            return false;
        }

        value = operation switch
        {
            "=" => order == 0,
            "<>" => order != 0,
            "<" => order < 0,
            "<=" => order <= 0,
            ">" => order > 0,
            _ => order >= 0,
        };
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append('(');
        left.Print(sql, columns);
        sql.Append(CultureInfo.InvariantCulture, $" {operation} ");
        right.Print(sql, columns);
        sql.Append(')');
    }

    private bool TryOrder(FeatureRequest row, out int order)
    {
        order = 0;
        switch (left.Type)
        {
            case ExpressionType.Number:
                if (!left.TryNumber(row, out var number) || !right.TryNumber(row, out var otherNumber))
                {
                    return false;
                }

                order = Compare(number, otherNumber);
                return true;
            case ExpressionType.Text:
                if (!left.TryText(row, out var text) || !right.TryText(row, out var otherText))
                {
                    return false;
                }

                order = Compare(text, otherText);
                return true;
            case ExpressionType.Boolean:
                if (!left.TryBoolean(row, out var truth) || !right.TryBoolean(row, out var otherTruth))
                {
                    return false;
                }

                order = truth.CompareTo(otherTruth);
                return true;
            default:
                if (!left.TryInstant(row, out var micros) || !right.TryInstant(row, out var otherMicros))
                {
                    return false;
                }

                order = micros.CompareTo(otherMicros);
                return true;
        }
    }
}

/// <summary><c>AND</c> and <c>OR</c> in three-valued logic.</summary>
internal sealed class Junction(bool conjunction, Expression left, Expression right) : Expression(ExpressionType.Boolean)
{
    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        var leftKnown = left.TryBoolean(row, out var a);
        var rightKnown = right.TryBoolean(row, out var b);

        // One side alone may decide: FALSE AND NULL is FALSE, TRUE OR NULL is TRUE.
        var deciding = !conjunction;
        if ((leftKnown && a == deciding) || (rightKnown && b == deciding))
        {
            value = deciding;
            return true;
        }

        value = conjunction;
        return leftKnown && rightKnown;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append('(');
        left.Print(sql, columns);
        sql.Append(conjunction ? " AND " : " OR ");
        right.Print(sql, columns);
        sql.Append(')');
    }
}

/// <summary><c>NOT a</c>; NULL stays NULL.</summary>
internal sealed class Not(Expression operand) : Expression(ExpressionType.Boolean)
{
    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        var known = operand.TryBoolean(row, out value);
        value = !value;
        return known;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append("(NOT ");
        operand.Print(sql, columns);
        sql.Append(')');
    }
}

/// <summary><c>a IS NULL</c>.</summary>
internal sealed class NullTest(Expression operand) : Expression(ExpressionType.Boolean)
{
    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        value = operand.IsNull(row);
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append('(');
        operand.Print(sql, columns);
        sql.Append(" IS NULL)");
    }
}

/// <summary><c>CASE WHEN … THEN … ELSE … END</c>: the first branch whose condition is true (NULL is not), else the last one.</summary>
internal sealed class Case(IReadOnlyList<(Expression When, Expression Then)> branches, Expression otherwise) : Expression(otherwise.Type)
{
    private readonly (Expression When, Expression Then)[] _branches = [.. branches];

    public override bool TryNumber(FeatureRequest row, out double value) => Chosen(row).TryNumber(row, out value);

    public override bool TryBoolean(FeatureRequest row, out bool value) => Chosen(row).TryBoolean(row, out value);

    public override bool TryText(FeatureRequest row, out ReadOnlySpan<char> value) => Chosen(row).TryText(row, out value);

    public override bool TryInstant(FeatureRequest row, out long micros) => Chosen(row).TryInstant(row, out micros);

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append("CASE");
        foreach (var (when, then) in _branches)
        {
            sql.Append(" WHEN ");
            when.Print(sql, columns);
            sql.Append(" THEN ");
            then.Print(sql, columns);
        }

        sql.Append(" ELSE ");
        otherwise.Print(sql, columns);
        sql.Append(" END");
    }

    private Expression Chosen(FeatureRequest row)
    {
        foreach (var (when, then) in _branches)
        {
            if (when.TryBoolean(row, out var holds) && holds)
            {
                return then;
            }
        }

        return otherwise;
    }
}

/// <summary><c>coalesce(a, b, …)</c>: the first that is not NULL.</summary>
internal sealed class Coalesce(IReadOnlyList<Expression> operands) : Expression(operands[0].Type)
{
    private readonly Expression[] _operands = [.. operands];

    public override bool TryNumber(FeatureRequest row, out double value) => FirstKnown(row).TryNumber(row, out value);

    public override bool TryBoolean(FeatureRequest row, out bool value) => FirstKnown(row).TryBoolean(row, out value);

    public override bool TryText(FeatureRequest row, out ReadOnlySpan<char> value) => FirstKnown(row).TryText(row, out value);

    public override bool TryInstant(FeatureRequest row, out long micros) => FirstKnown(row).TryInstant(row, out micros);

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) =>
        sql.Append(CultureInfo.InvariantCulture, $"coalesce({string.Join(", ", _operands.Select(operand => operand.ToSql(columns)))})");

    private Expression FirstKnown(FeatureRequest row)
    {
        foreach (var operand in _operands.AsSpan(0, _operands.Length - 1))
        {
            if (!operand.IsNull(row))
            {
                return operand;
            }
        }

        return _operands[^1];
    }
}
