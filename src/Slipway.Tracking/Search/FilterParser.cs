using System.Globalization;
using Slipway.Contracts;

namespace Slipway.Tracking.Search;

internal enum FieldKind
{
    Attribute,
    Metric,
    Parameter,
    Tag,
    Dataset,
}

/// <summary>What a clause compares.</summary>
internal readonly record struct Field(FieldKind Kind, string Name);

/// <summary>One comparison.</summary>
/// <param name="Field">The left side.</param>
/// <param name="Comparator">= != &lt; &lt;= &gt; &gt;= LIKE ILIKE IN, NOT IN.</param>
/// <param name="Number">The right side of a numeric field.</param>
/// <param name="Texts">The right side of a text field; one, but for IN.</param>
internal sealed record FilterClause(Field Field, string Comparator, double Number, IReadOnlyList<string> Texts);

/// <summary>One term of an <c>order_by</c>.</summary>
internal sealed record OrderTerm(Field Field, bool Descending);

/// <summary>Which fields a search knows.</summary>
/// <param name="Prefixes">Prefix to kind, such as <c>params</c> to Parameter.</param>
/// <param name="Attributes">Name or alias to the attribute's own name.</param>
/// <param name="NumericAttributes">Those compared as numbers.</param>
internal sealed record FilterFields(
    IReadOnlyDictionary<string, FieldKind> Prefixes, IReadOnlyDictionary<string, string> Attributes, IReadOnlySet<string> NumericAttributes)
{
    /// <summary>Fields of <c>runs/search</c>.</summary>
    public static FilterFields Runs { get; } = new(
        new Dictionary<string, FieldKind>
        {
            ["metrics"] = FieldKind.Metric,
            ["metric"] = FieldKind.Metric,
            ["params"] = FieldKind.Parameter,
            ["param"] = FieldKind.Parameter,
            ["parameter"] = FieldKind.Parameter,
            ["parameters"] = FieldKind.Parameter,
            ["tags"] = FieldKind.Tag,
            ["tag"] = FieldKind.Tag,
            ["attributes"] = FieldKind.Attribute,
            ["attribute"] = FieldKind.Attribute,
            ["attr"] = FieldKind.Attribute,
            ["run"] = FieldKind.Attribute,
            ["datasets"] = FieldKind.Dataset,
            ["dataset"] = FieldKind.Dataset,
        },
        new Dictionary<string, string>
        {
            ["run_id"] = "run_id",
            ["run_name"] = "run_name",
            ["run name"] = "run_name",
            ["Run name"] = "run_name",
            ["Run Name"] = "run_name",
            ["status"] = "status",
            ["artifact_uri"] = "artifact_uri",
            ["user_id"] = "user_id",
            ["start_time"] = "start_time",
            ["created"] = "start_time",
            ["Created"] = "start_time",
            ["end_time"] = "end_time",
        },
        new HashSet<string> { "start_time", "end_time" });

    /// <summary>Fields of <c>experiments/search</c>.</summary>
    public static FilterFields Experiments { get; } = new(
        new Dictionary<string, FieldKind>
        {
            ["tags"] = FieldKind.Tag,
            ["tag"] = FieldKind.Tag,
            ["attributes"] = FieldKind.Attribute,
            ["attribute"] = FieldKind.Attribute,
            ["attr"] = FieldKind.Attribute,
            ["experiment"] = FieldKind.Attribute,
        },
        new Dictionary<string, string>
        {
            ["name"] = "name",
            ["experiment_id"] = "experiment_id",
            ["creation_time"] = "creation_time",
            ["last_update_time"] = "last_update_time",
        },
        new HashSet<string> { "experiment_id", "creation_time", "last_update_time" });

    public bool IsNumeric(Field field) => field.Kind is FieldKind.Metric || (field.Kind is FieldKind.Attribute && NumericAttributes.Contains(field.Name));
}

/// <summary>Reads MLflow's filter and order texts: comparisons joined by AND, nothing else.</summary>
internal sealed class FilterParser
{
    private const int LengthMax = 50_000;
    private const int ClausesMax = 100;
    private const int ListMax = 1000;

    private static readonly HashSet<string> DatasetFields = new(StringComparer.Ordinal) { "name", "digest", "context" };

    private readonly List<FilterToken> _tokens;
    private readonly FilterFields _fields;
    private int _at;

    private FilterParser(string text, FilterFields fields)
    {
        if (text.Length > LengthMax)
        {
            throw RunLimits.Invalid($"Invalid filter: it has {text.Length} characters; at most {LengthMax} are allowed.");
        }

        _tokens = FilterTokens.Read(text);
        _fields = fields;
    }

    private FilterToken Current => _tokens[_at];

    /// <summary>The clauses; empty for an empty text.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: says what was expected at which position.</exception>
    public static IReadOnlyList<FilterClause> Parse(string? filter, FilterFields fields)
    {
        if (string.IsNullOrWhiteSpace(filter))
        {
            return [];
        }

        var parser = new FilterParser(filter, fields);
        var clauses = new List<FilterClause> { parser.Clause() };
        while (parser.Current.Is("AND"))
        {
            parser._at++;
            clauses.Add(parser.Clause());
            RunLimits.CheckCount("clauses of a filter", clauses.Count, ClausesMax);
        }

        return parser.Current.Kind is TokenKind.End
            ? clauses
            : throw (parser.Current.Is("OR") ? parser.Unexpected("AND; OR is not supported") : parser.Unexpected("AND or the end"));
    }

