using System.Globalization;
using System.Text.RegularExpressions;
using Slipway.Contracts.Datasets;
using Slipway.Storage.Definitions;

namespace Slipway.Datasets;

/// <summary>What a <c>dataset</c> file declares.</summary>
/// <param name="Name">Lower-case letters, digits, dashes, underscores.</param>
/// <param name="Description">Null when not given.</param>
/// <param name="File">The Parquet file, relative to the definition; the client uploads it. Null when it is uploaded by other means.</param>
/// <param name="TimestampColumn">The column that says when a row happened; null when rows have no time.</param>
/// <param name="Source">Where the data come from.</param>
/// <param name="Columns">The schema that every version must have.</param>
/// <param name="Rules">The checks on values.</param>
public sealed partial record DatasetDefinition(
    string Name, string? Description, string? File, string? TimestampColumn, DatasetSource Source,
    IReadOnlyList<ColumnSchema> Columns, IReadOnlyList<DatasetRule> Rules)
{
    /// <summary>The value of <c>kind:</c>.</summary>
    public const string Kind = "dataset";

    /// <summary>Reads a definition, collecting every fault.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static DatasetDefinition Parse(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        var name = yaml.Text("name");
        if (name.Length > 0 && !IsName(name))
        {
            yaml.Fault("name", $"may hold lower-case letters, digits, '-' and '_' only, beginning with a letter, not '{name}'");
        }

        var source = yaml.Map("source");
        var columns = ReadColumns(yaml);
        var timestamp = yaml.OptionalText("timestamp");
        if (timestamp is not null && !columns.Any(column => column.Name == timestamp && ColumnTypes.IsTime(column.Type)))
        {
            yaml.Fault("timestamp", $"must name one of the columns of type timestamp or date, not '{timestamp}'");
        }

        var definition = new DatasetDefinition(
            name, yaml.OptionalText("description"), yaml.OptionalText("file"), timestamp,
            new DatasetSource(
                source.Text("type"), source.Text("owner"), source.Text("update_frequency"), source.OptionalBool("pii") ?? Required(source, "pii"),
                source.OptionalText("licence"), source.OptionalText("url")),
            columns, [.. yaml.Maps("rules").Select(rule => ReadRule(rule, columns))]);
        yaml.Done();
        return definition;
    }

    /// <summary>Whether a text can name a dataset.</summary>
    public static bool IsName(string text) => NamePattern().IsMatch(text);

    private static List<ColumnSchema> ReadColumns(DefinitionYaml yaml)
    {
        var columns = new List<ColumnSchema>();
        foreach (var column in yaml.Maps("columns"))
        {
            var (name, type) = (column.Text("name"), column.Text("type"));
            if (!ColumnTypes.IsKnown(type))
            {
                column.Fault("type", $"must be one of {string.Join(", ", ColumnTypes.Names)}, not '{type}'");
            }

            if (columns.Any(other => other.Name == name))
            {
                column.Fault("name", $"'{name}' is declared twice");
            }

            // For readers of the file only; the file itself carries neither.
            column.OptionalText("description");
            column.OptionalText("unit");
            columns.Add(new ColumnSchema(name, type, column.OptionalBool("nullable") ?? true));
        }

        if (columns.Count == 0)
        {
            yaml.Fault("columns", "must list at least one column with its name and type");
        }

        return columns;
    }

    private static DatasetRule ReadRule(DefinitionYaml yaml, List<ColumnSchema> columns)
    {
        var kind = yaml.OptionalChoice<RuleKind>("rule");
        if (!yaml.Has("rule"))
        {
            yaml.Text("rule");
        }

        var columnName = yaml.OptionalText("column");
        var column = columns.Find(candidate => candidate.Name == columnName);
        if (kind == RuleKind.RowCount)
        {
            if (columnName is not null)
            {
                yaml.Fault("column", "does not go with row_count, which is about the whole file; leave it out");
            }
        }
        else if (column is null)
        {
            yaml.Fault("column", columnName is null ? "is missing: name the column the rule is about" : $"must name one of the columns above, not '{columnName}'");
        }

        var (minimum, maximum) = (ReadBound(yaml, "min", kind, column), ReadBound(yaml, "max", kind, column));
        if (kind is RuleKind.Range or RuleKind.RowCount && minimum is null && maximum is null)
        {
            yaml.Fault("rule", "needs 'min', 'max' or both");
        }

        var values = yaml.Texts("values");
        if (kind == RuleKind.InSet && values.Count == 0)
        {
            yaml.Fault("rule", "needs 'values', the list of what is allowed");
        }
        else if (kind != RuleKind.InSet && values.Count > 0)
        {
            yaml.Fault("values", "goes with the rule in_set only");
        }

        return new DatasetRule(
            columnName, kind ?? RuleKind.NotNull, minimum, maximum, values,
            yaml.OptionalNumber("max_share", 0, 1) ?? 0, yaml.OptionalChoice<RuleSeverity>("severity") ?? RuleSeverity.Block);
    }

    // Kept as canonical text, since a bound may be a number or an instant.
    private static string? ReadBound(DefinitionYaml yaml, string key, RuleKind? kind, ColumnSchema? column)
    {
        if (!yaml.Has(key))
        {
            yaml.OptionalText(key);
            return null;
        }

        if (kind is not (RuleKind.Range or RuleKind.RowCount))
        {
            yaml.OptionalText(key);
            yaml.Fault(key, "goes with the rules range and row_count only");
            return null;
        }

        if (kind == RuleKind.Range && column is not null && ColumnTypes.IsTime(column.Type))
        {
            return yaml.OptionalInstant(key)?.ToString("yyyy-MM-dd HH:mm:ss.ffffff", CultureInfo.InvariantCulture);
        }

        if (kind == RuleKind.Range && column is not null && !ColumnTypes.IsNumber(column.Type))
        {
            yaml.OptionalText(key);
            yaml.Fault(key, $"does not go with '{column.Name}', which is of type {column.Type}: a range needs numbers or times");
            return null;
        }

        return yaml.OptionalNumber(key)?.ToString("R", CultureInfo.InvariantCulture);
    }

    private static bool Required(DefinitionYaml yaml, string key)
    {
        if (!yaml.Has(key))
        {
            yaml.Fault(key, "is missing: say true or false");
        }

        return false;
    }

    [GeneratedRegex("^[a-z][a-z0-9_-]{0,99}$", RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern();
}

/// <summary>What a rule checks.</summary>
public enum RuleKind
{
    /// <summary>No value is missing.</summary>
    NotNull,

    /// <summary>Every value lies between minimum and maximum, both included; NaN lies outside.</summary>
    Range,

    /// <summary>Every value is one of a list.</summary>
    InSet,

    /// <summary>No value occurs twice.</summary>
    Unique,

    /// <summary>The file has as many rows as expected.</summary>
    RowCount,
}

/// <summary>One rule on values. Missing values break <see cref="RuleKind.NotNull"/> only.</summary>
/// <param name="Column">Null for <see cref="RuleKind.RowCount"/>.</param>
/// <param name="Kind">What is checked.</param>
/// <param name="Minimum">Smallest allowed, as a number or instant in text; null for no bound.</param>
/// <param name="Maximum">Largest allowed; null for no bound.</param>
/// <param name="Values">What <see cref="RuleKind.InSet"/> allows.</param>
/// <param name="MaxShare">The share of rows, 0 to 1, that may break the rule before it counts as breached.</param>
/// <param name="Severity">What a breach does.</param>
public sealed record DatasetRule(
    string? Column, RuleKind Kind, string? Minimum, string? Maximum, IReadOnlyList<string> Values, double MaxShare, RuleSeverity Severity);
