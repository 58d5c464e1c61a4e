using Slipway.Native.Onnx;

namespace Slipway.Tests.Native;

public sealed class OnnxQuantizerTests
{
    private const int Width = 96;

    private static readonly float[] First = Values(Width * Width, seed: 1, scale: 0.4f);
    private static readonly float[] Second = Values(Width * Width, seed: 2, scale: 0.2f);
    private static readonly float[] Bias = Values(Width, seed: 3, scale: 1);

    [Fact]
    public void A_quantized_network_gives_what_8_bit_arithmetic_by_hand_gives()
    {
        var quantized = OnnxQuantizer.Quantize(Network());
        var rows = Values(3 * Width, seed: 4, scale: 2);
        var expected = Linear(Relu(Linear(rows, First, transposed: false, bias: null)), Second, transposed: true, Bias);

        Assert.Equal(2, quantized.Weights);
        Assert.Equal(2 * Width * Width, quantized.Values);
        Assert.All(Run(quantized.Model, rows).Zip(expected), pair => Assert.Equal(pair.Second, pair.First, 1e-4));
    }

    [Fact]
    public void A_quantized_network_stays_close_to_the_one_it_was_made_from_in_a_quarter_of_its_size()
    {
        var network = Network();
        var quantized = OnnxQuantizer.Quantize(network).Model;
        var rows = Values(64 * Width, seed: 5, scale: 2);
        var (exact, close) = (Run(network, rows), Run(quantized, rows));
        var spread = exact.Max() - exact.Min();

        Assert.InRange(quantized.Length, 0, network.Length * 0.35);
        Assert.InRange(exact.Zip(close).Max(pair => Math.Abs(pair.First - pair.Second)) / spread, 1e-6, 0.03);
    }

    [Fact]
    public void Its_inputs_outputs_and_metadata_stay()
    {
        var (before, after) = (OnnxModelReader.Read(Network()), OnnxModelReader.Read(OnnxQuantizer.Quantize(Network()).Model));

        Assert.Equal(before.Inputs.Select(input => input.Name), after.Inputs.Select(input => input.Name));
        Assert.Equal(before.Outputs.Select(output => output.Name), after.Outputs.Select(output => output.Name));
        Assert.Equal("delay", after.Metadata["purpose"]);
        Assert.Contains("MatMulInteger", after.OpTypes);
        Assert.DoesNotContain("Gemm", after.OpTypes);
    }

    [Fact]
    public void Matrices_that_are_no_constants_of_a_fair_size_stay()
    {
        var small = new OnnxModelWriter("small").AddInput("x", OnnxElementType.Float, -1, 4).AddOutput("y", OnnxElementType.Float, -1, 4)
            .AddInitializer("w", Values(16, 1, 1), 4, 4).AddNode("MatMul", ["x", "w"], ["y"]).ToBytes();
        var replaceable = new OnnxModelWriter("replaceable").AddInput("x", OnnxElementType.Float, -1, Width).AddInput("w", OnnxElementType.Float, Width, Width)
            .AddOutput("y", OnnxElementType.Float, -1, Width).AddInitializer("w", First, Width, Width).AddNode("MatMul", ["x", "w"], ["y"]).ToBytes();
        var infinite = new OnnxModelWriter("infinite").AddInput("x", OnnxElementType.Float, -1, Width).AddOutput("y", OnnxElementType.Float, -1, Width)
            .AddInitializer("w", [.. First.SkipLast(1), float.PositiveInfinity], Width, Width).AddNode("MatMul", ["x", "w"], ["y"]).ToBytes();

        Assert.All([small, replaceable, infinite], model =>
            Assert.Contains("nothing to quantize", Assert.Throws<OnnxException>(() => OnnxQuantizer.Quantize(model)).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_matrix_that_another_node_reads_too_stays_for_it()
    {
        var shared = new OnnxModelWriter("shared").AddInput("x", OnnxElementType.Float, -1, Width).AddOutput("y", OnnxElementType.Float, Width, Width).AddOutput("z", OnnxElementType.Float, -1, Width)
            .AddInitializer("w", First, Width, Width).AddNode("MatMul", ["x", "w"], ["z"]).AddNode("Neg", ["w"], ["y"]).ToBytes();
        using var session = OnnxSession.Load(OnnxQuantizer.Quantize(shared).Model);
        using var result = session.Run(OnnxInput.Float("x", Values(Width, 6, 1), [1, Width]));

        Assert.Equal(First.Select(value => -value), result.Values<float>(result.Position("y")).ToArray());
    }

    [Fact]
    public void What_is_no_model_is_refused() => Assert.Throws<OnnxException>(() => OnnxQuantizer.Quantize([1, 2, 3]));

    private static byte[] Network() => new OnnxModelWriter("network")
        .AddInput("x", OnnxElementType.Float, -1, Width).AddOutput("y", OnnxElementType.Float, -1, Width)
        .AddInitializer("first", First, Width, Width).AddInitializer("second", Second, Width, Width).AddInitializer("bias", Bias, Width)
        .AddNode("MatMul", ["x", "first"], ["hidden"]).AddNode("Relu", ["hidden"], ["positive"])
        .AddNode("Gemm", ["positive", "second", "bias"], ["y"], OnnxAttribute.Int("transB", 1))
        .AddMetadata("purpose", "delay").ToBytes();

    // ONNX's own definition of DynamicQuantizeLinear, and weights of 127 steps a side for each column.
    private static float[] Linear(float[] input, float[] weight, bool transposed, float[]? bias)
    {
        float At(int row, int column) => transposed ? weight[(column * Width) + row] : weight[(row * Width) + column];
        var scale = (Math.Max(0, input.Max()) - Math.Min(0, input.Min())) / 255;
        var zero = Math.Clamp(MathF.Round(-Math.Min(0, input.Min()) / scale), 0, 255);
        var output = new float[input.Length];
        for (var i = 0; i < output.Length; i++)
        {
            var (row, column) = (i / Width, i % Width);
            var step = Enumerable.Range(0, Width).Max(k => Math.Abs(At(k, column))) / 127;
            var sum = Enumerable.Range(0, Width).Sum(k =>
                (int)(Math.Clamp(MathF.Round(input[(row * Width) + k] / scale) + zero, 0, 255) - zero) * (int)MathF.Round(At(k, column) / step));
            output[i] = (sum * scale * step) + (bias?[column] ?? 0);
        }

        return output;
    }

    private static float[] Relu(float[] values) => [.. values.Select(value => Math.Max(0, value))];

    private static float[] Run(byte[] model, float[] rows)
    {
        using var session = OnnxSession.Load(model);
        var output = new float[rows.Length];
        session.RunMatrix(rows, rows.Length / Width, output);
        return output;
    }

    private static float[] Values(int count, int seed, float scale)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => ((random.NextSingle() * 2) - 1) * scale)];
    }
}
