using System.Globalization;
using System.Text.Json;
using Slipway.Contracts.Datasets;
using Slipway.Native.DuckDb;

namespace Slipway.Datasets;

/// <summary>Checks a file against its definition: the schema first, then the rules on columns that have the declared type.</summary>
internal static class DatasetValidator
{
    private const int SampleRowsMax = 5;
    private const string RowNumber = "file_row_number";

    public static IReadOnlyList<ValidationCheck> Check(
        DuckDbDatabase duckDb, string path, DatasetVersionRecord version, DatasetDefinition definition, CancellationToken cancellationToken)
    {
        var checks = CheckSchema(definition.Columns, version.Columns);
        var usable = definition.Columns
            .Where(column => version.Columns.Any(actual => actual.Name == column.Name && actual.Type == column.Type))
            .ToDictionary(column => column.Name, StringComparer.Ordinal);

        using var connection = duckDb.Connect();
        var file = new FileUnderCheck(connection, DuckDbLiteral.Quote(path), version, cancellationToken);
        foreach (var rule in WithDeclaredNulls(definition))
        {
            if (rule.Column is null)
            {
                checks.Add(CheckRowCount(rule, version.Rows));
            }
            else if (usable.TryGetValue(rule.Column, out var column))
            {
                checks.Add(file.Check(rule, column));
            }
        }

        return checks;
    }

    private static List<ValidationCheck> CheckSchema(IReadOnlyList<ColumnSchema> declared, IReadOnlyList<ColumnSchema> actual)
    {
        var checks = new List<ValidationCheck>();
        var extra = actual.Where(column => declared.All(other => other.Name != column.Name)).ToList();
        foreach (var column in declared)
        {
            var found = actual.FirstOrDefault(other => other.Name == column.Name);
            if (found is null)
            {
                var renamed = extra.FirstOrDefault(other => other.Type == column.Type);
                checks.Add(Schema(column.Name, false,
                    renamed is null ? $"Column '{column.Name}' ({column.Type}) is missing." : $"Column '{column.Name}' ({column.Type}) is missing; the file has an undeclared '{renamed.Name}' of that type: was it renamed?"));
            }
            else
            {
                checks.Add(Schema(column.Name, found.Type == column.Type,
                    found.Type == column.Type ? $"Column '{column.Name}' is {column.Type}." : $"Column '{column.Name}' is {found.Type}, but {column.Type} was declared."));
            }
        }

        checks.AddRange(extra.Select(column => Schema(column.Name, false, $"Column '{column.Name}' ({column.Type}) is not declared.") with { Severity = RuleSeverity.Alert }));
        return checks;

        static ValidationCheck Schema(string column, bool passed, string message) => new(column, "schema", RuleSeverity.Block, passed, 0, message, []);
    }

    // 'nullable: false' is a rule in short form; one that is written out takes its place.
    private static IEnumerable<DatasetRule> WithDeclaredNulls(DatasetDefinition definition) =>
        definition.Columns
            .Where(column => !column.Nullable && !definition.Rules.Any(rule => rule.Column == column.Name && rule.Kind == RuleKind.NotNull))
            .Select(column => new DatasetRule(column.Name, RuleKind.NotNull, null, null, [], 0, RuleSeverity.Block))
            .Concat(definition.Rules);

    private static ValidationCheck CheckRowCount(DatasetRule rule, long rows)
    {
        var minimum = Bound(rule.Minimum, double.NegativeInfinity);
        var maximum = Bound(rule.Maximum, double.PositiveInfinity);
        var passed = rows >= minimum && rows <= maximum;
        return new ValidationCheck(null, "row_count", rule.Severity, passed, passed ? 0 : rows,
            string.Create(CultureInfo.InvariantCulture, $"The file has {rows} rows; expected {Expected(rule)}."), []);

        static double Bound(string? text, double none) => text is null ? none : double.Parse(text, CultureInfo.InvariantCulture);
    }

    private static string Expected(DatasetRule rule) => (rule.Minimum, rule.Maximum) switch
    {
        (not null, not null) => $"{rule.Minimum} to {rule.Maximum}",
        (not null, null) => $"at least {rule.Minimum}",
        _ => $"at most {rule.Maximum}",
    };

    private sealed class FileUnderCheck(DuckDbConnection connection, string quotedPath, DatasetVersionRecord version, CancellationToken cancellationToken)
    {
        private readonly string _source = $"read_parquet({quotedPath}, file_row_number = true)";

        public ValidationCheck Check(DatasetRule rule, ColumnSchema column)
        {
            var (broken, failure) = Condition(rule, column);
            var failed = connection.QueryScalar<long>($"SELECT count(*) FROM {_source} WHERE {broken}", cancellationToken);
            var passed = failed <= rule.MaxShare * version.Rows;
            var name = JsonNamingPolicy.SnakeCaseLower.ConvertName(rule.Kind.ToString());
            var message = failed == 0
                ? $"Column '{column.Name}' keeps the rule {name}."
                : string.Create(CultureInfo.InvariantCulture, $"Column '{column.Name}': {failed} of {version.Rows} rows {failure}{(passed ? $", within the allowed share of {rule.MaxShare}" : "")}.");
            return new ValidationCheck(column.Name, name, rule.Severity, passed, failed, message, failed == 0 ? [] : Samples(broken));
        }

        private (string Broken, string Failure) Condition(DatasetRule rule, ColumnSchema column)
        {
            var name = DuckDbIdentifier.Quote(column.Name);
            return rule.Kind switch
            {
                RuleKind.NotNull => ($"{name} IS NULL", "have no value"),
                RuleKind.Range => (OutOfRange(rule, column, name), $"are outside {Expected(rule)}"),
                RuleKind.InSet => ($"{name}::VARCHAR NOT IN ({string.Join(", ", rule.Values.Select(DuckDbLiteral.Quote))})", "hold a value that is not in the list"),
                RuleKind.Unique => ($"{name} IN (SELECT {name} FROM {_source} GROUP BY {name} HAVING count(*) > 1)", "share a value that should be unique"),
                _ => throw new InvalidOperationException($"{rule.Kind} is not a rule about a column."),
            };
        }

        private static string OutOfRange(DatasetRule rule, ColumnSchema column, string name)
        {
            var type = ColumnTypes.IsTime(column.Type) ? "TIMESTAMP" : "DOUBLE";
            var terms = new List<string>();
            if (rule.Minimum is not null)
            {
                terms.Add($"{name} < {DuckDbLiteral.Quote(rule.Minimum)}::{type}");
            }

            if (rule.Maximum is not null)
            {
                terms.Add($"{name} > {DuckDbLiteral.Quote(rule.Maximum)}::{type}");
            }

            if (ColumnTypes.IsFloat(column.Type))
            {
                terms.Add($"isnan({name})");
            }

            return string.Join(" OR ", terms);
        }

        private List<SampleRow> Samples(string broken)
        {
            var columns = string.Join(", ", version.Columns.Select(column => $"{DuckDbIdentifier.Quote(column.Name)}::VARCHAR"));
            return [.. connection.QueryRows($"SELECT {RowNumber}, {columns} FROM {_source} WHERE {broken} ORDER BY {RowNumber} LIMIT {SampleRowsMax}", cancellationToken)
                .Select(row => new SampleRow((long)row[0]!, version.Columns.Select((column, i) => (column.Name, Value: (string?)row[i + 1])).ToDictionary(cell => cell.Name, cell => cell.Value, StringComparer.Ordinal)))];
        }
    }
}
