using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.FeatureStore;
using Slipway.FeatureStore.Expressions;
using Slipway.Native.DuckDb;

namespace Slipway.Tests.FeatureStore;

/// <summary>One definition, two paths: the evaluator that serves requests against DuckDB, which makes training sets.</summary>
[Trait("database", "none")]
public sealed class ExpressionParity : IDisposable
{
    private static readonly FeatureInput[] Inputs = [new("x", "float64"), new("y", "float64"), new("n", "int64"), new("t", "timestamp"), new("s", "string"), new("b", "boolean")];
    private static readonly double?[] Numbers = [null, 0, 1, -1, 0.5, 2.5, -2.5, 3.75, 1e10, -1e-10, 1e308, double.NaN, double.PositiveInfinity, double.NegativeInfinity, 23, 16];
    private static readonly string?[] Texts = [null, "", "ATL", "LAX", "it's", "é", "\uFF5E", "\U0001F600"];

    private readonly DuckDbDatabase _database = DuckDbDatabase.OpenInMemory(new DuckDbOptions { Threads = 2 });

    public void Dispose() => _database.Dispose();

    [Fact, Trait("capability", "FEA-06")]
    public void Random_expressions_give_the_same_value_on_both_paths()
    {
        using var connection = _database.Connect();
        connection.Execute("CREATE TABLE rows (i BIGINT, x DOUBLE, y DOUBLE, n BIGINT, t TIMESTAMP, s VARCHAR, b BOOLEAN)");
        var random = new Random(20260101);
        var rows = Enumerable.Range(0, 400).Select(i => Row(connection, random, i)).ToList();
        var defined = 0;
        for (var i = 0; i < 600; i++)
        {
            var text = Number(random, 4);
            defined += Compare(connection, text, rows);
        }

        Assert.InRange(defined, 60_000, 240_000); // Most values must not be NULL, or the test would compare nothing.
    }

    [Theory, Trait("capability", "FEA-06")]
    [InlineData("extract(hour FROM t)")]
    [InlineData("CASE WHEN s IN ('ATL', 'LAX') THEN 1 WHEN s IS NULL THEN -1 ELSE 0 END")]
    [InlineData("CASE s WHEN 'ATL' THEN x ELSE y END")]
    [InlineData("coalesce(x, y, 0) % 7")]
    [InlineData("ln(x) + sqrt(y)")]
    [InlineData("greatest(x, y, NULL) - least(x, y)")]
    [InlineData("cast(x AS INTEGER) + y::BIGINT")]
    [InlineData("(x > y AND NOT b) OR x IS NULL")]
    [InlineData("x BETWEEN 0 AND 2 AND s <> 'it''s'")]
    [InlineData("x NOT BETWEEN y AND 10")]
    [InlineData("t >= TIMESTAMP '2001-03-31 12:00:00' AND s < '\uFF5E'")]
    [InlineData("n * 2 - -x / y")]
    [InlineData("power(x, 2) + exp(y)")]
    [InlineData("extract(epoch FROM t) / 86400 + extract(dow FROM t) + extract(doy FROM t)")]
    [InlineData("b")]
    [InlineData("NULL")]
    [InlineData("1.5e3 + .25")]
    public void A_written_expression_gives_the_same_value_on_both_paths(string text)
    {
        using var connection = _database.Connect();
        connection.Execute("CREATE TABLE rows (i BIGINT, x DOUBLE, y DOUBLE, n BIGINT, t TIMESTAMP, s VARCHAR, b BOOLEAN)");
        var random = new Random(7);
        Compare(connection, text, [.. Enumerable.Range(0, 2000).Select(i => Row(connection, random, i))]);
    }

