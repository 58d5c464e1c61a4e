using System.Buffers;
using System.Buffers.Binary;
using System.Collections;
using System.Runtime.InteropServices;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Slipway.Contracts;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Grpc;

/// <summary>Requests of the protocol's messages, and answers in them.</summary>
internal static class GrpcTensors
{
    private const int RankMax = 64;

    // An object for each of them takes a hundred times its two bytes on the wire.
    private const int PartsMax = 10_000;
    private const int TextsMax = 4_000_000;

    /// <summary>Counts the parts of a request before each becomes an object.</summary>
    /// <exception cref="SlipwayException">TooLarge.</exception>
    public static void DemandFew(in ReadOnlySequence<byte> message)
    {
        var (parts, texts) = (0, 0);
        Count(message, 0, ref parts, ref texts);
    }

    // ModelInferRequest: 4 parameters, 5 inputs, 6 outputs, 7 raw contents; an input: 4 parameters, 5 contents; an output: 2 parameters; contents: 8 texts.
    private static void Count(in ReadOnlySequence<byte> message, int kind, ref int parts, ref int texts)
    {
        var reader = new SequenceReader<byte>(message);
        while (TryVarint(ref reader, out var tag))
        {
            switch (tag & 7)
            {
                case 0 when TryVarint(ref reader, out _):
                    continue;
                case 1 when reader.Remaining >= 8:
                    reader.Advance(8);
                    continue;
                case 5 when reader.Remaining >= 4:
                    reader.Advance(4);
                    continue;
                case 2 when TryVarint(ref reader, out var length) && length <= (ulong)reader.Remaining:
                    var part = reader.UnreadSequence.Slice(0, (long)length);
                    reader.Advance((long)length);
                    var field = tag >> 3;
                    if (kind == 3)
                    {
                        texts += field == 8 ? 1 : 0;
                    }
                    else if (field >= (kind == 2 ? 2UL : 4UL))
                    {
                        parts++;
                    }

                    if (parts > PartsMax || texts > TextsMax)
                    {
                        throw new SlipwayException(ErrorCode.TooLarge, $"The message has over {PartsMax:N0} inputs, outputs and parameters, or over {TextsMax:N0} texts; send fewer at once.");
                    }

                    var inner = (kind, field) switch { (0, 5) => 1, (0, 6) => 2, (1, 5) => 3, _ => 0 };
                    if (inner > 0)
                    {
                        Count(part, inner, ref parts, ref texts);
                    }

                    continue;
                default:
                    return; // Cut off or no message: the parser says so.
            }
        }
    }

