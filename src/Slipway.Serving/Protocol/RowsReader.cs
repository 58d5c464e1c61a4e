using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;

namespace Slipway.Serving.Protocol;

/// <summary>
/// Requests of protocols that send rows or columns without saying shape and datatype: MLflow's scoring server and TensorFlow Serving.
/// Both are taken from the version that is asked, and the values read as in an Open Inference request.
/// </summary>
/// <param name="model">The version.</param>
internal sealed class RowsReader(LoadedModel model)
{
    private const int DepthMax = 64;

    /// <summary>MLflow's JSON: exactly one of <c>dataframe_split</c>, <c>dataframe_records</c>, <c>instances</c> and <c>inputs</c>.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public TensorRequest ReadMlflow(ReadOnlyMemory<byte> body)
    {
        using var json = Parse(body);
        string[] formats = ["dataframe_split", "dataframe_records", "instances", "inputs"];
        var root = json.RootElement;
        var given = root.ValueKind == JsonValueKind.Object ? formats.Where(format => root.TryGetProperty(format, out _)).ToList() : [];
        if (given.Count != 1)
        {
            throw Invalid($"The request body must be a JSON object with exactly one of 'dataframe_split', 'dataframe_records', 'instances' or 'inputs'{(given.Count > 1 ? $", not with {string.Join(" and ", given)}" : "")}.");
        }

        var data = root.GetProperty(given[0]);
        return given[0] switch
        {
            "dataframe_split" => Split(data),
            "dataframe_records" => Records(data, given[0]),
            "instances" => Instances(data),
            _ => Inputs(data),
        };
    }

    /// <summary>TensorFlow Serving's JSON: <c>instances</c> for rows or <c>inputs</c> for columns.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public (TensorRequest Request, bool ByRow) ReadTensorFlow(ReadOnlyMemory<byte> body)
    {
        using var json = Parse(body);
        var root = json.RootElement;
        var byRow = Has("instances");
        if (byRow == Has("inputs"))
        {
            throw Invalid("The request must be a JSON object with either 'instances', for rows, or 'inputs', for columns.");
        }

        if (root.TryGetProperty("signature_name", out var signature) && signature.ValueKind is not JsonValueKind.Null && !(signature.ValueKind is JsonValueKind.String && signature.GetString() is "serving_default" or ""))
        {
            throw Invalid($"'signature_name' is {Quoted.Short(signature.ToString())}; a version has one signature, 'serving_default'.");
        }

        return (byRow ? Instances(root.GetProperty("instances")) : Inputs(root.GetProperty("inputs")), byRow);

        bool Has(string name) => root.ValueKind == JsonValueKind.Object && root.TryGetProperty(name, out _);
    }

    /// <summary>Comma-separated values with a header.</summary>
    /// <exception cref="SlipwayException">InvalidArgument.</exception>
    public TensorRequest ReadCsv(ReadOnlySpan<byte> body)
    {
        string text;
        try
        {
            text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(body);
        }
        catch (ArgumentException)
        {
            throw Invalid("The CSV is not UTF-8; send it in UTF-8.");
        }

        var lines = CsvLines(text.TrimStart('\uFEFF'));
        if (lines.Count < 2)
        {
            throw Invalid("The CSV has no rows below its header; send a header with the names of the columns and a line for each row.");
        }

        if (lines.FindIndex(line => line.Count != lines[0].Count) is > 0 and var ragged)
        {
            throw Invalid($"Row {ragged} of the CSV has {lines[ragged].Count} cells, but the header has {lines[0].Count}.");
        }

        var rows = lines.Count - 1;
        return Columns([.. lines[0].Select((name, i) => (name, lines.Skip(1).Select(line => Cell(name, line[i])).ToList()))], rows);
    }

