using Slipway.Native.Onnx;

namespace Slipway.Tests.Serving;

/// <summary>Small graphs of other signatures than a table of features.</summary>
internal static class TensorModels
{
    /// <summary>Triton's model <c>simple</c>: the sum and the difference of two rows of integers.</summary>
    public static byte[] SumAndDifference(OnnxElementType type = OnnxElementType.Int32, string? varyingName = null, params long[] shape) => new OnnxModelWriter("simple") { VaryingName = varyingName }
        .AddInput("INPUT0", type, shape is [] ? [-1, 16] : shape)
        .AddInput("INPUT1", type, shape is [] ? [-1, 16] : shape)
        .AddOutput("OUTPUT0", type, shape is [] ? [-1, 16] : shape)
        .AddOutput("OUTPUT1", type, shape is [] ? [-1, 16] : shape)
        .AddNode("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"])
        .AddNode("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])
        .ToBytes();

    /// <summary>A by B, or what is left of that.</summary>
    public static byte[] Quotient(string op, OnnxElementType type, params OnnxAttribute[] attributes) => new OnnxModelWriter("quotient")
        .AddInput("A", type).AddInput("B", type).AddOutput("C", type).AddNode(op, ["A", "B"], ["C"], attributes).ToBytes();

    /// <summary>Answers what it was sent.</summary>
    public static byte[] Echo(OnnxElementType type, params long[] shape) => new OnnxModelWriter("echo")
        .AddInput("IN", type, shape).AddOutput("OUT", type, shape).AddNode("Identity", ["IN"], ["OUT"]).ToBytes();

    /// <summary>Answers what it was sent, many times over.</summary>
    public static byte[] Fan(int outputs)
    {
        var writer = new OnnxModelWriter("fan").AddInput("IN", OnnxElementType.Int32, 1);
        for (var i = 0; i < outputs; i++)
        {
            writer.AddOutput($"OUT{i}", OnnxElementType.Int32, 1).AddNode("Identity", ["IN"], [$"OUT{i}"]);
        }

        return writer.ToBytes();
    }

    /// <summary>A value for each row and two more of each: an input that looks like features, but answers that do not.</summary>
    public static byte[] Classifier() => new OnnxModelWriter("classifier")
        .AddInput("float_input", OnnxElementType.Float, -1, 2)
        .AddOutput("label", OnnxElementType.Int64, -1)
        .AddOutput("probabilities", OnnxElementType.Float, -1, 2)
        .AddNode("Softmax", ["float_input"], ["probabilities"], OnnxAttribute.Int("axis", 1))
        .AddNode("ArgMax", ["probabilities"], ["label"], OnnxAttribute.Int("axis", 1), OnnxAttribute.Int("keepdims", 0))
        .ToBytes();
}
