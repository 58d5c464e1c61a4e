using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;

namespace Slipway.FeatureStore.Expressions;

/// <summary>
/// Reads the SQL that on-demand features are written in: arithmetic, comparisons, AND/OR/NOT, IS NULL, BETWEEN, IN, CASE, COALESCE,
/// casts, EXTRACT and a few functions of numbers.
/// </summary>
internal sealed class ExpressionParser
{
    // A definition comes from a user; a tree is evaluated by recursion and must not be able to exhaust the stack.
    private const int DepthMax = 64;
    private const int NodesMax = 1000;
    private const int LengthMax = 10_000;

    private readonly List<ExpressionToken> _tokens;
    private readonly IReadOnlyList<FeatureInput> _inputs;
    private int _at;
    private int _depth;
    private int _nodes;

    private ExpressionParser(string expression, IReadOnlyList<FeatureInput> inputs)
    {
        _tokens = ExpressionToken.Split(expression);
        _inputs = inputs;
    }

    private ExpressionToken Current => _tokens[_at];

    /// <summary>Reads a feature's expression; a condition yields 1 or 0.</summary>
    /// <param name="expression">The text.</param>
    /// <param name="inputs">What it may name.</param>
    /// <exception cref="SlipwayException">InvalidArgument: where and why it cannot be read.</exception>
    public static Expression ParseFeature(string expression, IReadOnlyList<FeatureInput> inputs)
    {
        if (expression.Length > LengthMax)
        {
            throw ExpressionToken.Fault(LengthMax, $"it is longer than {LengthMax} characters");
        }

        var parser = new ExpressionParser(expression, inputs);
        var parsed = parser.ReadOr();
        if (parser.Current.Kind != TokenKind.End)
        {
            throw parser.Unexpected("the end");
        }

        return parsed.Type switch
        {
            ExpressionType.Number => parsed is UntypedNull ? new NullValue(ExpressionType.Number) : parsed,
            ExpressionType.Boolean => new Cast("DOUBLE", parsed),
            _ => throw ExpressionToken.Fault(1, $"it yields {Name(parsed.Type)}, but a feature is a number or a condition"),
        };
    }

    private Expression ReadOr()
    {
        if (++_depth > DepthMax)
        {
            throw ExpressionToken.Fault(Current.Position, $"it is nested deeper than {DepthMax} levels");
        }

        var left = ReadAnd();
        while (TakeWord("or"))
        {
            left = Count(new Junction(false, Demand(left, ExpressionType.Boolean, "OR"), Demand(ReadAnd(), ExpressionType.Boolean, "OR")));
        }

        _depth--;
        return left;
    }

    private Expression ReadAnd()
    {
        var left = ReadNot();
        while (TakeWord("and"))
        {
            left = Count(new Junction(true, Demand(left, ExpressionType.Boolean, "AND"), Demand(ReadNot(), ExpressionType.Boolean, "AND")));
        }

        return left;
    }

    private Expression ReadNot()
    {
        var negations = 0;
        while (TakeWord("not"))
        {
            negations++;
        }

        var operand = ReadComparison();
        for (; negations > 0; negations--)
        {
            operand = Count(new Not(Demand(operand, ExpressionType.Boolean, "NOT")));
        }

        return operand;
    }

    private Expression ReadComparison()
    {
        var left = ReadSum();
        while (true)
        {
            if (Current is { Kind: TokenKind.Symbol, Value: "=" or "<>" or "<" or "<=" or ">" or ">=" })
            {
                var operation = Take().Value;
                left = Compare(operation, left, ReadSum());
            }
            else if (TakeWord("is"))
            {
                var negated = TakeWord("not");
                ExpectWord("null");
                left = Negate(negated, Count(new NullTest(left is UntypedNull ? new NullValue(ExpressionType.Number) : left)));
            }
            else if (IsWord("between") || IsWord("in") || (IsWord("not") && _tokens[_at + 1] is { Kind: TokenKind.Word, Value: "between" or "in" }))
            {
                var negated = TakeWord("not");
                left = Negate(negated, TakeWord("between") ? ReadBetween(left) : ReadIn(left));
            }
            else
            {
                return left;
            }
        }
    }

    private Expression ReadBetween(Expression value)
    {
        var lower = ReadSum();
        ExpectWord("and");
        return Count(new Junction(true, Compare(">=", value, lower), Compare("<=", value, ReadSum())));
    }

    private Expression ReadIn(Expression value)
    {
        ExpectWord("in");
        Expression? any = null;
        foreach (var candidate in ReadArguments("IN", 1, 200))
        {
            var same = Compare("=", value, candidate);
            any = any is null ? same : Count(new Junction(false, any, same));
        }

        return any!;
    }

    private Expression ReadSum()
    {
        var left = ReadProduct();
        while (Current is { Kind: TokenKind.Symbol, Value: "+" or "-" })
        {
            var operation = Take().Value;
            left = Calculate(operation, left, ReadProduct());
        }

        return left;
    }

