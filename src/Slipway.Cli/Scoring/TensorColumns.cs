using System.Buffers.Binary;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Native.DuckDb;

namespace Slipway.Cli.Scoring;

/// <summary>A tensor of the request, and the columns of the file that fill it.</summary>
/// <param name="Name">As the model names it.</param>
/// <param name="Datatype">Open Inference datatype.</param>
/// <param name="Columns">Names in the file, in the order of the tensor's values.</param>
/// <param name="IsFlat">Whether its shape is [rows] and not [rows, columns].</param>
/// <param name="IsFinite">Whether the model refuses infinities and what is no number.</param>
/// <param name="IsEventTime">Whether dates and timestamps are sent as milliseconds or ISO 8601 text.</param>
internal sealed record TensorColumns(string Name, string Datatype, IReadOnlyList<string> Columns, bool IsFlat, bool IsFinite, bool IsEventTime)
{
    /// <summary>What a value is called when a row has none.</summary>
    public string Wanted => Datatype switch
    {
        "BYTES" => "a text",
        "BOOL" => "true or false",
        "FP16" or "FP32" or "FP64" => "a number",
        _ => $"a whole number that fits {Datatype}",
    };

    /// <summary>Bytes of a value; 0 when they vary.</summary>
    public int ValueBytes => Datatype switch
    {
        "BYTES" => 0,
        "BOOL" or "INT8" or "UINT8" => 1,
        "INT16" or "UINT16" or "FP16" => 2,
        "INT32" or "UINT32" or "FP32" => 4,
        _ => 8,
    };

    /// <summary>Finds for each input of the version the columns that hold it, by name.</summary>
    /// <param name="contract">The version's.</param>
    /// <param name="columns">The file's.</param>
    /// <param name="matrix">The columns of a model's one table of numbers, whose columns have no names of their own; empty when not given.</param>
    /// <exception cref="SlipwayException">InvalidArgument: a column is missing, or the model cannot be scored from a table.</exception>
    public static IReadOnlyList<TensorColumns> Match(InferenceContract contract, IReadOnlyList<DuckDbColumn> columns, IReadOnlyList<string> matrix)
    {
        var types = columns.ToDictionary(column => column.Name, StringComparer.Ordinal);
        var what = $"{contract.Model} {contract.Version}";
        if (matrix.Count > 0)
        {
            Demand(matrix, "--columns names");
            return contract.Features.Count == 0 && contract.Tensors is [{ Shape: [< 0, var width] } table] && (width < 0 || width == matrix.Count)
                ? [Table(table.Name, table.Datatype, matrix)]
                : throw Invalid(contract.Features.Count > 0 ? $"{what} takes its features by name; leave out --columns."
                    : $"--columns names {matrix.Count} columns, but {what} takes {Shown(contract.Tensors)}; name as many as its table has.");
        }

        if (contract.Features.Count > 0)
        {
            var features = contract.Features.Select(feature => feature.Name).ToList();
            if (contract.RequestInputs.Count == 0 || features.TrueForAll(types.ContainsKey))
            {
                Demand(features, $"{what} takes the features");
                return [new TensorColumns("features", "FP32", features, false, true, false)];
            }

            Demand([.. contract.RequestInputs.Select(input => input.Name)], $"{what} takes the inputs");
            return [.. contract.RequestInputs.Select(input =>
            {
                // A date is sent as a number where one is taken; a text stays one.
                var isText = types[input.Name].Type is DuckDbType.Varchar or DuckDbType.Enum;
                var datatype = input.Datatypes.FirstOrDefault(datatype => datatype == "BYTES" == isText) ?? input.Datatypes[0];
                return new TensorColumns(input.Name, datatype, [input.Name], false, true, input.EventTime);
            })];
        }

        if (contract.Tensors.FirstOrDefault(tensor => tensor.Shape is not ([< 0] or [< 0, _])) is { } odd)
        {
            throw Invalid($"Input '{odd.Name}' of {what} has the shape [{string.Join(", ", odd.Shape)}], which is no row of a table; send it to {contract.Path} instead.");
        }

        if (contract.Tensors.FirstOrDefault(tensor => tensor.Shape is [_, not 1]) is { } wide)
        {
            throw Invalid($"Input '{wide.Name}' of {what} has the shape [{string.Join(", ", wide.Shape)}] and no names for its columns; name them in order: --columns a,b,c.");
        }

        Demand([.. contract.Tensors.Select(tensor => tensor.Name)], $"{what} takes");
        return [.. contract.Tensors.Select(tensor => new TensorColumns(tensor.Name, tensor.Datatype, [tensor.Name], tensor.Shape.Count == 1, false, false) is { Datatype: not "BF16" } taken
            ? taken : throw Invalid($"Input '{tensor.Name}' of {what} is BF16, which no column holds; send it to {contract.Path} instead."))];

        TensorColumns Table(string name, string datatype, IReadOnlyList<string> names) => datatype != "BF16" ? new TensorColumns(name, datatype, names, false, false, false)
            : throw Invalid($"Input '{name}' of {what} is BF16, which no column holds; send it to {contract.Path} instead.");

        void Demand(IReadOnlyList<string> names, string who)
        {
            var missing = names.Where(name => !types.ContainsKey(name)).ToList();
            if (missing.Count > 0)
            {
                throw Invalid($"The file has no column {Quoted(missing)}: {who} {Quoted(names)}, and the file has {Quoted([.. types.Keys])}. Nothing was scored; add or rename the column.");
            }
        }
    }