    /// <summary>One term such as <c>metrics.auc DESC</c>.</summary>
    public static OrderTerm ParseOrder(string text, FilterFields fields)
    {
        var parser = new FilterParser(text, fields);
        var field = parser.Key();
        var descending = parser.Current.Is("DESC");
        if (descending || parser.Current.Is("ASC"))
        {
            parser._at++;
        }

        return parser.Current.Kind is TokenKind.End ? new OrderTerm(field, descending) : throw parser.Unexpected("ASC, DESC or the end of the order_by term");
    }

    private FilterClause Clause()
    {
        var field = Key();
        var comparator = Comparator();
        if (_fields.IsNumeric(field))
        {
            return comparator is "=" or "!=" or "<" or "<=" or ">" or ">="
                ? new FilterClause(field, comparator, Number(), [])
                : throw RunLimits.Invalid($"Invalid filter: '{field.Name}' is a number and cannot be compared with {comparator}; use =, !=, <, <=, > or >=.");
        }

        return comparator switch
        {
            "=" or "!=" or "LIKE" or "ILIKE" => new FilterClause(field, comparator, 0, [Text()]),
            "IN" or "NOT IN" when field.Kind is FieldKind.Attribute or FieldKind.Dataset => new FilterClause(field, comparator, 0, List()),
            "IN" or "NOT IN" => throw RunLimits.Invalid($"Invalid filter: {comparator} works on attributes and datasets only; compare '{field.Name}' with =, !=, LIKE or ILIKE."),
            _ => throw RunLimits.Invalid($"Invalid filter: '{field.Name}' is a text and cannot be compared with {comparator}; use =, !=, LIKE or ILIKE."),
        };
    }

    private Field Key()
    {
        var first = Current;
        if (first.Kind is not (TokenKind.Word or TokenKind.Name or TokenKind.DoubleQuoted))
        {
            throw Unexpected("a key such as metrics.auc or params.depth");
        }

        _at++;
        if (first.Kind is not TokenKind.Word)
        {
            return Resolve(FieldKind.Attribute, first.Value);
        }

        var dot = first.Value.IndexOf('.', StringComparison.Ordinal);
        if (dot < 0)
        {
            return Resolve(FieldKind.Attribute, first.Value);
        }

        var prefix = first.Value[..dot];
        if (!_fields.Prefixes.TryGetValue(prefix, out var kind))
        {
            throw RunLimits.Invalid($"Invalid filter: '{prefix}' at position {first.Position} is not a kind of key; known are {string.Join(", ", _fields.Prefixes.Keys.Order(StringComparer.Ordinal))}.");
        }

        var name = first.Value[(dot + 1)..];
        if (name.Length == 0)
        {
            if (Current.Kind is not (TokenKind.Name or TokenKind.DoubleQuoted) || !Current.Glued)
            {
                throw Unexpected($"a name after '{prefix}.'");
            }

            name = Current.Value;
            _at++;
        }

        return Resolve(kind, name);
    }

    private Field Resolve(FieldKind kind, string name)
    {
        if (kind is FieldKind.Attribute)
        {
            return _fields.Attributes.TryGetValue(name, out var attribute)
                ? new Field(kind, attribute)
                : throw RunLimits.Invalid($"Invalid filter: there is no attribute '{name}'; known are {string.Join(", ", _fields.Attributes.Values.Distinct().Order(StringComparer.Ordinal))}.");
        }

        return kind is not FieldKind.Dataset || DatasetFields.Contains(name)
            ? new Field(kind, name)
            : throw RunLimits.Invalid($"Invalid filter: there is no dataset field '{name}'; known are context, digest, name.");
    }

    private string Comparator()
    {
        var token = Current;
        _at++;
        if (token.Kind is TokenKind.Comparator && token.Value != "!")
        {
            return token.Value;
        }

        if (token.Is("LIKE") || token.Is("ILIKE") || token.Is("IN"))
        {
            return token.Value.ToUpperInvariant();
        }

        if (token.Is("NOT") && Current.Is("IN"))
        {
            _at++;
            return "NOT IN";
        }

        _at--;
        throw Unexpected("a comparator (=, !=, <, <=, >, >=, LIKE, ILIKE, IN or NOT IN)");
    }

    private double Number()
    {
        if (Current.Kind is TokenKind.Word && double.TryParse(Current.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value))
        {
            _at++;
            return value;
        }

        throw Unexpected("a number without quotes");
    }

    private string Text()
    {
        if (Current.Kind is TokenKind.Text or TokenKind.DoubleQuoted)
        {
            return _tokens[_at++].Value;
        }

        throw Unexpected("a text in quotes");
    }

    private List<string> List()
    {
        Mark("(");
        var texts = new List<string> { Text() };
        while (Current is { Kind: TokenKind.Mark, Value: "," })
        {
            _at++;
            texts.Add(Text());
            RunLimits.CheckCount("texts of an IN list", texts.Count, ListMax);
        }

        Mark(")");
        return texts;
    }

    private void Mark(string mark)
    {
        if (Current.Kind is not TokenKind.Mark || Current.Value != mark)
        {
            throw Unexpected($"'{mark}'");
        }

        _at++;
    }

    private SlipwayException Unexpected(string expected)
    {
        var found = Current.Kind is TokenKind.End ? "the end" : $"'{(Current.Value.Length <= 60 ? Current.Value : Current.Value[..60] + "…")}'";
        return RunLimits.Invalid($"Invalid filter: expected {expected} at position {Current.Position}, found {found}.");
    }
}
