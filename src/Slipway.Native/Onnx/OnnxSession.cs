using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Slipway.Native.Files;

namespace Slipway.Native.Onnx;

/// <summary>A loaded model. Runs may overlap on any number of threads.</summary>
public sealed unsafe class OnnxSession : IDisposable
{
    // A model says itself how many inputs and outputs it has: beyond these, a run's pointers would not be safe on the stack.
    private const int TensorsOnStack = 64;

    // The level "extended"; those above it lay tensors out for one processor.
    private const int Portable = 2;

    private readonly OnnxSessionHandle handle;
    private readonly byte*[] inputNames;
    private readonly byte*[] outputNames;
    private readonly int[] tensorOutputs;
    private readonly nint[] allocatedNames;

    private OnnxSession(OnnxSessionHandle handle, OnnxModelInfo model)
    {
        this.handle = handle;
        Model = model;
        (Inputs, inputNames) = Read(OnnxApi.SessionGetInputCount, OnnxApi.SessionGetInputName, OnnxApi.SessionGetInputTypeInfo);
        (Outputs, outputNames) = Read(OnnxApi.SessionGetOutputCount, OnnxApi.SessionGetOutputName, OnnxApi.SessionGetOutputTypeInfo);
        tensorOutputs = [.. Enumerable.Range(0, Outputs.Count).Where(i => Outputs[i].ElementType != OnnxElementType.None)];
        allocatedNames = new nint[inputNames.Length + outputNames.Length];
        for (var i = 0; i < allocatedNames.Length; i++)
        {
            allocatedNames[i] = (nint)(i < inputNames.Length ? inputNames[i] : outputNames[i - inputNames.Length]);
        }

        handle.FreeLater(allocatedNames);
    }

    /// <summary>The inputs the model requires, as the runtime sees them.</summary>
    public IReadOnlyList<OnnxTensorInfo> Inputs { get; }

    /// <summary>The outputs, as the runtime sees them after shape inference.</summary>
    public IReadOnlyList<OnnxTensorInfo> Outputs { get; }

    /// <summary>What the model file says: operator sets, operators, metadata.</summary>
    public OnnxModelInfo Model { get; }

    /// <summary>Loads a model file.</summary>
    /// <exception cref="OnnxException">Not an ONNX model, one with data outside its file, or one the runtime does not accept.</exception>
    public static OnnxSession Load(string path, OnnxSessionOptions? options = null)
    {
        using var model = FileContent.Read(path);
        return Load(model.Span, options);
    }

    /// <summary>Loads a model from memory, which the runtime copies.</summary>
    /// <exception cref="OnnxException">Not an ONNX model, one with data outside its file, or one the runtime does not accept.</exception>
    public static OnnxSession Load(ReadOnlySpan<byte> model, OnnxSessionOptions? options = null)
    {
        var info = OnnxModelReader.Read(model);
        if (info.ExternalData.Count > 0)
        {
            // Such a model makes the runtime read any file, or any address of this process, that it names.
            throw new OnnxException(
                OnnxErrorCode.InvalidArgument,
                $"The model keeps the tensor '{info.ExternalData[0].Name}' outside its own file; save it as one file without external data.");
        }

        options ??= new OnnxSessionOptions();
        if (!OnnxDivisionGuard.TryRewrite(model, info, out var guarded))
        {
            return Load(model, info, options);
        }

        try
        {
            return Load(guarded.Written, info, options);
        }
        catch (OnnxException)
        {
            // A file that is at fault is told so in its own words, and one whose types were found out wrongly is served as it always was.
            return Load(model, info, options);
        }
    }

