using System.Globalization;
using Slipway.Contracts;
using Slipway.Tracking.Search;

namespace Slipway.Tracking.Traces;

internal enum TraceFieldKind
{
    /// <summary>A column of the trace itself, as text.</summary>
    Text,

    /// <summary>A column of the trace itself, as a number.</summary>
    Number,

    /// <summary>The run that made the trace, or that it was linked to.</summary>
    Run,
    Tag,
    Metadata,

    /// <summary>A span's name, type, status or content.</summary>
    Span,
    SpanAttribute,
    Feedback,
    Expectation,
}

/// <summary>What a clause compares.</summary>
internal readonly record struct TraceField(TraceFieldKind Kind, string Name);

/// <summary>One comparison.</summary>
/// <param name="Field">The left side.</param>
/// <param name="Comparator">= != &lt; &lt;= &gt; &gt;= LIKE ILIKE RLIKE IN, NOT IN, IS NULL, IS NOT NULL.</param>
/// <param name="Number">The right side when it is a number.</param>
/// <param name="Texts">The right side when it is a text; one, but for IN.</param>
internal sealed record TraceClause(TraceField Field, string Comparator, double? Number, IReadOnlyList<string> Texts);

/// <summary>Reads the filters and orders of a search for traces: comparisons joined by AND.</summary>
internal sealed class TraceFilter
{
    private const int LengthMax = 50_000;
    private const int ClausesMax = 50;
    private const int ListMax = 1000;

    private static readonly Dictionary<string, TraceField> Attributes = new(StringComparer.Ordinal)
    {
        ["request_id"] = new(TraceFieldKind.Text, "trace_id"),
        ["trace_id"] = new(TraceFieldKind.Text, "trace_id"),
        ["client_request_id"] = new(TraceFieldKind.Text, "client_request_id"),
        ["status"] = new(TraceFieldKind.Text, "state"),
        ["state"] = new(TraceFieldKind.Text, "state"),
        ["timestamp"] = new(TraceFieldKind.Number, "at_ms"),
        ["timestamp_ms"] = new(TraceFieldKind.Number, "at_ms"),
        ["request_time"] = new(TraceFieldKind.Number, "at_ms"),
        ["execution_time"] = new(TraceFieldKind.Number, "duration_ms"),
        ["execution_time_ms"] = new(TraceFieldKind.Number, "duration_ms"),
        ["execution_duration"] = new(TraceFieldKind.Number, "duration_ms"),
        ["end_time"] = new(TraceFieldKind.Number, "end_ms"),
        ["end_time_ms"] = new(TraceFieldKind.Number, "end_ms"),
        ["experiment_id"] = new(TraceFieldKind.Number, "experiment_id"),
        ["name"] = new(TraceFieldKind.Tag, TraceKeys.NameTag),
        ["run_id"] = new(TraceFieldKind.Run, TraceKeys.SourceRunMetadata),
        ["text"] = new(TraceFieldKind.Span, "content"),
    };

    private static readonly HashSet<string> SpanFields = new(StringComparer.Ordinal) { "name", "type", "status", "content" };

    private readonly List<FilterToken> _tokens;
    private int _at;

    private TraceFilter(string text)
    {
        if (text.Length > LengthMax)
        {
            throw RunLimits.Invalid($"Invalid filter: it has {text.Length} characters; at most {LengthMax} are allowed.");
        }

        TraceLimits.CheckText("A filter", text);
        _tokens = FilterTokens.Read(text);
    }

    private FilterToken Current => _tokens[_at];