    private static bool TryVarint(ref SequenceReader<byte> reader, out ulong value)
    {
        value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            if (!reader.TryRead(out var octet))
            {
                return false;
            }

            value |= (ulong)(octet & 0x7F) << shift;
            if (octet < 0x80)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Reads a request; a fault is a sentence.</summary>
    public static string? Read(ModelInferRequest message, TensorRequest request)
    {
        if (Encoding.UTF8.GetByteCount(message.Id) > 256)
        {
            return "'id' is longer than 256 bytes; send a shorter one.";
        }

        request.Id = message.Id;
        if (message.Parameters.TryGetValue("entity_key", out var key))
        {
            request.EntityKey = key.ParameterChoiceCase is InferParameter.ParameterChoiceOneofCase.Int64Param ? key.Int64Param.ToString(System.Globalization.CultureInfo.InvariantCulture) : key.StringParam;
            if (request.EntityKey.Length == 0 || Encoding.UTF8.GetByteCount(request.EntityKey) > 4096)
            {
                return "'parameters.entity_key' is neither a string of 1 to 4096 bytes nor an int64; send the key of the user or thing the prediction is for.";
            }
        }

        if (message.Parameters.TryGetValue("timeout", out var timeout))
        {
            request.TimeoutUs = Whole(timeout) is >= 0 and var us ? us : -1;
            if (request.TimeoutUs < 0)
            {
                return "'parameters.timeout' is not a whole number of microseconds; send how long the request may wait, such as 200000.";
            }
        }

        if (message.Parameters.TryGetValue("flag", out var flag))
        {
            request.Flag = flag.ParameterChoiceCase switch
            {
                InferParameter.ParameterChoiceOneofCase.StringParam => flag.StringParam,
                InferParameter.ParameterChoiceOneofCase.BoolParam => flag.BoolParam ? "true" : "false",
                _ => Whole(flag)?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "",
            };
            if (request.Flag.Length == 0 || Encoding.UTF8.GetByteCount(request.Flag) > TensorReader.FlagMax)
            {
                return TensorReader.WrongFlag;
            }
        }

        if (message.Parameters.TryGetValue("feature_ages", out var ages))
        {
            if (ages.ParameterChoiceCase is not InferParameter.ParameterChoiceOneofCase.BoolParam)
            {
                return "'parameters.feature_ages' is neither true nor false; send true for a tensor of how old each feature is.";
            }

            request.WantsAges = ages.BoolParam;
        }

        if (message.Parameters.TryGetValue("priority", out var priority))
        {
            if (Whole(priority) is not (>= 0 and var level))
            {
                return "'parameters.priority' is not a whole number of 0 or more; lower numbers run first.";
            }

            request.Priority = (ulong)level;
        }

        foreach (var output in message.Outputs)
        {
            if (Refused(output.Parameters) is { } refused)
            {
                return $"outputs[{request.Outputs.Count}].parameters {refused}";
            }

            request.Outputs.Add(new RequestedOutput(output.Name, null));
        }

        var raw = message.RawInputContents;
        if (raw.Count > 0 && raw.Count != message.Inputs.Count)
        {
            return $"raw_input_contents has {raw.Count} entries for {message.Inputs.Count} inputs; send one for each input, or none and 'contents' instead.";
        }

        for (var i = 0; i < message.Inputs.Count; i++)
        {
            if (ReadInput(message.Inputs[i], i, raw.Count > 0 ? raw[i] : null, request) is { } fault)
            {
                return fault;
            }
        }

        return null;
    }

    /// <summary>The answer, its tensors as bytes, which several clients rely on.</summary>
    public static ModelInferResponse Answer(InferScratch mine, Arm arm)
    {
        var predictionId = Encoding.UTF8.GetString(mine.PredictionId);
        var message = new ModelInferResponse
        {
            ModelName = arm.Model.Model,
            ModelVersion = arm.Model.Version,
            Id = mine.Tensors!.Id.Length > 0 ? mine.Tensors.Id : predictionId,
            Parameters = { ["prediction_id"] = new InferParameter { StringParam = predictionId }, ["arm"] = new InferParameter { StringParam = arm.Name } },
        };
        if (mine.OldestAgeMs is { } oldest)
        {
            message.Parameters["feature_age_max_ms"] = new InferParameter { Int64Param = oldest };
        }

        foreach (var output in mine.Outputs(arm.Model))
        {
            message.Outputs.Add(new ModelInferResponse.Types.InferOutputTensor { Name = output.Name, Datatype = output.Datatype.Name(), Shape = { output.Shape } });
            message.RawOutputContents.Add(UnsafeByteOperations.UnsafeWrap(output.Data)); // Nobody else holds these bytes.
        }

        return message;
    }

    private static string? ReadInput(ModelInferRequest.Types.InferInputTensor input, int ordinal, ByteString? raw, TensorRequest request)
    {
        var at = $"inputs[{ordinal}] '{input.Name}'";
        if (Refused(input.Parameters) is { } refused)
        {
            return $"{at}: its parameters {refused}";
        }

        var datatype = Datatypes.Parse(input.Datatype);
        if (datatype == Datatype.None)
        {
            return $"{at} has the datatype '{Quoted.Short(input.Datatype)}', which is unknown; send one of {Datatypes.All}.";
        }

        if (input.Shape.Count > RankMax)
        {
            return $"{at} has {input.Shape.Count} dimensions; send at most {RankMax}.";
        }

        long[] shape = [.. input.Shape];
        if (Array.Exists(shape, size => size < 0))
        {
            return $"{at} has shape {TensorReader.Shown(shape)}: sizes are whole numbers of at least 0.";
        }

        if (!RequestTensor.TryCount(shape, datatype, out var count))
        {
            return $"{at} has shape {TensorReader.Shown(shape)}: byte size overflow for input '{input.Name}'; send fewer values.";
        }

        ArraySegment<byte> bytes;
        if (raw is not null)
        {
            if (input.Contents is not null && input.Contents.CalculateSize() > 0)
            {
                return $"{at} has 'contents' beside raw_input_contents; send one of them for all inputs.";
            }

            bytes = MemoryMarshal.TryGetArray(raw.Memory, out var own) && own.Offset == 0 ? own : raw.ToByteArray();
        }
        else if (Contents(input.Contents ?? new InferTensorContents(), datatype, at, out var values) is { } unreadable)
        {
            return unreadable;
        }
        else
        {
            bytes = values;
        }

        request.Inputs.Add(new RequestTensor(input.Name, datatype, shape, bytes));
        return RequestTensor.CheckBytes($"'{input.Name}'", datatype, count, bytes);
    }

    // The one field that is for the datatype; another one filled is a mistake that would go unseen.
    private static string? Contents(InferTensorContents contents, Datatype datatype, string at, out byte[] bytes)
    {
        (string Name, IList Values)[] fields =
        [
            ("bool_contents", contents.BoolContents), ("int_contents", contents.IntContents), ("int64_contents", contents.Int64Contents), ("uint_contents", contents.UintContents),
            ("uint64_contents", contents.Uint64Contents), ("fp32_contents", contents.Fp32Contents), ("fp64_contents", contents.Fp64Contents), ("bytes_contents", contents.BytesContents),
        ];
        var right = datatype switch
        {
            Datatype.BOOL => "bool_contents",
            Datatype.INT8 or Datatype.INT16 or Datatype.INT32 => "int_contents",
            Datatype.INT64 => "int64_contents",
            Datatype.UINT8 or Datatype.UINT16 or Datatype.UINT32 => "uint_contents",
            Datatype.UINT64 => "uint64_contents",
            Datatype.FP32 => "fp32_contents",
            Datatype.FP64 => "fp64_contents",
            Datatype.BYTES => "bytes_contents",
            _ => "raw_input_contents",
        };
        bytes = [];
        if (Array.Find(fields, field => field.Values.Count > 0 && field.Name != right) is { Name: { } wrong })
        {
            return $"{at} is {datatype.Name()}, but its values are in {wrong}; send them in {right}.";
        }

        var fits = true;
        bytes = datatype switch
        {
            Datatype.BOOL => Pack(contents.BoolContents, (bool value, out byte packed) => { packed = value ? (byte)1 : (byte)0; return true; }, ref fits),
            Datatype.INT8 => Pack(contents.IntContents, (int value, out sbyte packed) => (packed = (sbyte)value) == value, ref fits),
            Datatype.INT16 => Pack(contents.IntContents, (int value, out short packed) => (packed = (short)value) == value, ref fits),
            Datatype.INT32 => Pack(contents.IntContents, (int value, out int packed) => (packed = value) == value, ref fits),
            Datatype.INT64 => Pack(contents.Int64Contents, (long value, out long packed) => (packed = value) == value, ref fits),
            Datatype.UINT8 => Pack(contents.UintContents, (uint value, out byte packed) => (packed = (byte)value) == value, ref fits),
            Datatype.UINT16 => Pack(contents.UintContents, (uint value, out ushort packed) => (packed = (ushort)value) == value, ref fits),
            Datatype.UINT32 => Pack(contents.UintContents, (uint value, out uint packed) => (packed = value) == value, ref fits),
            Datatype.UINT64 => Pack(contents.Uint64Contents, (ulong value, out ulong packed) => (packed = value) == value, ref fits),
            Datatype.FP32 => Pack(contents.Fp32Contents, (float value, out float packed) => { packed = value; return true; }, ref fits),
            Datatype.FP64 => Pack(contents.Fp64Contents, (double value, out double packed) => { packed = value; return true; }, ref fits),
            Datatype.BYTES => Prefix(contents.BytesContents),
            _ => [],
        };
        return fits ? null : $"{at}: {right} holds a number that does not fit {datatype.Name()}.";
    }

    private delegate bool TryPack<TFrom, TTo>(TFrom value, out TTo packed);

    private static byte[] Pack<TFrom, TTo>(RepeatedField<TFrom> values, TryPack<TFrom, TTo> pack, ref bool fits)
        where TTo : unmanaged
    {
        var packed = new TTo[values.Count];
        for (var i = 0; i < packed.Length; i++)
        {
            fits &= pack(values[i], out packed[i]);
        }

        return MemoryMarshal.AsBytes(packed.AsSpan()).ToArray();
    }

    private static byte[] Prefix(RepeatedField<ByteString> texts)
    {
        var prefixed = new byte[texts.Sum(text => sizeof(int) + text.Length)];
        var at = 0;
        foreach (var text in texts)
        {
            BinaryPrimitives.WriteInt32LittleEndian(prefixed.AsSpan(at), text.Length);
            text.Span.CopyTo(prefixed.AsSpan(at + sizeof(int)));
            at += sizeof(int) + text.Length;
        }

        return prefixed;
    }

    private static long? Whole(InferParameter parameter) => parameter.ParameterChoiceCase switch
    {
        InferParameter.ParameterChoiceOneofCase.Int64Param => parameter.Int64Param,
        InferParameter.ParameterChoiceOneofCase.Uint64Param => (long)Math.Min(parameter.Uint64Param, long.MaxValue),
        _ => null,
    };

    private static string? Refused(MapField<string, InferParameter> parameters) =>
        parameters.ContainsKey("classification") ? "ask for 'classification', which is not built here; read the output as it is."
        : parameters.ContainsKey("shared_memory_region") ? "name a shared memory region, which this server does not read; send the data itself."
        : null;
}
