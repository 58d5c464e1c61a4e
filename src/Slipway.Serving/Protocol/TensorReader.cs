using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Slipway.Serving.Protocol;

/// <summary>Reads an Open Inference request of any signature: its JSON, and the bytes that may follow it. A fault is a sentence, not an exception.</summary>
internal static class TensorReader
{
    /// <summary>Arrays and objects within each other, as Triton allows.</summary>
    public const int NestingMax = 100;

    /// <summary>Bytes of a flag's value.</summary>
    public const int FlagMax = 128;

    public const string WrongFlag = "'parameters.flag' is neither text of at most 128 bytes, nor true, false or a number; send the flag's value.";

    private const int RankMax = 64;
    private const int InputsMax = 100_000; // As many as registration allows features.
    private const int CopiedMax = 16 << 20; // Of a body that came in many pieces.
    private const int NameMax = 1024;
    private const string Send = "send name, shape, datatype and data";

    /// <summary>What is told whoever sends the one list of inputs in two.</summary>
    public const string InputsTwice = "'inputs' is there twice; send one list of tensors.";

    /// <summary>What is advised to whoever nests data otherwise than its shape.</summary>
    public const string SendAsShaped = "send the values flat, or nested as the shape says";

    /// <summary>Reads a body.</summary>
    /// <param name="body">The whole of it.</param>
    /// <param name="headerLength">Bytes of its JSON, which tensors follow; null when it is JSON to its end.</param>
    /// <param name="request">Is filled.</param>
    public static string? Read(in ReadOnlySequence<byte> body, long? headerLength, TensorRequest request)
    {
        var json = headerLength is { } length ? body.Slice(0, length) : body;
        var tail = headerLength is { } skipped ? body.Slice(skipped) : ReadOnlySequence<byte>.Empty;
        var copy = json.IsSingleSegment || json.Length > CopiedMax ? null : ArrayPool<byte>.Shared.Rent((int)json.Length);
        try
        {
            if (copy is null)
            {
                return Read(json, json.IsSingleSegment ? json.FirstSpan : default, ref tail, request);
            }

            json.CopyTo(copy);
            return Read(json, copy.AsSpan(0, (int)json.Length), ref tail, request);
        }
        finally
        {
            if (copy is not null)
            {
                ArrayPool<byte>.Shared.Return(copy);
            }
        }
    }

    /// <param name="json">The JSON.</param>
    /// <param name="piece">The same in one piece; empty for so much that it is left in several.</param>
    private static string? Read(in ReadOnlySequence<byte> json, ReadOnlySpan<byte> piece, ref ReadOnlySequence<byte> tail, TensorRequest request)
    {
        var options = new JsonReaderOptions { MaxDepth = NestingMax };
        var reader = piece.IsEmpty ? new Utf8JsonReader(json, options) : new Utf8JsonReader(piece, options);
        var lists = new NumberLists(piece);
        try
        {
            if (ReadBody(ref reader, ref lists, ref tail, request) is { } fault)
            {
                return fault;
            }

            reader.Read(); // Anything after the object is a fault too.
        }
        catch (JsonException e)
        {
            return lists.Explain(options) ?? Explain(e, reader.CurrentDepth);
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair in an escaped text.
            return "The body holds text that is not valid Unicode; send UTF-8.";
        }

        return tail.IsEmpty ? null : $"The body has {tail.Length} bytes more than its inputs' binary_data_size name; send as many as they say.";
    }