    private static OnnxSession Load(ReadOnlySpan<byte> model, OnnxModelInfo info, OnnxSessionOptions options)
    {
        nint native, session;
        OnnxApi.Check(OnnxApi.CreateSessionOptions(&native));
        try
        {
            OnnxApi.Check(OnnxApi.SetSessionLogSeverityLevel(native, 4));
            OnnxApi.Check(OnnxApi.SetIntraOpNumThreads(native, options.IntraOpThreads));
            OnnxApi.Check(OnnxApi.SetInterOpNumThreads(native, options.InterOpThreads));
            OnnxApi.Check(OnnxApi.SetSessionGraphOptimizationLevel(native, !options.Optimize ? 0 : options.OptimizedPath is null ? 99 : Portable));
            if (options.OptimizedPath is { } optimized)
            {
                fixed (byte* path = OnnxApi.NulTerminated(optimized))
                {
                    OnnxApi.Check(OnnxApi.SetOptimizedModelFilePath(native, path));
                }
            }

            SetConfig(native, "session.intra_op.allow_spinning", options.AllowSpinning ? "1" : "0");
            SetConfig(native, "session.inter_op.allow_spinning", options.AllowSpinning ? "1" : "0");
            SetConfig(native, "session.load_model_format", "ONNX");
            fixed (byte* bytes = model)
            {
                OnnxApi.Check(OnnxApi.CreateSessionFromArray(OnnxEnvironment.Handle, bytes, (nuint)model.Length, native, &session));
            }
        }
        finally
        {
            OnnxApi.ReleaseSessionOptions(native);
        }

        var owner = new OnnxSessionHandle(session);
        try
        {
            return new OnnxSession(owner, info);
        }
        catch
        {
            owner.Dispose();
            throw;
        }
    }

    /// <summary>Runs the model and computes all outputs that are tensors. Dispose the result; its spans end with it.</summary>
    /// <exception cref="OnnxException">An input is missing, unknown, or of another type or shape; or the run failed.</exception>
    public OnnxResult Run(params ReadOnlySpan<OnnxInput> inputs)
    {
        if (inputs.Length != inputNames.Length)
        {
            throw new OnnxException(
                OnnxErrorCode.InvalidArgument,
                $"The model has the {inputNames.Length} inputs {string.Join(", ", Inputs.Select(i => i.Name))}; {inputs.Length} were given.");
        }

        // Three pointers for each input (its name, value and pin), two for each output.
        var pointers = (3 * inputs.Length) + (2 * tensorOutputs.Length);
        Span<nint> room = inputs.Length + tensorOutputs.Length <= TensorsOnStack ? stackalloc nint[pointers] : new nint[pointers];
        fixed (nint* at = room)
        {
            return Run(inputs, at);
        }
    }

    // In room for the pointers, all of them zero.
    private OnnxResult Run(scoped ReadOnlySpan<OnnxInput> inputs, nint* room)
    {
        var names = (byte**)room;
        var values = room + inputs.Length;
        var pins = (GCHandle*)(values + inputs.Length);
        var outputs = (nint*)(pins + inputs.Length);
        var wanted = (byte**)(outputs + tensorOutputs.Length);
        var held = false;
        try
        {
            handle.DangerousAddRef(ref held);
            for (var i = 0; i < inputs.Length; i++)
            {
                names[i] = inputNames[IndexOf(inputs[i])];
                values[i] = CreateValue(inputs[i], ref pins[i]);
            }

            for (var i = 0; i < tensorOutputs.Length; i++)
            {
                wanted[i] = outputNames[tensorOutputs[i]];
                outputs[i] = 0;
            }

            OnnxApi.Check(OnnxApi.Run(
                handle.DangerousGetHandle(), 0, names, values, (nuint)inputs.Length, wanted, (nuint)tensorOutputs.Length, outputs));
            return new OnnxResult(this, new ReadOnlySpan<nint>(outputs, tensorOutputs.Length));
        }
        finally
        {
            for (var i = 0; i < inputs.Length; i++)
            {
                if (values[i] != 0)
                {
                    OnnxApi.ReleaseValue(values[i]);
                }

                if (pins[i].IsAllocated)
                {
                    pins[i].Free();
                }
            }

            if (held)
            {
                handle.DangerousRelease();
            }
        }
    }

