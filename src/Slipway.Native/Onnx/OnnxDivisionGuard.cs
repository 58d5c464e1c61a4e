using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Slipway.Native.Onnx;

/// <summary>
/// Takes out of a graph what ends the process: the runtime divides integers with the processor's own instruction, which traps when the smallest number is
/// divided by -1, and so whoever may send a divisor could stop the server with one request.
/// </summary>
/// <remarks>
/// <para>
/// <c>Div(A, B)</c> becomes <c>Where(B == -1, A * B, Div(A, Where(B == -1, 1, B)))</c>, whose product wraps to what the quotient of two's complement is, and <c>Mod(A, B)</c> becomes
/// <c>Mod(A, Where(B == -1, 1, B))</c>, as nothing is left of a division by either. A divisor that is a constant without -1 needs none of it.
/// </para>
/// <para>
/// Only INT32 and INT64 trap: smaller integers are widened before. Which they are is found out from what the file declares and from each operator's rule; where neither tells, as in a model's own
/// functions, a node stays as it is. So do those of operator sets before 9, which have no <c>Where</c>.
/// </para>
/// <para>Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Types of operators: https://onnx.ai/onnx/operators/</para>
/// </remarks>
internal static class OnnxDivisionGuard
{
    private const int OpsetMin = 9;
    private const int DepthMax = 100;

    /// <summary>Rewrites a model.</summary>
    /// <param name="model">The file.</param>
    /// <param name="info">What it says of itself.</param>
    /// <param name="guarded">The model without traps; null when it needs none of this.</param>
    internal static bool TryRewrite(ReadOnlySpan<byte> model, OnnxModelInfo info, [NotNullWhen(true)] out ProtobufWriter? guarded)
    {
        guarded = null;
        var opset = Math.Max(info.OpsetImports.GetValueOrDefault(""), info.OpsetImports.GetValueOrDefault("ai.onnx"));
        if (opset < OpsetMin || !(info.OpTypes.Contains("Div") || info.OpTypes.Contains("Mod")))
        {
            return false;
        }

        // Looked through before anything is written: most divisors are constants, and a large model is not copied for nothing.
        var look = new Rewriter("");
        for (var reader = new ProtobufReader(model); reader.Next();)
        {
            if (reader.Field == 7)
            {
                look.Graph(reader.Bytes, null, null, 0);
            }
        }

        if (look.Types.Count == 0)
        {
            return false;
        }

        // No file holds its own digest, and so no name in it begins with this.
        var rewriter = new Rewriter($"division_{Convert.ToHexStringLower(SHA256.HashData(model))[..32]}");
        guarded = new ProtobufWriter();
        for (var reader = new ProtobufReader(model); reader.Next();)
        {
            if (reader.Field == 7)
            {
                var graph = new ProtobufWriter();
                foreach (var type in look.Types)
                {
                    rewriter.WriteConstants(type, graph);
                }

                rewriter.Graph(reader.Bytes, null, graph, 0);
                guarded.Message(7, graph);
            }
            else
            {
                guarded.Raw(reader.Raw);
            }
        }

        return true;
    }

    // What a graph knows of its values, and sees of the graph around it.
    private sealed class Scope(Scope? outer)
    {
        private readonly Dictionary<string, OnnxElementType> types = new(StringComparer.Ordinal);
        private readonly HashSet<string> harmless = new(StringComparer.Ordinal);

        internal OnnxElementType TypeOf(string name) => types.TryGetValue(name, out var type) ? type : outer?.TypeOf(name) ?? OnnxElementType.None;

        internal bool IsHarmless(string name) => harmless.Contains(name) || (!types.ContainsKey(name) && outer?.IsHarmless(name) is true);

        internal void Set(string name, OnnxElementType type)
        {
            // What the file declares goes before what is found out.
            if (name.Length > 0 && type != OnnxElementType.None)
            {
                types.TryAdd(name, type);
            }
        }

        internal void SetConstant(string name, ReadOnlySpan<byte> tensor)
        {
            var type = TypeOfTensor(tensor);
            Set(name, type);
            if (type is OnnxElementType.Int32 or OnnxElementType.Int64 && !MayHoldMinusOne(tensor, type))
            {
                harmless.Add(name);
            }
        }