    private static JsonDocument Parse(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = DepthMax });
        }
        catch (JsonException e)
        {
            throw Invalid(string.Create(CultureInfo.InvariantCulture,
                $"The body is not valid JSON of at most {DepthMax} levels (line {(e.LineNumber ?? 0) + 1}, byte {e.BytePositionInLine ?? 0})."));
        }
    }

    private TensorRequest Split(JsonElement split)
    {
        if (split.ValueKind != JsonValueKind.Object || !split.TryGetProperty("data", out var data) || data.ValueKind != JsonValueKind.Array)
        {
            throw Invalid("'dataframe_split' must be an object with 'columns' and 'data', a list of rows.");
        }

        List<string>? columns = null;
        if (split.TryGetProperty("columns", out var names) && names.ValueKind != JsonValueKind.Null)
        {
            columns = names.ValueKind == JsonValueKind.Array ? [.. names.EnumerateArray().Select(name => name.ToString())] : throw Invalid("'dataframe_split.columns' must be a list of names.");
        }

        if (columns is null)
        {
            return Whole(data, "dataframe_split.data");
        }

        // Each row is walked once: to ask a list for its i-th value is to walk it to there.
        var filled = columns.ConvertAll(name => (Name: name, Values: new List<string>()));
        var rows = 0;
        foreach (var row in data.EnumerateArray())
        {
            if (row.ValueKind != JsonValueKind.Array || row.GetArrayLength() != columns.Count)
            {
                throw Invalid($"'dataframe_split.data[{rows}]' is not a list of {columns.Count} values, one for each column.");
            }

            var column = 0;
            foreach (var value in row.EnumerateArray())
            {
                filled[column++].Values.Add(value.GetRawText());
            }

            rows++;
        }

        return Columns(filled, rows);
    }

    private TensorRequest Records(JsonElement records, string what)
    {
        if (records.ValueKind != JsonValueKind.Array || records.GetArrayLength() == 0 || records.EnumerateArray().Any(record => record.ValueKind != JsonValueKind.Object))
        {
            throw Invalid($"'{what}' must be a list of at least one object, each with a value for every column.");
        }

        var columns = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        var rows = 0;
        foreach (var record in records.EnumerateArray())
        {
            var filled = 0;
            foreach (var property in record.EnumerateObject())
            {
                if (rows == 0)
                {
                    columns.TryAdd(property.Name, []);
                }

                // A column that the first row lacks, or one that comes twice, leaves another one short.
                filled += columns.TryGetValue(property.Name, out var values) && values.Count == rows ? 1 : columns.Count + 1;
                values?.Add(property.Value.GetRawText());
            }

            if (filled != columns.Count)
            {
                throw Invalid($"'{what}[{rows}]' has other columns than {string.Join(", ", columns.Keys.Take(100))}, or one twice; send those of the first row in each.");
            }

            rows++;
        }

        return Columns([.. columns.Select(column => (column.Key, column.Value))], rows);
    }

    // Rows that name their inputs, or rows of the one input.
    private TensorRequest Instances(JsonElement instances) =>
        instances.ValueKind == JsonValueKind.Array && instances.GetArrayLength() > 0 && instances[0].ValueKind == JsonValueKind.Object ? Records(instances, "instances") : Whole(instances, "instances");

    private TensorRequest Inputs(JsonElement inputs)
    {
        if (inputs.ValueKind != JsonValueKind.Object)
        {
            return Whole(inputs, "inputs");
        }

        var tensors = inputs.EnumerateObject().ToList();
        return Build([.. tensors.Select(tensor => (tensor.Name, Find(tensor.Name) ?? throw Unknown(tensor.Name), ShapeOf(tensor.Value), tensor.Value.GetRawText()))]);
    }

    // All of it is the model's one input.
    private TensorRequest Whole(JsonElement data, string what)
    {
        var (name, datatype) = model.Tensors is null ? (model.MatrixName, Datatype.FP32)
            : model.InputTensors is [var only] ? (only.Name, Datatypes.Parse(only.Datatype))
            : throw Invalid($"'{what}' names no inputs, but the model has {model.InputTensors.Count}: send {string.Join(", ", model.InputTensors.Select(tensor => $"'{tensor.Name}'"))} by name.");
        if (data.ValueKind != JsonValueKind.Array)
        {
            throw Invalid($"'{what}' must be a list of rows, or an object that names the inputs.");
        }

        var shape = ShapeOf(data);
        if (model.Tensors is null && shape.Contains(0))
        {
            throw Invalid($"'{what}' {(shape.Length == 1 ? "is empty; send at least one row" : "holds a row without values; send rows")} of {TensorReader.Counted(model.FeatureNames.Count, "value")}: {string.Join(", ", model.FeatureNames.Take(100))}.");
        }

        return Build([(name, datatype, shape, data.GetRawText())]);
    }

    private TensorRequest Columns(List<(string Name, List<string> Values)> columns, int rows)
    {
        if (rows == 0)
        {
            throw Invalid("There are no rows; send at least one.");
        }

        // A graph whose one input is a table takes the columns as they stand, whatever they are called.
        if (model.Tensors is not null && model.InputTensors is [{ Shape.Count: 2 } table] && !columns.Exists(column => column.Name == table.Name))
        {
            var cells = Enumerable.Range(0, rows).Select(row => $"[{string.Join(',', columns.Select(column => column.Values[row]))}]");
            return Build([(table.Name, Datatypes.Parse(table.Datatype), [rows, columns.Count], $"[{string.Join(',', cells)}]")]);
        }

        return Build([.. columns.Select(column =>
        {
            var datatype = Find(column.Name, column.Values[0]) ?? throw Unknown(column.Name);
            var data = $"[{string.Join(',', column.Values)}]";
            using var json = JsonDocument.Parse(data);
            var shape = ShapeOf(json.RootElement);
            // A column of values is what a graph calls [n, 1].
            return (column.Name, datatype, shape is [var n] && model.Tensors is not null && model.InputTensors.First(input => input.Name == column.Name).Shape.Count == 2 ? [n, 1] : shape, data);
        })]);
    }

    // An Open Inference request in its own words: one reader for all values, and the same sentences about those that do not fit.
    private static TensorRequest Build(List<(string Name, Datatype Datatype, long[] Shape, string Data)> tensors)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteStartArray("inputs");
            foreach (var tensor in tensors)
            {
                json.WriteStartObject();
                json.WriteString("name", tensor.Name);
                json.WriteString("datatype", tensor.Datatype.Name());
                json.WriteStartArray("shape");
                foreach (var size in tensor.Shape)
                {
                    json.WriteNumberValue(size);
                }

                json.WriteEndArray();
                json.WritePropertyName("data");
                json.WriteRawValue(tensor.Data);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        var request = new TensorRequest();
        return TensorReader.Read(new ReadOnlySequence<byte>(body.WrittenMemory), null, request) is { } fault ? throw Invalid(fault) : request;
    }

    // The datatype of an input; where several are taken, the one that the value has.
    private Datatype? Find(string name, string? value = null)
    {
        if (model.Tensors is not null)
        {
            return model.InputTensors.FirstOrDefault(input => input.Name == name) is { } tensor ? Datatypes.Parse(tensor.Datatype) : null;
        }

        if (model.Inputs?.Inputs.FirstOrDefault(input => input.Name == name) is { } named)
        {
            var isText = value is null ? named.Datatypes[0] == "BYTES" : value.StartsWith('"');
            return Datatypes.Parse(named.Datatypes.FirstOrDefault(datatype => datatype == "BYTES" == isText) ?? named.Datatypes[0]);
        }

        return model.FeatureNames.Contains(name) || name == model.MatrixName ? Datatype.FP32 : null;
    }

    private SlipwayException Unknown(string name)
    {
        var expected = model.Tensors is not null ? model.InputTensors.Select(input => input.Name)
            : [.. model.Inputs?.Inputs.Select(input => input.Name) ?? [], .. model.FeatureNames];
        return Invalid($"'{Quoted.Short(name)}' is not an input of model '{model.Model}' version {model.Version}; send {string.Join(", ", expected.Distinct().Select(input => $"'{input}'"))}.");
    }

    // Of a list in lists, by the first of each. The reader counts the values, which does not tell a row with one too many beside one with one too few.
    private static long[] ShapeOf(JsonElement data)
    {
        var shape = new List<long>();
        for (var first = data; first.ValueKind == JsonValueKind.Array; first = first[0])
        {
            shape.Add(first.GetArrayLength());
            if (shape[^1] == 0)
            {
                break;
            }
        }

        DemandEven(data, 0);
        return [.. shape];

        void DemandEven(JsonElement part, int depth)
        {
            if (depth == shape.Count)
            {
                return;
            }

            if (part.ValueKind != JsonValueKind.Array || part.GetArrayLength() != shape[depth])
            {
                throw Invalid($"The lists are not of one length: at level {depth + 1} one has {(part.ValueKind == JsonValueKind.Array ? part.GetArrayLength() : 1)} values where the first has {shape[depth]}; send as many in each.");
            }

            if (depth + 1 < shape.Count)
            {
                foreach (var inner in part.EnumerateArray())
                {
                    DemandEven(inner, depth + 1);
                }
            }
        }
    }

    // What a cell is in JSON: what the column's datatype says, since CSV does not.
    private string Cell(string name, string text) => Find(name, "\"") switch
    {
        Datatype.BYTES => JsonSerializer.Serialize(text, JsonDefaults.Options),
        Datatype.BOOL when text is "True" or "true" => "true",
        Datatype.BOOL when text is "False" or "false" => "false",
        _ => IsNumber(text) ? text : text.Length == 0 ? "null" : JsonSerializer.Serialize(text, JsonDefaults.Options),
    };

    private static bool IsNumber(string text)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(text));
        try
        {
            return reader.Read() && reader.TokenType == JsonTokenType.Number && !reader.Read();
        }
        catch (JsonException)
        {
            return false;
        }
    }

    // RFC 4180: cells in quotes may hold commas, line ends and doubled quotes.
    private static List<List<string>> CsvLines(string text)
    {
        var lines = new List<List<string>>();
        for (var at = 0; at < text.Length;)
        {
            var line = new List<string>();
            while (true)
            {
                line.Add(CsvCell(text, ref at));
                if (at >= text.Length || text[at] != ',')
                {
                    break;
                }

                at++;
            }

            at += text.AsSpan(at) is ['\r', '\n', ..] ? 2 : at < text.Length ? 1 : 0;
            if (line is not [""])
            {
                lines.Add(line);
            }
        }

        return lines;
    }

    private static string CsvCell(string text, ref int at)
    {
        if (at < text.Length && text[at] == '"')
        {
            var cell = new StringBuilder();
            for (at++; at < text.Length && !(text[at] == '"' && (at + 1 == text.Length || text[at + 1] != '"')); at++)
            {
                cell.Append(text[at]);
                at += text[at] == '"' ? 1 : 0;
            }

            if (at == text.Length)
            {
                throw Invalid("The CSV ends inside a cell in quotes.");
            }

            at++;
            return at == text.Length || text[at] is ',' or '\r' or '\n' ? cell.ToString() : throw Invalid("The CSV has something behind a cell's closing quote.");
        }

        var end = text.AsSpan(at).IndexOfAny(',', '\r', '\n');
        var plain = end < 0 ? text[at..] : text.Substring(at, end);
        at += plain.Length;
        return plain;
    }

    private static SlipwayException Invalid(string message) => new(ErrorCode.InvalidArgument, message);
}
