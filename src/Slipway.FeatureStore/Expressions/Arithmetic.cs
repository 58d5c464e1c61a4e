using System.Globalization;
using System.Text;

namespace Slipway.FeatureStore.Expressions;

/// <summary><c>a + b</c>, <c>- * / %</c>; NULL when either side is. Division by zero follows IEEE 754 on both sides.</summary>
internal sealed class Arithmetic(char operation, Expression left, Expression right) : Expression(ExpressionType.Number)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = 0;
        if (!left.TryNumber(row, out var a) || !right.TryNumber(row, out var b))
        {
            return false;
        }

        value = operation switch
        {
            '+' => a + b,
            '-' => a - b,
            '*' => a * b,
            '/' => a / b,
            _ => a % b,
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
}

/// <summary><c>-a</c>.</summary>
internal sealed class Negation(Expression operand) : Expression(ExpressionType.Number)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        var known = operand.TryNumber(row, out value);
        value = -value;
        return known;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append("(- ");
        operand.Print(sql, columns);
        sql.Append(')');
    }
}

/// <summary>A function of one number, with the numbers it is defined for; NULL elsewhere.</summary>
internal sealed class NumberFunction(NumberFunction.Definition function, Expression operand) : Expression(ExpressionType.Number)
{
    /// <summary>The functions by name.</summary>
    public static readonly IReadOnlyDictionary<string, Definition> Known = new Dictionary<string, Definition>(StringComparer.Ordinal)
    {
        ["abs"] = new("abs", Math.Abs),
        ["floor"] = new("floor", Math.Floor),
        ["ceil"] = new("ceil", Math.Ceiling),
        ["ceiling"] = new("ceil", Math.Ceiling),
        ["exp"] = new("exp", Math.Exp),
        ["sqrt"] = new("sqrt", Math.Sqrt, ">="),
        ["ln"] = new("ln", Math.Log, ">"),
    };

    /// <summary>One function.</summary>
    /// <param name="Sql">DuckDB's name.</param>
    /// <param name="Apply">.NET's.</param>
    /// <param name="AgainstZero">The comparison with zero that an argument must pass, where DuckDB would fail the query; null for every number.</param>
    public sealed record Definition(string Sql, Func<double, double> Apply, string? AgainstZero = null);

    public override bool TryNumber(FeatureRequest row, out double value)
    {
        if (!operand.TryNumber(row, out value))
        {
            return false;
        }

        // DuckDB orders NaN above all numbers, so that it passes both comparisons.
        var defined = function.AgainstZero switch
        {
            ">=" => Compare(value, 0) >= 0,
            ">" => Compare(value, 0) > 0,
            _ => true,
        };
        value = defined ? function.Apply(value) : 0;
        return defined;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append(function.AgainstZero is null ? "" : "TRY(").Append(function.Sql).Append('(');
        operand.Print(sql, columns);
        sql.Append(function.AgainstZero is null ? ")" : "))");
    }
}

/// <summary><c>power(a, b)</c>; NULL when either side is.</summary>
internal sealed class Power(Expression number, Expression exponent) : Expression(ExpressionType.Number)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = 0;
        if (!number.TryNumber(row, out var a) || !exponent.TryNumber(row, out var b))
        {
            return false;
        }

        value = Math.Pow(a, b);
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append("power(");
        number.Print(sql, columns);
        sql.Append(", ");
        exponent.Print(sql, columns);
        sql.Append(')');
    }
}

/// <summary><c>least</c> and <c>greatest</c> of numbers: NULLs are passed over; NULL only when all are.</summary>
internal sealed class Extreme(bool greatest, IReadOnlyList<Expression> operands) : Expression(ExpressionType.Number)
{
    private readonly Expression[] _operands = [.. operands];

    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = 0;
        var known = false;
        foreach (var operand in _operands)
        {
            if (operand.TryNumber(row, out var candidate) && (!known || (greatest ? Compare(candidate, value) > 0 : Compare(candidate, value) < 0)))
            {
                (value, known) = (candidate, true);
            }
        }

        return known;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns) =>
        sql.Append(CultureInfo.InvariantCulture, $"{(greatest ? "greatest" : "least")}({string.Join(", ", _operands.Select(operand => operand.ToSql(columns)))})");
}

/// <summary><c>extract(field from instant)</c>, in UTC.</summary>
internal sealed class Extraction(string field, Expression instant) : Expression(ExpressionType.Number)
{
    /// <summary>The fields that may be taken.</summary>
    public static readonly IReadOnlyList<string> Fields = ["year", "quarter", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "epoch"];

    public override bool TryNumber(FeatureRequest row, out double value)
    {
        value = 0;
        if (!instant.TryInstant(row, out var micros))
        {
            return false;
        }

        var at = DateTime.UnixEpoch.AddTicks(micros * TimeSpan.TicksPerMicrosecond);
        value = field switch
        {
            "year" => at.Year,
            "quarter" => (at.Month + 2) / 3,
            "month" => at.Month,
            "day" => at.Day,
            "hour" => at.Hour,
            "minute" => at.Minute,
            "second" => at.Second,
            "dow" => (int)at.DayOfWeek,
            "isodow" => at.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)at.DayOfWeek,
            "doy" => at.DayOfYear,
            _ => micros / 1_000_000.0,
        };
        return true;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        sql.Append(CultureInfo.InvariantCulture, $"CAST(extract({field} FROM ");
        instant.Print(sql, columns);
        sql.Append(") AS DOUBLE)");
    }
}

/// <summary>A cast between numbers and truth values. To a whole number it rounds half to even and is NULL beyond the type's range.</summary>
internal sealed class Cast(string sqlType, Expression operand) : Expression(sqlType == "BOOLEAN" ? ExpressionType.Boolean : ExpressionType.Number)
{
    public override bool TryNumber(FeatureRequest row, out double value)
    {
        if (operand.Type == ExpressionType.Boolean)
        {
            var known = operand.TryBoolean(row, out var truth);
            value = truth ? 1 : 0;
            return known;
        }

        if (!operand.TryNumber(row, out value) || sqlType == "DOUBLE")
        {
            return operand.TryNumber(row, out value);
        }

        // Whole numbers have no -0. The upper end is the first double that does not fit; NaN fails both comparisons.
        value = Math.Round(value, MidpointRounding.ToEven) + 0.0;
        return sqlType == "INTEGER" ? value >= int.MinValue && value <= int.MaxValue : value >= long.MinValue && value < 9223372036854775808.0;
    }

    public override bool TryBoolean(FeatureRequest row, out bool value)
    {
        if (operand.Type == ExpressionType.Boolean)
        {
            return operand.TryBoolean(row, out value);
        }

        var known = operand.TryNumber(row, out var number);
        value = number != 0;
        return known;
    }

    public override void Print(StringBuilder sql, IReadOnlyList<string> columns)
    {
        var argument = operand.ToSql(columns);
        sql.Append(sqlType is "INTEGER" or "BIGINT" ? $"CAST(TRY_CAST({argument} AS {sqlType}) AS DOUBLE)" : $"CAST({argument} AS {sqlType})");
    }
}
