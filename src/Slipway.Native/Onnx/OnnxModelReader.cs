using System.Globalization;
using System.IO.MemoryMappedFiles;

namespace Slipway.Native.Onnx;

/// <summary>What a model file says about itself.</summary>
/// <param name="IrVersion">Version of the file format.</param>
/// <param name="Producer">The tool that wrote it; may be empty.</param>
/// <param name="OpsetImports">Operator sets by domain; the standard set's domain is empty.</param>
/// <param name="OpTypes">Distinct operators, sorted; those outside the standard set as <c>domain:Name</c>.</param>
/// <param name="Inputs">Inputs that have no default value.</param>
/// <param name="Outputs">Outputs as declared.</param>
/// <param name="Metadata">The writer's key-value pairs.</param>
/// <param name="ExternalData">Tensors kept outside the file, in another file or in memory.</param>
public sealed record OnnxModelInfo(
    long IrVersion,
    string Producer,
    IReadOnlyDictionary<string, long> OpsetImports,
    IReadOnlyList<string> OpTypes,
    IReadOnlyList<OnnxTensorInfo> Inputs,
    IReadOnlyList<OnnxTensorInfo> Outputs,
    IReadOnlyDictionary<string, string> Metadata,
    IReadOnlyList<OnnxExternalTensor> ExternalData);

/// <summary>A tensor whose values are not in the model file.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Location">Where the model says they are: a path relative to it, or an address in memory. Anything, in a hostile model; empty when it does not say.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes; null for all to the end.</param>
public sealed record OnnxExternalTensor(string Name, string Location, long Offset, long? Length);

/// <summary>Reads model files without the runtime, so that a hostile one is known before it is loaded.</summary>
/// <remarks>Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto</remarks>
public static class OnnxModelReader
{
    // Protobuf's own parsers stop at 100.
    private const int DepthMax = 100;

    /// <summary>Reads a model.</summary>
    /// <exception cref="OnnxException">The bytes are not an ONNX model.</exception>
    public static OnnxModelInfo Read(ReadOnlySpan<byte> model)
    {
        var found = new Findings();
        var hasGraph = false;
        long irVersion = 0;
        var producer = "";
        var opsets = new Dictionary<string, long>();
        var metadata = new Dictionary<string, string>();
        for (var reader = new ProtobufReader(model); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: irVersion = (long)reader.Number; break;
                case 2: producer = reader.Text; break;
                case 7:
                    hasGraph = true;
                    ReadGraph(reader.Bytes, found, depth: 0, isMain: true);
                    break;
                case 8:
                    var (domain, version) = ReadOpset(reader.Bytes);
                    opsets[domain] = version;
                    break;
                case 14:
                    var (key, value) = ReadPair(reader.Bytes);
                    metadata[key] = value;
                    break;
                case 20: ReadTraining(reader.Bytes, found); break;
                case 25: ReadFunction(reader.Bytes, found); break;
            }
        }

        if (!hasGraph || irVersion == 0)
        {
            throw new OnnxException(OnnxErrorCode.InvalidProtobuf, "The bytes are not an ONNX model (there is no graph).");
        }

