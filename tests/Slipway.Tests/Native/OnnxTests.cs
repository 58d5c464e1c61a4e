using System.Text;
using System.Text.Json;
using Slipway.Native.Onnx;

namespace Slipway.Tests.Native;

public sealed class OnnxTests
{
    private static readonly string[] Names = ["distance", "hour", "late_rate"];
    private static readonly double[] Means = [730.5, 13.2, 0.21];
    private static readonly double[] Scales = [580.25, 4.7, 0];
    private static readonly double[] Coefficients = [-0.35, 0.81, 1.7];
    private const double Intercept = -1.3;

    private static byte[] Logistic() => OnnxConverters.LogisticRegression(Names, Means, Scales, Coefficients, Intercept);

    private static double Expected(ReadOnlySpan<float> row)
    {
        var z = Intercept;
        for (var i = 0; i < row.Length; i++)
        {
            z += float.IsNaN(row[i]) ? 0 : Coefficients[i] * (row[i] - Means[i]) / (Scales[i] == 0 ? 1 : Scales[i]);
        }

        return 1 / (1 + Math.Exp(-z));
    }

    private static float[] Rows(int count)
    {
        var random = new Random(7);
        var rows = new float[count * 3];
        for (var i = 0; i < rows.Length; i++)
        {
            rows[i] = random.Next(10) == 0 ? float.NaN : (float)(random.NextDouble() * (i % 3 == 0 ? 2500 : i % 3 == 1 ? 24 : 1));
        }

        return rows;
    }

    [Fact]
    public void A_logistic_regression_written_as_ONNX_predicts_as_its_formula_also_with_missing_values()
    {
        using var session = OnnxSession.Load(Logistic());
        var rows = Rows(500);
        var output = new float[500];

        session.RunMatrix(rows, 500, output);

        for (var i = 0; i < 500; i++)
        {
            Assert.Equal(Expected(rows.AsSpan(i * 3, 3)), output[i], 1e-5);
        }
    }

    [Fact]
    public void A_session_tells_its_inputs_outputs_and_metadata()
    {
        using var session = OnnxSession.Load(Logistic());

        var input = Assert.Single(session.Inputs);
        Assert.Equal(("features", OnnxElementType.Float), (input.Name, input.ElementType));
        Assert.Equal([-1, 3], input.Shape);
        var output = Assert.Single(session.Outputs);
        Assert.Equal(("probability", OnnxElementType.Float), (output.Name, output.ElementType));
        Assert.Equal([-1, 1], output.Shape);
        Assert.Equal("slipway", session.Model.Producer);
        Assert.Equal(17, session.Model.OpsetImports[""]);
        Assert.Equal(["Gemm", "IsNaN", "Mul", "Sigmoid", "Sub", "Where"], session.Model.OpTypes);
        Assert.Equal(Names, JsonSerializer.Deserialize<string[]>(session.Model.Metadata[OnnxConverters.FeatureNamesKey])!);
        Assert.Equal(input.Shape, session.Model.Inputs[0].Shape);
        Assert.StartsWith("1.", OnnxEnvironment.RuntimeVersion, StringComparison.Ordinal);
    }

    [Fact]
    public void The_general_run_and_the_matrix_run_agree_also_at_an_offset()
    {
        using var session = OnnxSession.Load(Logistic());
        var rows = Rows(10);
        var direct = new float[4];
        session.RunMatrix(rows.AsSpan(6, 12), 4, direct);

        using var result = session.Run(OnnxInput.Float("features", new ArraySegment<float>(rows, 6, 12), 4, 3));

        Assert.Equal(direct, result.Floats(0).ToArray());
        Assert.Equal([4, 1], result.Shape(0));
        Assert.Equal(0, result.Position("probability"));
    }

