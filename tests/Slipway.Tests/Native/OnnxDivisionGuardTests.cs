using Slipway.Native.Onnx;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Native;

/// <summary>Divisions that end the process where nothing guards them: should one fail by that, run it by itself to see which.</summary>
public sealed class OnnxDivisionGuardTests
{
    private static readonly int[] Int32s = [int.MinValue, int.MinValue, 7, -7, 7, 0, int.MaxValue];
    private static readonly int[] Int32Divisors = [-1, 1, -1, 2, -2, -1, -1];

    [Fact]
    public void The_smallest_INT32_divided_by_minus_one_wraps_and_all_other_quotients_stay()
    {
        using var session = OnnxSession.Load(TensorModels.Quotient("Div", OnnxElementType.Int32));
        using var result = session.Run(OnnxInput.Int32("A", Int32s, 7), OnnxInput.Int32("B", Int32Divisors, 7));

        Assert.Equal([int.MinValue, int.MinValue, -7, -3, -3, 0, -int.MaxValue], result.Values<int>(0).ToArray());
    }

    [Fact]
    public void The_smallest_INT64_divided_by_minus_one_wraps_and_all_other_quotients_stay()
    {
        using var session = OnnxSession.Load(TensorModels.Quotient("Div", OnnxElementType.Int64));
        using var result = session.Run(OnnxInput.Int64("A", new[] { long.MinValue, long.MinValue, 7 }, 3), OnnxInput.Int64("B", new[] { -1, 2, -1L }, 3));

        Assert.Equal([long.MinValue, long.MinValue / 2, -7], result.Values<long>(0).ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Nothing_is_left_of_a_division_by_minus_one_and_all_other_remainders_stay(int fmod)
    {
        using var session = OnnxSession.Load(TensorModels.Quotient("Mod", OnnxElementType.Int32, OnnxAttribute.Int("fmod", fmod)));
        using var result = session.Run(OnnxInput.Int32("A", Int32s, 7), OnnxInput.Int32("B", Int32Divisors, 7));

        // With fmod the sign is the dividend's, without it the divisor's.
        Assert.Equal([0, 0, 0, fmod == 1 ? -1 : 1, fmod == 1 ? 1 : -1, 0, 0], result.Values<int>(0).ToArray());
        using var wide = OnnxSession.Load(TensorModels.Quotient("Mod", OnnxElementType.Int64, OnnxAttribute.Int("fmod", fmod)));
        using var remainder = wide.Run(OnnxInput.Int64("A", new[] { long.MinValue, 7 }, 2), OnnxInput.Int64("B", new[] { -1L, 4 }, 2));
        Assert.Equal([0, 3], remainder.Values<long>(0).ToArray());
    }

    [Fact]
    public void Shapes_are_broadcast_as_before()
    {
        using var session = OnnxSession.Load(TensorModels.Quotient("Div", OnnxElementType.Int32));
        using var column = session.Run(OnnxInput.Int32("A", new[] { int.MinValue, 6 }, 2, 1), OnnxInput.Int32("B", new[] { -1, 1, 3 }, 3));
        using var single = session.Run(OnnxInput.Int32("A", new[] { int.MinValue, 6 }, 2), OnnxInput.Int32("B", new[] { -1 }));

        Assert.Equal([2, 3], column.Shape(0));
        Assert.Equal([int.MinValue, int.MinValue, int.MinValue / 3, -6, 6, 2], column.Values<int>(0).ToArray());
        Assert.Equal([2], single.Shape(0));
        Assert.Equal([int.MinValue, -6], single.Values<int>(0).ToArray());
    }

    [Fact]
    public void A_division_of_constants_which_is_done_while_the_model_is_loaded_wraps_too()
    {
        var model = new OnnxModelWriter("constants").AddInput("x", OnnxElementType.Int32, 1).AddOutput("y", OnnxElementType.Int32, 1).AddOutput("z", OnnxElementType.Int64, 1)
            .AddInitializer("a", [int.MinValue], 1).AddInitializer("b", [-1], 1).AddInitializer("wide", [long.MinValue], 1)
            .AddNode("Div", ["a", "b"], ["quotient"]).AddNode("Add", ["x", "quotient"], ["y"])
            .AddNode("Constant", [], ["minus"], OnnxAttribute.Ints("value_ints", [-1])).AddNode("Mod", ["wide", "minus"], ["z"]).ToBytes();
        using var session = OnnxSession.Load(model);
        using var result = session.Run(OnnxInput.Int32("x", new[] { 5 }, 1));

        Assert.Equal(int.MinValue + 5, result.Values<int>(result.Position("y"))[0]);
        Assert.Equal(0, result.Values<long>(result.Position("z"))[0]);
    }

    [Fact]
    public void Types_are_found_out_through_casts_shapes_choices_and_sums()
    {
        var model = new OnnxModelWriter("inferred").AddInput("x", OnnxElementType.Float, -1).AddOutput("y", OnnxElementType.Int32, -1).AddOutput("z", OnnxElementType.Int64, -1).AddOutput("w", OnnxElementType.Int64, -1)
            .AddInitializer("smallest", [long.MinValue], 1).AddInitializer("two", [2L], 1)
            .AddNode("Cast", ["x"], ["whole"], OnnxAttribute.Int("to", (long)OnnxElementType.Int32))
            .AddNode("Neg", ["whole"], ["minus"]).AddNode("Div", ["whole", "minus"], ["y"])
            .AddNode("Shape", ["x"], ["size"]).AddNode("Sub", ["size", "two"], ["less"]).AddNode("Greater", ["size", "less"], ["more"])
            .AddNode("Where", ["more", "less", "size"], ["divisor"]).AddNode("Div", ["smallest", "divisor"], ["z"])
            .AddNode("Mod", ["smallest", "less"], ["w"]).ToBytes();
        using var session = OnnxSession.Load(model);
        using var result = session.Run(OnnxInput.Float("x", new float[] { int.MinValue }, 1));
        using var other = session.Run(OnnxInput.Float("x", new float[] { 9 }, 1));

        Assert.Equal(1, result.Values<int>(result.Position("y"))[0]); // The negative of the smallest is itself.
        Assert.Equal(-1, other.Values<int>(other.Position("y"))[0]);
        Assert.Equal(long.MinValue, result.Values<long>(result.Position("z"))[0]);
        Assert.Equal(0, result.Values<long>(result.Position("w"))[0]);
    }

    [Fact]
    public void A_branch_divides_what_is_around_it()
    {
        static OnnxModelWriter Branch(string op) => new OnnxModelWriter(op).AddOutput($"{op}_out", OnnxElementType.Int32, -1).AddNode(op, ["A", "B"], [$"{op}_out"]);
        var model = new OnnxModelWriter("branches").AddInput("choose", OnnxElementType.Bool, 1).AddInput("A", OnnxElementType.Int32, -1).AddInput("B", OnnxElementType.Int32, -1)
            .AddOutput("C", OnnxElementType.Int32, -1).AddOutput("D", OnnxElementType.Int32, -1)
            .AddNode("If", ["choose"], ["C"], OnnxAttribute.Graph("then_branch", Branch("Div")), OnnxAttribute.Graph("else_branch", Branch("Mod")))
            .AddNode("Div", ["C", "B"], ["D"]).ToBytes();
        using var session = OnnxSession.Load(model);
        using var quotient = session.Run(OnnxInput.Bool("choose", new[] { true }, 1), OnnxInput.Int32("A", new[] { int.MinValue, 9 }, 2), OnnxInput.Int32("B", new[] { -1, 2 }, 2));
        using var remainder = session.Run(OnnxInput.Bool("choose", new[] { false }, 1), OnnxInput.Int32("A", new[] { int.MinValue, 9 }, 2), OnnxInput.Int32("B", new[] { -1, 2 }, 2));

        Assert.Equal([int.MinValue, 4], quotient.Values<int>(quotient.Position("C")).ToArray());
        Assert.Equal([int.MinValue, 2], quotient.Values<int>(quotient.Position("D")).ToArray());
        Assert.Equal([0, 1], remainder.Values<int>(remainder.Position("C")).ToArray());
    }

    [Fact]
    public void A_loop_divides_in_its_body_and_what_it_leaves_is_divided_after_it()
    {
        var body = new OnnxModelWriter("body").AddInput("i", OnnxElementType.Int64).AddInput("goes_on", OnnxElementType.Bool).AddInput("before", OnnxElementType.Int64, 1)
            .AddOutput("still", OnnxElementType.Bool).AddOutput("after", OnnxElementType.Int64, 1)
            .AddNode("Identity", ["goes_on"], ["still"]).AddNode("Div", ["before", "B"], ["after"]);
        var model = new OnnxModelWriter("loop").AddInput("times", OnnxElementType.Int64).AddInput("A", OnnxElementType.Int64, 1).AddInput("B", OnnxElementType.Int64, 1)
            .AddOutput("C", OnnxElementType.Int64, 1).AddNode("Loop", ["times", "", "A"], ["looped"], OnnxAttribute.Graph("body", body)).AddNode("Div", ["looped", "B"], ["C"]).ToBytes();
        using var session = OnnxSession.Load(model);
        using var result = session.Run(OnnxInput.Int64("times", new[] { 3L }), OnnxInput.Int64("A", new[] { long.MinValue }, 1), OnnxInput.Int64("B", new[] { -1L }, 1));

        Assert.Equal(long.MinValue, result.Values<long>(0)[0]);
    }

    [Fact]
    public void Who_divides_by_zero_is_told_the_models_own_node()
    {
        using var session = OnnxSession.Load(TensorModels.Quotient("Div", OnnxElementType.Int32));

        var refusal = Assert.Throws<OnnxException>(() => session.Run(OnnxInput.Int32("A", new[] { 1 }, 1), OnnxInput.Int32("B", new[] { 0 }, 1)));

        Assert.Contains("'Div_0' Status Message", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("division by zero", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Divisions_that_cannot_trap_leave_the_file_as_it_is()
    {
        static byte[] By(OnnxModelWriter writer) => writer.AddInput("A", OnnxElementType.Int64, -1).AddOutput("C", OnnxElementType.Int64, -1).AddNode("Div", ["A", "B"], ["C"]).ToBytes();

        Assert.False(IsRewritten(TensorModels.Quotient("Div", OnnxElementType.Float)));
        Assert.False(IsRewritten(TensorModels.Quotient("Mod", OnnxElementType.Int8)));
        Assert.False(IsRewritten(By(new OnnxModelWriter("initializer").AddInitializer("B", [2L, 0, 1], 3))));
        Assert.False(IsRewritten(By(new OnnxModelWriter("constant").AddNode("Constant", [], ["B"], OnnxAttribute.Tensor("value", OnnxModelWriter.Tensor("", OnnxElementType.Int64, [], BitConverter.GetBytes(-2L)))))));
        Assert.False(IsRewritten(TensorModels.SumAndDifference()));

        Assert.True(IsRewritten(By(new OnnxModelWriter("minus").AddInitializer("B", [2, -1L], 2))));
        Assert.True(IsRewritten(By(new OnnxModelWriter("replaceable").AddInput("B", OnnxElementType.Int64, 1).AddInitializer("B", [2L], 1))));
    }

    [Fact]
    public void A_file_that_is_at_fault_is_refused_in_its_own_words()
    {
        var model = new OnnxModelWriter("faulty").AddInput("A", OnnxElementType.Int32, 1).AddInput("B", OnnxElementType.Int32, 1).AddOutput("C", OnnxElementType.Int32, 1)
            .AddNode("Div", ["A", "B"], ["D"]).AddNode("Add", ["D", "nowhere"], ["C"]).ToBytes();

        var refusal = Assert.Throws<OnnxException>(() => OnnxSession.Load(model));

        Assert.Contains("nowhere", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("division_", refusal.Message, StringComparison.Ordinal);
    }

    private static bool IsRewritten(byte[] model) => OnnxDivisionGuard.TryRewrite(model, OnnxModelReader.Read(model), out _);
}