    /// <summary>Reads another server's answer, whose outputs become the inputs of <paramref name="outputs"/>.</summary>
    /// <param name="body">The whole of it.</param>
    /// <param name="headerLength">Bytes of its JSON, which tensors follow; null when it is JSON to its end.</param>
    /// <param name="outputs">Is filled.</param>
    public static string? ReadAnswer(in ReadOnlySequence<byte> body, long? headerLength, TensorRequest outputs)
    {
        var tail = headerLength is { } skipped ? body.Slice(skipped) : ReadOnlySequence<byte>.Empty;
        var json = headerLength is { } length ? body.Slice(0, length) : body;
        var options = new JsonReaderOptions { MaxDepth = NestingMax };
        var reader = json.IsSingleSegment ? new Utf8JsonReader(json.FirstSpan, options) : new Utf8JsonReader(json, options);
        var lists = new NumberLists(json.IsSingleSegment ? json.FirstSpan : default);
        try
        {
            var found = false;
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isOutputs = reader.ValueTextEquals("outputs"u8);
                reader.Read();
                found |= isOutputs;
                if (isOutputs && ReadInputs(ref reader, ref lists, ref tail, outputs) is { } fault)
                {
                    return fault;
                }

                reader.Skip();
            }

            return found ? null : "It has no 'outputs'.";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return "It is not valid JSON.";
        }
    }

    /// <summary>Reads a list of values, flat or nested in whatever way, from JSON that has been parsed before.</summary>
    public static string? ReadValues(ReadOnlySpan<byte> json, string what, Datatype datatype, int count, out byte[] bytes)
    {
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = NestingMax });
        reader.Read();
        return ReadData(ref reader, what, datatype, null, count, out bytes);
    }

    /// <summary>A body without JSON: the bytes of a model's one input.</summary>
    /// <param name="body">The whole of it.</param>
    /// <param name="model">Whose input it is.</param>
    /// <param name="request">Is filled; all outputs are wanted as bytes.</param>
    public static string? ReadRaw(in ReadOnlySequence<byte> body, LoadedModel model, TensorRequest request)
    {
        request.BinaryOutput = true;
        if (model.InputTensors is not [var input])
        {
            return $"A body of bytes alone is for models with one input; '{model.Model}' has {model.InputTensors.Count}: send JSON before them, and its length as Inference-Header-Content-Length.";
        }

        var datatype = Datatypes.Parse(input.Datatype);
        var shape = input.Shape.ToArray();
        var open = Array.FindAll(shape, size => size < 0).Length;
        if (open > 1)
        {
            return $"A body of bytes alone does not say the shape {Shown(shape)} of input '{input.Name}', which has {open} variable dimensions; send JSON before it.";
        }

        if (datatype == Datatype.BYTES)
        {
            if (!Array.TrueForAll(shape, size => size is 1 or -1))
            {
                return $"A body of bytes alone is one element, but input '{input.Name}' is BYTES {Shown(shape)}; send JSON before it.";
            }

            // All of it is the one element.
            var element = new byte[sizeof(int) + body.Length];
            BinaryPrimitives.WriteInt32LittleEndian(element, (int)body.Length);
            body.CopyTo(element.AsSpan(sizeof(int)));
            Array.Fill(shape, 1);
            request.Inputs.Add(new RequestTensor(input.Name, datatype, shape, element));
            return RequestTensor.CheckBytes($"'{input.Name}'", datatype, 1, element);
        }

        var closed = shape.Where(size => size >= 0).Aggregate((long)datatype.Size(), (product, size) => product * size);
        if (open == 1)
        {
            shape[Array.FindIndex(shape, size => size < 0)] = closed == 0 ? 0 : body.Length / closed;
        }

        var bytes = body.ToArray();
        request.Inputs.Add(new RequestTensor(input.Name, datatype, shape, bytes));
        if (RequestTensor.CheckFlags($"'{input.Name}'", datatype, bytes) is { } wrong)
        {
            return wrong;
        }

        return open == 1 && closed > 0 ? body.Length % closed == 0 ? null : $"Input '{input.Name}' has {body.Length} bytes, which is no multiple of {closed}: it is {input.Datatype} {Shown(input.Shape)}."
            : body.Length == closed ? null : $"Input '{input.Name}' has {body.Length} bytes instead of {closed}: it is {input.Datatype} {Shown(shape)}.";
    }

    /// <summary>What a caller is told of a body that is no JSON.</summary>
    public static string Explain(JsonException e, int depth) => depth >= NestingMax - 1
        ? $"JSON nesting depth exceeds maximum allowed limit ({NestingMax}); send 'data' flat, or nested as its shape says."
        : string.Create(CultureInfo.InvariantCulture,
            $"The body is not valid JSON (line {(e.LineNumber ?? 0) + 1}, byte {e.BytePositionInLine ?? 0}); send an object such as {{\"inputs\": [{{\"name\", \"shape\", \"datatype\", \"data\"}}]}}.");

    /// <summary>Such as "2 values".</summary>
    public static string Counted(long count, string noun) => $"{count} {noun}{(count == 1 ? "" : "s")}";

    public static string Shown(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";

    private static string? ReadBody(ref Utf8JsonReader reader, ref NumberLists lists, ref ReadOnlySequence<byte> tail, TensorRequest request)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return "The body is not a JSON object; send an object with 'inputs'.";
        }

        var hasInputs = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string? fault = null;
            if (reader.ValueTextEquals("inputs"u8))
            {
                reader.Read();
                fault = hasInputs ? InputsTwice : ReadInputs(ref reader, ref lists, ref tail, request);
                hasInputs = true;
            }
            else if (reader.ValueTextEquals("outputs"u8))
            {
                reader.Read();
                fault = ReadOutputs(ref reader, request);
            }
            else if (reader.ValueTextEquals("id"u8))
            {
                reader.Read();
                if (reader.TokenType is not JsonTokenType.Null)
                {
                    fault = ReadText(ref reader, 256, out var id) ? null : "'id' is not text, longer than 256 bytes or not valid UTF-8; send a shorter string.";
                    request.Id = id;
                }
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                fault = ReadParameters(ref reader, request);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }

            if (fault is not null)
            {
                return fault;
            }
        }

        return hasInputs ? null : $"'inputs' is missing; send a list of tensors, and for each {Send[5..]}.";
    }

    /// <summary>The parameters of the schedule policy extension; the reader stands on the name of one.</summary>
    internal static string? ReadSchedule(ref Utf8JsonReader reader, ref long timeoutUs, ref ulong priority)
    {
        if (reader.ValueTextEquals("timeout"u8))
        {
            return reader.Read() && reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out timeoutUs) && timeoutUs >= 0 ? null
                : "'parameters.timeout' is not a whole number of microseconds; send how long the request may wait, such as 200000.";
        }

        return reader.Read() && reader.TokenType == JsonTokenType.Number && reader.TryGetUInt64(out priority) ? null
            : "'parameters.priority' is not a whole number of 0 or more; lower numbers run first.";
    }

    private static string? ReadParameters(ref Utf8JsonReader reader, TensorRequest request)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return null;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return "'parameters' is not an object; send an object such as {\"entity_key\": \"user-1\"}.";
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("entity_key"u8))
            {
                reader.Read();
                var key = "";
                if (reader.TokenType == JsonTokenType.Number)
                {
                    var number = Raw(ref reader);
                    key = number.Length <= InferRequest.TextMax ? Encoding.UTF8.GetString(number) : "";
                }
                else if (reader.TokenType != JsonTokenType.String)
                {
                    return "'parameters.entity_key' is neither text nor a number; send the key of the user or thing the prediction is for.";
                }

                if (key.Length == 0 && (reader.TokenType != JsonTokenType.String || !ReadText(ref reader, InferRequest.TextMax, out key)))
                {
                    return "'parameters.entity_key' is longer than 4096 bytes or not valid UTF-8; send a shorter one.";
                }

                request.EntityKey = key;
            }
            else if (reader.ValueTextEquals("binary_data_output"u8))
            {
                reader.Read();
                if (!ReadFlag(ref reader, out var binary))
                {
                    return "'parameters.binary_data_output' is neither true nor false; send one of them.";
                }

                request.BinaryOutput = binary;
            }
            else if (reader.ValueTextEquals("flag"u8))
            {
                reader.Read();
                var flag = "";
                if (reader.TokenType is JsonTokenType.True or JsonTokenType.False or JsonTokenType.Number)
                {
                    var raw = Raw(ref reader);
                    flag = raw.Length <= FlagMax ? Encoding.UTF8.GetString(raw) : "";
                }
                else if (reader.TokenType != JsonTokenType.String || !ReadText(ref reader, FlagMax, out flag))
                {
                    return WrongFlag;
                }

                if (flag.Length == 0)
                {
                    return WrongFlag;
                }

                request.Flag = flag;
            }
            else if (reader.ValueTextEquals("feature_ages"u8))
            {
                reader.Read();
                if (!ReadFlag(ref reader, out var ages))
                {
                    return "'parameters.feature_ages' is neither true nor false; send true for a tensor of how old each feature is.";
                }

                request.WantsAges = ages;
            }
            else if (reader.ValueTextEquals("timeout"u8) || reader.ValueTextEquals("priority"u8))
            {
                var (timeout, priority) = (request.TimeoutUs, request.Priority);
                if (ReadSchedule(ref reader, ref timeout, ref priority) is { } fault)
                {
                    return fault;
                }

                (request.TimeoutUs, request.Priority) = (timeout, priority);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        return null;
    }

    private static string? ReadOutputs(ref Utf8JsonReader reader, TensorRequest request)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return reader.TokenType == JsonTokenType.Null ? null : "'outputs' is not a list; leave it out or send a list of {\"name\"}.";
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                return "'outputs' holds something that is not an object; send {\"name\": \"…\"}.";
            }

            string? name = null;
            bool? binary = null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (reader.ValueTextEquals("name"u8))
                {
                    reader.Read();
                    if (!ReadText(ref reader, NameMax, out name))
                    {
                        return $"outputs[{request.Outputs.Count}].name is not text of at most {NameMax} bytes; send the name of an output.";
                    }
                }
                else if (reader.ValueTextEquals("parameters"u8))
                {
                    reader.Read();
                    if (ReadOutputParameters(ref reader, request.Outputs.Count, ref binary) is { } fault)
                    {
                        return fault;
                    }
                }
                else
                {
                    reader.Read();
                    reader.Skip();
                }
            }

            if (name is null)
            {
                return $"outputs[{request.Outputs.Count}] has no 'name'; send the name of an output.";
            }

            request.Outputs.Add(new RequestedOutput(name, binary));
        }

        return null;
    }

    /// <summary>The parameters of one output; the reader stands on their value.</summary>
    public static string? ReadOutputParameters(ref Utf8JsonReader reader, int ordinal, ref bool? binary)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return reader.TokenType == JsonTokenType.Null ? null : $"outputs[{ordinal}].parameters is not an object; send an object such as {{\"binary_data\": true}}.";
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("classification"u8))
            {
                return $"outputs[{ordinal}].parameters asks for 'classification', which is not built here; read the output as it is.";
            }

            var isBinary = reader.ValueTextEquals("binary_data"u8);
            reader.Read();
            if (isBinary)
            {
                if (!ReadFlag(ref reader, out var flag))
                {
                    return $"outputs[{ordinal}].parameters.binary_data is neither true nor false; send one of them.";
                }

                binary = flag;
            }

            reader.Skip();
        }

        return null;
    }

    /// <summary>true or false.</summary>
    public static bool ReadFlag(ref Utf8JsonReader reader, out bool value)
    {
        value = reader.TokenType == JsonTokenType.True;
        return reader.TokenType is JsonTokenType.True or JsonTokenType.False;
    }

    private static string? ReadInputs(ref Utf8JsonReader reader, ref NumberLists lists, ref ReadOnlySequence<byte> tail, TensorRequest request)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return $"'inputs' is not a list; send a list of tensors, and for each {Send[5..]}.";
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                return $"inputs[{request.Inputs.Count}] is not an object; {Send}.";
            }

            if (request.Inputs.Count == InputsMax)
            {
                return $"'inputs' has more than {InputsMax} tensors; no model has.";
            }

            if (ReadTensor(ref reader, ref lists, ref tail, request) is { } fault)
            {
                return fault;
            }
        }

        return null;
    }

    private static string? ReadTensor(ref Utf8JsonReader reader, ref NumberLists lists, ref ReadOnlySequence<byte> tail, TensorRequest request)
    {
        var at = $"inputs[{request.Inputs.Count}]";
        string? name = null;
        long[]? shape = null;
        long? binarySize = null;
        var datatype = Datatype.None;
        Utf8JsonReader data = default;
        var hasData = false;
        byte[]? numbers = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string? fault = null;
            if (reader.ValueTextEquals("name"u8))
            {
                reader.Read();
                fault = ReadText(ref reader, NameMax, out name) ? null : $"{at}.name is not text of at most {NameMax} bytes; send the name of an input.";
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                reader.Read();
                fault = ReadShape(ref reader, at, out shape);
            }
            else if (reader.ValueTextEquals("datatype"u8))
            {
                reader.Read();
                fault = reader.TokenType != JsonTokenType.String ? $"{at}.datatype is not text; send a datatype such as FP32."
                    : (datatype = Datatypes.Parse(ref reader)) == Datatype.None ? $"{at}.datatype is {ShownValue(ref reader)}, which is unknown; send one of {Datatypes.All}." : null;
            }
            else if (reader.ValueTextEquals("data"u8))
            {
                // The other fields say how to read it, and they may still come: come back to this place.
                reader.Read();
                hasData = true;
                data = reader;
                numbers = shape is not null && datatype == Datatype.FP32 && RequestTensor.TryCount(shape, datatype, out var expected) ? lists.TryRead(ref reader, expected) : null;
                reader.Skip();
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                fault = ReadTensorParameters(ref reader, at, ref binarySize);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }

            if (fault is not null)
            {
                return fault;
            }
        }

        if (name is null || shape is null || datatype == Datatype.None || (!hasData && binarySize is null))
        {
            return $"{at} has no '{(name is null ? "name" : shape is null ? "shape" : datatype == Datatype.None ? "datatype" : "data")}'; {Send}.";
        }

        if (!RequestTensor.TryCount(shape, datatype, out var count))
        {
            return $"{at} '{name}' has shape {Shown(shape)}: byte size overflow for input '{name}'; send fewer values.";
        }

        if (hasData && binarySize is not null)
        {
            return $"{at} '{name}' has both 'data' and 'binary_data_size'; send one of them.";
        }

        byte[] bytes;
        if (binarySize is { } size)
        {
            if (size > tail.Length)
            {
                return $"{at} '{name}' has binary_data_size {size}, but the body has {tail.Length} bytes left; send as many as it says, after the JSON whose length Inference-Header-Content-Length says.";
            }

            bytes = tail.Slice(0, size).ToArray();
            tail = tail.Slice(size);
            if (RequestTensor.CheckBytes($"'{name}'", datatype, count, bytes) is { } wrong)
            {
                return wrong;
            }
        }
        else if (numbers is not null && datatype == Datatype.FP32 && numbers.Length == count * sizeof(float))
        {
            bytes = numbers;
        }
        else if (ReadData(ref data, $"'{name}'.data", datatype, shape, count, out bytes) is { } unreadable)
        {
            return unreadable;
        }

        request.Inputs.Add(new RequestTensor(name, datatype, shape, bytes));
        return null;
    }

    private static string? ReadTensorParameters(ref Utf8JsonReader reader, string at, ref long? binarySize)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return reader.TokenType == JsonTokenType.Null ? null : $"{at}.parameters is not an object; send an object or leave it out.";
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isSize = reader.ValueTextEquals("binary_data_size"u8);
            if (reader.ValueTextEquals("shared_memory_region"u8))
            {
                return $"{at}.parameters names a shared memory region, which this server does not read; send the data itself.";
            }

            reader.Read();
            if (isSize)
            {
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
                {
                    return $"{at}.parameters.binary_data_size is not a whole number of bytes; send how many of those after the JSON are this input's.";
                }

                binarySize = size;
            }

            reader.Skip();
        }

        return null;
    }

    private static string? ReadShape(ref Utf8JsonReader reader, string at, out long[]? shape)
    {
        shape = null;
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return $"{at}.shape is not a list of sizes; send one size for each dimension, such as [1, 4].";
        }

        var sizes = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
            {
                var shown = ShownValue(ref reader);
                return $"{at}.shape holds {shown}: Unable to parse 'shape': sizes are whole numbers of at least 0; send one for each dimension, such as [1, 4].";
            }

            if (sizes.Count == RankMax)
            {
                return $"{at}.shape has more than {RankMax} dimensions; no model has.";
            }

            sizes.Add(size);
        }

        shape = [.. sizes];
        return null;
    }

    /// <summary>The values, flat, or nested as their shape; without one, nested in whatever way.</summary>
    private static string? ReadData(ref Utf8JsonReader reader, string what, Datatype datatype, long[]? shape, int count, out byte[] bytes)
    {
        bytes = [];
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return $"{what} is not a list; send its values as a list.";
        }

        if (!datatype.HasJson())
        {
            return $"{what} is {datatype.Name()}, which JSON has no numbers for; send it as bytes, with binary_data_size.";
        }

        // Grows with the values that are there: a shape alone takes no memory.
        var writer = new ArrayBufferWriter<byte>((int)Math.Clamp((long)count * Math.Max(datatype.Size(), 8), 16, 64 * 1024));
        var read = 0;
        var first = reader;
        if (shape is not null && first.Read() && first.TokenType == JsonTokenType.StartArray)
        {
            var fault = ReadNested(ref reader, what, datatype, shape, stackalloc long[RankMax], 0, writer, ref read);
            bytes = writer.WrittenSpan.ToArray();
            return fault;
        }

        var depth = reader.CurrentDepth;
        while (reader.Read() && !(reader.TokenType == JsonTokenType.EndArray && reader.CurrentDepth == depth))
        {
            if (shape is null && reader.TokenType is JsonTokenType.StartArray or JsonTokenType.EndArray)
            {
                continue;
            }

            if (read == count)
            {
                return $"{what} holds more values than its shape says ({count}); send as many as the shape says.";
            }

            if (!TryWrite(ref reader, datatype, writer))
            {
                return $"{what}[{read}] is {ShownValue(ref reader)}; send {Sendable(datatype, reader.TokenType)}.";
            }

            read++;
        }

        bytes = writer.WrittenSpan.ToArray();
        return read == count ? null : $"{what} holds {read} values, but its shape says {count}; send as many as the shape says.";
    }

    /// <summary>The list that the reader stands on, and those in it: each as long as its dimension, and values in the last alone. Else the same values could be meant in another order.</summary>
    private static string? ReadNested(ref Utf8JsonReader reader, string what, Datatype datatype, long[] shape, scoped Span<long> at, int depth, ArrayBufferWriter<byte> writer, ref int read)
    {
        var isLast = depth >= shape.Length - 1;
        ref var position = ref at[depth];
        for (position = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; position++)
        {
            var isList = reader.TokenType == JsonTokenType.StartArray;
            if (isList == isLast)
            {
                return $"{what}{Place(at[..(depth + 1)])} is {(isList ? "a list" : "no list")}, but its shape is {Shown(shape)}; {SendAsShaped}.";
            }

            if (position == shape[depth])
            {
                return $"{what}{Place(at[..depth])} holds more than {Counted(shape[depth], isLast ? "value" : "list")}, but its shape is {Shown(shape)}; {SendAsShaped}.";
            }

            if (!isLast)
            {
                if (ReadNested(ref reader, what, datatype, shape, at, depth + 1, writer, ref read) is { } fault)
                {
                    return fault;
                }
            }
            else if (!TryWrite(ref reader, datatype, writer))
            {
                return $"{what}[{read}] is {ShownValue(ref reader)}; send {Sendable(datatype, reader.TokenType)}.";
            }
            else
            {
                read++;
            }
        }

        return position == shape[depth] ? null : $"{what}{Place(at[..depth])} holds {Counted(position, isLast ? "value" : "list")}, but its shape is {Shown(shape)}; {SendAsShaped}.";
    }

    private static string Place(ReadOnlySpan<long> at)
    {
        var place = new StringBuilder();
        foreach (var position in at)
        {
            place.Append(CultureInfo.InvariantCulture, $"[{position}]");
        }

        return place.ToString();
    }

    private static bool TryWrite(ref Utf8JsonReader reader, Datatype datatype, ArrayBufferWriter<byte> writer)
    {
        switch (datatype)
        {
            case Datatype.BOOL:
                return reader.TokenType is JsonTokenType.True or JsonTokenType.False && Put(writer, reader.TokenType == JsonTokenType.True);
            case Datatype.BYTES:
                return reader.TokenType == JsonTokenType.String && TryWriteText(ref reader, writer);
        }

        if (reader.TokenType != JsonTokenType.Number)
        {
            return false;
        }

        return datatype switch
        {
            Datatype.UINT8 => reader.TryGetByte(out var value) && Put(writer, value),
            Datatype.UINT16 => reader.TryGetUInt16(out var value) && Put(writer, value),
            Datatype.UINT32 => reader.TryGetUInt32(out var value) && Put(writer, value),
            Datatype.UINT64 => reader.TryGetUInt64(out var value) && Put(writer, value),
            Datatype.INT8 => reader.TryGetSByte(out var value) && Put(writer, value),
            Datatype.INT16 => reader.TryGetInt16(out var value) && Put(writer, value),
            Datatype.INT32 => reader.TryGetInt32(out var value) && Put(writer, value),
            Datatype.INT64 => reader.TryGetInt64(out var value) && Put(writer, value),
            Datatype.FP32 => reader.TryGetSingle(out var value) && float.IsFinite(value) && Put(writer, value),
            _ => reader.TryGetDouble(out var value) && double.IsFinite(value) && Put(writer, value),
        };
    }

    private static bool Put<T>(ArrayBufferWriter<byte> writer, T value)
        where T : unmanaged
    {
        // Little-endian, which every machine we build for is.
        MemoryMarshal.Write(writer.GetSpan(8), value);
        writer.Advance(Unsafe.SizeOf<T>());
        return true;
    }

    private static bool TryWriteText(ref Utf8JsonReader reader, ArrayBufferWriter<byte> writer)
    {
        if (!reader.ValueIsEscaped && !Utf8.IsValid(Raw(ref reader)))
        {
            return false;
        }

        var size = (int)(reader.HasValueSequence ? reader.ValueSequence.Length : reader.ValueSpan.Length);
        var span = writer.GetSpan(sizeof(int) + size);
        var length = reader.CopyString(span[sizeof(int)..]);
        BinaryPrimitives.WriteInt32LittleEndian(span, length);
        if (span.Slice(sizeof(int), length).Contains((byte)0))
        {
            return false;
        }

        writer.Advance(sizeof(int) + length);
        return true;
    }

    private static string Sendable(Datatype datatype, JsonTokenType sent) => datatype switch
    {
        Datatype.BYTES => sent == JsonTokenType.String ? "text without a zero character" : "text, in quotes",
        Datatype.BOOL => "true or false",
        Datatype.FP32 or Datatype.FP64 => $"a finite number that fits {datatype.Name()}",
        _ => $"a whole number that fits {datatype.Name()}",
    };

    private static bool ReadText(ref Utf8JsonReader reader, int bytesMax, out string text)
    {
        text = "";
        if (reader.TokenType != JsonTokenType.String || Raw(ref reader).Length > bytesMax * 6 || (!reader.ValueIsEscaped && !Utf8.IsValid(Raw(ref reader))))
        {
            return false;
        }

        text = reader.GetString()!;
        return Encoding.UTF8.GetByteCount(text) <= bytesMax;
    }

    private static ReadOnlySpan<byte> Raw(ref Utf8JsonReader reader) => reader.HasValueSequence ? reader.ValueSequence.ToArray() : reader.ValueSpan;

    private static string ShownValue(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.StartArray => "a list",
        JsonTokenType.StartObject => "an object",
        JsonTokenType.String => $"the text '{Encoding.UTF8.GetString(Raw(ref reader)[..Math.Min(Raw(ref reader).Length, 80)])}'",
        _ => Encoding.UTF8.GetString(Raw(ref reader)),
    };
}
