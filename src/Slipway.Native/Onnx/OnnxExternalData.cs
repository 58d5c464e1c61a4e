namespace Slipway.Native.Onnx;

/// <summary>Takes the tensors that a model keeps in other files into the model file, so that the runtime is never asked to open a path.</summary>
public static class OnnxExternalData
{
    private const int DepthMax = 100;

    private delegate void Inner(ReadOnlySpan<byte> message, ProtobufWriter into, int depth);

    /// <summary>The model as one file.</summary>
    /// <param name="model">The model file.</param>
    /// <param name="read">Reads the bytes that a tensor names.</param>
    /// <exception cref="OnnxException">The bytes are not an ONNX model.</exception>
    public static byte[] Inline(ReadOnlySpan<byte> model, Func<OnnxExternalTensor, byte[]> read)
    {
        var rewriter = new Rewriter(read);
        var writer = new ProtobufWriter();
        rewriter.Model(model, writer);
        return writer.Written.ToArray();
    }

    // One method per message of onnx.proto that can hold a tensor, however deep.
    private sealed class Rewriter(Func<OnnxExternalTensor, byte[]> read)
    {
        internal void Model(ReadOnlySpan<byte> model, ProtobufWriter into) => Copy(model, into, 0, field => field switch { 7 => Graph, 20 => Training, 25 => Function, _ => null });

        private void Graph(ReadOnlySpan<byte> graph, ProtobufWriter into, int depth) => Copy(graph, into, depth, field => field switch { 1 => Node, 5 => Tensor, 15 => Sparse, _ => null });

        private void Node(ReadOnlySpan<byte> node, ProtobufWriter into, int depth) => Copy(node, into, depth, field => field == 5 ? Attribute : null);

        private void Attribute(ReadOnlySpan<byte> attribute, ProtobufWriter into, int depth) =>
            Copy(attribute, into, depth, field => field switch { 5 or 10 => Tensor, 6 or 11 => Graph, 22 or 23 => Sparse, _ => null });

        private void Sparse(ReadOnlySpan<byte> sparse, ProtobufWriter into, int depth) => Copy(sparse, into, depth, field => field is 1 or 2 ? Tensor : null);

        private void Training(ReadOnlySpan<byte> training, ProtobufWriter into, int depth) => Copy(training, into, depth, field => field is 1 or 2 ? Graph : null);

        private void Function(ReadOnlySpan<byte> function, ProtobufWriter into, int depth) => Copy(function, into, depth, field => field switch { 7 => Node, 11 => Attribute, _ => null });

        private void Tensor(ReadOnlySpan<byte> tensor, ProtobufWriter into, int depth)
        {
            if (OnnxModelReader.ReadExternal(tensor).External is not { } external)
            {
                into.Raw(tensor);
                return;
            }

            for (var reader = new ProtobufReader(tensor); reader.Next();)
            {
                if (reader.Field is not (9 or 13 or 14))
                {
                    into.Raw(reader.Raw);
                }
            }

            into.Bytes(9, read(external));
        }

        private static void Copy(ReadOnlySpan<byte> message, ProtobufWriter into, int depth, Func<int, Inner?> inner)
        {
            if (depth > DepthMax)
            {
                throw ProtobufReader.Malformed();
            }

            for (var reader = new ProtobufReader(message); reader.Next();)
            {
                if (reader.IsBytes && inner(reader.Field) is { } rewrite)
                {
                    var part = new ProtobufWriter();
                    rewrite(reader.Bytes, part, depth + 1);
                    into.Message(reader.Field, part);
                }
                else
                {
                    into.Raw(reader.Raw);
                }
            }
        }
    }
}