    [Theory]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(500)]
    public void A_run_has_room_for_any_number_of_outputs(int outputs)
    {
        using var session = OnnxSession.Load(Serving.TensorModels.Fan(outputs));

        using var result = session.Run(OnnxInput.Int32("IN", new[] { 42 }, 1));

        Assert.Equal(outputs, result.Count);
        for (var i = 0; i < outputs; i++)
        {
            Assert.Equal(42, result.Values<int>(i)[0]);
        }
    }

    [Fact]
    public void A_shape_of_more_values_than_can_be_counted_is_refused() =>
        Assert.Throws<OnnxException>(() => OnnxInput.Float("x", Array.Empty<float>(), 1L << 40, 1L << 40));

    [Fact]
    public void A_run_of_one_row_allocates_nothing()
    {
        using var session = OnnxSession.Load(Logistic());
        float[] row = [700, 12, 0.2f], output = new float[1];
        for (var i = 0; i < 1000; i++)
        {
            session.RunMatrix(row, 1, output);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            session.RunMatrix(row, 1, output);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task Many_threads_may_run_one_session()
    {
        using var session = OnnxSession.Load(Logistic());
        var rows = Rows(64);
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            var output = new float[1];
            for (var i = 0; i < 2000; i++)
            {
                var row = rows.AsSpan(i % 64 * 3, 3);
                session.RunMatrix(row, 1, output);
                Assert.Equal(Expected(row), output[0], 1e-5);
            }
        })));
    }

    [Fact]
    public void Every_supported_element_type_passes_through_a_model_unchanged()
    {
        var writer = new OnnxModelWriter("identity");
        (string Name, OnnxElementType Type)[] tensors =
        [
            ("f", OnnxElementType.Float), ("d", OnnxElementType.Double), ("l", OnnxElementType.Int64), ("i", OnnxElementType.Int32),
            ("b", OnnxElementType.Bool), ("s", OnnxElementType.String), ("u", OnnxElementType.UInt8), ("h", OnnxElementType.Float16),
            ("x", OnnxElementType.Int8),
        ];
        foreach (var (name, type) in tensors)
        {
            writer.AddInput(name, type, -1).AddOutput(name + "_out", type, -1).AddNode("Identity", [name], [name + "_out"]);
        }

        using var session = OnnxSession.Load(writer.ToBytes());
        using var result = session.Run(
            OnnxInput.Float("f", new[] { 1.5f, float.NaN }, 2),
            OnnxInput.Double("d", new[] { 0.1 }, 1),
            OnnxInput.Int64("l", new[] { long.MinValue, 5 }, 2),
            OnnxInput.Int32("i", new[] { int.MinValue }, 1),
            OnnxInput.Bool("b", new[] { true, false }, 2),
            OnnxInput.String("s", new[] { "", "żółw", "two" }, 3),
            OnnxInput.Bytes("u", OnnxElementType.UInt8, new byte[] { 0, 255 }, 2),
            OnnxInput.Bytes("h", OnnxElementType.Float16, new byte[] { 0, 0x3C }, 1),
            OnnxInput.Bytes("x", OnnxElementType.Int8, Array.Empty<byte>(), 0));

        Assert.Equal([1.5f, float.NaN], result.Floats(0).ToArray());
        Assert.Equal([0.1], result.Values<double>(1).ToArray());
        Assert.Equal([long.MinValue, 5], result.Longs(2).ToArray());
        Assert.Equal([int.MinValue], result.Values<int>(3).ToArray());
        Assert.Equal([true, false], result.Values<bool>(4).ToArray());
        Assert.Equal(["", "żółw", "two"], result.Strings(5));
        Assert.Equal([0, 255], result.Bytes(6).ToArray());
        Assert.Equal((Half)1, result.Values<Half>(7)[0]);
        Assert.Equal(0, result.Values<sbyte>(8).Length);
        Assert.Equal([0], result.Shape(8));
    }

    [Fact]
    public void A_wrong_input_is_refused_with_its_name()
    {
        using var session = OnnxSession.Load(Logistic());

        Assert.Contains("'other'", Fails(() => session.Run(OnnxInput.Float("other", new float[3], 1, 3)).Dispose()), StringComparison.Ordinal);
        Assert.Contains("Double", Fails(() => session.Run(OnnxInput.Double("features", new double[3], 1, 3)).Dispose()), StringComparison.Ordinal);
        Assert.Contains("needs 6", Fails(() => session.Run(OnnxInput.Float("features", new float[3], 2, 3)).Dispose()), StringComparison.Ordinal);
        Assert.Contains("features", Fails(() => session.Run(OnnxInput.Float("features", new float[4], 1, 4)).Dispose()), StringComparison.Ordinal);
        Assert.Contains("features", Fails(() => session.RunMatrix(new float[4], 1, new float[1])), StringComparison.Ordinal);
        Fails(() => session.RunMatrix(new float[6], 2, new float[4]));
        Fails(() => session.RunMatrix(new float[5], 2, new float[2]));
    }

    [Fact]
    public void Ballast_leaves_the_outputs_equal_and_costs_time()
    {
        var model = Logistic();
        using var plain = OnnxSession.Load(model);
        using var slow = OnnxSession.Load(OnnxConverters.WithBallast(model, width: 256));
        var rows = Rows(100);
        float[] expected = new float[100], actual = new float[100];

        plain.RunMatrix(rows, 100, expected);
        slow.RunMatrix(rows, 100, actual);

        Assert.Equal(expected, actual);
        Assert.Equal(plain.Inputs[0].Shape, slow.Inputs[0].Shape);
        Assert.Equal(plain.Model.Metadata, slow.Model.Metadata);

        // The products are still there after optimization: an order of magnitude, not a matter of noise.
        var fast = Best(() => plain.RunMatrix(rows, 100, actual));
        Assert.True(Best(() => slow.RunMatrix(rows, 100, actual)) > 10 * fast);

        static TimeSpan Best(Action run) => Enumerable.Range(0, 5).Min(_ =>
        {
            var started = System.Diagnostics.Stopwatch.GetTimestamp();
            run();
            return System.Diagnostics.Stopwatch.GetElapsedTime(started);
        });
    }

    [Theory]
    [InlineData("weights.bin")]
    [InlineData("../../etc/passwd")]
    [InlineData("*/_ORT_MEM_ADDR_/*")]
    public void A_model_with_data_outside_its_file_is_refused(string location)
    {
        var error = Assert.Throws<OnnxException>(() => OnnxSession.Load(WithExternalData(location, nested: false)));
        Assert.Contains("'stray'", error.Message, StringComparison.Ordinal);

        Assert.Equal(["stray"], OnnxModelReader.Read(WithExternalData(location, nested: true)).ExternalData.Select(tensor => tensor.Name));
    }

    [Theory]
    [InlineData("")]
    [InlineData("hello, this is not a model")]
    [InlineData("\b\b")]
    public void Bytes_that_are_no_model_are_refused(string text) =>
        Assert.Throws<OnnxException>(() => OnnxSession.Load(Encoding.UTF8.GetBytes(text)));

    [Fact]
    public void A_cut_or_damaged_model_never_does_more_than_throw()
    {
        var model = Logistic();
        var random = new Random(1);
        for (var i = 0; i < 2000; i++)
        {
            var damaged = model[..random.Next(model.Length)];
            if (damaged.Length > 0)
            {
                damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
            }

            try
            {
                OnnxModelReader.Read(damaged);
            }
            catch (OnnxException)
            {
            }
        }
    }

    [Fact]
    public void Nothing_but_the_file_itself_may_be_a_model_so_that_the_runtimes_other_format_is_refused()
    {
        byte[] flatbuffer = [16, 0, 0, 0, .. "ORTM"u8, .. new byte[64]];
        Assert.Throws<OnnxException>(() => OnnxSession.Load(flatbuffer));
    }

    [Fact]
    public void Graphs_nested_without_end_are_refused_instead_of_exhausting_the_stack()
    {
        var graph = new ProtobufWriter();
        for (var depth = 0; depth < 5000; depth++)
        {
            var attribute = new ProtobufWriter();
            attribute.Message(6, graph);
            var node = new ProtobufWriter();
            node.Message(5, attribute);
            graph = new ProtobufWriter();
            graph.Message(1, node);
        }

        var model = new ProtobufWriter();
        model.Int(1, 8);
        model.Message(7, graph);
        Assert.Throws<OnnxException>(() => OnnxModelReader.Read(model.Written));
    }

    private static string Fails(Action run) => Assert.Throws<OnnxException>(run).Message;

    private static byte[] WithExternalData(string location, bool nested)
    {
        var pair = new ProtobufWriter();
        pair.Text(1, "location");
        pair.Text(2, location);
        var tensor = new ProtobufWriter();
        tensor.PackedInts(1, [4]);
        tensor.Int(2, 1);
        tensor.Text(8, "stray");
        tensor.Message(13, pair);
        tensor.Int(14, 1);
        var graph = new ProtobufWriter();
        graph.Message(5, tensor);
        if (nested)
        {
            var attribute = new ProtobufWriter();
            attribute.Text(1, "body");
            attribute.Message(6, graph);
            var node = new ProtobufWriter();
            node.Text(4, "If");
            node.Message(5, attribute);
            graph = new ProtobufWriter();
            graph.Message(1, node);
        }

        var model = new ProtobufWriter();
        model.Int(1, 8);
        model.Message(7, graph);
        return model.Written.ToArray();
    }
}
