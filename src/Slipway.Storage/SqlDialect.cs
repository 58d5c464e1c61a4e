using System.Data;
using System.Data.Common;
using System.Text;
using Microsoft.Data.Sqlite;

namespace Slipway.Storage;

/// <summary>The few places where one SQL text cannot serve both engines. Values are always parameters; these give the text around them.</summary>
public sealed class SqlDialect
{
    private readonly bool _sqlite;

    private SqlDialect(bool sqlite) => _sqlite = sqlite;

    /// <summary>SQLite, from 3.35.</summary>
    public static SqlDialect Sqlite { get; } = new(true);

    /// <summary>PostgreSQL, from 15.</summary>
    public static SqlDialect Postgres { get; } = new(false);

    /// <summary>The dialect of an open connection.</summary>
    public static SqlDialect Of(DbConnection connection) => connection is SqliteConnection ? Sqlite : Postgres;

    /// <summary><c>IN</c> over many whole numbers, given as one parameter that holds a JSON array such as <c>[1,2,3]</c>: binding one by one is quadratic in SQLite.</summary>
    public string InNumbers(string parameter) => _sqlite
        ? $"IN (SELECT value FROM json_each({parameter}))"
        : $"= ANY (ARRAY(SELECT value::bigint FROM json_array_elements_text(CAST({parameter} AS json))))";

    /// <summary><c>IN</c> over many texts, given as one parameter that holds a JSON array of strings.</summary>
    public string InTexts(string parameter) => _sqlite
        ? $"IN (SELECT value FROM json_each({parameter}))"
        : $"= ANY (ARRAY(SELECT value FROM json_array_elements_text(CAST({parameter} AS json))))";

    /// <summary>Many pairs of texts as rows with <c>a</c> and <c>b</c>, given as one parameter that holds a JSON array such as <c>[["x","y"]]</c>.</summary>
    public string TextPairs(string parameter) => _sqlite
        ? $"(SELECT json_extract(value, '$[0]') AS a, json_extract(value, '$[1]') AS b FROM json_each({parameter}))"
        : $"(SELECT value ->> 0 AS a, value ->> 1 AS b FROM json_array_elements(CAST({parameter} AS json)))";

    /// <summary>The entries of a JSON object in a text column, as rows with <c>key</c> and <c>value</c>.</summary>
    public string JsonEntries(string column) => _sqlite ? $"json_each({column})" : $"json_each_text(CAST({column} AS json))";

    /// <summary>A pattern match that tells case apart; <c>%</c> and <c>_</c> stand for any text and any character, and nothing escapes them.</summary>
    /// <param name="expression">A text.</param>
    /// <param name="parameter">Made by <see cref="LikePattern"/>.</param>
    public string Like(string expression, string parameter) => _sqlite ? $"{expression} GLOB {parameter}" : $"{expression} LIKE {parameter} ESCAPE ''";

    /// <summary>A pattern match that takes A for a (and no other letters for each other).</summary>
    public string LikeIgnoringCase(string expression, string parameter) => _sqlite ? $"{expression} LIKE {parameter}" : $"{expression} ILIKE {parameter} ESCAPE ''";

    /// <summary>The value of the parameter of <see cref="Like"/>: SQLite's LIKE ignores case; its GLOB does not, but has other wildcards.</summary>
    public string LikePattern(string pattern)
    {
        if (!_sqlite)
        {
            return pattern;
        }

        var glob = new StringBuilder(pattern.Length + 8);
        foreach (var c in pattern)
        {
            _ = c switch
            {
                '%' => glob.Append('*'),
                '_' => glob.Append('?'),
                '*' or '?' or '[' => glob.Append('[').Append(c).Append(']'),
                _ => glob.Append(c),
            };
        }

        return glob.ToString();
    }

    /// <summary>Equality that also holds between two nulls.</summary>
    public string Same(string left, string right) => _sqlite ? $"{left} IS {right}" : $"{left} IS NOT DISTINCT FROM {right}";

    /// <summary>
    /// Run first in a read that goes from row to row through an index: PostgreSQL guesses the size of a recursive query, and would
    /// rather read a large table whole at each of its steps. SQLite always goes by the index.
    /// </summary>
    public void ProbeIndexes(DbConnection connection)
    {
        if (!_sqlite)
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off";
            command.ExecuteNonQuery();
        }
    }

    /// <summary>Run after a row has brought its own id: lets the ids that the database chooses follow the highest. Null where they do so by themselves.</summary>
    public string? FollowHighestId(string table) => _sqlite
        ? null
        : $"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))";
}

/// <summary>Prepared statements for many rows, on either engine.</summary>
public static class DbCommandExtensions
{
    /// <summary>Adds a parameter to set before each execution.</summary>
    public static DbParameter Add(this DbCommand command, string name, DbType type)
    {
        var parameter = command.CreateParameter();
        parameter.ParameterName = name;
        parameter.DbType = type;
        command.Parameters.Add(parameter);
        return parameter;
    }
}