        return new OnnxModelInfo(
            irVersion,
            producer,
            opsets,
            [.. found.OpTypes],
            [.. found.Inputs.Where(i => !found.Initializers.Contains(i.Name))],
            found.Outputs,
            metadata,
            found.ExternalData);
    }

    /// <summary>Reads a model file that may be too large for memory: of its tensors' values nothing is touched.</summary>
    /// <exception cref="OnnxException">The file is not an ONNX model.</exception>
    public static unsafe OnnxModelInfo ReadFile(string path)
    {
        var length = new FileInfo(path).Length;
        if (length is 0 or > int.MaxValue)
        {
            throw new OnnxException(OnnxErrorCode.InvalidProtobuf, $"A file of {length:N0} bytes is not an ONNX model; one is at most 2 GB, with larger tensors as external data.");
        }

        using var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        using var view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        byte* bytes = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref bytes);
        try
        {
            return Read(new ReadOnlySpan<byte>(bytes, (int)length));
        }
        finally
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    private static void ReadGraph(ReadOnlySpan<byte> graph, Findings found, int depth, bool isMain)
    {
        if (depth > DepthMax)
        {
            throw ProtobufReader.Malformed();
        }

        for (var reader = new ProtobufReader(graph); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: ReadNode(reader.Bytes, found, depth + 1); break;
                case 5: ReadTensor(reader.Bytes, found, isMain); break;
                case 11 when isMain: found.Inputs.Add(ReadValueInfo(reader.Bytes)); break;
                case 12 when isMain: found.Outputs.Add(ReadValueInfo(reader.Bytes)); break;
                case 15: ReadSparse(reader.Bytes, found); break;
            }
        }
    }

    private static void ReadNode(ReadOnlySpan<byte> node, Findings found, int depth)
    {
        string op = "", domain = "";
        for (var reader = new ProtobufReader(node); reader.Next();)
        {
            switch (reader.Field)
            {
                case 4: op = reader.Text; break;
                case 5: ReadAttribute(reader.Bytes, found, depth); break;
                case 7: domain = reader.Text; break;
            }
        }

        found.OpTypes.Add(domain is "" or "ai.onnx" ? op : $"{domain}:{op}");
    }

    private static void ReadAttribute(ReadOnlySpan<byte> attribute, Findings found, int depth)
    {
        for (var reader = new ProtobufReader(attribute); reader.Next();)
        {
            switch (reader.Field)
            {
                case 5 or 10: ReadTensor(reader.Bytes, found, isMainInitializer: false); break;
                case 6 or 11: ReadGraph(reader.Bytes, found, depth + 1, isMain: false); break;
                case 22 or 23: ReadSparse(reader.Bytes, found); break;
            }
        }
    }

    private static void ReadTensor(ReadOnlySpan<byte> tensor, Findings found, bool isMainInitializer)
    {
        var (name, external) = ReadExternal(tensor);
        if (isMainInitializer)
        {
            found.Initializers.Add(name);
        }

        if (external is not null)
        {
            found.ExternalData.Add(external);
        }
    }

    /// <summary>A tensor's name, and where its values are; null when they are in the tensor itself.</summary>
    internal static (string Name, OnnxExternalTensor? External) ReadExternal(ReadOnlySpan<byte> tensor)
    {
        string name = "", location = "";
        var isExternal = false;
        long offset = 0;
        long? length = null;
        for (var reader = new ProtobufReader(tensor); reader.Next();)
        {
            switch (reader.Field)
            {
                case 8: name = reader.Text; break;
                case 13:
                    isExternal = true; // A location, which may also be an address ("*/_ORT_MEM_ADDR_/*").
                    var (key, value) = ReadPair(reader.Bytes);
                    switch (key)
                    {
                        case "location": location = value; break;
                        case "offset": offset = Count(value); break;
                        case "length": length = Count(value); break;
                    }

                    break;
                case 14: isExternal |= reader.Number != 0; break;
            }
        }

        return (name, isExternal ? new OnnxExternalTensor(name, location, offset, length) : null);
    }

    private static long Count(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            ? count
            : throw new OnnxException(OnnxErrorCode.InvalidProtobuf, $"The model gives '{text}' as offset or length of external data, which must be a count of bytes.");

    private static void ReadSparse(ReadOnlySpan<byte> sparse, Findings found)
    {
        for (var reader = new ProtobufReader(sparse); reader.Next();)
        {
            if (reader.Field is 1 or 2)
            {
                ReadTensor(reader.Bytes, found, isMainInitializer: false);
            }
        }
    }

    private static void ReadTraining(ReadOnlySpan<byte> training, Findings found)
    {
        for (var reader = new ProtobufReader(training); reader.Next();)
        {
            if (reader.Field is 1 or 2)
            {
                ReadGraph(reader.Bytes, found, depth: 1, isMain: false);
            }
        }
    }

    private static void ReadFunction(ReadOnlySpan<byte> function, Findings found)
    {
        for (var reader = new ProtobufReader(function); reader.Next();)
        {
            switch (reader.Field)
            {
                case 7: ReadNode(reader.Bytes, found, depth: 1); break;
                case 11: ReadAttribute(reader.Bytes, found, depth: 1); break;
            }
        }
    }

    /// <summary>What a graph declares of one of its values.</summary>
    internal static OnnxTensorInfo ReadValueInfo(ReadOnlySpan<byte> valueInfo)
    {
        var name = "";
        var type = OnnxElementType.None;
        var shape = new List<long>();
        for (var reader = new ProtobufReader(valueInfo); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: name = reader.Text; break;
                case 2:
                    for (var kind = new ProtobufReader(reader.Bytes); kind.Next();)
                    {
                        if (kind.Field == 1)
                        {
                            type = ReadTensorType(kind.Bytes, shape);
                        }
                    }

                    break;
            }
        }

        return new OnnxTensorInfo(name, type, shape);
    }

    private static OnnxElementType ReadTensorType(ReadOnlySpan<byte> tensorType, List<long> shape)
    {
        var type = OnnxElementType.None;
        for (var reader = new ProtobufReader(tensorType); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: type = (OnnxElementType)(int)reader.Number; break;
                case 2:
                    for (var dimensions = new ProtobufReader(reader.Bytes); dimensions.Next();)
                    {
                        var size = -1L;
                        for (var dimension = new ProtobufReader(dimensions.Bytes); dimension.Next();)
                        {
                            size = dimension.Field == 1 ? (long)dimension.Number : size;
                        }

                        shape.Add(size);
                    }

                    break;
            }
        }

        return type;
    }

    private static (string Domain, long Version) ReadOpset(ReadOnlySpan<byte> opset)
    {
        var domain = "";
        long version = 0;
        for (var reader = new ProtobufReader(opset); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: domain = reader.Text; break;
                case 2: version = (long)reader.Number; break;
            }
        }

        return (domain, version);
    }

    private static (string Key, string Value) ReadPair(ReadOnlySpan<byte> pair)
    {
        string key = "", value = "";
        for (var reader = new ProtobufReader(pair); reader.Next();)
        {
            switch (reader.Field)
            {
                case 1: key = reader.Text; break;
                case 2: value = reader.Text; break;
            }
        }

        return (key, value);
    }

    private sealed class Findings
    {
        public SortedSet<string> OpTypes { get; } = new(StringComparer.Ordinal);

        public List<OnnxTensorInfo> Inputs { get; } = [];

        public List<OnnxTensorInfo> Outputs { get; } = [];

        public HashSet<string> Initializers { get; } = [];

        public List<OnnxExternalTensor> ExternalData { get; } = [];
    }
}
