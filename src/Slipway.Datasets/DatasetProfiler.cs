using Slipway.Contracts.Datasets;
using Slipway.Native.DuckDb;

namespace Slipway.Datasets;

/// <summary>Computes the statistics of a file, one column at a time, so that memory holds one column at most.</summary>
internal static class DatasetProfiler
{
    private static readonly double[] Shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

    public static DatasetProfile Profile(DuckDbDatabase duckDb, string path, IReadOnlyList<ColumnSchema> columns, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        var source = $"read_parquet({DuckDbLiteral.Quote(path)})";
        var rows = connection.QueryScalar<long>($"SELECT count(*) FROM {source}", cancellationToken);
        return new DatasetProfile(rows, [.. columns.Select(column => ProfileColumn(connection, source, column, cancellationToken))]);
    }

    private static ColumnProfile ProfileColumn(DuckDbConnection connection, string source, ColumnSchema column, CancellationToken cancellationToken)
    {
        var name = DuckDbIdentifier.Quote(column.Name);
        var isNumber = ColumnTypes.IsNumber(column.Type);

        // Infinities and NaN would make the mean meaningless (and DuckDB's deviation fail).
        var finite = ColumnTypes.IsFloat(column.Type) ? $"CASE WHEN isfinite({name}) THEN {name} END" : name;
        var numbers = isNumber
            ? $"avg({finite})::DOUBLE, stddev_samp({finite}::DOUBLE), quantile_cont({finite}::DOUBLE, [{string.Join(", ", Shares.Select(share => share.ToString("R", System.Globalization.CultureInfo.InvariantCulture)))}])"
            : "NULL, NULL, NULL";
        var summary = connection.QueryRows(
            $"SELECT count(*) - count({name}), approx_count_distinct({name}), left(min({name})::VARCHAR, 200), left(max({name})::VARCHAR, 200), {numbers} FROM {source}",
            cancellationToken)[0];

        var quantiles = summary[6] is object?[] values ? Shares.Zip(values, (share, value) => new QuantileValue(share, (double)value!)).ToList() : [];
        return new ColumnProfile(
            column.Name, column.Type, (long)summary[0]!, (long)summary[1]!, (string?)summary[2], (string?)summary[3], (double?)summary[4], (double?)summary[5],
            quantiles, isNumber || ColumnTypes.IsTime(column.Type) ? [] : TopValues(connection, source, name, cancellationToken));
    }

    private static List<ValueCount> TopValues(DuckDbConnection connection, string source, string name, CancellationToken cancellationToken) =>
        [.. connection.QueryRows(
            $"SELECT left({name}::VARCHAR, 200), count(*) FROM {source} WHERE {name} IS NOT NULL GROUP BY {name} ORDER BY 2 DESC, 1 LIMIT 20", cancellationToken)
            .Select(row => new ValueCount((string)row[0]!, (long)row[1]!))];
}