    /// <summary>
    /// The shortest way for a model with one float input [rows, features]: reads <paramref name="features"/> and writes the
    /// first output, float [rows, width], straight into <paramref name="output"/>. Allocates nothing.
    /// </summary>
    /// <param name="features">Row-major, <paramref name="rows"/> × the number of features.</param>
    /// <param name="rows">At least 1.</param>
    /// <param name="output">Room for <paramref name="rows"/> × width values exactly.</param>
    /// <exception cref="OnnxException">The model has another form, a length does not fit, or the run failed.</exception>
    public void RunMatrix(ReadOnlySpan<float> features, int rows, Span<float> output)
    {
        if (rows < 1 || features.Length % rows != 0 || output.Length % rows != 0 || Inputs.Count != 1 || features.IsEmpty || output.IsEmpty)
        {
            throw new OnnxException(
                OnnxErrorCode.InvalidArgument,
                $"{features.Length} features and {output.Length} outputs do not make {rows} rows for a model with {Inputs.Count} inputs.");
        }

        var rank = Outputs[0].Shape.Count;
        if (rank is not (1 or 2) || (rank == 1 && output.Length != rows))
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"Output '{Outputs[0].Name}' is not a table of rows.");
        }

        var inputShape = stackalloc long[] { rows, features.Length / rows };
        var outputShape = stackalloc long[] { rows, output.Length / rows };
        nint input = 0, result = 0;
        var held = false;
        fixed (float* from = features, to = output)
        fixed (byte** inputName = inputNames, outputName = outputNames)
        {
            try
            {
                handle.DangerousAddRef(ref held);
                OnnxApi.Check(OnnxApi.CreateTensorWithDataAsOrtValue(
                    OnnxEnvironment.CpuMemory, from, (nuint)features.Length * sizeof(float), inputShape, 2, (int)OnnxElementType.Float, &input));
                OnnxApi.Check(OnnxApi.CreateTensorWithDataAsOrtValue(
                    OnnxEnvironment.CpuMemory, to, (nuint)output.Length * sizeof(float), outputShape, (nuint)rank, (int)OnnxElementType.Float, &result));
                OnnxApi.Check(OnnxApi.Run(handle.DangerousGetHandle(), 0, inputName, &input, 1, outputName, 1, &result));
            }
            finally
            {
                if (result != 0)
                {
                    OnnxApi.ReleaseValue(result);
                }

                if (input != 0)
                {
                    OnnxApi.ReleaseValue(input);
                }

                if (held)
                {
                    handle.DangerousRelease();
                }
            }
        }
    }

    /// <summary>Waits for no one: runs in progress finish first, and the model is freed after them.</summary>
    public void Dispose() => handle.Dispose();

    internal OnnxTensorInfo Output(int position) => Outputs[tensorOutputs[position]];

    internal int OutputPosition(string name)
    {
        for (var i = 0; i < tensorOutputs.Length; i++)
        {
            if (Output(i).Name == name)
            {
                return i;
            }
        }

        throw new OnnxException(OnnxErrorCode.InvalidArgument, $"The model has no tensor output '{name}'.");
    }

    private static void SetConfig(nint options, string key, string value)
    {
        fixed (byte* k = OnnxApi.NulTerminated(key), v = OnnxApi.NulTerminated(value))
        {
            OnnxApi.Check(OnnxApi.AddSessionConfigEntry(options, k, v));
        }
    }

    private int IndexOf(in OnnxInput input)
    {
        for (var i = 0; i < Inputs.Count; i++)
        {
            if (Inputs[i].Name == input.Name)
            {
                return Inputs[i].ElementType == input.ElementType
                    ? i
                    : throw new OnnxException(
                        OnnxErrorCode.InvalidArgument, $"Input '{input.Name}' is {Inputs[i].ElementType}; {input.ElementType} was given.");
            }
        }

        throw new OnnxException(
            OnnxErrorCode.InvalidArgument, $"The model has no input '{input.Name}'; it has {string.Join(", ", Inputs.Select(i => i.Name))}.");
    }

    private static nint CreateValue(in OnnxInput input, ref GCHandle pin)
    {
        nint value;
        fixed (long* shape = input.Shape)
        {
            if (input.ElementType == OnnxElementType.String)
            {
                OnnxApi.Check(OnnxApi.CreateTensorAsOrtValue(OnnxEnvironment.Allocator, shape, (nuint)input.Rank, (int)input.ElementType, &value));
                if (input.Data is byte[] prefixed)
                {
                    FillTexts(value, prefixed.AsSpan(input.Offset), input.Count);
                }
                else
                {
                    FillStrings(value, new ArraySegment<string>((string[])input.Data, input.Offset, input.Count));
                }

                return value;
            }

            pin = GCHandle.Alloc(input.Data, GCHandleType.Pinned);
            var data = input.Count == 0 ? null : (byte*)pin.AddrOfPinnedObject() + (long)input.Offset * input.ElementSize;
            OnnxApi.Check(OnnxApi.CreateTensorWithDataAsOrtValue(
                OnnxEnvironment.CpuMemory, data, (nuint)input.Count * (nuint)input.ElementSize, shape, (nuint)input.Rank, (int)input.ElementType, &value));
            return value;
        }
    }

    // Each text with its length before it becomes one that ends with a zero, as the runtime reads them.
    private static void FillTexts(nint value, ReadOnlySpan<byte> prefixed, int count)
    {
        var texts = new byte[prefixed.Length];
        var starts = new nint[count];
        var at = 0;
        for (var i = 0; i < count; i++)
        {
            var length = BinaryPrimitives.ReadInt32LittleEndian(prefixed);
            prefixed.Slice(sizeof(int), length).CopyTo(texts.AsSpan(at));
            starts[i] = at;
            at += length + 1;
            prefixed = prefixed[(sizeof(int) + length)..];
        }

        fixed (byte* text = texts)
        fixed (nint* pointers = starts)
        {
            for (var i = 0; i < count; i++)
            {
                pointers[i] += (nint)text;
            }

            var status = OnnxApi.FillStringTensor(value, (byte**)pointers, (nuint)count);
            if (status != 0)
            {
                OnnxApi.ReleaseValue(value);
                OnnxApi.Check(status);
            }
        }
    }

    private static void FillStrings(nint value, ArraySegment<string> texts)
    {
        var native = new nint[texts.Count];
        try
        {
            for (var i = 0; i < native.Length; i++)
            {
                native[i] = Marshal.StringToCoTaskMemUTF8(texts[i] ?? "");
            }

            fixed (nint* pointers = native)
            {
                OnnxApi.Check(OnnxApi.FillStringTensor(value, (byte**)pointers, (nuint)native.Length));
            }
        }
        catch
        {
            OnnxApi.ReleaseValue(value);
            throw;
        }
        finally
        {
            foreach (var pointer in native)
            {
                Marshal.FreeCoTaskMem(pointer);
            }
        }
    }

    private (OnnxTensorInfo[] Infos, byte*[] Names) Read(
        delegate* unmanaged<nint, nuint*, nint> getCount,
        delegate* unmanaged<nint, nuint, nint, byte**, nint> getName,
        delegate* unmanaged<nint, nuint, nint*, nint> getType)
    {
        var session = handle.DangerousGetHandle();
        nuint count;
        OnnxApi.Check(getCount(session, &count));
        var infos = new OnnxTensorInfo[count];
        var names = new byte*[count];
        for (nuint i = 0; i < count; i++)
        {
            byte* name;
            nint type;
            OnnxApi.Check(getName(session, i, OnnxEnvironment.Allocator, &name));
            names[i] = name;
            OnnxApi.Check(getType(session, i, &type));
            try
            {
                infos[i] = ReadType(OnnxApi.Text(name), type);
            }
            finally
            {
                OnnxApi.ReleaseTypeInfo(type);
            }
        }

        return (infos, names);
    }

    private static OnnxTensorInfo ReadType(string name, nint type)
    {
        int kind;
        OnnxApi.Check(OnnxApi.GetOnnxTypeFromTypeInfo(type, &kind));
        if (kind != 1)
        {
            return new OnnxTensorInfo(name, OnnxElementType.None, []);
        }

        nint tensor; // Belongs to the type.
        int elementType;
        nuint rank;
        OnnxApi.Check(OnnxApi.CastTypeInfoToTensorInfo(type, &tensor));
        OnnxApi.Check(OnnxApi.GetTensorElementType(tensor, &elementType));
        OnnxApi.Check(OnnxApi.GetDimensionsCount(tensor, &rank));
        var shape = new long[rank];
        var names = new byte*[rank]; // Belong to the type as well.
        fixed (long* dimensions = shape)
        fixed (byte** symbols = names)
        {
            OnnxApi.Check(OnnxApi.GetDimensions(tensor, dimensions, rank));
            OnnxApi.Check(OnnxApi.GetSymbolicDimensions(tensor, symbols, rank));
        }

        var texts = new string[rank];
        for (var i = 0; i < texts.Length; i++)
        {
            texts[i] = OnnxApi.Text(names[i]);
        }

        return new OnnxTensorInfo(name, (OnnxElementType)elementType, shape) { Symbols = texts };
    }
}

/// <summary>Owns an <c>OrtSession</c> and the names it handed out.</summary>
internal sealed unsafe class OnnxSessionHandle : SafeHandle
{
    private nint[] names = [];

    internal OnnxSessionHandle(nint session)
        : base(0, ownsHandle: true) => SetHandle(session);

    public override bool IsInvalid => handle == 0;

    internal void FreeLater(nint[] allocated) => names = allocated;

    protected override bool ReleaseHandle()
    {
        foreach (var name in names)
        {
            _ = OnnxApi.AllocatorFree(OnnxEnvironment.Allocator, (void*)name);
        }

        OnnxApi.ReleaseSession(handle);
        return true;
    }
}
