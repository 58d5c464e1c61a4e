using Slipway.Contracts;
using Slipway.Native.DuckDb;

namespace Slipway.Pipelines.Training;

/// <summary>Rows to learn from or to score: one flat array, filled straight from DuckDB's chunks.</summary>
/// <param name="Names">Feature names, in column order.</param>
/// <param name="Values">Row-major, rows × features; NaN is a missing value.</param>
/// <param name="Labels">One per row.</param>
/// <param name="RowsTotal">Rows of the file; more than <see cref="Rows"/> when it was sampled.</param>
internal sealed record LabelledMatrix(IReadOnlyList<string> Names, float[] Values, bool[] Labels, long RowsTotal)
{
    /// <summary>Number of rows.</summary>
    public int Rows => Labels.Length;

    /// <summary>Number of features.</summary>
    public int Columns => Names.Count;

    /// <summary>Share of positive labels.</summary>
    public double PositiveRate { get; } = (double)Labels.AsSpan().Count(true) / Labels.Length;

    /// <summary>Reads a Parquet file.</summary>
    /// <param name="duckDb">Any database; the file is read through it.</param>
    /// <param name="path">The file.</param>
    /// <param name="names">Feature columns, numbers or booleans.</param>
    /// <param name="label">Label column: a boolean, or 0 and 1. Rows without a label are left out.</param>
    /// <param name="sampleRows">About so many rows, chosen by position and seed; 0 takes all.</param>
    /// <param name="seed">Decides which rows are chosen.</param>
    /// <param name="cancellationToken">Interrupts the reading.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: no rows, or a label of one kind only.</exception>
    public static LabelledMatrix Read(
        DuckDbDatabase duckDb, string path, IReadOnlyList<string> names, string label, long sampleRows, long seed, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        var labelColumn = DuckDbIdentifier.Quote(label);
        var source = $"read_parquet({DuckDbLiteral.Quote(path)})";
        var total = connection.QueryScalar<long>($"SELECT count(*) FROM {source} WHERE {labelColumn} IS NOT NULL", cancellationToken);
        var threshold = sampleRows <= 0 || sampleRows >= total ? ulong.MaxValue : (ulong)((double)sampleRows / total * ulong.MaxValue);
        var columns = names.Count;
        var kept = new GrowingRows(columns, (int)Math.Min(total, sampleRows <= 0 ? total : sampleRows + 4096));
        long position = 0;
        using var reader = connection.Query(
            $"SELECT {string.Join(", ", names.Select(name => $"CAST({DuckDbIdentifier.Quote(name)} AS FLOAT)"))}, CAST({labelColumn} AS BOOLEAN) FROM {source} WHERE {labelColumn} IS NOT NULL",
            cancellationToken);
        var chunk = new float[2048 * columns];
        while (reader.NextChunk())
        {
            for (var column = 0; column < columns; column++)
            {
                reader.CopyFloats(column, chunk.AsSpan(column), columns);
            }

            var labels = reader.Bool(columns);
            for (var row = 0; row < reader.RowCount; row++, position++)
            {
                if (threshold == ulong.MaxValue || Scramble((ulong)position ^ ((ulong)seed << 32)) < threshold)
                {
                    kept.Add(chunk.AsSpan(row * columns, columns), labels[row]);
                }
            }
        }

        var matrix = kept.ToMatrix(names, total);
        return matrix.Rows > 0 && matrix.PositiveRate is > 0 and < 1
            ? matrix
            : throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The {matrix.Rows} labelled rows hold one kind of '{label}' only; widen the split's time range.");
    }

    /// <summary>Reads one text column, row by row as <see cref="Read"/> does without a sample.</summary>
    public static string[] ReadTexts(DuckDbDatabase duckDb, string path, string column, string label, CancellationToken cancellationToken)
    {
        using var connection = duckDb.Connect();
        using var reader = connection.Query(
            $"SELECT CAST({DuckDbIdentifier.Quote(column)} AS VARCHAR) FROM read_parquet({DuckDbLiteral.Quote(path)}) WHERE {DuckDbIdentifier.Quote(label)} IS NOT NULL",
            cancellationToken);
        var texts = new List<string>();
        var interned = new Dictionary<string, string>(StringComparer.Ordinal);
        while (reader.NextChunk())
        {
            for (var row = 0; row < reader.RowCount; row++)
            {
                var text = reader.String(0, row) ?? "";
                if (!interned.TryGetValue(text, out var kept))
                {
                    interned[text] = kept = text;
                }

                texts.Add(kept);
            }
        }

        return [.. texts];
    }

    /// <summary>One feature's values, NaN where missing.</summary>
    public double[] Column(int column)
    {
        var values = new double[Rows];
        for (var row = 0; row < values.Length; row++)
        {
            values[row] = Values[row * Columns + column];
        }

        return values;
    }

    // SplitMix64's finaliser: neighbouring positions get unrelated numbers.
    private static ulong Scramble(ulong value)
    {
        value += 0x9E3779B97F4A7C15;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }

    private sealed class GrowingRows(int columns, int expected)
    {
        private float[] _values = new float[Math.Max(1, expected) * columns];
        private bool[] _labels = new bool[Math.Max(1, expected)];
        private int _rows;

        public void Add(ReadOnlySpan<float> row, bool label)
        {
            if (_rows == _labels.Length)
            {
                Array.Resize(ref _labels, _rows * 2);
                Array.Resize(ref _values, _rows * 2 * columns);
            }

            row.CopyTo(_values.AsSpan(_rows * columns));
            _labels[_rows++] = label;
        }

        public LabelledMatrix ToMatrix(IReadOnlyList<string> names, long total)
        {
            Array.Resize(ref _labels, _rows);
            Array.Resize(ref _values, _rows * columns);
            return new LabelledMatrix(names, _values, _labels, total);
        }
    }
}
