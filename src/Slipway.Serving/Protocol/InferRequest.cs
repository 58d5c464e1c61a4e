using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Slipway.Serving.Protocol;

/// <summary>
/// One Open Inference request, read from the socket's buffer straight into the model's input. One per thread, used again and
/// again: reading a request, scoring it and writing the answer never leave the thread.
/// </summary>
/// <remarks>
/// Inputs come in one of three forms: one tensor <c>features</c>, FP32 [n, k], in the version's order; one FP32 tensor [n] or
/// [n, 1] per feature, named as the feature; or the feature service's request inputs, which the online store completes. Forms
/// cannot be mixed. A fault is a sentence, not an exception.
/// </remarks>
internal sealed partial class InferRequest
{
    // More than a body may hold of them, and no more than a thread should keep for one request.
    private const int FeatureValuesMax = 64 << 20;
    private const int InputValuesMax = 16 << 20;

    private const int CopiedMax = 1 << 20;

    /// <summary>What the matrix of all features may be called, whatever the graph calls it.</summary>
    public const string AnyMatrixName = "features";
    private const byte KeySeparator = 0x1F;

    private static readonly string[] FeatureDatatypes = ["FP32"];

    /// <summary>Bytes of a text that a model of features is sent: a key or a category. Each is kept in buffers that live on.</summary>
    public const int TextMax = 4096;

    private readonly TextCache _texts = new();
    private LoadedModel _model = null!;
    private float[] _features = new float[64];
    private float[] _outputs = new float[8];
    private long[] _ages = new long[64];
    private long[] _eventMs = new long[8];
    private int[] _keyEnds = new int[8];
    private InputValue[] _values = new InputValue[64]; // Column by column.
    private InputValue[] _row = new InputValue[16];
    private byte[] _keys = new byte[256];
    private byte[] _id = new byte[64];
    private ulong[] _seen = new ulong[4];
    private int _seenCount;
    private int _idLength;
    private int _keyCount;
    private int _keysLength;
    private int _rowsCapacity;
    private byte[] _copy = [];
    private long _bodyBytes;
    private long _timeoutUs;
    private ulong _priority;
    private bool _binaryOutputs;
    private bool? _binaryOutput;
    private bool _wantsAges;
    private byte[] _flag = new byte[16];
    private int _flagLength;
    private Form _form;

    private enum Form
    {
        None,
        Matrix,
        Columns,
        Inputs,
    }

    public int Rows { get; private set; }

    /// <summary>Length of the body it was read from.</summary>
    public long BodyBytes => _bodyBytes;

    /// <summary>The request's own id; empty when it gave none.</summary>
    public ReadOnlySpan<byte> Id => _id.AsSpan(0, _idLength);

    public ReadOnlySpan<float> Features => _features.AsSpan(0, Rows * _model.FeatureNames.Count);

    public Span<float> Outputs => _outputs.AsSpan(0, Rows);

    /// <summary>How old each feature is, as <see cref="BuildVector"/> gives it; empty when the request brought the features itself.</summary>
    public ReadOnlySpan<long> Ages => _form == Form.Inputs ? _ages.AsSpan(0, Rows * _model.FeatureNames.Count) : default;

    /// <summary>A flag's value, which may choose the version; empty when the request gave none.</summary>
    public ReadOnlySpan<byte> Flag => _flag.AsSpan(0, _flagLength);

    /// <summary>Whether the caller asked for <see cref="Ages"/>, and there are any.</summary>
    public bool WantsAges => _wantsAges && _form == Form.Inputs;

    /// <summary><see cref="Features"/>, for a run that is waited for.</summary>
    public ReadOnlyMemory<float> FeaturesMemory => _features.AsMemory(0, Rows * _model.FeatureNames.Count);

    /// <summary><see cref="Outputs"/>, for a run that is waited for.</summary>
    public Memory<float> OutputsMemory => _outputs.AsMemory(0, Rows);

    public ReadOnlySpan<long> EventMs => _eventMs.AsSpan(0, Rows);

    public ReadOnlySpan<byte> Keys => _keys.AsSpan(0, _keysLength);

    /// <summary>One end per row, one for all rows, or none.</summary>
    public ReadOnlySpan<int> KeyEnds => _keyEnds.AsSpan(0, _keyCount);

    /// <summary>The first row's entity key, which chooses the version for the whole request; empty when there is none.</summary>
    public ReadOnlySpan<byte> FirstKey => _keyCount == 0 ? default : _keys.AsSpan(0, _keyEnds[0]);

