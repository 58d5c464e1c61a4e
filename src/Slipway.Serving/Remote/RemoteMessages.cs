using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Slipway.Contracts.Serving;
using Slipway.Registry.Formats;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Remote;

/// <summary>What is sent to other servers and read of their answers.</summary>
/// <remarks>
/// Open Inference: https://github.com/kserve/open-inference-protocol, its binary extension: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md,
/// MLflow's scoring server: https://mlflow.org/docs/latest/genai/serving, chat completions: https://platform.openai.com/docs/api-reference/chat.
/// </remarks>
internal static class RemoteMessages
{
    private static readonly JsonWriterOptions Options = new() { SkipValidation = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>An Open Inference request.</summary>
    /// <param name="request">Fits the signature.</param>
    /// <param name="binary">Whether its tensors follow the JSON, and the answer's shall.</param>
    /// <returns>The body, and the length of its JSON when bytes follow it.</returns>
    public static (byte[] Body, int? JsonLength) WriteV2(TensorRequest request, bool binary)
    {
        var bytes = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(bytes, Options))
        {
            json.WriteStartObject();
            if (request.Id.Length > 0)
            {
                json.WriteString("id"u8, request.Id);
            }

            json.WriteStartArray("inputs"u8);
            foreach (var input in request.Inputs)
            {
                json.WriteStartObject();
                json.WriteString("name"u8, input.Name);
                WriteShape(json, input.Shape);
                json.WriteString("datatype"u8, input.Datatype.Name());
                if (binary)
                {
                    json.WriteStartObject("parameters"u8);
                    json.WriteNumber("binary_data_size"u8, input.Data.Count);
                    json.WriteEndObject();
                }
                else
                {
                    json.WriteStartArray("data"u8);
                    WriteFlat(json, input);
                    json.WriteEndArray();
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            if (request.Outputs.Count > 0)
            {
                json.WriteStartArray("outputs"u8);
                foreach (var output in request.Outputs)
                {
                    json.WriteStartObject();
                    json.WriteString("name"u8, output.Name);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            }

            if (binary)
            {
                json.WriteStartObject("parameters"u8);
                json.WriteBoolean("binary_data_output"u8, true);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        if (!binary)
        {
            return (bytes.WrittenSpan.ToArray(), null);
        }

        var length = bytes.WrittenCount;
        foreach (var input in request.Inputs)
        {
            bytes.Write(input.Data);
        }

        return (bytes.WrittenSpan.ToArray(), length);
    }

    /// <summary>An Open Inference answer's outputs; null when it is none.</summary>
    public static IReadOnlyList<RequestTensor>? ReadV2(byte[] body, long? jsonLength)
    {
        if (jsonLength > body.Length)
        {
            return null;
        }

        var outputs = new TensorRequest();
        return TensorReader.ReadAnswer(new ReadOnlySequence<byte>(body), jsonLength, outputs) is null ? outputs.Inputs : null;
    }

    /// <summary>A request to MLflow's scoring server: rows under column names, or tensors under theirs.</summary>
    public static byte[] WriteMlflow(TensorRequest request, IReadOnlyList<string> columns)
    {
        var bytes = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(bytes, Options))
        {
            json.WriteStartObject();
            json.WriteStartObject(columns.Count > 0 ? "dataframe_split"u8 : "inputs"u8);
            if (columns.Count > 0)
            {
                json.WriteStartArray("columns"u8);
                foreach (var column in columns)
                {
                    json.WriteStringValue(column);
                }

                json.WriteEndArray();
                json.WritePropertyName("data"u8);
                WriteNested(json, request.Inputs[0]);
            }
            else
            {
                foreach (var input in request.Inputs)
                {
                    json.WritePropertyName(input.Name);
                    WriteNested(json, input);
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return bytes.WrittenSpan.ToArray();
    }

    /// <summary><c>{"predictions"}</c>: a list for the one output, a list per output, or a record per row.</summary>
    /// <param name="body">The answer.</param>
    /// <param name="outputs">What is declared; a size that varies is the number of rows.</param>
    /// <param name="rows">Of the request.</param>
    /// <param name="fault">Why it is none, with null.</param>
    public static IReadOnlyList<RequestTensor>? ReadMlflow(byte[] body, IReadOnlyList<ContractTensor> outputs, long rows, out string fault)
    {
        fault = "its answer is no {\"predictions\": …}";
        try
        {
            using var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = TensorReader.NestingMax });
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("predictions"u8, out var predictions))
            {
                return null;
            }

            var tensors = new List<RequestTensor>();
            foreach (var output in outputs)
            {
                var values = predictions.ValueKind == JsonValueKind.Object ? (predictions.TryGetProperty(output.Name, out var named) ? named : default)
                    : predictions.ValueKind == JsonValueKind.Array && predictions.GetArrayLength() > 0 && predictions[0].ValueKind == JsonValueKind.Object ? Column(predictions, output.Name)
                    : outputs.Count == 1 ? predictions : default;
                long[] shape = [.. output.Shape.Select(size => size < 0 ? rows : size)];
                var datatype = Datatypes.Parse(output.Datatype);
                if (values.ValueKind != JsonValueKind.Array || !RequestTensor.TryCount(shape, datatype, out var count))
                {
                    fault = $"its predictions hold no list for '{output.Name}'";
                    return null;
                }

                if (TensorReader.ReadValues(Encoding.UTF8.GetBytes(values.GetRawText()), $"'{output.Name}'", datatype, count, out var data) is { } wrong)
                {
                    fault = wrong.TrimEnd('.');
                    return null;
                }

                tensors.Add(new RequestTensor(output.Name, datatype, shape, data));
            }

            return tensors;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>A chat of one question.</summary>
    public static byte[] WriteChat(RemoteModelFile file, string text)
    {
        var bytes = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(bytes, Options))
        {
            json.WriteStartObject();
            json.WriteString("model"u8, file.Model);
            json.WriteStartArray("messages"u8);
            foreach (var (role, content) in new[] { ("system", file.System), ("user", text) })
            {
                if (content is not null)
                {
                    json.WriteStartObject();
                    json.WriteString("role"u8, role);
                    json.WriteString("content"u8, content);
                    json.WriteEndObject();
                }
            }

            json.WriteEndArray();
            if (file.Temperature is { } temperature)
            {
                json.WriteNumber("temperature"u8, temperature);
            }

            if (file.TokensMax is { } tokens)
            {
                json.WriteNumber("max_tokens"u8, tokens);
            }

            json.WriteEndObject();
        }

        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>The text of a chat's first answer; null when there is none.</summary>
    public static string? ReadChat(byte[] body) => Parse(body) is { ValueKind: JsonValueKind.Object } root
        && root.TryGetProperty("choices"u8, out var choices) && choices.ValueKind == JsonValueKind.Array && choices.GetArrayLength() > 0
        && choices[0].ValueKind == JsonValueKind.Object && choices[0].TryGetProperty("message"u8, out var message) && message.ValueKind == JsonValueKind.Object
        && message.TryGetProperty("content"u8, out var content) && content.ValueKind == JsonValueKind.String ? content.GetString()!.Replace("\0", "", StringComparison.Ordinal) : null;

    /// <summary>What the server says of a failure, on one line; null when it says nothing that can be read.</summary>
    public static string? ReadError(byte[] body)
    {
        if (Parse(body) is not { ValueKind: JsonValueKind.Object } root)
        {
            return null;
        }

        // {"error": "…"} (Open Inference), {"error": {"message"}} (OpenAI), {"message"} (MLflow)
        var text = root.TryGetProperty("error"u8, out var error) && error.ValueKind == JsonValueKind.String ? error.GetString()
            : error.ValueKind == JsonValueKind.Object && error.TryGetProperty("message"u8, out var inner) && inner.ValueKind == JsonValueKind.String ? inner.GetString()
            : root.TryGetProperty("message"u8, out var message) && message.ValueKind == JsonValueKind.String ? message.GetString() : null;
        return text is null ? null : new string([.. text.Select(c => char.IsControl(c) ? ' ' : c)]).Trim().TrimEnd('.');
    }

    /// <summary>The elements of a BYTES tensor as text.</summary>
    public static IEnumerable<string> Texts(ArraySegment<byte> data)
    {
        for (var at = 0; at < data.Count;)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(data.AsSpan(at));
            yield return Encoding.UTF8.GetString(data.AsSpan(at + sizeof(int), length));
            at += sizeof(int) + length;
        }
    }

    /// <summary>Texts as the elements of a BYTES tensor.</summary>
    public static byte[] Bytes(IEnumerable<string> texts)
    {
        var bytes = new ArrayBufferWriter<byte>();
        foreach (var text in texts)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.GetSpan(sizeof(int)), Encoding.UTF8.GetByteCount(text));
            bytes.Advance(sizeof(int));
            Encoding.UTF8.GetBytes(text, bytes);
        }

        return bytes.WrittenSpan.ToArray();
    }

    private static JsonElement? Parse(byte[] body)
    {
        try
        {
            using var document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = TensorReader.NestingMax });
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return null;
        }
    }

    // A record per row, as a data frame comes: one value of each.
    private static JsonElement Column(JsonElement records, string name)
    {
        var values = records.EnumerateArray().Select(record => record.ValueKind == JsonValueKind.Object && record.TryGetProperty(name, out var value) ? value : default).ToList();
        return values.Exists(value => value.ValueKind == JsonValueKind.Undefined) ? default : JsonSerializer.SerializeToElement(values);
    }

    private static void WriteShape(Utf8JsonWriter json, long[] shape)
    {
        json.WriteStartArray("shape"u8);
        foreach (var size in shape)
        {
            json.WriteNumberValue(size);
        }

        json.WriteEndArray();
    }

    private static void WriteFlat(Utf8JsonWriter json, RequestTensor tensor)
    {
        var values = new AnswerTensor(tensor.Name, tensor.Datatype, tensor.Shape, tensor.Data.ToArray(), null);
        for (var at = 0; at < values.Data.Length;)
        {
            values.Write(json, ref at);
        }
    }

    private static void WriteNested(Utf8JsonWriter json, RequestTensor tensor)
    {
        var values = new AnswerTensor(tensor.Name, tensor.Datatype, tensor.Shape, tensor.Data.ToArray(), null);
        var at = 0;
        WriteDimension(json, values, 0, ref at);
    }

    private static void WriteDimension(Utf8JsonWriter json, AnswerTensor tensor, int dimension, ref int at)
    {
        if (dimension == tensor.Shape.Length)
        {
            if (tensor.Datatype is Datatype.FP32 or Datatype.FP64 && !double.IsFinite(Numbers.At(tensor.Datatype, tensor.Data, at)))
            {
                json.WriteNullValue(); // A missing value, as a data frame has it.
                at += tensor.Datatype.Size();
                return;
            }

            tensor.Write(json, ref at);
            return;
        }

        json.WriteStartArray();
        for (var i = 0; i < tensor.Shape[dimension] && at < tensor.Data.Length; i++)
        {
            WriteDimension(json, tensor, dimension + 1, ref at);
        }

        json.WriteEndArray();
    }
}