        // An initializer that is an input too is a default that a caller may replace.
        internal void SetInput(OnnxTensorInfo input)
        {
            Set(input.Name, input.ElementType);
            harmless.Remove(input.Name);
        }
    }

    private sealed class Rewriter(string prefix)
    {
        private int count;

        /// <summary>Of the nodes that need it.</summary>
        internal SortedSet<OnnxElementType> Types { get; } = [];

        /// <summary>Goes through a graph.</summary>
        /// <param name="graph">The message.</param>
        /// <param name="outer">What it sees beside its own.</param>
        /// <param name="into">Gets its fields; null to look only.</param>
        /// <param name="depth">Graphs around it.</param>
        /// <returns>The types of its outputs.</returns>
        internal List<OnnxElementType> Graph(ReadOnlySpan<byte> graph, Scope? outer, ProtobufWriter? into, int depth)
        {
            if (depth > DepthMax)
            {
                throw ProtobufReader.Malformed();
            }

            var (scope, outputs) = Declared(graph, outer);
            for (var reader = new ProtobufReader(graph); reader.Next();)
            {
                if (reader.Field == 1)
                {
                    Node(OnnxNode.Parse(reader.Bytes), scope, into, depth);
                }
                else
                {
                    into?.Raw(reader.Raw);
                }
            }

            return [.. outputs.Select(scope.TypeOf)];
        }

        internal void WriteConstants(OnnxElementType type, ProtobufWriter into)
        {
            // Nodes rather than initializers, which have to be inputs as well in files of the first versions.
            WriteConstant(One(type), type, 1, into);
            WriteConstant(MinusOne(type), type, -1, into);
        }

        private string One(OnnxElementType type) => $"{prefix}/{type}/one";

        private string MinusOne(OnnxElementType type) => $"{prefix}/{type}/minus_one";

        private static void WriteConstant(string name, OnnxElementType type, long value, ProtobufWriter into)
        {
            var bytes = BitConverter.GetBytes(value).AsSpan(0, OnnxInput.SizeOf(type));
            Add(into, "Constant", [], name, OnnxAttribute.Tensor("value", OnnxModelWriter.Tensor(name, type, [], bytes)));
        }

        private static (Scope Scope, List<string> Outputs) Declared(ReadOnlySpan<byte> graph, Scope? outer)
        {
            var scope = new Scope(outer);
            var outputs = new List<string>();
            for (var reader = new ProtobufReader(graph); reader.Next();)
            {
                switch (reader.Field)
                {
                    case 5:
                        scope.SetConstant(OnnxModelReader.ReadExternal(reader.Bytes).Name, reader.Bytes);
                        break;
                    case 12 or 13:
                        var declared = OnnxModelReader.ReadValueInfo(reader.Bytes);
                        scope.Set(declared.Name, declared.ElementType);
                        if (reader.Field == 12)
                        {
                            outputs.Add(declared.Name);
                        }

                        break;
                    case 15:
                        for (var sparse = new ProtobufReader(reader.Bytes); sparse.Next();)
                        {
                            if (sparse.Field == 1)
                            {
                                scope.Set(OnnxModelReader.ReadExternal(sparse.Bytes).Name, TypeOfTensor(sparse.Bytes));
                            }
                        }

                        break;
                }
            }

            // After the initializers, in whatever order the file has them.
            for (var reader = new ProtobufReader(graph); reader.Next();)
            {
                if (reader.Field == 11)
                {
                    scope.SetInput(OnnxModelReader.ReadValueInfo(reader.Bytes));
                }
            }

            return (scope, outputs);
        }

