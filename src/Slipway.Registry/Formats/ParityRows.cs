using System.Globalization;
using Slipway.Contracts;
using Slipway.Native.Trees;

namespace Slipway.Registry.Formats;

/// <summary>Rows to check a conversion with.</summary>
/// <param name="Values">Row-major; NaN is a missing value.</param>
/// <param name="Columns">Values per row.</param>
/// <param name="Source"><c>sample</c> or <c>thresholds</c>.</param>
internal sealed record ParityRows(float[] Values, int Columns, string Source)
{
    private const int RowsMax = 2000;
    private const int ValuesMax = 400_000;
    private const int PointsPerColumnMax = 4096;

    public int Rows => Values.Length / Columns;

    public ReadOnlySpan<float> Row(int index) => Values.AsSpan(index * Columns, Columns);

    /// <summary>Rows where a conversion errs if it errs at all: on a split point, one float beside it, missing, zero, and far out.</summary>
    public static ParityRows AroundSplits(TreeModel model)
    {
        var points = model.SplitPoints(PointsPerColumnMax);
        var rows = Math.Clamp(ValuesMax / model.Features, 20, RowsMax);
        var values = new float[rows * model.Features];
        var random = new Random(7); // The same rows each time, so that a refusal can be looked into.
        for (var i = 0; i < values.Length; i++)
        {
            var column = points[i % model.Features];
            var point = column.Length == 0 ? random.NextSingle() : column[random.Next(column.Length)];
            values[i] = random.Next(8) switch
            {
                0 or 1 => point,
                2 => MathF.BitDecrement(point),
                3 => MathF.BitIncrement(point),
                4 => float.NaN,
                5 => 0,
                6 => point + ((random.NextSingle() - 0.5f) * (1 + MathF.Abs(point))),
                _ => (random.NextSingle() - 0.5f) * 1e6f,
            };
        }

        return new ParityRows(values, model.Features, "thresholds");
    }

    /// <summary>Rows of a CSV file whose header names the model's columns, in any order, or has as many.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the file has other columns or something that is not a number.</exception>
    public static ParityRows Parse(string csv, IReadOnlyList<string> names)
    {
        var lines = csv.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string[] header = lines.Length == 0 ? [] : [.. lines[0].Split(',').Select(name => name.Trim().Trim('"'))];
        int[] columns = [.. names.Select(name => Array.IndexOf(header, name))];
        if (columns.Contains(-1))
        {
            columns = header.Length == names.Count ? [.. Enumerable.Range(0, names.Count)]
                : throw Invalid($"has the columns {string.Join(", ", header)}, but the model takes {string.Join(", ", names)}");
        }

        var rows = Math.Min(lines.Length - 1, Math.Clamp(ValuesMax / names.Count, 1, RowsMax));
        if (rows < 1)
        {
            throw Invalid("holds no row under its header");
        }

        var values = new float[rows * names.Count];
        for (var row = 0; row < rows; row++)
        {
            var cells = lines[row + 1].Split(',');
            for (var i = 0; i < columns.Length; i++)
            {
                var cell = columns[i] < cells.Length ? cells[columns[i]].Trim() : "";
                values[(row * columns.Length) + i] = cell is "" or "NaN" or "nan" or "NA" or "null" ? float.NaN
                    : float.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value
                    : throw Invalid($"has '{cell}' in line {row + 2}, which is not a number");
            }
        }

        return new ParityRows(values, names.Count, "sample");
    }

    private static SlipwayException Invalid(string what) =>
        new(ErrorCode.InvalidArgument, $"'sample_sha256' names a CSV file that {what}; send a header with the feature names and numbers under it.");
}
