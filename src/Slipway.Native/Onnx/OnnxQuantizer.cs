using System.Runtime.InteropServices;

namespace Slipway.Native.Onnx;

/// <summary>What quantization did to a graph.</summary>
/// <param name="Model">The new file.</param>
/// <param name="Weights">Matrices that are 8-bit integers now.</param>
/// <param name="Values">Their values.</param>
public sealed record QuantizedModel(byte[] Model, int Weights, long Values);

/// <summary>
/// Dynamic 8-bit quantization, as ONNX describes it with DynamicQuantizeLinear and MatMulInteger: the constant matrices of MatMul and Gemm become
/// integers with one scale a column, what is multiplied with them is quantized in each run, and sums are exact in 32 bits.
/// </summary>
/// <remarks>
/// Both sides are unsigned, weights with the zero point 128: with signed weights the runtime's kernels on processors without VNNI add pairs of products in
/// 16 bits and saturate. https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
/// Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
/// </remarks>
public static class OnnxQuantizer
{
    /// <summary>Values of a matrix below which it stays as it is: it would gain nothing and lose digits.</summary>
    public const int ValuesMin = 1024;

    private const int OpsetMin = 11;
    private const int ZeroPoint = 128;
    private const int Levels = 127;

    /// <summary>Quantizes a model.</summary>
    /// <exception cref="OnnxException">The bytes are not an ONNX model, or nothing in it can be quantized; the message says why.</exception>
    public static QuantizedModel Quantize(ReadOnlySpan<byte> model)
    {
        var info = OnnxModelReader.Read(model);
        var opset = Math.Max(info.OpsetImports.GetValueOrDefault(""), info.OpsetImports.GetValueOrDefault("ai.onnx"));
        if (opset < OpsetMin)
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, $"The graph uses operator set {opset}, and 8-bit integers want {OpsetMin} or above; export it again with a later one.");
        }

        var graph = new Graph();
        var written = new ProtobufWriter();
        for (var reader = new ProtobufReader(model); reader.Next();)
        {
            if (reader.Field == 7)
            {
                written.Message(7, graph.Quantize(reader.Bytes));
            }
            else
            {
                written.Raw(reader.Raw);
            }
        }

        return graph.Weights > 0
            ? new QuantizedModel(written.Written.ToArray(), graph.Weights, graph.Values)
            : throw new OnnxException(
                OnnxErrorCode.InvalidArgument, $"The graph has no MatMul or Gemm with a constant FP32 matrix of at least {ValuesMin:N0} values, so there is nothing to quantize; trees, for one, have none.");
    }

    private sealed class Graph
    {
        private readonly Dictionary<string, byte[]> matrices = new(StringComparer.Ordinal);
        private readonly Dictionary<string, string> activations = new(StringComparer.Ordinal);
        private readonly ProtobufWriter added = new();
        private string prefix = "quantized";

        internal int Weights { get; private set; }

        internal long Values { get; private set; }

        internal ProtobufWriter Quantize(ReadOnlySpan<byte> graph)
        {
            var (nodes, kept) = Read(graph);
            var into = new ProtobufWriter();
            foreach (var node in nodes)
            {
                var isQuantized = Quantize(node, into);
                kept.UnionWith(isQuantized ? node.Inputs.Where((_, i) => i != 1) : node.Inputs);
                if (!isQuantized)
                {
                    into.Bytes(1, node.Bytes);
                }
            }

            for (var reader = new ProtobufReader(graph); reader.Next();)
            {
                // What no node reads any more is left out.
                if (reader.Field != 1 && (reader.Field != 5 || OnnxModelReader.ReadExternal(reader.Bytes).Name is var name && (!matrices.ContainsKey(name) || kept.Contains(name))))
                {
                    into.Raw(reader.Raw);
                }
            }

            into.Raw(added.Written);
            return into;
        }

        // The nodes, and the names that must stay whatever becomes of them: outputs, and all when a graph within the graph may look outward.
        private (List<OnnxNode> Nodes, HashSet<string> Kept) Read(ReadOnlySpan<byte> graph)
        {
            var nodes = new List<OnnxNode>();
            var kept = new HashSet<string>(StringComparer.Ordinal);
            var names = new HashSet<string>(StringComparer.Ordinal);
            var inputs = new HashSet<string>(StringComparer.Ordinal);
            for (var reader = new ProtobufReader(graph); reader.Next();)
            {
                switch (reader.Field)
                {
                    case 1:
                        var node = OnnxNode.Parse(reader.Bytes);
                        nodes.Add(node);
                        names.UnionWith(node.Outputs);
                        break;
                    case 5:
                        var (name, external) = OnnxModelReader.ReadExternal(reader.Bytes);
                        names.Add(name);
                        if (external is null)
                        {
                            matrices[name] = reader.Bytes.ToArray();
                        }

                        break;
                    case 11: inputs.Add(NameOf(reader.Bytes)); break;
                    case 12: kept.Add(NameOf(reader.Bytes)); break;
                }
            }

            names.UnionWith(inputs);
            foreach (var input in inputs)
            {
                matrices.Remove(input); // A default that a caller may replace is no constant.
            }

            if (nodes.Exists(node => node.HoldsGraph))
            {
                kept.UnionWith(matrices.Keys);
            }

            while (names.Any(name => name.StartsWith(prefix, StringComparison.Ordinal)))
            {
                prefix += "_";
            }

            return (nodes, kept);
        }

        private bool Quantize(OnnxNode node, ProtobufWriter into)
        {
            var isGemm = node.Op == "Gemm";
            if (!node.IsStandard || !(isGemm || node.Op == "MatMul") || node.Inputs.Count < 2 || node.Integer("transA", 0) != 0 || node.Number("alpha", 1) != 1
                || (node.Inputs.Count > 2 && node.Inputs[2].Length > 0 && node.Number("beta", 1) != 1)
                || !matrices.TryGetValue(node.Inputs[1], out var bytes) || Matrix.Parse(bytes, isGemm && node.Integer("transB", 0) != 0) is not { } matrix)
            {
                return false;
            }

            var name = $"{prefix}/{Weights++}";
            Values += matrix.Values.Length;
            var (integers, scales) = matrix.ToIntegers();
            Tensor($"{name}/weight", OnnxElementType.UInt8, [matrix.Rows, matrix.Columns], integers);
            Tensor($"{name}/scale", OnnxElementType.Float, [matrix.Columns], MemoryMarshal.AsBytes<float>(scales));
            Tensor($"{name}/zero", OnnxElementType.UInt8, [], [ZeroPoint]);

            // One quantization of what several matrices are multiplied with.
            if (!activations.TryGetValue(node.Inputs[0], out var activation))
            {
                activations[node.Inputs[0]] = activation = $"{name}/activation";
                Add(into, "DynamicQuantizeLinear", [node.Inputs[0]], [activation, $"{activation}/scale", $"{activation}/zero"]);
            }

            var bias = node.Inputs.Count > 2 && node.Inputs[2].Length > 0 ? node.Inputs[2] : null;
            var product = bias is null ? node.Outputs[0] : $"{name}/product";
            Add(into, "MatMulInteger", [activation, $"{name}/weight", $"{activation}/zero", $"{name}/zero"], [$"{name}/sum"]);
            Add(into, "Cast", [$"{name}/sum"], [$"{name}/float"], OnnxAttribute.Int("to", (long)OnnxElementType.Float));
            Add(into, "Mul", [$"{activation}/scale", $"{name}/scale"], [$"{name}/scales"]);
            Add(into, "Mul", [$"{name}/float", $"{name}/scales"], [product]);
            if (bias is not null)
            {
                Add(into, "Add", [product, bias], [node.Outputs[0]]);
            }

            return true;
        }

        private void Tensor(string name, OnnxElementType type, ReadOnlySpan<long> shape, ReadOnlySpan<byte> values) =>
            added.Message(5, OnnxModelWriter.Tensor(name, type, shape, values));

        private static void Add(ProtobufWriter into, string op, string[] inputs, string[] outputs, params OnnxAttribute[] attributes) =>
            into.Message(1, OnnxModelWriter.Node($"{outputs[0]}/{op}", "", op, inputs, outputs, attributes));

        private static string NameOf(ReadOnlySpan<byte> valueInfo)
        {
            var reader = new ProtobufReader(valueInfo);
            while (reader.Next())
            {
                if (reader.Field == 1)
                {
                    return reader.Text;
                }
            }

            return "";
        }
    }

    // Row-major, [Rows, Columns], as MatMul reads its second input.
    private sealed record Matrix(float[] Values, int Rows, int Columns)
    {
        /// <summary>Null when the tensor is no FP32 matrix of finite values that is worth it.</summary>
        internal static Matrix? Parse(ReadOnlySpan<byte> tensor, bool transposed)
        {
            var shape = new List<long>();
            long type = 0;
            ReadOnlySpan<byte> raw = default;
            for (var reader = new ProtobufReader(tensor); reader.Next();)
            {
                switch (reader.Field)
                {
                    case 1 when reader.IsBytes: ProtobufReader.Unpack(reader.Bytes, shape); break;
                    case 1: shape.Add((long)reader.Number); break;
                    case 2: type = (long)reader.Number; break;
                    case 4 when reader.IsBytes: raw = reader.Bytes; break; // Packed floats are the same bytes.
                    case 9: raw = reader.Bytes; break;
                }
            }

            if (type != (long)OnnxElementType.Float || shape is not [> 0 and <= int.MaxValue and var rows, > 0 and <= int.MaxValue and var columns]
                || rows * columns < ValuesMin || rows * columns * sizeof(float) != raw.Length)
            {
                return null;
            }

            var values = MemoryMarshal.Cast<byte, float>(raw).ToArray();
            if (values.AsSpan().ContainsAnyExceptInRange(float.MinValue, float.MaxValue))
            {
                return null; // Infinities and NaN have no scale.
            }

            return transposed ? new Matrix(Transpose(values, (int)rows, (int)columns), (int)columns, (int)rows) : new Matrix(values, (int)rows, (int)columns);
        }

        /// <summary>Each column by its own scale, its largest value 127 steps from the zero point.</summary>
        internal (byte[] Integers, float[] Scales) ToIntegers()
        {
            var scales = new float[Columns];
            for (var i = 0; i < Values.Length; i++)
            {
                scales[i % Columns] = Math.Max(scales[i % Columns], Math.Abs(Values[i]));
            }

            for (var column = 0; column < Columns; column++)
            {
                scales[column] = scales[column] > 0 ? scales[column] / Levels : 1;
            }

            var integers = new byte[Values.Length];
            for (var i = 0; i < integers.Length; i++)
            {
                integers[i] = (byte)(ZeroPoint + Math.Clamp((int)MathF.Round(Values[i] / scales[i % Columns]), -Levels, Levels));
            }

            return (integers, scales);
        }

        private static float[] Transpose(float[] values, int rows, int columns)
        {
            var transposed = new float[values.Length];
            for (var row = 0; row < rows; row++)
            {
                for (var column = 0; column < columns; column++)
                {
                    transposed[(column * rows) + row] = values[(row * columns) + column];
                }
            }

            return transposed;
        }
    }
}