    /// <summary>The clauses; empty for an empty text.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: says what was expected at which position.</exception>
    public static IReadOnlyList<TraceClause> Parse(string? filter)
    {
        if (string.IsNullOrWhiteSpace(filter))
        {
            return [];
        }

        var parser = new TraceFilter(filter);
        var clauses = new List<TraceClause> { parser.Clause() };
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

    /// <summary>One term such as <c>timestamp_ms DESC</c>.</summary>
    public static (TraceField Field, bool Descending) ParseOrder(string text)
    {
        var parser = new TraceFilter(text);
        var field = parser.Key();
        var descending = parser.Current.Is("DESC");
        if (descending || parser.Current.Is("ASC"))
        {
            parser._at++;
        }

        if (parser.Current.Kind is not TokenKind.End)
        {
            throw parser.Unexpected("ASC, DESC or the end of the order_by term");
        }

        return field.Kind is TraceFieldKind.Text or TraceFieldKind.Number or TraceFieldKind.Tag or TraceFieldKind.Metadata or TraceFieldKind.Run
            ? (field, descending)
            : throw RunLimits.Invalid("Invalid order_by: traces are ordered by timestamp_ms, execution_time_ms, end_time_ms, status, request_id, experiment_id, name, run_id, tags or metadata.");
    }

    private TraceClause Clause()
    {
        var field = Key();
        var comparator = Comparator();
        var allowed = field.Kind switch
        {
            TraceFieldKind.Number => comparator is "=" or "!=" or "<" or "<=" or ">" or ">=",
            TraceFieldKind.Tag or TraceFieldKind.Metadata => comparator is not ("<" or "<=" or ">" or ">="),
            TraceFieldKind.SpanAttribute => comparator is not ("IS NULL" or "IS NOT NULL"),
            TraceFieldKind.Feedback or TraceFieldKind.Expectation => true,
            _ => comparator is "=" or "!=" or "LIKE" or "ILIKE" or "RLIKE" or "IN" or "NOT IN",
        };
        if (!allowed)
        {
            throw RunLimits.Invalid($"Invalid filter: '{field.Name}' cannot be compared with {comparator}; use {(field.Kind is TraceFieldKind.Number ? "=, !=, <, <=, > or >=" : "=, !=, LIKE, ILIKE, RLIKE, IN or NOT IN")}.");
        }

        switch (comparator)
        {
            case "IS NULL" or "IS NOT NULL":
                return new TraceClause(field, comparator, null, []);
            case "IN" or "NOT IN":
                return new TraceClause(field, comparator, null, List());
            case "LIKE" or "ILIKE" or "RLIKE":
                return new TraceClause(field, comparator, null, [Text()]);
            case "<" or "<=" or ">" or ">=":
                return new TraceClause(field, comparator, Number(), []);
            default:
                if (field.Kind is TraceFieldKind.Number)
                {
                    return new TraceClause(field, comparator, Number(), []);
                }

                return field.Kind is TraceFieldKind.Feedback or TraceFieldKind.Expectation or TraceFieldKind.SpanAttribute && Current.Kind is TokenKind.Word
                    ? Bare(field, comparator)
                    : new TraceClause(field, comparator, null, [Text()]);
        }
    }

    // Values of feedback and attributes have types: 5 and true may stand without quotes.
    private TraceClause Bare(TraceField field, string comparator)
    {
        if (Current.Is("true") || Current.Is("false"))
        {
            return new TraceClause(field, comparator, null, [_tokens[_at++].Value.ToLowerInvariant()]);
        }

        return new TraceClause(field, comparator, Number(), []);
    }

    private TraceField Key()
    {
        var first = Current;
        if (first.Kind is not (TokenKind.Word or TokenKind.Name or TokenKind.DoubleQuoted))
        {
            throw Unexpected("a key such as trace.status or tags.team");
        }

        _at++;
        var dot = first.Kind is TokenKind.Word ? first.Value.IndexOf('.', StringComparison.Ordinal) : -1;
        if (dot < 0)
        {
            return Attribute(first.Value);
        }

        var (prefix, name) = (first.Value[..dot], first.Value[(dot + 1)..]);
        // The rest may be quoted: tags.`my key`, span.attributes."gen_ai.request.model".
        if ((name.Length == 0 || name == "attributes.") && Current.Kind is TokenKind.Name or TokenKind.DoubleQuoted && Current.Glued)
        {
            name += _tokens[_at++].Value;
        }

        if (name.Length == 0)
        {
            throw Unexpected($"a name after '{prefix}.'");
        }

        return prefix switch
        {
            "trace" or "traces" or "attribute" or "attributes" or "attr" => Attribute(name),
            "tag" or "tags" => new TraceField(TraceFieldKind.Tag, name),
            "metadata" or "request_metadata" or "trace_metadata" => new TraceField(name == TraceKeys.SourceRunMetadata ? TraceFieldKind.Run : TraceFieldKind.Metadata, name),
            "feedback" => new TraceField(TraceFieldKind.Feedback, name),
            "expectation" => new TraceField(TraceFieldKind.Expectation, name),
            "span" when name.StartsWith("attributes.", StringComparison.Ordinal) && name.Length > "attributes.".Length => new TraceField(TraceFieldKind.SpanAttribute, name["attributes.".Length..]),
            "span" when SpanFields.Contains(name) => new TraceField(TraceFieldKind.Span, name),
            "span" => throw RunLimits.Invalid($"Invalid filter: there is no span field '{name}'; known are attributes.<key>, content, name, status, type."),
            _ => throw RunLimits.Invalid($"Invalid filter: '{prefix}' at position {first.Position} is not a kind of key; known are attributes, expectation, feedback, metadata, span, tags, trace."),
        };
    }

    private static TraceField Attribute(string name) => Attributes.TryGetValue(name, out var field)
        ? field
        : throw RunLimits.Invalid($"Invalid filter: there is no attribute '{name}'; known are {string.Join(", ", Attributes.Keys.Order(StringComparer.Ordinal))}.");

    private string Comparator()
    {
        var token = Current;
        if (token.Kind is TokenKind.Comparator && token.Value != "!")
        {
            _at++;
            return token.Value;
        }

        foreach (var word in (ReadOnlySpan<string>)["LIKE", "ILIKE", "RLIKE", "IN"])
        {
            if (token.Is(word))
            {
                _at++;
                return word;
            }
        }

        if (token.Is("NOT") && _tokens[_at + 1].Is("IN"))
        {
            _at += 2;
            return "NOT IN";
        }

        if (token.Is("IS"))
        {
            var not = _tokens[_at + 1].Is("NOT");
            if (_tokens[Math.Min(_at + (not ? 2 : 1), _tokens.Count - 1)].Is("NULL"))
            {
                _at += not ? 3 : 2;
                return not ? "IS NOT NULL" : "IS NULL";
            }
        }

        throw Unexpected("a comparator (=, !=, <, <=, >, >=, LIKE, ILIKE, RLIKE, IN, NOT IN, IS NULL or IS NOT NULL)");
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

    private string Text() => Current.Kind is TokenKind.Text or TokenKind.DoubleQuoted ? _tokens[_at++].Value : throw Unexpected("a text in quotes");

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
