using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Native.DuckDb;

namespace Slipway.Cli.Scoring;

/// <summary>One output of an answer.</summary>
/// <param name="Name">As the model names it.</param>
/// <param name="Datatype">Open Inference datatype.</param>
/// <param name="Width">Values of a row.</param>
/// <param name="Data">Row by row, as the protocol's binary tensors are.</param>
internal sealed record ScoredOutput(string Name, string Datatype, int Width, ReadOnlyMemory<byte> Data)
{
    /// <summary>DuckDB's type of a value.</summary>
    public string SqlType => Datatype switch
    {
        "BYTES" => "VARCHAR",
        "BOOL" => "BOOLEAN",
        "FP16" or "FP32" => "FLOAT",
        "FP64" => "DOUBLE",
        "UINT64" => "UBIGINT",
        _ => "BIGINT",
    };
}

/// <summary>The outputs of some rows, all in the order they were sent in.</summary>
/// <param name="Rows">At least 1.</param>
/// <param name="Outputs">In the model's order.</param>
internal sealed record ScoredRows(int Rows, IReadOnlyList<ScoredOutput> Outputs)
{
    /// <summary>Reads an answer.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: it does not hold a value for each row.</exception>
    public static ScoredRows Read(InferenceReply reply, int rows)
    {
        var jsonLength = reply.JsonLength ?? throw new SlipwayException(ErrorCode.FailedPrecondition, "The server answered without binary tensors; score with a server of this release or a later one.");
        using var json = JsonDocument.Parse(reply.Body[..jsonLength]);
        var at = jsonLength;
        var outputs = new List<ScoredOutput>();
        foreach (var output in json.RootElement.GetProperty("outputs").EnumerateArray())
        {
            var (name, datatype) = (output.GetProperty("name").GetString()!, output.GetProperty("datatype").GetString()!);
            var shape = output.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
            if (shape.Length is 0 || shape[0] != rows || datatype is "BF16")
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"Output '{name}' is {datatype} [{string.Join(", ", shape)}] for {rows} rows, which is no value for each row; this model cannot be scored from a file.");
            }

            var size = output.GetProperty("parameters").GetProperty("binary_data_size").GetInt32();
            outputs.Add(new ScoredOutput(name, datatype, (int)shape.Skip(1).Aggregate(1L, (product, next) => product * next), reply.Body.Slice(at, size)));
            at += size;
        }

        return new ScoredRows(rows, outputs);
    }

    /// <summary>The columns that hold the outputs: <c>prediction</c> for one value a row, else a name for each.</summary>
    public IReadOnlyList<(string Name, string SqlType)> Columns() => Outputs is [{ Width: 1 } only] ? [("prediction", only.SqlType)]
        : [.. Outputs.SelectMany(output => Enumerable.Range(0, output.Width).Select(i =>
            (output.Width == 1 ? $"prediction_{output.Name}" : string.Create(CultureInfo.InvariantCulture, $"prediction_{output.Name}_{i}"), output.SqlType)))];

    /// <summary>Appends one row's outputs.</summary>
    /// <param name="into">The table of the outputs.</param>
    /// <param name="row">Which.</param>
    /// <param name="positions">One for each output: where texts have been read to. Rows are appended in their order.</param>
    public void Append(DuckDbAppender into, int row, int[] positions)
    {
        for (var i = 0; i < Outputs.Count; i++)
        {
            var data = Outputs[i].Data.Span;
            var width = Outputs[i].Width;
            for (var at = row * width; at < (row + 1) * width; at++)
            {
                switch (Outputs[i].Datatype)
                {
                    case "BYTES":
                        var length = BinaryPrimitives.ReadInt32LittleEndian(data[positions[i]..]);
                        into.AppendUtf8(data.Slice(positions[i] + sizeof(int), length));
                        positions[i] += sizeof(int) + length;
                        break;
                    case "BOOL": into.AppendBool(data[at] != 0); break;
                    case "FP16": into.AppendDouble((double)BinaryPrimitives.ReadHalfLittleEndian(data[(at * 2)..])); break;
                    case "FP32": into.AppendDouble(BinaryPrimitives.ReadSingleLittleEndian(data[(at * 4)..])); break;
                    case "FP64": into.AppendDouble(BinaryPrimitives.ReadDoubleLittleEndian(data[(at * 8)..])); break;
                    case "INT8": into.AppendInt64((sbyte)data[at]); break;
                    case "UINT8": into.AppendInt64(data[at]); break;
                    case "INT16": into.AppendInt64(BinaryPrimitives.ReadInt16LittleEndian(data[(at * 2)..])); break;
                    case "UINT16": into.AppendInt64(BinaryPrimitives.ReadUInt16LittleEndian(data[(at * 2)..])); break;
                    case "INT32": into.AppendInt64(BinaryPrimitives.ReadInt32LittleEndian(data[(at * 4)..])); break;
                    case "UINT32": into.AppendInt64(BinaryPrimitives.ReadUInt32LittleEndian(data[(at * 4)..])); break;
                    default: into.AppendInt64(BinaryPrimitives.ReadInt64LittleEndian(data[(at * 8)..])); break;
                }
            }
        }
    }
}