    private Expression ReadProduct()
    {
        var left = ReadSign();
        while (Current is { Kind: TokenKind.Symbol, Value: "*" or "/" or "%" })
        {
            var operation = Take().Value;
            left = Calculate(operation, left, ReadSign());
        }

        return left;
    }

    private Expression ReadSign()
    {
        var negations = 0;
        while (Current is { Kind: TokenKind.Symbol, Value: "-" or "+" })
        {
            negations += Take().Value == "-" ? 1 : 0;
        }

        var operand = ReadCasts();
        for (; negations > 0; negations--)
        {
            operand = Count(new Negation(Demand(operand, ExpressionType.Number, "-")));
        }

        return operand;
    }

    private Expression ReadCasts()
    {
        var operand = ReadPrimary();
        while (TakeSymbol("::"))
        {
            operand = CastTo(Take(), operand);
        }

        return operand;
    }

    private Expression ReadPrimary()
    {
        var token = Take();
        switch (token.Kind)
        {
            case TokenKind.Number: return Count(new NumberValue(double.Parse(token.Value, NumberStyles.Float, CultureInfo.InvariantCulture)));
            case TokenKind.Text: return Count(new TextValue(token.Value));
            case TokenKind.QuotedName: return Input(token);
            case TokenKind.Symbol when token.Value == "(":
                var inner = ReadOr();
                ExpectSymbol(")");
                return inner;
            case TokenKind.Word: return ReadWord(token);
            default:
                _at--;
                throw Unexpected("a value");
        }
    }

    private Expression ReadWord(ExpressionToken word)
    {
        switch (word.Value)
        {
            case "null": return new UntypedNull();
            case "true": return Count(new BooleanValue(true));
            case "false": return Count(new BooleanValue(false));
            case "case": return ReadCase();
            case "timestamp" when Current.Kind == TokenKind.Text: return ReadInstant(Take());
            case "cast" when TakeSymbol("("):
                var operand = ReadOr();
                ExpectWord("as");
                var cast = CastTo(Take(), operand);
                ExpectSymbol(")");
                return cast;
            case "extract" when TakeSymbol("("):
                var field = Take();
                if (!Extraction.Fields.Contains(field.Value))
                {
                    throw ExpressionToken.Fault(field.Position, $"extract knows {string.Join(", ", Extraction.Fields)}, not '{field.Value}'");
                }

                ExpectWord("from");
                var instant = Demand(ReadOr(), ExpressionType.Instant, "extract");
                ExpectSymbol(")");
                return Count(new Extraction(field.Value, instant));
            default: return Current is { Kind: TokenKind.Symbol, Value: "(" } ? ReadFunction(word) : Input(word);
        }
    }

    private Expression ReadFunction(ExpressionToken name)
    {
        if (NumberFunction.Known.TryGetValue(name.Value, out var function))
        {
            return Count(new NumberFunction(function, Demand(ReadArguments(name.Value, 1, 1)[0], ExpressionType.Number, name.Value)));
        }

        switch (name.Value)
        {
            case "power" or "pow":
                var pair = ReadArguments(name.Value, 2, 2);
                return Count(new Power(Demand(pair[0], ExpressionType.Number, name.Value), Demand(pair[1], ExpressionType.Number, name.Value)));
            case "least" or "greatest":
                var numbers = ReadArguments(name.Value, 1, 50).Select(operand => Demand(operand, ExpressionType.Number, name.Value)).ToList();
                return Count(new Extreme(name.Value == "greatest", numbers));
            case "coalesce":
                return Count(new Coalesce(Unify(ReadArguments(name.Value, 1, 50), name)));
            default:
                throw ExpressionToken.Fault(name.Position,
                    $"there is no function '{name.Value}'; there are {string.Join(", ", NumberFunction.Known.Keys.Concat(["power", "least", "greatest", "coalesce", "extract", "cast"]))}");
        }
    }

    private Expression ReadCase()
    {
        var start = _tokens[_at - 1];
        var subject = IsWord("when") ? null : ReadOr();
        var conditions = new List<Expression>();
        var values = new List<Expression>();
        while (TakeWord("when"))
        {
            var when = ReadOr();
            conditions.Add(subject is null ? Demand(when, ExpressionType.Boolean, "WHEN") : Compare("=", subject, when));
            ExpectWord("then");
            values.Add(ReadOr());
        }

        if (conditions.Count == 0)
        {
            throw Unexpected("WHEN");
        }

        values.Add(TakeWord("else") ? ReadOr() : new UntypedNull());
        ExpectWord("end");
        values = Unify(values, start);
        return Count(new Case([.. conditions.Zip(values)], values[^1]));
    }

    private InstantValue ReadInstant(ExpressionToken text) =>
        DateTimeOffset.TryParse(text.Value, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var instant)
            ? new InstantValue(instant)
            : throw ExpressionToken.Fault(text.Position, $"'{text.Value}' is not an instant such as 2001-05-01 06:00:00");