    [Theory]
    [InlineData("", "a value is expected, not the end")]
    [InlineData("x +", "a value is expected, not the end")]
    [InlineData("x + 'a'", "+ needs a number, not a text")]
    [InlineData("speed * 2", "'speed' is not one of the inputs (x, y, n, t, s, b)")]
    [InlineData("sleep(1)", "there is no function 'sleep'")]
    [InlineData("(SELECT 1)", "'select' is not one of the inputs")]
    [InlineData("x; DROP TABLE y", "';' has no meaning here")]
    [InlineData("s = 1", "a text does not go together with a number")]
    [InlineData("s", "it yields a text")]
    [InlineData("extract(century FROM t)", "not 'century'")]
    [InlineData("cast(x AS VARCHAR)", "not 'varchar'")]
    [InlineData("'open", "is not closed")]
    [InlineData("x y", "the end is expected, not 'y'")]
    [InlineData("abs(x, y)", "abs takes 1 values, not 2")]
    [InlineData("x IN ()", "a value is expected")]
    [InlineData("CASE x END", "WHEN is expected")]
    [InlineData("cast(x AS", "a value is expected, not the end")]
    public void What_cannot_be_computed_is_refused_with_place_and_reason(string text, string reason)
    {
        var error = Assert.Throws<SlipwayException>(() => ExpressionParser.ParseFeature(text, Inputs));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Endless_nesting_and_length_are_refused()
    {
        Assert.Throws<SlipwayException>(() => ExpressionParser.ParseFeature(new string('(', 5000) + "x" + new string(')', 5000), Inputs));
        Assert.Throws<SlipwayException>(() => ExpressionParser.ParseFeature(string.Join("+", Enumerable.Repeat("x", 4000)), Inputs));
        Assert.Throws<SlipwayException>(() => ExpressionParser.ParseFeature(new string('-', 9000) + "x", Inputs));
    }

    private static int Compare(DuckDbConnection connection, string text, List<FeatureRequest> rows)
    {
        var expression = ExpressionParser.ParseFeature(text, Inputs);
        var values = connection.QueryRows($"SELECT {expression.ToSql([.. Inputs.Select(input => $"rows.{input.Name}")])} FROM rows ORDER BY i");
        var defined = 0;
        for (var i = 0; i < rows.Count; i++)
        {
            var expected = (double?)values[i][0];
            var actual = expression.TryNumber(rows[i], out var number) ? number : (double?)null;
            defined += actual is null ? 0 : 1;
            Assert.True(expected.Equals(actual), $"{text} in row {i}: DuckDB says {expected}, the evaluator {actual}");
        }

        return defined;
    }

    private static FeatureRequest Row(DuckDbConnection connection, Random random, int index)
    {
        T Pick<T>(T[] from) => from[random.Next(from.Length)];
        double? Any() => random.Next(2) == 0 ? Pick(Numbers) : Math.Round((random.NextDouble() - 0.3) * 100, 2);
        var (x, y, s) = (Any(), Any(), Pick(Texts));
        long? n = random.Next(6) == 0 ? null : random.Next(-50, 50);
        DateTimeOffset? t = random.Next(8) == 0 ? null : DateTimeOffset.UnixEpoch.AddSeconds(random.Next(-2_000_000_000, 2_000_000_000)).AddMilliseconds(random.Next(1000));
        bool? b = random.Next(3) switch { 0 => null, 1 => true, _ => false };
        connection.Execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", index, x, y, n, t, s, b);

        var row = new FeatureRequest(Inputs, null);
        Set(row, 0, x);
        Set(row, 1, y);
        Set(row, 2, n);
        Set(row, 3, t?.ToUnixTimeMilliseconds());
        Set(row, 5, b is { } flag ? (flag ? 1 : 0) : null);
        if (s is null)
        {
            row.SetNull(4);
        }
        else
        {
            Assert.True(row.TrySet(4, s));
        }

        return row;
    }

    private static void Set(FeatureRequest row, int input, double? value)
    {
        if (value is not { } known)
        {
            row.SetNull(input);
        }
        else
        {
            Assert.True(row.TrySet(input, known));
        }
    }

    private static string Number(Random random, int depth)
    {
        string Again() => Number(random, depth - 1);
        return depth == 0 || random.Next(6) == 0
            ? random.Next(5) switch { 0 => "x", 1 => "y", 2 => "n", 3 => random.Next(100).ToString(CultureInfo.InvariantCulture), _ => "0.25" }
            : random.Next(13) switch
            {
                0 => $"({Again()} + {Again()})",
                1 => $"({Again()} - {Again()})",
                2 => $"{Again()} * {Again()}",
                3 => $"{Again()} / {Again()}",
                4 => $"({Again()}) % ({Again()})",
                5 => $"-{Again()}",
                6 => $"{new[] { "abs", "floor", "ceil", "ln", "sqrt", "exp" }[random.Next(6)]}({Again()})",
                7 => $"{new[] { "least", "greatest", "coalesce" }[random.Next(3)]}({Again()}, {Again()})",
                8 => $"CASE WHEN {Condition(random, depth - 1)} THEN {Again()} WHEN {Condition(random, depth - 1)} THEN {Again()} ELSE {Again()} END",
                9 => $"extract({Extraction.Fields[random.Next(Extraction.Fields.Count)]} FROM t)",
                10 => $"cast({Again()} AS {new[] { "INTEGER", "BIGINT", "DOUBLE" }[random.Next(3)]})",
                11 => $"cast({Condition(random, depth - 1)} AS DOUBLE)",
                _ => $"power({Again()}, {random.Next(4)})",
            };
    }

    private static string Condition(Random random, int depth)
    {
        string Operand() => Number(random, Math.Max(0, depth - 1));
        return depth == 0
            ? "b"
            : random.Next(9) switch
            {
                0 => $"({Condition(random, depth - 1)} AND {Condition(random, depth - 1)})",
                1 => $"({Condition(random, depth - 1)} OR {Condition(random, depth - 1)})",
                2 => $"NOT {Condition(random, depth - 1)}",
                3 => $"{Operand()} IS {(random.Next(2) == 0 ? "NOT " : "")}NULL",
                4 => $"{Operand()} BETWEEN {Operand()} AND {Operand()}",
                5 => $"s {new[] { "=", "<>", "<", ">=" }[random.Next(4)]} 'LAX'",
                6 => "t < TIMESTAMP '1990-01-01'",
                7 => $"s {(random.Next(2) == 0 ? "NOT " : "")}IN ('ATL', 'it''s', NULL)",
                _ => $"{Operand()} {new[] { "=", "!=", "<", "<=", ">", ">=" }[random.Next(6)]} {Operand()}",
            };
    }
}