        private void Node(OnnxNode node, Scope scope, ProtobufWriter? into, int depth)
        {
            List<OnnxElementType>? inner = null;
            if (node.HoldsGraph)
            {
                var copy = into is null ? null : new ProtobufWriter();
                inner = Attributes(node.Bytes, scope, copy, depth);
                into?.Message(1, copy!);
            }
            else if (node.IsStandard && node is { Op: "Div" or "Mod", Inputs: [var dividend, var divisor], Outputs: [var output] } && TypeToGuard(dividend, divisor, scope) is { } type)
            {
                Types.Add(type);
                if (into is not null)
                {
                    WriteGuarded(node, dividend, divisor, output, type, into);
                }
            }
            else
            {
                into?.Bytes(1, node.Bytes);
            }

            for (var i = 0; i < node.Outputs.Count; i++)
            {
                scope.Set(node.Outputs[i], TypeOf(node, i, scope, inner));
            }

            if (node is { IsStandard: true, Op: "Constant", Outputs: [var constant] } && node.Attribute("value") is { IsEmpty: false } value)
            {
                for (var reader = new ProtobufReader(value); reader.Next();)
                {
                    if (reader.Field == 5)
                    {
                        scope.SetConstant(constant, reader.Bytes);
                    }
                }
            }
        }

        // The types of the outputs of the last graph within: of an If both have the same.
        private List<OnnxElementType> Attributes(ReadOnlySpan<byte> node, Scope scope, ProtobufWriter? into, int depth)
        {
            List<OnnxElementType> outputs = [];
            for (var reader = new ProtobufReader(node); reader.Next();)
            {
                if (reader.Field != 5)
                {
                    into?.Raw(reader.Raw);
                    continue;
                }

                var copy = into is null ? null : new ProtobufWriter();
                for (var attribute = new ProtobufReader(reader.Bytes); attribute.Next();)
                {
                    if (attribute.Field is 6 or 11)
                    {
                        var graph = into is null ? null : new ProtobufWriter();
                        outputs = Graph(attribute.Bytes, scope, graph, depth + 1);
                        copy?.Message(attribute.Field, graph!);
                    }
                    else
                    {
                        copy?.Raw(attribute.Raw);
                    }
                }

                into?.Message(5, copy!);
            }

            return outputs;
        }

        private static OnnxElementType? TypeToGuard(string dividend, string divisor, Scope scope)
        {
            var type = scope.TypeOf(divisor) is not OnnxElementType.None and var known ? known : scope.TypeOf(dividend);
            return type is OnnxElementType.Int32 or OnnxElementType.Int64 && !scope.IsHarmless(divisor) ? type : null;
        }

        private void WriteGuarded(OnnxNode node, string dividend, string divisor, string output, OnnxElementType type, ProtobufWriter into)
        {
            var name = $"{prefix}/{count++}";
            Add(into, "Equal", [divisor, MinusOne(type)], $"{name}/is_minus_one");
            Add(into, "Where", [$"{name}/is_minus_one", One(type), divisor], $"{name}/safe");
            if (node.Op == "Mod")
            {
                into.Message(1, Between(node, dividend, $"{name}/safe", output));
                return;
            }

            into.Message(1, Between(node, dividend, $"{name}/safe", $"{name}/quotient"));
            Add(into, "Mul", [dividend, divisor], $"{name}/wrapped");
            Add(into, "Where", [$"{name}/is_minus_one", $"{name}/wrapped", $"{name}/quotient"], output);
        }

        // With its own name and attributes: who divides by zero is told which node it was.
        private static ProtobufWriter Between(OnnxNode node, string dividend, string divisor, string output)
        {
            var written = new ProtobufWriter();
            written.Text(1, dividend);
            written.Text(1, divisor);
            written.Text(2, output);
            for (var reader = new ProtobufReader(node.Bytes); reader.Next();)
            {
                if (reader.Field is not (1 or 2))
                {
                    written.Raw(reader.Raw);
                }
            }

            return written;
        }

        private static void Add(ProtobufWriter into, string op, string[] inputs, string output, params OnnxAttribute[] attributes) =>
            into.Message(1, OnnxModelWriter.Node($"{output}/{op}", "", op, inputs, [output], attributes));

