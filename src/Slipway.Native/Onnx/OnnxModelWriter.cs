using System.Runtime.InteropServices;

namespace Slipway.Native.Onnx;

/// <summary>An attribute of a node.</summary>
#pragma warning disable CA1711 // 'Attribute' is ONNX's own word, and is not .NET's here.
public sealed class OnnxAttribute
#pragma warning restore CA1711
{
    private readonly ProtobufWriter message = new();

    private OnnxAttribute(string name, int type)
    {
        message.Text(1, name);
        message.Int(20, type);
    }

    /// <summary>A float.</summary>
    public static OnnxAttribute Float(string name, float value) => new OnnxAttribute(name, 1).With(m => m.Float(2, value));

    /// <summary>An integer.</summary>
    public static OnnxAttribute Int(string name, long value) => new OnnxAttribute(name, 2).With(m => m.Int(3, value));

    /// <summary>A text.</summary>
    public static OnnxAttribute String(string name, string value) => new OnnxAttribute(name, 3).With(m => m.Text(4, value));

    /// <summary>A list of floats.</summary>
    public static OnnxAttribute Floats(string name, IReadOnlyCollection<float> values) =>
        new OnnxAttribute(name, 6).With(m => m.PackedFloats(7, [.. values]));

    /// <summary>A list of integers.</summary>
    public static OnnxAttribute Ints(string name, IReadOnlyCollection<long> values) =>
        new OnnxAttribute(name, 7).With(m => m.PackedInts(8, [.. values]));

    /// <summary>A list of texts.</summary>
    public static OnnxAttribute Strings(string name, IReadOnlyCollection<string> values) => new OnnxAttribute(name, 8).With(m =>
    {
        foreach (var value in values)
        {
            m.Text(9, value);
        }
    });

    /// <summary>A graph within the graph, such as a branch of If, which sees what is around it.</summary>
    public static OnnxAttribute Graph(string name, OnnxModelWriter body) => new OnnxAttribute(name, 5).With(m => m.Message(6, body.Graph));

    internal static OnnxAttribute Tensor(string name, ProtobufWriter tensor) => new OnnxAttribute(name, 4).With(m => m.Message(5, tensor));

    internal void WriteTo(ProtobufWriter node) => node.Message(5, message);

    private OnnxAttribute With(Action<ProtobufWriter> write)
    {
        write(message);
        return this;
    }
}

/// <summary>Builds a model file node by node. Nodes must be added in an order in which each finds its inputs.</summary>
/// <remarks>Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto</remarks>
public sealed class OnnxModelWriter
{
    /// <summary>The domain of the classical machine-learning operators.</summary>
    public const string MachineLearningDomain = "ai.onnx.ml";

    private const int IrVersion = 8;
    private const int Opset = 17;
    private const int MachineLearningOpset = 3;

    private readonly ProtobufWriter graph = new();
    private readonly ProtobufWriter metadata = new();
    private int nodes;

    /// <summary>Starts a graph.</summary>
    public OnnxModelWriter(string graphName) => graph.Text(2, graphName);

    /// <summary>Name of dimensions that vary, which then have one size in a run; null leaves them without names, each of its own size.</summary>
    public string? VaryingName { get; init; }

    /// <summary>Adds an input; -1 stands for a dimension that varies.</summary>
    public OnnxModelWriter AddInput(string name, OnnxElementType type, params ReadOnlySpan<long> shape)
    {
        graph.Message(11, ValueInfo(name, type, shape));
        return this;
    }

    /// <summary>Adds an output; -1 stands for a dimension that varies.</summary>
    public OnnxModelWriter AddOutput(string name, OnnxElementType type, params ReadOnlySpan<long> shape)
    {
        graph.Message(12, ValueInfo(name, type, shape));
        return this;
    }

    /// <summary>Adds constant floats.</summary>
    public OnnxModelWriter AddInitializer(string name, ReadOnlySpan<float> values, params ReadOnlySpan<long> shape)
    {
        graph.Message(5, Tensor(name, OnnxElementType.Float, shape, MemoryMarshal.AsBytes(values)));
        return this;
    }

