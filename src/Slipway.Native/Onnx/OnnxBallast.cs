using System.Runtime.InteropServices;

namespace Slipway.Native.Onnx;

/// <summary>Rewrites a model file so that its first output passes through useless work.</summary>
internal static class OnnxBallast
{
    internal static byte[] Add(ReadOnlySpan<byte> model, int width, int multiplications)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(multiplications, 1);
        var outputs = OnnxModelReader.Read(model).Outputs;
        if (outputs is not [{ ElementType: OnnxElementType.Float } output, ..])
        {
            throw new OnnxException(OnnxErrorCode.InvalidArgument, "Ballast needs a model whose first output is float.");
        }

        var rewritten = new List<byte>(model.Length + 1024);
        for (var reader = new ProtobufReader(model); reader.Next();)
        {
            if (reader.Field == 7)
            {
                var wrapper = new ProtobufWriter();
                wrapper.Bytes(7, Rewrite(reader.Bytes, output.Name, width, multiplications));
                rewritten.AddRange(wrapper.Written);
            }
            else
            {
                rewritten.AddRange(reader.Raw);
            }
        }

        return [.. rewritten];
    }

    private static byte[] Rewrite(ReadOnlySpan<byte> graph, string output, int width, int multiplications)
    {
        var before = output + "_before_ballast";
        var rewritten = new List<byte>(graph.Length + 1024);
        for (var reader = new ProtobufReader(graph); reader.Next();)
        {
            if (reader.Field == 1)
            {
                var wrapper = new ProtobufWriter();
                wrapper.Bytes(1, Rename(reader.Bytes, output, before));
                rewritten.AddRange(wrapper.Written);
            }
            else
            {
                rewritten.AddRange(reader.Raw);
            }
        }

        var added = new ProtobufWriter();
        added.Message(5, OnnxModelWriter.Tensor("ballast_shape", OnnxElementType.Int64, [2], MemoryMarshal.AsBytes<long>([width, width])));
        added.Message(5, OnnxModelWriter.Tensor("ballast_zero", OnnxElementType.Float, [], MemoryMarshal.AsBytes<float>([0])));
        Node("ConstantOfShape", ["ballast_shape"], "ballast_constant");

        // The first factor depends on the run's own output, so that nothing can be computed when the model is loaded; through
        // IsNaN, so that it is finite whatever the output is.
        Node("ReduceMax", [before], "ballast_max", OnnxAttribute.Int("keepdims", 0));
        Node("IsNaN", ["ballast_max"], "ballast_flag");
        Node("Cast", ["ballast_flag"], "ballast_seed", OnnxAttribute.Int("to", (int)OnnxElementType.Float));
        Node("Add", ["ballast_constant", "ballast_seed"], "ballast_0");
        for (var i = 0; i < multiplications; i++)
        {
            Node("MatMul", [$"ballast_{i}", "ballast_constant"], $"ballast_{i + 1}");
        }

        Node("ReduceMax", [$"ballast_{multiplications}"], "ballast_sum", OnnxAttribute.Int("keepdims", 0));
        Node("Mul", ["ballast_sum", "ballast_zero"], "ballast_nothing");
        Node("Add", [before, "ballast_nothing"], output);
        return [.. rewritten, .. added.Written];

        void Node(string op, string[] inputs, string result, params OnnxAttribute[] attributes) =>
            added.Message(1, OnnxModelWriter.Node("make_" + result, "", op, inputs, [result], attributes));
    }

    private static ReadOnlySpan<byte> Rename(ReadOnlySpan<byte> node, string from, string to)
    {
        var renamed = new ProtobufWriter();
        var rest = new List<byte>();
        for (var reader = new ProtobufReader(node); reader.Next();)
        {
            if (reader.Field is 1 or 2)
            {
                renamed.Text(reader.Field, reader.Text == from ? to : reader.Text);
            }
            else
            {
                rest.AddRange(reader.Raw);
            }
        }

        return (byte[])[.. renamed.Written, .. rest];
    }
}