        private static OnnxElementType TypeOf(OnnxNode node, int output, Scope scope, List<OnnxElementType>? inner)
        {
            if (!node.IsStandard)
            {
                return OnnxElementType.None;
            }

            OnnxElementType Input(int i) => i < node.Inputs.Count ? scope.TypeOf(node.Inputs[i]) : OnnxElementType.None;
            OnnxElementType Named(string attribute, OnnxElementType otherwise) => (OnnxElementType)node.Integer(attribute, (long)otherwise);
            switch (node.Op)
            {
                case "Cast": return Named("to", OnnxElementType.None);
                case "Shape" or "Size" or "ArgMax" or "ArgMin" or "NonZero" or "NonMaxSuppression" or "SequenceLength": return OnnxElementType.Int64;
                case "TopK" or "MaxPool" or "Unique" or "StringSplit" when output > 0: return OnnxElementType.Int64;
                case "Equal" or "Greater" or "GreaterOrEqual" or "Less" or "LessOrEqual" or "And" or "Or" or "Xor" or "Not" or "IsNaN" or "IsInf" or "OptionalHasElement" or "RegexFullMatch":
                    return OnnxElementType.Bool;
                case "Dropout" when output > 0: return OnnxElementType.Bool;
                case "DynamicQuantizeLinear" when output == 1: return OnnxElementType.Float;
                case "QuantizeLinear" or "DynamicQuantizeLinear": return OnnxElementType.UInt8;
                case "MatMulInteger" or "ConvInteger": return OnnxElementType.Int32;
                case "DequantizeLinear" or "TfIdfVectorizer": return OnnxElementType.Float;
                case "HannWindow" or "HammingWindow" or "BlackmanWindow" or "MelWeightMatrix": return Named("output_datatype", OnnxElementType.Float);
                case "Multinomial": return Named("dtype", OnnxElementType.Int32);
                case "EyeLike" or "Bernoulli": return Named("dtype", Input(0));
                case "Constant": return TypeOfConstant(node, OnnxElementType.None);
                case "ConstantOfShape": return TypeOfConstant(node, OnnxElementType.Float);
                case "Where" or "CastLike": return Input(1) is not OnnxElementType.None and var chosen ? chosen : node.Op == "Where" ? Input(2) : OnnxElementType.None;
                case "OneHot": return Input(2);
                case "If" or "Scan": return inner is not null && output < inner.Count ? inner[output] : OnnxElementType.None;
                case "Loop": return inner is not null && output + 1 < inner.Count ? inner[output + 1] : OnnxElementType.None; // The body's first output says whether it goes on.

                // Their inputs are of one type.
                case "Add" or "Sub" or "Mul" or "Div" or "Mod" or "Min" or "Max" or "Sum" or "Concat":
                    return node.Inputs.Select(scope.TypeOf).FirstOrDefault(type => type != OnnxElementType.None);
                default: return Input(0);
            }
        }

        private static OnnxElementType TypeOfConstant(OnnxNode node, OnnxElementType otherwise)
        {
            for (var reader = new ProtobufReader(node.Attribute("value")); reader.Next();)
            {
                if (reader.Field == 5)
                {
                    return TypeOfTensor(reader.Bytes);
                }
            }

            return !node.Attribute("value_int").IsEmpty || !node.Attribute("value_ints").IsEmpty ? OnnxElementType.Int64 : otherwise;
        }
    }

    private static OnnxElementType TypeOfTensor(ReadOnlySpan<byte> tensor)
    {
        for (var reader = new ProtobufReader(tensor); reader.Next();)
        {
            if (reader.Field == 2)
            {
                return (OnnxElementType)(int)reader.Number;
            }
        }

        return OnnxElementType.None;
    }

    // In whichever of its three places a tensor keeps its integers.
    private static bool MayHoldMinusOne(ReadOnlySpan<byte> tensor, OnnxElementType type)
    {
        var values = new List<long>();
        for (var reader = new ProtobufReader(tensor); reader.Next();)
        {
            switch (reader.Field)
            {
                case 5 or 7 when reader.IsBytes: ProtobufReader.Unpack(reader.Bytes, values); break;
                case 5 or 7: values.Add((long)reader.Number); break;
                case 9 when type == OnnxElementType.Int32 ? MemoryMarshal.Cast<byte, int>(reader.Bytes).Contains(-1) : MemoryMarshal.Cast<byte, long>(reader.Bytes).Contains(-1): return true;
            }
        }

        // A negative INT32 may be written as 32 bits or as 64.
        return type == OnnxElementType.Int32 ? values.Exists(value => (int)value == -1) : values.Contains(-1);
    }
}
