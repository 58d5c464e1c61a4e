using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Slipway.Serving.Protocol;

namespace Slipway.Serving.Predictions;

/// <summary>Tensors as the log keeps them: <c>{"name": {"datatype", "shape", "data"}}</c>, one object for the inputs and one for the outputs.</summary>
internal sealed class LoggedTensors : IDisposable
{
    /// <summary>Bytes of a request's inputs and outputs beyond which their values are left out, and only names, datatypes and shapes are kept.</summary>
    public const int ValuesMax = 16 * 1024;

    private readonly Utf8JsonWriter _json = new(Stream.Null, new JsonWriterOptions { SkipValidation = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public void Dispose() => _json.Dispose();

    /// <summary>What of a request's tensors is kept until it is written: all of small ones, of others all but the values.</summary>
    public static (IReadOnlyList<RequestTensor> Inputs, IReadOnlyList<AnswerTensor> Answers) Keep(IReadOnlyList<RequestTensor> inputs, IReadOnlyList<AnswerTensor> answers)
    {
        var bytes = 0L;
        foreach (var input in inputs)
        {
            bytes += input.Data.Count;
        }

        foreach (var answer in answers)
        {
            bytes += answer.Data.Length;
        }

        // The answers' list is the request's, which is used again.
        return bytes <= ValuesMax ? (inputs, [.. answers])
            : ([.. inputs.Select(input => input with { Data = ArraySegment<byte>.Empty })], [.. answers.Select(answer => answer with { Data = [] })]);
    }

    /// <summary>Writes an entry's inputs and then its outputs; returns the bytes of the inputs.</summary>
    /// <param name="entry">Of a model of tensors.</param>
    /// <param name="redacted">Names whose values are not written.</param>
    /// <param name="into">Is added to.</param>
    public int Write(PredictionEntry entry, IReadOnlySet<string> redacted, ArrayBufferWriter<byte> into)
    {
        var begin = into.WrittenCount;
        _json.Reset(into);
        _json.WriteStartObject();
        foreach (var input in entry.Inputs!)
        {
            Write(input.Name, input.Datatype, input.Shape, input.Data, redacted);
        }

        _json.WriteEndObject();
        _json.Flush();
        var inputs = into.WrittenCount - begin;
        _json.Reset(into);
        _json.WriteStartObject();
        foreach (var answer in entry.Answers)
        {
            Write(answer.Name, answer.Datatype, answer.Shape, answer.Data, redacted);
        }

        _json.WriteEndObject();
        _json.Flush();
        return inputs;
    }

    private void Write(string name, Datatype datatype, long[] shape, ReadOnlySpan<byte> data, IReadOnlySet<string> redacted)
    {
        _json.WriteStartObject(name);
        _json.WriteString("datatype"u8, datatype.Name());
        _json.WriteStartArray("shape"u8);
        foreach (var size in shape)
        {
            _json.WriteNumberValue(size);
        }

        _json.WriteEndArray();
        if (!data.IsEmpty && !redacted.Contains(name))
        {
            _json.WriteStartArray("data"u8);
            WriteValues(datatype, data);
            _json.WriteEndArray();
        }

        _json.WriteEndObject();
    }

    private void WriteValues(Datatype datatype, ReadOnlySpan<byte> data)
    {
        for (var at = 0; at < data.Length;)
        {
            switch (datatype)
            {
                case Datatype.BYTES:
                    var text = data.Slice(at + sizeof(int), BinaryPrimitives.ReadInt32LittleEndian(data[at..]));
                    at += sizeof(int) + text.Length;
                    if (Utf8.IsValid(text))
                    {
                        _json.WriteStringValue(text);
                    }
                    else
                    {
                        _json.WriteNullValue(); // Bytes that are no text have no place in JSON.
                    }

                    continue;
                case Datatype.INT64:
                    _json.WriteNumberValue(BinaryPrimitives.ReadInt64LittleEndian(data[at..]));
                    break;
                case Datatype.UINT64:
                    _json.WriteNumberValue(BinaryPrimitives.ReadUInt64LittleEndian(data[at..]));
                    break;
                case Datatype.BOOL:
                    _json.WriteBooleanValue(data[at] != 0);
                    break;
                default:
                    var number = Numbers.At(datatype, data, at);
                    if (!double.IsFinite(number))
                    {
                        _json.WriteNullValue();
                    }
                    else if (datatype is not (Datatype.FP16 or Datatype.BF16 or Datatype.FP32))
                    {
                        _json.WriteNumberValue(number);
                    }
                    else
                    {
                        _json.WriteNumberValue((float)number); // Its shortest decimal, not the double's next to it.
                    }

                    break;
            }

            at += datatype.Size();
        }
    }
}