    /// <summary>Whether the output is wanted as bytes behind the JSON.</summary>
    public bool BinaryOutput => _binaryOutput ?? _binaryOutputs;

    /// <summary>How long it may wait for its run, in microseconds; 0 when the caller did not say.</summary>
    public long TimeoutUs => _timeoutUs;

    /// <summary>Lower numbers run first, of those that wait; 0, when the caller did not say, comes last.</summary>
    public ulong Priority => _priority;

    /// <summary>Whether the feature store has to complete the features.</summary>
    public bool NeedsFeatures => _form == Form.Inputs;

    /// <summary>Reads a request for a version; null, or what is wrong with it.</summary>
    /// <param name="body">The whole body.</param>
    /// <param name="model">The version whose inputs are expected.</param>
    /// <param name="nowMs">Event time of rows that do not carry one.</param>
    public string? Read(in ReadOnlySequence<byte> body, LoadedModel model, long nowMs)
    {
        Begin(model, body.Length);
        ReadOnlySpan<byte> piece = default; // Empty where the body is larger than is copied into one.
        if (body.IsSingleSegment)
        {
            piece = body.FirstSpan;
        }
        else if (body.Length <= CopiedMax)
        {
            Grow(ref _copy, (int)body.Length);
            body.CopyTo(_copy);
            piece = _copy.AsSpan(0, (int)body.Length);
        }

        var options = new JsonReaderOptions { MaxDepth = TensorReader.NestingMax };
        var reader = piece.IsEmpty ? new Utf8JsonReader(body, options) : new Utf8JsonReader(piece, options);
        var lists = new NumberLists(piece);
        try
        {
            if (ReadBody(ref reader, ref lists) is { } fault)
            {
                return fault;
            }

            reader.Read(); // Anything after the object is a fault too.
        }
        catch (JsonException e)
        {
            return lists.Explain(options) ?? TensorReader.Explain(e, reader.CurrentDepth);
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair in an escaped text.
            return "The body holds text that is not valid Unicode; send UTF-8.";
        }

        return Complete(nowMs);
    }

    /// <summary>Lets the feature store make the features of the inputs; null, or what is wrong with them.</summary>
    public string? BuildFeatures(LoadedModel model)
    {
        var inputs = model.Inputs!;
        var width = model.FeatureNames.Count;
        var count = inputs.Inputs.Count;
        _model = model;
        Grow(ref _features, Rows * width);
        Grow(ref _ages, Rows * width);
        Grow(ref _row, count);
        for (var row = 0; row < Rows; row++)
        {
            for (var i = 0; i < count; i++)
            {
                _row[i] = _values[(i * _rowsCapacity) + row];
            }

            if (inputs.Build(_row.AsSpan(0, count), _eventMs[row], _features.AsSpan(row * width, width), _ages.AsSpan(row * width, width)) is { } fault)
            {
                return Rows == 1 ? fault : $"Row {row.ToString(CultureInfo.InvariantCulture)}: {fault}";
            }
        }

        return null;
    }

    /// <summary>Lets the buffers of an unusually big request go.</summary>
    public void Trim()
    {
        if (_copy.Length > 1 << 16)
        {
            _copy = [];
        }

        if (_features.Length > 1 << 18 || _values.Length > 1 << 16 || _keys.Length > 1 << 16)
        {
            _features = new float[64];
            _ages = new long[64];
            _outputs = new float[8];
            _eventMs = new long[8];
            _keyEnds = new int[8];
            _values = new InputValue[64];
            _keys = new byte[256];
        }
    }

    private void Begin(LoadedModel model, long bodyBytes)
    {
        _model = model;
        _form = Form.None;
        _idLength = _keyCount = _keysLength = _rowsCapacity = 0;
        _bodyBytes = bodyBytes;
        _timeoutUs = 0;
        _priority = 0;
        _binaryOutputs = false;
        _binaryOutput = null;
        _wantsAges = false;
        _flagLength = 0;
        Rows = 0;
        var names = Math.Max(model.FeatureNames.Count, model.Inputs?.Inputs.Count ?? 0);
        Grow(ref _seen, (names + 63) / 64);
        Array.Clear(_seen);
        _seenCount = 0;
    }

