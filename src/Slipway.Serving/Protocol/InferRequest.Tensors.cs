using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;
using Slipway.Serving.Grpc;

namespace Slipway.Serving.Protocol;

/// <content>Requests that came by another way than plain JSON.</content>
internal sealed partial class InferRequest
{
    /// <summary>Reads a request for a version; null, or what is wrong with it.</summary>
    /// <param name="request">The tensors.</param>
    /// <param name="model">The version whose inputs are expected.</param>
    /// <param name="nowMs">Event time of rows that do not carry one.</param>
    public string? Read(TensorRequest request, LoadedModel model, long nowMs)
    {
        Begin(model, long.MaxValue); // The bytes of each tensor have been counted already.
        _binaryOutputs = request.BinaryOutput;
        _wantsAges = request.WantsAges;
        Grow(ref _id, Encoding.UTF8.GetByteCount(request.Id));
        _idLength = Encoding.UTF8.GetBytes(request.Id, _id);
        if (request.EntityKey.Length > 0)
        {
            Grow(ref _keys, Encoding.UTF8.GetByteCount(request.EntityKey));
            _keyEnds[0] = _keysLength = Encoding.UTF8.GetBytes(request.EntityKey, _keys);
            _keyCount = 1;
        }

        for (var i = 0; i < request.Outputs.Count; i++)
        {
            if (request.Outputs[i].Name != model.OutputName)
            {
                return $"'outputs' asks for '{Quoted.Short(request.Outputs[i].Name)}', which the model does not give; its one output is '{model.OutputName}'.";
            }

            if (i > 0)
            {
                return $"output '{model.OutputName}' already exists in request; ask for it once.";
            }

            _binaryOutput = request.Outputs[i].Binary;
        }

        for (var i = 0; i < request.Inputs.Count; i++)
        {
            if (ReadTensor(request.Inputs[i], i) is { } fault)
            {
                return fault;
            }
        }

        return Complete(nowMs);
    }

    /// <summary>Whether a message is one that <see cref="Read(in OneTensorMessage, LoadedModel, long)"/> takes: all features in one tensor.</summary>
    public static bool Takes(in OneTensorMessage message, LoadedModel model) =>
        model.Tensors is null
        && ((model.AnyMatrixNameIsFree && Ascii.Equals(message.Name, AnyMatrixName)) || (model.MatrixNameIsFree && Ascii.Equals(message.Name, model.MatrixName)));

    /// <summary>Reads a request for a version that scores features; null, or what is wrong with it.</summary>
    public string? Read(in OneTensorMessage message, LoadedModel model, long nowMs)
    {
        Begin(model, message.Data.Length);
        Grow(ref _id, message.Id.Length);
        message.Id.CopyTo(_id);
        _idLength = message.Id.Length;
        var target = new Tensor
        {
            HasName = true,
            HasShape = true,
            HasDatatype = true,
            Datatype = Datatype.FP32,
            Form = Form.Matrix,
            Rank = message.Rank,
            Rows = message.Rows,
            Columns = message.Columns,
        };
        return Check(0, ref target) ?? ReadData(message.Data, target) ?? Complete(nowMs);
    }

    private string? ReadTensor(RequestTensor sent, int ordinal)
    {
        var target = new Tensor { HasName = true, HasShape = true, HasDatatype = true, Datatype = sent.Datatype, Rank = sent.Shape.Length };
        (target.Form, target.Index) = Find(sent.Name);
        if (target.Form == Form.None)
        {
            return $"inputs[{Text(ordinal)}].name '{Quoted.Short(sent.Name)}' is not an input of model '{_model.Model}' version {_model.Version}; send {Expected()}.";
        }

        if (sent.Shape.Length is 0 or > 2 || Array.Exists(sent.Shape, size => size is < 1 or > int.MaxValue))
        {
            return $"inputs[{Text(ordinal)}].shape is not a list of one or two sizes of at least 1; send [rows] or [rows, columns].";
        }

        target.Rows = (int)sent.Shape[0];
        target.Columns = sent.Shape.Length == 2 ? (int)sent.Shape[1] : 0;
        return Check(ordinal, ref target) ?? ReadData(sent.Data, target);
    }

    private (Form Form, int Index) Find(string name)
    {
        for (var i = 0; i < (_model.Inputs?.Inputs.Count ?? 0); i++)
        {
            if (_model.Inputs!.Inputs[i].Name == name)
            {
                return (Form.Inputs, i);
            }
        }

        for (var i = 0; i < _model.FeatureNames.Count; i++)
        {
            if (_model.FeatureNames[i] == name)
            {
                return (Form.Columns, i);
            }
        }

        return name == AnyMatrixName || name == _model.MatrixName ? (Form.Matrix, 0) : (Form.None, -1);
    }

    private string? ReadData(ReadOnlySpan<byte> data, in Tensor target)
    {
        var width = _model.FeatureNames.Count;
        if (target.Form != Form.Inputs)
        {
            var values = MemoryMarshal.Cast<byte, float>(data);
            for (var i = 0; i < values.Length; i++)
            {
                if (!float.IsFinite(values[i]))
                {
                    var what = target.Form == Form.Matrix ? $"'{_model.MatrixName}' value {Text(i)} (feature '{_model.FeatureNames[i % width]}')" : $"'{NameOf(target)}' value {Text(i)}";
                    return $"{what} is not a number; send {Sendable(target.Datatype)}.";
                }

                _features[target.Form == Form.Matrix ? i : (i * width) + target.Index] = values[i];
            }

            return null;
        }

        for (var row = 0; row < Rows; row++)
        {
            if (!TryTake(ref data, target.Datatype, out var value))
            {
                return $"'{NameOf(target)}' value {Text(row)} cannot be read; send {Sendable(target.Datatype)}.";
            }

            _values[(target.Index * _rowsCapacity) + row] = value;
        }

        return null;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> data, Datatype datatype, out InputValue value)
    {
        var size = datatype.Size();
        switch (datatype)
        {
            case Datatype.BYTES:
                var length = BinaryPrimitives.ReadInt32LittleEndian(data);
                var text = data.Slice(sizeof(int), length);
                data = data[(sizeof(int) + length)..];
                value = length <= TextMax && Utf8.IsValid(text) ? new InputValue(Encoding.UTF8.GetString(text)) : default;
                return value.Text is not null;
            case Datatype.BOOL:
                value = new InputValue(data[0] != 0 ? 1L : 0L);
                break;
            case Datatype.INT32:
                value = new InputValue((long)BinaryPrimitives.ReadInt32LittleEndian(data));
                break;
            case Datatype.INT64:
                value = new InputValue(BinaryPrimitives.ReadInt64LittleEndian(data));
                break;
            case Datatype.FP32:
                value = new InputValue((double)BinaryPrimitives.ReadSingleLittleEndian(data));
                break;
            default:
                value = new InputValue(BinaryPrimitives.ReadDoubleLittleEndian(data));
                break;
        }

        data = data[size..];
        return value.IsInteger || double.IsFinite(value.Number);
    }
}