    /// <summary>SQL that makes the tensor's value of a column, NULL where it is none.</summary>
    public string Sql(DuckDbColumn column)
    {
        var name = DuckDbIdentifier.Quote(column.Name);
        if (column.Type is DuckDbType.Date or DuckDbType.Timestamp or DuckDbType.TimestampTz or DuckDbType.TimestampSeconds or DuckDbType.TimestampMillis or DuckDbType.TimestampNanos)
        {
            var utc = column.Type is DuckDbType.TimestampTz ? $"({name} AT TIME ZONE 'UTC')" : $"CAST({name} AS TIMESTAMP)";
            return IsEventTime && Datatype != "BYTES" ? $"CAST(epoch_ms({utc}) AS BIGINT)" : $"strftime({utc}, '%Y-%m-%dT%H:%M:%S.%gZ')";
        }

        // A cast to a whole number rounds, which would score another value than the one in the file.
        string Whole(string type) => column.Type is DuckDbType.Varchar or DuckDbType.Float or DuckDbType.Double or DuckDbType.Decimal
            ? $"CASE WHEN TRY_CAST({name} AS DOUBLE) = floor(TRY_CAST({name} AS DOUBLE)) THEN TRY_CAST({name} AS {type}) END"
            : $"TRY_CAST({name} AS {type})";
        return Datatype switch
        {
            "BYTES" => $"CAST({name} AS VARCHAR)",
            "BOOL" => $"TRY_CAST({name} AS BOOLEAN)",
            "FP16" or "FP32" => $"TRY_CAST({name} AS FLOAT)",
            "FP64" => $"TRY_CAST({name} AS DOUBLE)",
            "UINT64" => Whole("UBIGINT"),
            "UINT8" => Whole("UTINYINT"),
            "UINT16" => Whole("USMALLINT"),
            "UINT32" => Whole("UINTEGER"),
            "INT8" => Whole("TINYINT"),
            "INT16" => Whole("SMALLINT"),
            "INT32" => Whole("INTEGER"),
            _ => Whole("BIGINT"),
        };
    }

    /// <summary>Writes one value as the tensor holds it; false when the model refuses it.</summary>
    public bool TryWrite(DuckDbReader reader, int column, int row, ByteList into)
    {
        switch (Datatype)
        {
            case "BYTES":
                var text = reader.Utf8(column, row);
                BinaryPrimitives.WriteInt32LittleEndian(into.Take(sizeof(int)), text.Length);
                text.CopyTo(into.Take(text.Length));
                return true;
            case "BOOL":
                into.Take(1)[0] = reader.Bool(column)[row] ? (byte)1 : (byte)0;
                return true;
            case "FP32":
                var single = reader.Float(column)[row];
                BinaryPrimitives.WriteSingleLittleEndian(into.Take(sizeof(float)), single);
                return !IsFinite || float.IsFinite(single);
            case "FP16":
                BinaryPrimitives.WriteHalfLittleEndian(into.Take(2), (Half)reader.Float(column)[row]);
                return true;
            case "FP64":
                var number = reader.Double(column)[row];
                BinaryPrimitives.WriteDoubleLittleEndian(into.Take(sizeof(double)), number);
                return !IsFinite || double.IsFinite(number);
            case "UINT64":
                BinaryPrimitives.WriteUInt64LittleEndian(into.Take(sizeof(ulong)), Convert.ToUInt64(reader.Value(column, row), CultureInfo.InvariantCulture));
                return true;
            default:
                Span<byte> wide = stackalloc byte[sizeof(long)];
                BinaryPrimitives.WriteInt64LittleEndian(wide, reader.Int64(column)[row]);
                wide[..ValueBytes].CopyTo(into.Take(ValueBytes)); // Little endian: the low bytes come first.
                return true;
        }
    }

    private static string Shown(IReadOnlyList<ContractTensor> tensors) => string.Join(", ", tensors.Select(tensor => $"'{tensor.Name}' [{string.Join(", ", tensor.Shape)}]"));

    private static string Quoted(IReadOnlyList<string> names) =>
        string.Join(", ", names.Take(20).Select(name => $"'{name}'")) + (names.Count > 20 ? $" and {names.Count - 20} more" : "");

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}

/// <summary>Bytes that grow and shrink at their end.</summary>
internal sealed class ByteList
{
    private byte[] _bytes = new byte[4096];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Span => _bytes.AsSpan(0, Length);

    public Span<byte> Take(int count)
    {
        if (Length + count > _bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + count));
        }

        Length += count;
        return _bytes.AsSpan(Length - count, count);
    }

    public void CutTo(int length) => Length = length;
}