    private string? ReadBody(ref Utf8JsonReader reader, ref NumberLists lists)
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
                fault = hasInputs ? TensorReader.InputsTwice : ReadInputs(ref reader, ref lists);
                hasInputs = true;
            }
            else if (reader.ValueTextEquals("id"u8))
            {
                reader.Read();
                fault = ReadId(ref reader);
            }
            else if (reader.ValueTextEquals("parameters"u8))
            {
                reader.Read();
                fault = ReadParameters(ref reader);
            }
            else if (reader.ValueTextEquals("outputs"u8))
            {
                reader.Read();
                fault = ReadOutputs(ref reader);
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

        return hasInputs ? null : "'inputs' is missing; send a list of tensors, each with name, shape, datatype and data.";
    }

    private string? ReadId(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return null;
        }

        if (reader.TokenType != JsonTokenType.String)
        {
            return "'id' is not text; send a string.";
        }

        _idLength = 0;
        return CopyText(ref reader, ref _id, ref _idLength, 256) ? null : "'id' is longer than 256 bytes or not valid UTF-8; send a shorter one.";
    }

    private string? ReadFlag(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is JsonTokenType.True or JsonTokenType.False)
        {
            ReadOnlySpan<byte> said = reader.TokenType == JsonTokenType.True ? "true"u8 : "false"u8;
            said.CopyTo(_flag);
            _flagLength = said.Length;
            return null;
        }

        return reader.TokenType is JsonTokenType.String or JsonTokenType.Number && CopyText(ref reader, ref _flag, ref _flagLength, TensorReader.FlagMax) ? null : TensorReader.WrongFlag;
    }

    private string? ReadParameters(ref Utf8JsonReader reader)
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
            if (reader.ValueTextEquals("timeout"u8) || reader.ValueTextEquals("priority"u8))
            {
                if (TensorReader.ReadSchedule(ref reader, ref _timeoutUs, ref _priority) is { } fault)
                {
                    return fault;
                }

                continue;
            }

            var isKey = reader.ValueTextEquals("entity_key"u8);
            var isBinary = reader.ValueTextEquals("binary_data_output"u8);
            var isAges = reader.ValueTextEquals("feature_ages"u8);
            var isFlag = reader.ValueTextEquals("flag"u8);
            reader.Read();
            if (isFlag && ReadFlag(ref reader) is { } wrong)
            {
                return wrong;
            }

            if (isAges && !TensorReader.ReadFlag(ref reader, out _wantsAges))
            {
                return "'parameters.feature_ages' is neither true nor false; send true for a tensor of how old each feature is.";
            }

            if (isBinary && !TensorReader.ReadFlag(ref reader, out _binaryOutputs))
            {
                return "'parameters.binary_data_output' is neither true nor false; send one of them.";
            }

            if (!isKey)
            {
                reader.Skip();
            }
            else if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.Number))
            {
                return "'parameters.entity_key' is neither text nor a number; send the key of the user or thing the prediction is for.";
            }
            else
            {
                _keysLength = 0;
                if (!CopyText(ref reader, ref _keys, ref _keysLength, TextMax))
                {
                    return "'parameters.entity_key' is longer than 4096 bytes or not valid UTF-8; send a shorter one.";
                }

                _keyEnds[0] = _keysLength;
                _keyCount = 1;
            }
        }

        return null;
    }

    private string? ReadOutputs(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return reader.TokenType == JsonTokenType.Null ? null : "'outputs' is not a list; leave it out or send a list of {\"name\"}.";
        }

        for (var ordinal = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; ordinal++)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                return $"'outputs' holds something that is not an object; send {{\"name\": \"{_model.OutputName}\"}}.";
            }

            if (ordinal > 0)
            {
                return $"output '{_model.OutputName}' already exists in request; ask for it once.";
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isName = reader.ValueTextEquals("name"u8);
                var isParameters = reader.ValueTextEquals("parameters"u8);
                reader.Read();
                if (isName && (reader.TokenType != JsonTokenType.String || !reader.ValueTextEquals(_model.OutputName)))
                {
                    return $"'outputs' asks for '{Shown(ref reader)}', which the model does not give; its one output is '{_model.OutputName}'.";
                }

                if (isParameters && TensorReader.ReadOutputParameters(ref reader, ordinal, ref _binaryOutput) is { } fault)
                {
                    return fault;
                }

                reader.Skip();
            }
        }

        return null;
    }

    private string? ReadInputs(ref Utf8JsonReader reader, ref NumberLists lists)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return "'inputs' is not a list; send a list of tensors, each with name, shape, datatype and data.";
        }

        var ordinal = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                return $"inputs[{Text(ordinal)}] is not an object; send name, shape, datatype and data.";
            }

            if (ReadTensor(ref reader, ref lists, ordinal) is { } fault)
            {
                return fault;
            }

            ordinal++;
        }

        return null;
    }

    private string? ReadTensor(ref Utf8JsonReader reader, ref NumberLists lists, int ordinal)
    {
        var target = new Tensor { Index = -1 };
        Utf8JsonReader data = default;
        var hasData = false;
        var readData = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string? fault = null;
            if (reader.ValueTextEquals("name"u8))
            {
                reader.Read();
                fault = ReadName(ref reader, ordinal, ref target);
            }
            else if (reader.ValueTextEquals("shape"u8))
            {
                reader.Read();
                fault = ReadShape(ref reader, ordinal, ref target);
            }
            else if (reader.ValueTextEquals("datatype"u8))
            {
                reader.Read();
                fault = ReadDatatype(ref reader, ordinal, ref target);
            }
            else if (reader.ValueTextEquals("data"u8))
            {
                reader.Read();
                hasData = true;
                if (target is { HasName: true, HasShape: true, HasDatatype: true })
                {
                    readData = true;
                    fault = Check(ordinal, ref target) ?? (TryReadFlat(ref reader, ref lists, target) ? null : ReadData(ref reader, ref target));
                }
                else
                {
                    // The fields before it say how to read it, and they are still to come: come back to this place.
                    data = reader;
                    reader.Skip();
                }
            }
            else
            {
                var isBinary = false;
                if (reader.ValueTextEquals("parameters"u8))
                {
                    var look = reader;
                    look.Read();
                    isBinary = HasBinarySize(ref look);
                }

                if (isBinary)
                {
                    return $"inputs[{Text(ordinal)}] has binary_data_size, but the request has no header Inference-Header-Content-Length, so no binary data follows; send the header, or 'data' as JSON.";
                }

                reader.Read();
                reader.Skip();
            }

            if (fault is not null)
            {
                return fault;
            }
        }

        if (!target.HasName || !target.HasShape || !target.HasDatatype || !hasData)
        {
            var missing = !target.HasName ? "name" : !target.HasShape ? "shape" : !target.HasDatatype ? "datatype" : "data";
            return $"inputs[{Text(ordinal)}] has no '{missing}'; send name, shape, datatype and data.";
        }

        return readData ? null : Check(ordinal, ref target) ?? ReadData(ref data, ref target);
    }

    private static bool HasBinarySize(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return false;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("binary_data_size"u8))
            {
                return true;
            }

            reader.Read();
            reader.Skip();
        }

        return false;
    }

    private string? ReadName(ref Utf8JsonReader reader, int ordinal, ref Tensor target)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            return $"inputs[{Text(ordinal)}].name is not text; send one of {Expected()}.";
        }

        target.HasName = true;
        if (_model.Inputs is { } inputs && IndexOf(ref reader, ordinal, inputs.Inputs) is >= 0 and var input)
        {
            (target.Form, target.Index) = (Form.Inputs, input);
            return null;
        }

        if (IndexOf(ref reader, ordinal, _model.Utf8FeatureNames) is >= 0 and var feature)
        {
            (target.Form, target.Index) = (Form.Columns, feature);
            return null;
        }

        if (reader.ValueTextEquals(AnyMatrixName) || reader.ValueTextEquals(_model.MatrixName))
        {
            (target.Form, target.Index) = (Form.Matrix, 0);
            return null;
        }

        return $"inputs[{Text(ordinal)}].name '{Shown(ref reader)}' is not an input of model '{_model.Model}' version {_model.Version}; send {Expected()}.";
    }

    // Clients mostly send tensors in the order of the contract.
    private static int IndexOf(ref Utf8JsonReader reader, int guess, byte[][] names)
    {
        if (guess < names.Length && reader.ValueTextEquals(names[guess]))
        {
            return guess;
        }

        for (var i = 0; i < names.Length; i++)
        {
            if (reader.ValueTextEquals(names[i]))
            {
                return i;
            }
        }

        return -1;
    }

    private static int IndexOf(ref Utf8JsonReader reader, int guess, IReadOnlyList<RequestInput> inputs)
    {
        if (guess < inputs.Count && reader.ValueTextEquals(inputs[guess].Utf8Name))
        {
            return guess;
        }

        for (var i = 0; i < inputs.Count; i++)
        {
            if (reader.ValueTextEquals(inputs[i].Utf8Name))
            {
                return i;
            }
        }

        return -1;
    }

    private static string? ReadShape(ref Utf8JsonReader reader, int ordinal, ref Tensor target)
    {
        target.Rank = 0;
        target.HasShape = reader.TokenType == JsonTokenType.StartArray;
        while (target.HasShape && reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 1 || size > int.MaxValue || target.Rank == 2)
            {
                target.HasShape = false;
                break;
            }

            if (target.Rank++ == 0)
            {
                target.Rows = (int)size;
            }
            else
            {
                target.Columns = (int)size;
            }
        }

        return target.HasShape && target.Rank > 0 ? null : $"inputs[{Text(ordinal)}].shape is not a list of one or two sizes of at least 1; send [rows] or [rows, columns].";
    }

    private string? ReadDatatype(ref Utf8JsonReader reader, int ordinal, ref Tensor target)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            return $"inputs[{Text(ordinal)}].datatype is not text; send a datatype such as FP32.";
        }

        target.HasDatatype = true;
        target.Datatype = Datatypes.Parse(ref reader);
        return target.Datatype != Datatype.None ? null :
            $"inputs[{Text(ordinal)}].datatype '{Shown(ref reader)}' is not taken here; the model's inputs are FP32, FP64, INT64, INT32, BOOL or BYTES.";
    }

    /// <summary>Name, shape and datatype against what the version expects.</summary>
    private string? Check(int ordinal, ref Tensor target)
    {
        var width = _model.FeatureNames.Count;
        if (_form != Form.None && (_form != target.Form || _form == Form.Matrix))
        {
            return $"inputs[{Text(ordinal)}] '{NameOf(target)}' does not go with the inputs before it; send {Expected()}.";
        }

        var taken = target.Form == Form.Inputs ? _model.Inputs!.Inputs[target.Index].Datatypes : FeatureDatatypes;
        if (!Contains(taken, target.Datatype.Name()))
        {
            return $"inputs[{Text(ordinal)}] '{NameOf(target)}' has datatype {target.Datatype.Name()}; send {string.Join(" or ", taken)}.";
        }

        if (target.Form == Form.Matrix ? target.Rank != 2 || target.Columns != width : target.Rank == 2 && target.Columns != 1)
        {
            return target.Form == Form.Matrix
                ? $"inputs[{Text(ordinal)}] '{_model.MatrixName}' has shape {ShapeOf(target)}; send [n, {Text(width)}]: the features {string.Join(", ", _model.FeatureNames)}."
                : $"inputs[{Text(ordinal)}] '{NameOf(target)}' has shape {ShapeOf(target)}; send [n] or [n, 1].";
        }

        // A value takes at least one byte and a comma, so a shape that the body cannot fill is refused before memory is taken for it.
        var values = (long)target.Rows * (target.Form == Form.Matrix ? width : 1);
        if (values > _bodyBytes)
        {
            return $"inputs[{Text(ordinal)}] '{NameOf(target)}' has shape {ShapeOf(target)}, more values than the body can hold; send as many values as the shape says.";
        }

        if (_form == Form.None)
        {
            _form = target.Form;
            Rows = target.Rows;
            _rowsCapacity = target.Rows;
            // One column alone says how many rows there are, and memory is taken for all columns at once.
            var all = (long)Rows * (_form == Form.Inputs ? _model.Inputs!.Inputs.Count : width);
            if (all > (_form == Form.Inputs ? InputValuesMax : FeatureValuesMax))
            {
                return $"The request holds {all.ToString("N0", CultureInfo.InvariantCulture)} values; send fewer rows.";
            }

            Grow(ref _outputs, Rows);
            Grow(ref _eventMs, Rows);
            if (_form == Form.Inputs)
            {
                Grow(ref _values, (int)all);
            }
            else
            {
                Grow(ref _features, (int)all);
            }
        }
        else if (Rows != target.Rows)
        {
            return $"inputs[{Text(ordinal)}] '{NameOf(target)}' has {Text(target.Rows)} rows, but the inputs before it have {Text(Rows)}; send the same number of rows in each.";
        }

        ref var word = ref _seen[target.Index >> 6];
        if ((word & (1UL << (target.Index & 63))) != 0)
        {
            return $"inputs[{Text(ordinal)}] '{NameOf(target)}' was sent twice; send it once.";
        }

        word |= 1UL << (target.Index & 63);
        _seenCount++;
        return null;
    }

    // The ordinary case: as many numbers as the shape says, in one list.
    private bool TryReadFlat(ref Utf8JsonReader reader, ref NumberLists lists, in Tensor target)
    {
        var width = _model.FeatureNames.Count;
        return target.Form != Form.Inputs && (target.Form == Form.Matrix
            ? lists.TryRead(ref reader, Rows * width, _features, 1)
            : lists.TryRead(ref reader, Rows, _features.AsSpan(target.Index), width));
    }

    /// <summary>The values in row order: flat, or nested as their shape.</summary>
    private string? ReadData(ref Utf8JsonReader reader, ref Tensor target)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            return $"'{NameOf(target)}'.data is not a list; send its values as a list.";
        }

        var width = _model.FeatureNames.Count;
        var expected = target.Form == Form.Matrix ? Rows * width : Rows;
        var count = 0;
        var lists = 0;
        var end = expected; // Values there may be when the list that is being read has ended.
        var depth = reader.CurrentDepth;
        while (reader.Read() && !(reader.TokenType == JsonTokenType.EndArray && reader.CurrentDepth == depth))
        {
            if (reader.TokenType == JsonTokenType.StartArray)
            {
                // All values in lists or none, and no lists in those.
                if (reader.CurrentDepth != depth + 1)
                {
                    return Misnested(target, $"data[{Text(lists - 1)}] holds a list");
                }

                if (target.Rank == 1 || (lists == 0 && count > 0))
                {
                    return Misnested(target, $"data[{Text(count)}] is a list");
                }

                if (lists == Rows)
                {
                    return Misnested(target, $"data holds more than {TensorReader.Counted(Rows, "list")}");
                }

                end = ++lists * target.Columns;
                continue;
            }

            if (reader.TokenType == JsonTokenType.EndArray)
            {
                if (count != end)
                {
                    return Misnested(target, $"data[{Text(lists - 1)}] holds {TensorReader.Counted(count + target.Columns - end, "value")}");
                }

                continue;
            }

            if (count == end)
            {
                if (lists > 0)
                {
                    return Misnested(target, reader.CurrentDepth == depth + 1 ? $"data[{Text(lists)}] is no list" : $"data[{Text(lists - 1)}] holds more than {TensorReader.Counted(target.Columns, "value")}");
                }

                count++;
                break;
            }

            var read = target.Form switch
            {
                Form.Matrix => TryReadFloat(ref reader, ref _features[count]),
                Form.Columns => TryReadFloat(ref reader, ref _features[(count * width) + target.Index]),
                _ => TryReadValue(ref reader, target.Datatype, ref _values[(target.Index * _rowsCapacity) + count]),
            };
            if (!read)
            {
                var what = target.Form == Form.Matrix ? $"'{_model.MatrixName}'.data[{Text(count)}] (feature '{_model.FeatureNames[count % width]}')" : $"'{NameOf(target)}'.data[{Text(count)}]";
                return $"{what} is {ShownValue(ref reader)}; send {Sendable(target.Datatype)}.";
            }

            count++;
        }

        return count == expected ? null
            : lists > 0 ? Misnested(target, $"data holds {TensorReader.Counted(lists, "list")}")
            : count > expected ? $"'{NameOf(target)}'.data holds more values than its shape {ShapeOf(target)} says ({Text(expected)}); send as many as the shape says."
            : $"'{NameOf(target)}'.data holds {Text(count)} values, but its shape {ShapeOf(target)} says {Text(expected)}; send as many as the shape says.";
    }

    private string Misnested(in Tensor target, string how) => $"'{NameOf(target)}'.{how}, but its shape is {ShapeOf(target)}; {TensorReader.SendAsShaped}.";

    private static bool TryReadFloat(ref Utf8JsonReader reader, ref float value) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetSingle(out value) && float.IsFinite(value);

    private bool TryReadValue(ref Utf8JsonReader reader, Datatype datatype, ref InputValue value)
    {
        switch (datatype)
        {
            case Datatype.BYTES:
                // An escaped character takes up to six bytes.
                if (reader.TokenType != JsonTokenType.String || (reader.HasValueSequence ? reader.ValueSequence.Length : reader.ValueSpan.Length) > TextMax * 6L
                    || _texts.Read(ref reader) is not { } text || (text.Length > TextMax / 3 && Encoding.UTF8.GetByteCount(text) > TextMax))
                {
                    return false;
                }

                value = new InputValue(text);
                return true;
            case Datatype.BOOL:
                value = new InputValue(reader.TokenType == JsonTokenType.True ? 1L : 0L);
                return reader.TokenType is JsonTokenType.True or JsonTokenType.False;
            case Datatype.INT64 or Datatype.INT32:
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var integer) || (datatype == Datatype.INT32 && integer != (int)integer))
                {
                    return false;
                }

                value = new InputValue(integer);
                return true;
            default:
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetDouble(out var number) || !double.IsFinite(datatype == Datatype.FP32 ? (float)number : number))
                {
                    return false;
                }

                value = new InputValue(number);
                return true;
        }
    }

    /// <summary>Missing inputs, event times and keys, once all tensors are read.</summary>
    private string? Complete(long nowMs)
    {
        if (_form == Form.None)
        {
            return $"'inputs' is empty; send {Expected()}.";
        }

        var needed = _form == Form.Matrix ? 1 : _form == Form.Columns ? _model.FeatureNames.Count : _model.Inputs!.Inputs.Count;
        if (_seenCount != needed)
        {
            var missing = Enumerable.Range(0, needed).Where(i => (_seen[i >> 6] & (1UL << (i & 63))) == 0)
                .Select(i => _form == Form.Columns ? $"'{_model.FeatureNames[i]}'" : $"'{_model.Inputs!.Inputs[i].Name}'").ToList();
            return $"{(missing.Count == 1 ? "Input" : "Inputs")} {string.Join(", ", missing)} {(missing.Count == 1 ? "is" : "are")} missing; send {(_form == Form.Columns ? "a tensor for each feature" : "all of the feature service's inputs")}.";
        }

        _eventMs.AsSpan(0, Rows).Fill(nowMs);
        return _form == Form.Inputs ? CompleteInputs() : null;
    }

    private string? CompleteInputs()
    {
        var inputs = _model.Inputs!.Inputs;
        for (var i = 0; i < inputs.Count; i++)
        {
            for (var row = 0; inputs[i].IsEventTime && row < Rows; row++)
            {
                var value = _values[(i * _rowsCapacity) + row];
                if (value.Text is null)
                {
                    _eventMs[row] = value.Integer;
                }
                else if (DateTimeOffset.TryParse(value.Text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at))
                {
                    _eventMs[row] = at.ToUnixTimeMilliseconds();
                }
                else
                {
                    return $"'{inputs[i].Name}'.data[{Text(row)}] is '{value.Text}'; send an ISO 8601 time such as 2001-05-01T08:30:00Z.";
                }
            }
        }

        if (_keyCount == 0)
        {
            Grow(ref _keyEnds, Rows);
            for (var row = 0; row < Rows; row++)
            {
                AppendKey(inputs, row);
            }

            _keyCount = _keysLength == 0 ? 0 : Rows;
        }

        return null;
    }

    private void AppendKey(IReadOnlyList<RequestInput> inputs, int row)
    {
        var first = true;
        for (var i = 0; i < inputs.Count; i++)
        {
            if (!inputs[i].IsKey)
            {
                continue;
            }

            var value = _values[(i * _rowsCapacity) + row];
            var size = value.Text is null ? 32 : Encoding.UTF8.GetMaxByteCount(value.Text.Length);
            Keep(ref _keys, _keysLength, _keysLength + size + 1);
            if (!first)
            {
                _keys[_keysLength++] = KeySeparator;
            }

            first = false;
            if (value.Text is null)
            {
                var written = 0;
                _ = value.IsInteger
                    ? value.Integer.TryFormat(_keys.AsSpan(_keysLength), out written, provider: CultureInfo.InvariantCulture)
                    : value.Number.TryFormat(_keys.AsSpan(_keysLength), out written, provider: CultureInfo.InvariantCulture);
                _keysLength += written;
            }
            else
            {
                _keysLength += Encoding.UTF8.GetBytes(value.Text, _keys.AsSpan(_keysLength));
            }
        }

        _keyEnds[row] = _keysLength;
    }

    // Text as sent (numbers too), unescaped.
    private static bool CopyText(ref Utf8JsonReader reader, ref byte[] target, ref int length, int lengthMax)
    {
        var size = reader.HasValueSequence ? reader.ValueSequence.Length : reader.ValueSpan.Length;
        if (size > lengthMax * 6L) // An escaped character takes up to six bytes.
        {
            return false;
        }

        Grow(ref target, (int)size);
        if (reader.TokenType == JsonTokenType.Number)
        {
            if (reader.HasValueSequence)
            {
                reader.ValueSequence.CopyTo(target);
            }
            else
            {
                reader.ValueSpan.CopyTo(target);
            }

            length = (int)size;
        }
        else
        {
            if (!reader.ValueIsEscaped && !IsUtf8(ref reader))
            {
                return false;
            }

            length = reader.CopyString(target);
        }

        return length <= lengthMax;
    }

    private static bool IsUtf8(ref Utf8JsonReader reader) =>
        reader.HasValueSequence ? Utf8.IsValid(reader.ValueSequence.ToArray()) : Utf8.IsValid(reader.ValueSpan);

    private static void Grow<T>(ref T[] array, int length)
    {
        if (array.Length < length)
        {
            array = new T[Math.Max(length, array.Length * 2)];
        }
    }

    private static void Keep(ref byte[] array, int used, int length)
    {
        if (array.Length < length)
        {
            var grown = new byte[Math.Max(length, array.Length * 2)];
            array.AsSpan(0, used).CopyTo(grown);
            array = grown;
        }
    }

    private string Expected()
    {
        var features = $"'{_model.MatrixName}' as FP32 [n, {Text(_model.FeatureNames.Count)}], or one FP32 tensor per feature ({string.Join(", ", _model.FeatureNames)})";
        return _model.Inputs is { } inputs ? $"{string.Join(", ", inputs.Inputs.Select(input => $"'{input.Name}' {string.Join(" or ", input.Datatypes)}"))}; or {features}" : features;
    }

    private static bool Contains(IReadOnlyList<string> datatypes, string name)
    {
        for (var i = 0; i < datatypes.Count; i++)
        {
            if (datatypes[i] == name)
            {
                return true;
            }
        }

        return false;
    }

    private string NameOf(in Tensor target) => target.Form switch
    {
        Form.Inputs => _model.Inputs!.Inputs[target.Index].Name,
        Form.Columns => _model.FeatureNames[target.Index],
        _ => _model.MatrixName,
    };

    private static string ShapeOf(in Tensor target) => target.Rank == 1 ? $"[{Text(target.Rows)}]" : $"[{Text(target.Rows)}, {Text(target.Columns)}]";

    private static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Sendable(Datatype datatype) => datatype switch
    {
        Datatype.BYTES => $"text of at most {Text(TextMax)} bytes",
        Datatype.BOOL => "true or false",
        Datatype.INT32 or Datatype.INT64 => $"a whole number that fits {datatype.Name()}",
        _ => $"a finite number that fits {datatype.Name()}; a missing value is left to the feature store",
    };

    private static string ShownValue(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => $"the text '{Shown(ref reader)}'",
        JsonTokenType.Number => Encoding.UTF8.GetString(reader.HasValueSequence ? reader.ValueSequence.ToArray() : reader.ValueSpan),
        JsonTokenType.Null => "null",
        JsonTokenType.True => "true",
        JsonTokenType.False => "false",
        _ => "an object",
    };

    private static string Shown(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            return ShownValue(ref reader);
        }

        var bytes = reader.HasValueSequence ? reader.ValueSequence.ToArray() : reader.ValueSpan;
        return Encoding.UTF8.GetString(bytes[..Math.Min(bytes.Length, 80)]);
    }

    private struct Tensor
    {
        public bool HasName;
        public bool HasShape;
        public bool HasDatatype;
        public Form Form;
        public int Index;
        public int Rank;
        public int Rows;
        public int Columns;
        public Datatype Datatype;
    }

    /// <summary>Texts seen lately, such as airport codes, so that the same key is not made again for each request.</summary>
    private sealed class TextCache
    {
        private const int LengthMax = 64;

        private readonly (byte[] Utf8, string Text)[] _slots = new (byte[], string)[1024];

        /// <summary>The text; null when it is not valid UTF-8.</summary>
        public string? Read(ref Utf8JsonReader reader)
        {
            if (reader.HasValueSequence || reader.ValueIsEscaped || reader.ValueSpan.Length > LengthMax)
            {
                return !reader.ValueIsEscaped && !IsUtf8(ref reader) ? null : reader.GetString();
            }

            var bytes = reader.ValueSpan;
            var hash = 2166136261u;
            foreach (var value in bytes)
            {
                hash = (hash ^ value) * 16777619u;
            }

            ref var slot = ref _slots[(hash ^ (hash >> 16)) & (uint)(_slots.Length - 1)];
            if (slot.Utf8 is null || !bytes.SequenceEqual(slot.Utf8))
            {
                if (!Utf8.IsValid(bytes))
                {
                    return null;
                }

                slot = (bytes.ToArray(), Encoding.UTF8.GetString(bytes));
            }

            return slot.Text;
        }
    }
}