    private List<Expression> ReadArguments(string function, int least, int most)
    {
        ExpectSymbol("(");
        var arguments = new List<Expression>();
        do
        {
            arguments.Add(ReadOr());
        }
        while (TakeSymbol(","));

        if (arguments.Count < least || arguments.Count > most)
        {
            throw ExpressionToken.Fault(Current.Position, $"{function} takes {(least == most ? $"{least}" : $"{least} to {most}")} values, not {arguments.Count}");
        }

        ExpectSymbol(")");
        return arguments;
    }

    private Expression Input(ExpressionToken name)
    {
        for (var i = 0; i < _inputs.Count; i++)
        {
            if (_inputs[i].Name.Equals(name.Value, StringComparison.OrdinalIgnoreCase))
            {
                return Count(new InputValue(TypeOf(_inputs[i]), i));
            }
        }

        throw ExpressionToken.Fault(name.Position, $"'{name.Value}' is not one of the inputs ({string.Join(", ", _inputs.Select(input => input.Name))})");
    }

    private Expression CastTo(ExpressionToken type, Expression operand)
    {
        var sqlType = type.Value switch
        {
            "double" or "float8" => "DOUBLE",
            "integer" or "int" or "int4" => "INTEGER",
            "bigint" or "int8" or "long" => "BIGINT",
            "boolean" or "bool" => "BOOLEAN",
            _ => throw ExpressionToken.Fault(type.Position, $"a value can be cast to DOUBLE, INTEGER, BIGINT or BOOLEAN, not '{type.Value}'"),
        };
        if (operand is UntypedNull)
        {
            operand = new NullValue(ExpressionType.Number);
        }

        return operand.Type is ExpressionType.Number or ExpressionType.Boolean
            ? Count(new Cast(sqlType, operand))
            : throw ExpressionToken.Fault(type.Position, $"{Name(operand.Type)} cannot be cast to {sqlType}");
    }

    private Expression Compare(string operation, Expression left, Expression right)
    {
        var pair = Unify([left, right], _tokens[_at - 1]);
        return Count(new Comparison(operation, pair[0], pair[1]));
    }

    private Expression Calculate(string operation, Expression left, Expression right) =>
        Count(new Arithmetic(operation[0], Demand(left, ExpressionType.Number, operation), Demand(right, ExpressionType.Number, operation)));

    private Expression Negate(bool negated, Expression operand) => negated ? Count(new Not(operand)) : operand;

    private Expression Demand(Expression operand, ExpressionType type, string by) =>
        operand is UntypedNull ? new NullValue(type)
        : operand.Type == type ? operand
        : throw ExpressionToken.Fault(Current.Position, $"{by.ToUpperInvariant()} needs {Name(type)}, not {Name(operand.Type)}");

    private static List<Expression> Unify(List<Expression> operands, ExpressionToken at)
    {
        var type = operands.Find(operand => operand is not UntypedNull)?.Type ?? ExpressionType.Number;
        if (operands.Find(operand => operand is not UntypedNull && operand.Type != type) is { } other)
        {
            throw ExpressionToken.Fault(at.Position, $"{Name(type)} does not go together with {Name(other.Type)}");
        }

        return [.. operands.Select(operand => operand is UntypedNull ? new NullValue(type) : operand)];
    }

    private Expression Count(Expression node) => ++_nodes <= NodesMax
        ? node
        : throw ExpressionToken.Fault(Current.Position, $"it has more than {NodesMax} parts");

    private ExpressionToken Take() => Current.Kind == TokenKind.End ? throw Unexpected("a value") : _tokens[_at++];

    private bool IsWord(string word) => Current.Kind == TokenKind.Word && Current.Value == word;

    private bool TakeWord(string word)
    {
        var found = IsWord(word);
        _at += found ? 1 : 0;
        return found;
    }

    private bool TakeSymbol(string symbol)
    {
        var found = Current.Kind == TokenKind.Symbol && Current.Value == symbol;
        _at += found ? 1 : 0;
        return found;
    }

    private void ExpectWord(string word)
    {
        if (!TakeWord(word))
        {
            throw Unexpected(word.ToUpperInvariant());
        }
    }

    private void ExpectSymbol(string symbol)
    {
        if (!TakeSymbol(symbol))
        {
            throw Unexpected($"'{symbol}'");
        }
    }

    private SlipwayException Unexpected(string expected) =>
        ExpressionToken.Fault(Current.Position, $"{expected} is expected, not {(Current.Kind == TokenKind.End ? "the end" : $"'{Current.Value}'")}");

    private static ExpressionType TypeOf(FeatureInput input) => input.Type switch
    {
        "string" => ExpressionType.Text,
        "boolean" => ExpressionType.Boolean,
        "timestamp" => ExpressionType.Instant,
        _ => ExpressionType.Number,
    };

    private static string Name(ExpressionType type) => type switch
    {
        ExpressionType.Number => "a number",
        ExpressionType.Boolean => "a condition",
        ExpressionType.Text => "a text",
        _ => "an instant",
    };

    /// <summary>NULL before its place has given it a type.</summary>
    private sealed class UntypedNull() : Expression(ExpressionType.Number)
    {
        public override void Print(System.Text.StringBuilder sql, IReadOnlyList<string> columns) => throw new InvalidOperationException("An untyped NULL stayed in the tree.");
    }
}