    /// <summary>Adds constant integers.</summary>
    public OnnxModelWriter AddInitializer(string name, ReadOnlySpan<long> values, params ReadOnlySpan<long> shape)
    {
        graph.Message(5, Tensor(name, OnnxElementType.Int64, shape, MemoryMarshal.AsBytes(values)));
        return this;
    }

    /// <summary>Adds constant integers of 32 bits.</summary>
    public OnnxModelWriter AddInitializer(string name, ReadOnlySpan<int> values, params ReadOnlySpan<long> shape)
    {
        graph.Message(5, Tensor(name, OnnxElementType.Int32, shape, MemoryMarshal.AsBytes(values)));
        return this;
    }

    /// <summary>Adds a node of the standard operator set.</summary>
    public OnnxModelWriter AddNode(string op, string[] inputs, string[] outputs, params OnnxAttribute[] attributes) =>
        AddNode("", op, inputs, outputs, attributes);

    /// <summary>Adds a node of another operator set.</summary>
    public OnnxModelWriter AddNode(string domain, string op, string[] inputs, string[] outputs, params OnnxAttribute[] attributes)
    {
        graph.Message(1, Node($"{op}_{nodes++}", domain, op, inputs, outputs, attributes));
        return this;
    }

    /// <summary>Adds a key-value pair that readers of the file see.</summary>
    public OnnxModelWriter AddMetadata(string key, string value)
    {
        metadata.Message(14, Pair(key, value));
        return this;
    }

    internal ProtobufWriter Graph => graph;

    /// <summary>The finished file.</summary>
    public byte[] ToBytes()
    {
        var model = new ProtobufWriter();
        model.Int(1, IrVersion);
        model.Text(2, "slipway");
        model.Message(7, graph);
        model.Message(8, OperatorSet("", Opset));
        model.Message(8, OperatorSet(MachineLearningDomain, MachineLearningOpset));
        return [.. model.Written, .. metadata.Written];
    }

    internal static ProtobufWriter Node(
        string name, string domain, string op, string[] inputs, string[] outputs, params OnnxAttribute[] attributes)
    {
        var node = new ProtobufWriter();
        foreach (var input in inputs)
        {
            node.Text(1, input);
        }

        foreach (var output in outputs)
        {
            node.Text(2, output);
        }

        node.Text(3, name);
        node.Text(4, op);
        foreach (var attribute in attributes)
        {
            attribute.WriteTo(node);
        }

        if (domain.Length > 0)
        {
            node.Text(7, domain);
        }

        return node;
    }

    internal static ProtobufWriter Tensor(string name, OnnxElementType type, ReadOnlySpan<long> shape, ReadOnlySpan<byte> values)
    {
        var tensor = new ProtobufWriter();
        tensor.PackedInts(1, shape);
        tensor.Int(2, (int)type);
        tensor.Text(8, name);
        tensor.Bytes(9, values); // Little-endian, which every machine we build for is.
        return tensor;
    }

    private ProtobufWriter ValueInfo(string name, OnnxElementType type, ReadOnlySpan<long> shape)
    {
        var dimensions = new ProtobufWriter();
        foreach (var size in shape)
        {
            var dimension = new ProtobufWriter();
            if (size >= 0)
            {
                dimension.Int(1, size);
            }
            else if (VaryingName is not null)
            {
                dimension.Text(2, VaryingName);
            }

            dimensions.Message(1, dimension);
        }

        var tensor = new ProtobufWriter();
        tensor.Int(1, (int)type);
        tensor.Message(2, dimensions);
        var kind = new ProtobufWriter();
        kind.Message(1, tensor);
        var info = new ProtobufWriter();
        info.Text(1, name);
        info.Message(2, kind);
        return info;
    }

    private static ProtobufWriter OperatorSet(string domain, long version)
    {
        var set = new ProtobufWriter();
        set.Text(1, domain);
        set.Int(2, version);
        return set;
    }

    private static ProtobufWriter Pair(string key, string value)
    {
        var pair = new ProtobufWriter();
        pair.Text(1, key);
        pair.Text(2, value);
        return pair;
    }
}
