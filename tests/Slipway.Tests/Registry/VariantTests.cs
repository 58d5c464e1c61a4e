using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Registry;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class VariantTests : IAsyncLifetime
{
    private const int Width = 256;

    private RegistryHost _host = null!;

    public async ValueTask InitializeAsync() => _host = await RegistryHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "X-41")]
    public async Task An_8_bit_variant_is_a_child_of_its_version_with_both_benchmarks_and_the_differences()
    {
        var parent = await RegisterAsync(Network(scale: 1));

        var variant = await _host.Registry.MakeVariantAsync(Model, parent.Version, new MakeVariant(VariantKind.Int8), Ada, default);

        Assert.Equal((parent.Version, ModelFormat.Onnx), (variant.ParentVersion, variant.Format));
        Assert.Contains(_host.Registry.LineageOf(variant).Edges, edge => edge.Relation == "descends_from" && edge.From.Id == parent.Node.Id && edge.To.Id == variant.Node.Id);
        Assert.Null(variant.EvaluationReportSha256);
        var report = variant.Profile!.Variant!;
        Assert.Equal((parent.Version, VariantKind.Int8, 2, 256, "made up"), (report.Of, report.Kind, report.Weights, report.Rows, report.RowsFrom));
        var answer = Assert.Single(report.Answers);
        Assert.Equal(("y", 256L), (answer.Output, answer.Values));
        Assert.InRange(answer.Largest, 1e-9, answer.Spread * 0.1);
        Assert.InRange(answer.Mean, 1e-12, answer.Largest);
        Assert.InRange(report.After.SizeBytes, 1, report.Before.SizeBytes * 0.3);
        Assert.All([report.Before, report.After], benchmark => Assert.True(benchmark.Fault is null && benchmark is { LatencyUsP50: > 0, LatencyUsP95: > 0, RowsPerSecondBatch64: > 0, LoadMs: > 0 }));

        // What the report says is what the stored file does.
        using var before = OnnxSession.Load(await _host.Registry.ReadFileAsync(parent, parent.ServedPath!, default));
        using var after = OnnxSession.Load(await _host.Registry.ReadFileAsync(variant, variant.ServedPath!, default));
        var random = new Random(1);
        var largest = Enumerable.Range(0, 256).Max(_ =>
        {
            float[] row = [.. Enumerable.Range(0, Width).Select(_ => random.NextSingle())];
            var (a, b) = (new float[1], new float[1]);
            before.RunMatrix(row, 1, a);
            after.RunMatrix(row, 1, b);
            return Math.Abs(a[0] - b[0]);
        });
        Assert.Equal(largest, answer.Largest, 1e-6);
    }

    [Fact]
    [Trait("capability", "X-41")]
    public async Task Rows_come_from_the_training_baseline_or_from_a_sample_when_there_is_one()
    {
        var edges = Enumerable.Range(1, 9).Select(i => i * 10.0).ToArray();
        var feature = new FeatureBaseline(edges, [.. Enumerable.Repeat(10L, 10)], 0, 50, 29, 0, 100);
        var baseline = new ModelBaseline(
            Enumerable.Range(0, Width).ToDictionary(i => $"f{i}", _ => feature), new BaselineHistogram([0.5], [1, 1]), new BaselinePerformance(0.7, 0.6, 0.8, 0.5, 0.2, 0.1, 0.5, 0.5, 2), 100);
        var stored = await _host.PutAsync(JsonSerializer.Serialize(baseline, JsonDefaults.Options));
        var parent = await RegisterAsync(Network(scale: 1), stored.Sha256);

        var drawn = (await _host.Registry.MakeVariantAsync(Model, parent.Version, new MakeVariant(VariantKind.Int8), Ada, default)).Profile!.Variant!;

        // Features from 0 to 100 move the answers of this network about a hundred times as far as features from 0 to 1 do.
        var plain = await RegisterAsync(Network(scale: 1));
        var madeUp = (await _host.Registry.MakeVariantAsync(Model, plain.Version, new MakeVariant(VariantKind.Int8), Ada, default)).Profile!.Variant!;
        Assert.Equal(("baseline", 256, "made up"), (drawn.RowsFrom, drawn.Rows, madeUp.RowsFrom));
        Assert.InRange(drawn.Answers[0].Spread / madeUp.Answers[0].Spread, 60, 160);
        var names = string.Join(',', Enumerable.Range(0, Width).Select(i => $"f{i}"));
        var sample = await _host.PutAsync($"{names}\n{string.Join(',', Enumerable.Repeat("3", Width))}\n");
        var given = (await _host.Registry.MakeVariantAsync(Model, parent.Version, new MakeVariant(VariantKind.Int8) { SampleSha256 = sample.Sha256 }, Ada, default)).Profile!.Variant!;
        Assert.Equal(("sample", 1), (given.RowsFrom, given.Rows));
    }

    [Fact]
    [Trait("capability", "X-41")]
    public async Task An_optimized_variant_answers_alike_and_a_file_of_another_tool_is_compared_too()
    {
        var parent = await RegisterAsync(Network(scale: 1));

        var optimized = (await _host.Registry.MakeVariantAsync(Model, parent.Version, new MakeVariant(VariantKind.Optimized), Ada, default)).Profile!.Variant!;
        var other = await _host.Blobs.PutAsync(Network(scale: 1.5f), default);
        var file = await _host.Registry.MakeVariantAsync(Model, parent.Version, new MakeVariant(VariantKind.File) { File = new ArtifactFile("pruned.onnx", other.Sha256, other.SizeBytes), Description = "pruned" }, Ada, default);

        Assert.InRange(optimized.Answers[0].Largest, 0, 1e-5);
        Assert.Equal((VariantKind.File, "pruned"), (file.Profile!.Variant!.Kind, file.Description));
        Assert.Equal(256, file.Profile.Variant.Answers[0].Unequal);
        Assert.True(file.Profile.Variant.Answers[0].Largest > 0.1);
    }

    [Fact]
    public async Task What_is_no_variant_is_refused_with_the_reason_and_nothing_is_registered()
    {
        var parent = await RegisterAsync(Network(scale: 1));
        var narrow = await _host.Blobs.PutAsync(OnnxConverters.LogisticRegression(["a"], [0], [1], [1], 0), default);
        var text = await _host.PutAsync("no model");
        var trees = await RegisterAsync(OnnxConverters.LogisticRegression([.. Enumerable.Range(0, Width).Select(i => $"f{i}")], new double[Width], [.. Enumerable.Repeat(1.0, Width)], new double[Width], 0), bump: "2.0.0");

        await RefusedAsync(parent, new MakeVariant(VariantKind.File), "'file' is missing");
        await RefusedAsync(parent, new MakeVariant(VariantKind.File) { File = new ArtifactFile("x.onnx", narrow.Sha256, narrow.SizeBytes) }, "its inputs are");
        await RefusedAsync(parent, new MakeVariant(VariantKind.File) { File = new ArtifactFile("x.onnx", text.Sha256, text.SizeBytes) }, "not an ONNX model");
        await RefusedAsync(parent, new MakeVariant(VariantKind.Int8) { File = new ArtifactFile("x.onnx", narrow.Sha256, narrow.SizeBytes) }, "the kind 'int8' is made here");
        await RefusedAsync(parent, new MakeVariant(VariantKind.Int8) { SampleSha256 = new string('0', 64) }, "which is not stored");
        await RefusedAsync(trees, new MakeVariant(VariantKind.Int8), "nothing to quantize");
        Assert.Equal(2, _host.Registry.Search(Model, new VersionSearch(null, null, null, null, null, null)).Count);
    }

    private async Task RefusedAsync(ModelVersionRecord parent, MakeVariant request, string message)
    {
        var error = await Assert.ThrowsAsync<SlipwayException>(() => _host.Registry.MakeVariantAsync(Model, parent.Version, request, Ada, default));
        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private async Task<ModelVersionRecord> RegisterAsync(byte[] onnx, string? baseline = null, string bump = "auto")
    {
        var blob = await _host.Blobs.PutAsync(onnx, default);
        return await _host.Registry.RegisterAsync(
            new RegisterVersion(Model, bump, null, [new ArtifactFile("model.onnx", blob.Sha256, blob.SizeBytes)], null, null, baseline, null, null, null, []), Ada, default);
    }

    private static byte[] Network(float scale)
    {
        var random = new Random(5);
        float[] Weights(int count) => [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() - 0.4f) * scale * 0.1f)];
        return new OnnxModelWriter("network").AddInput("x", OnnxElementType.Float, -1, Width).AddOutput("y", OnnxElementType.Float, -1, 1)
            .AddInitializer("first", Weights(Width * Width), Width, Width).AddInitializer("second", Weights(Width * 4), Width, 4).AddInitializer("last", Weights(4), 4, 1)
            .AddNode("MatMul", ["x", "first"], ["hidden"]).AddNode("Relu", ["hidden"], ["positive"]).AddNode("MatMul", ["positive", "second"], ["four"]).AddNode("MatMul", ["four", "last"], ["y"]).ToBytes();
    }
}
