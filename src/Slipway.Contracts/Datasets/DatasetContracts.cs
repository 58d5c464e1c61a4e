namespace Slipway.Contracts.Datasets;

/// <summary>A column of a dataset.</summary>
/// <param name="Name">As in the file.</param>
/// <param name="Type">One of string, boolean, int32, int64, float32, float64, timestamp, date; other types by their SQL spelling.</param>
/// <param name="Nullable">Whether a missing value is allowed. Parquet files of most writers allow it everywhere.</param>
public sealed record ColumnSchema(string Name, string Type, bool Nullable);

/// <summary>Where a dataset comes from and who answers for it.</summary>
/// <param name="Type">Such as <c>file</c>, <c>warehouse</c>, <c>event stream</c>.</param>
/// <param name="Owner">A person or team.</param>
/// <param name="UpdateFrequency">Such as <c>daily</c>.</param>
/// <param name="Pii">Whether it holds data about identifiable people.</param>
/// <param name="Licence">Null when not declared.</param>
/// <param name="Url">Null when not declared.</param>
public sealed record DatasetSource(string Type, string Owner, string UpdateFrequency, bool Pii, string? Licence, string? Url);

/// <summary>One row of the source catalogue.</summary>
/// <param name="Name">The dataset.</param>
/// <param name="Description">Null when not declared.</param>
/// <param name="Source">Type, owner, update frequency, personal data.</param>
/// <param name="LatestVersion">Null while no version has been added.</param>
/// <param name="Rows">Of the newest version; null while there is none.</param>
/// <param name="SizeBytes">Of the newest version; null while there is none.</param>
public sealed record DatasetSummary(string Name, string? Description, DatasetSource Source, int? LatestVersion, long? Rows, long? SizeBytes);

/// <summary>A dataset with its versions.</summary>
/// <param name="Name">The dataset.</param>
/// <param name="Description">Null when not declared.</param>
/// <param name="Source">Type, owner, update frequency, personal data.</param>
/// <param name="TimestampColumn">The column that says when a row happened; null when rows have no time.</param>
/// <param name="DefinitionVersion">The version of the definition in force.</param>
/// <param name="Versions">Newest first.</param>
public sealed record DatasetDetail(
    string Name, string? Description, DatasetSource Source, string? TimestampColumn, long DefinitionVersion, IReadOnlyList<DatasetVersion> Versions);

/// <summary>One version: a Parquet file named by its content.</summary>
/// <param name="Name">The dataset.</param>
/// <param name="Version">1, 2, 3 …; the same bytes always have the same version.</param>
/// <param name="Sha256">Of the file.</param>
/// <param name="SizeBytes">Of the file.</param>
/// <param name="Rows">In the file.</param>
/// <param name="Columns">In file order.</param>
/// <param name="CreatedBy">Who added it.</param>
/// <param name="CreatedAt">UTC.</param>
public sealed record DatasetVersion(
    string Name, int Version, string Sha256, long SizeBytes, long Rows, IReadOnlyList<ColumnSchema> Columns, string CreatedBy, DateTimeOffset CreatedAt);

/// <summary>Statistics of one dataset version, stored as a blob of its own.</summary>
/// <param name="Rows">Row count.</param>
/// <param name="Columns">In file order.</param>
public sealed record DatasetProfile(long Rows, IReadOnlyList<ColumnProfile> Columns);

/// <summary>Statistics of one column.</summary>
/// <param name="Name">The column.</param>
/// <param name="Type">Its type.</param>
/// <param name="Nulls">Rows without a value.</param>
/// <param name="DistinctApproximate">HyperLogLog estimate of the number of different values, a few percent off.</param>
/// <param name="Minimum">As text; null when every value is missing.</param>
/// <param name="Maximum">As text; null when every value is missing.</param>
/// <param name="Mean">Of finite values; null for columns that are not numbers.</param>
/// <param name="StandardDeviation">Of finite values (n − 1); null for columns that are not numbers.</param>
/// <param name="Quantiles">Exact, linear between neighbours; empty for columns that are not numbers.</param>
/// <param name="TopValues">The most frequent values; empty for numbers and times.</param>
public sealed record ColumnProfile(
    string Name, string Type, long Nulls, long DistinctApproximate, string? Minimum, string? Maximum, double? Mean, double? StandardDeviation,
    IReadOnlyList<QuantileValue> Quantiles, IReadOnlyList<ValueCount> TopValues);

/// <summary>One quantile.</summary>
/// <param name="Share">0 to 1.</param>
/// <param name="Value">The value below which that share lies.</param>
public sealed record QuantileValue(double Share, double Value);

/// <summary>One value and how many rows hold it.</summary>
/// <param name="Value">As text.</param>
/// <param name="Count">Rows.</param>
public sealed record ValueCount(string Value, long Count);

/// <summary>What a breached rule does.</summary>
public enum RuleSeverity
{
    /// <summary>The version fails; a pipeline stops before training.</summary>
    Block,

    /// <summary>The breach is shown, and work goes on.</summary>
    Alert,
}

/// <summary>The outcome of checking one dataset version against its definition.</summary>
/// <param name="Dataset">The dataset.</param>
/// <param name="Version">The version checked.</param>
/// <param name="DefinitionVersion">The definition it was checked against.</param>
/// <param name="Passed">Whether no blocking check failed.</param>
/// <param name="Rows">Rows checked.</param>
/// <param name="Checks">Every check, schema first.</param>
/// <param name="ValidatedAt">UTC.</param>
public sealed record ValidationReport(
    string Dataset, int Version, long DefinitionVersion, bool Passed, long Rows, IReadOnlyList<ValidationCheck> Checks, DateTimeOffset ValidatedAt);

/// <summary>One check.</summary>
/// <param name="Column">The column; null for rules about the whole file.</param>
/// <param name="Rule">schema, not_null, range, in_set, unique or row_count.</param>
/// <param name="Severity">What a breach does.</param>
/// <param name="Passed">Whether the share of failing rows is within what the rule allows.</param>
/// <param name="FailedCount">Rows that break the rule.</param>
/// <param name="Message">One sentence on what was found.</param>
/// <param name="SampleRows">The first rows that break it, at most five.</param>
public sealed record ValidationCheck(
    string? Column, string Rule, RuleSeverity Severity, bool Passed, long FailedCount, string Message, IReadOnlyList<SampleRow> SampleRows);

/// <summary>One row of a file.</summary>
/// <param name="Row">Its place in the file, from 0.</param>
/// <param name="Values">Column and value as text; null is a missing value.</param>
public sealed record SampleRow(long Row, IReadOnlyDictionary<string, string?> Values);
