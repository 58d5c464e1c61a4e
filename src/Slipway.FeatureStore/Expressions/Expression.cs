using System.Text;

namespace Slipway.FeatureStore.Expressions;

/// <summary>What an expression yields.</summary>
internal enum ExpressionType
{
    Number,
    Boolean,
    Text,
    Instant,
}

/// <summary>
/// One node of an on-demand expression. The same tree is evaluated for a request and printed as DuckDB SQL for training, so that
/// there is one definition and no room for a difference.
/// </summary>
/// <remarks>
/// All numbers are doubles on both sides. NULL is told by the result of each Try method. Where DuckDB would fail a whole query
/// (a logarithm of zero, a root of a negative number, a cast that does not fit) the value is NULL on both sides.
/// </remarks>
internal abstract class Expression(ExpressionType type)
{
    public ExpressionType Type { get; } = type;

    /// <summary>A number; false for NULL.</summary>
    public virtual bool TryNumber(FeatureRequest row, out double value) => throw Misused();

    /// <summary>A truth value; false for NULL.</summary>
    public virtual bool TryBoolean(FeatureRequest row, out bool value) => throw Misused();

    /// <summary>A text; false for NULL.</summary>
    public virtual bool TryText(FeatureRequest row, out ReadOnlySpan<char> value) => throw Misused();

    /// <summary>An instant in microseconds since 1970; false for NULL.</summary>
    public virtual bool TryInstant(FeatureRequest row, out long micros) => throw Misused();

    /// <summary>Whether the value is NULL.</summary>
    public bool IsNull(FeatureRequest row) => Type switch
    {
        ExpressionType.Number => !TryNumber(row, out _),
        ExpressionType.Boolean => !TryBoolean(row, out _),
        ExpressionType.Text => !TryText(row, out _),
        _ => !TryInstant(row, out _),
    };

    /// <summary>Writes the node as DuckDB SQL.</summary>
    /// <param name="sql">Appended to.</param>
    /// <param name="columns">The SQL of each input, in the order of the inputs.</param>
    public abstract void Print(StringBuilder sql, IReadOnlyList<string> columns);

    /// <summary>The node as DuckDB SQL.</summary>
    public string ToSql(IReadOnlyList<string> columns)
    {
        var sql = new StringBuilder();
        Print(sql, columns);
        return sql.ToString();
    }

    /// <summary>DuckDB's order of numbers: NaN equals itself and is greater than all others.</summary>
    public static int Compare(double a, double b) =>
        a < b ? -1 : a > b ? 1 : a == b ? 0 : double.IsNaN(a).CompareTo(double.IsNaN(b));

    /// <summary>DuckDB's order of texts: by UTF-8 bytes, which differs from .NET's UTF-16 order above U+FFFF.</summary>
    public static int Compare(ReadOnlySpan<char> a, ReadOnlySpan<char> b)
    {
        var common = a.CommonPrefixLength(b);
        if (common == a.Length || common == b.Length)
        {
            return a.Length.CompareTo(b.Length);
        }

        var (x, y) = (a[common], b[common]);
        return char.IsSurrogate(x) == char.IsSurrogate(y) ? x.CompareTo(y) : char.IsSurrogate(x) ? 1 : -1;
    }

    private InvalidOperationException Misused() => new($"{GetType().Name} yields {Type}.");
}
