using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Native.DuckDb;
using Slipway.Native.Onnx;
using Slipway.Serving;
using Slipway.Serving.Folder;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Serving;

/// <summary>What is kept of requests of tensors, how their answers are compared, and what is never written.</summary>
public sealed class TensorLogTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Inputs_and_outputs_of_tensors_are_logged_with_the_version_that_answered()
    {
        await using var host = await StartAsync(TensorModels.SumAndDifference());
        var (status, _) = await host.InferAsync(Request("sums-request-000001", 5));
        Assert.Equal(200, status);

        var row = Assert.Single(await LoggedAsync(host, "SELECT prediction_id, version, arm, status, output, inputs, outputs FROM {0}"));

        Assert.Equal(["sums-request-000001", "1.0.0", "stable", 200, null], row[..5]);
        var inputs = JsonDocument.Parse((string)row[5]!).RootElement;
        Assert.Equal(("INT32", 16, 5), (inputs.GetProperty("INPUT0").GetProperty("datatype").GetString(), inputs.GetProperty("INPUT0").GetProperty("data").GetArrayLength(), inputs.GetProperty("INPUT0").GetProperty("data")[3].GetInt32()));
        var outputs = JsonDocument.Parse((string)row[6]!).RootElement;
        Assert.Equal((7, 3), (outputs.GetProperty("OUTPUT0").GetProperty("data")[0].GetInt32(), outputs.GetProperty("OUTPUT1").GetProperty("data")[0].GetInt32()));
        Assert.Equal([1, 16], outputs.GetProperty("OUTPUT1").GetProperty("shape").EnumerateArray().Select(size => size.GetInt32()));
    }

    [Fact]
    public async Task The_values_of_big_requests_are_left_out_and_their_shapes_kept()
    {
        await using var host = await StartAsync(TensorModels.SumAndDifference());
        var values = Enumerable.Repeat(1, 16 * 400).ToArray();
        var (status, _) = await host.InferAsync(new { inputs = new[] { Input("INPUT0", 400, values), Input("INPUT1", 400, values) } });
        Assert.Equal(200, status);

        var row = Assert.Single(await LoggedAsync(host, "SELECT inputs, outputs FROM {0}"));

        Assert.Equal("""{"INPUT0":{"datatype":"INT32","shape":[400,16]},"INPUT1":{"datatype":"INT32","shape":[400,16]}}""", row[0]);
        Assert.DoesNotContain("data\"", (string)row[1]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_shadow_of_tensors_is_compared_with_what_was_answered()
    {
        await using var host = await StartAsync(TensorModels.SumAndDifference());
        var other = await host.RegisterTensorsAsync(new OnnxModelWriter("simple")
            .AddInput("INPUT0", OnnxElementType.Int32, -1, 16).AddInput("INPUT1", OnnxElementType.Int32, -1, 16)
            .AddOutput("OUTPUT0", OnnxElementType.Int32, -1, 16).AddOutput("OUTPUT1", OnnxElementType.Int32, -1, 16)
            .AddNode("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]).AddNode("Mul", ["INPUT0", "INPUT1"], ["OUTPUT1"]).ToBytes());
        host.Router.SetCandidate(ServingHost.Model, other.Version, 0, shadow: true, salt: "r");
        var comparison = host.Router.Shadow(ServingHost.Model, other.Version);

        // a - 2 and 2a agree for no whole number above 0: with -2 they do.
        foreach (var value in new[] { -2, -2, -2, 4 })
        {
            Assert.Equal(200, (await host.InferAsync(Request("", value))).Status);
        }

        await ServingHost.UntilAsync(() => comparison.Snapshot().Compared == 4);
        var snapshot = comparison.Snapshot();
        Assert.Equal((1, 1, 0, 0), (snapshot.Disagreements, snapshot.DecisionsDiffer, snapshot.Incomparable, snapshot.Errors));
        await ServingHost.UntilAsync(() => host.Area.Service<PredictionLog>().Written == 8); // A copy is compared first, and logged then.
        Assert.Equal(4L, Assert.Single(await LoggedAsync(host, "SELECT count(*) FROM {0} WHERE arm = 'shadow'"))[0]);
    }

    [Theory]
    [InlineData(0.4f, 0.45f, 0, 0)]
    [InlineData(0.4f, 0.55f, 1, 1)] // The other side of the threshold.
    [InlineData(0.1f, 0.3f, 1, 0)] // Further apart than the tolerance.
    [InlineData(float.NaN, 0.3f, 1, 1)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity, 0, 0)]
    public void Single_values_are_compared_as_decisions_and_as_numbers(float stable, float shadow, int disagreements, int decisions)
    {
        var comparison = new ShadowStatistics(new ShadowCriteria());

        comparison.Record([Floats("p", stable)], [Floats("p", shadow)]);

        var snapshot = comparison.Snapshot();
        Assert.Equal((1, disagreements, decisions), ((int)snapshot.Compared, (int)snapshot.Disagreements, (int)snapshot.DecisionsDiffer));
    }

    [Fact]
    public void Outputs_that_only_one_gives_or_in_another_shape_differ()
    {
        var comparison = new ShadowStatistics(new ShadowCriteria());
        comparison.Record([Floats("p", 0.2f, 0.3f)], [Floats("p", 0.2f, 0.3f)]);
        Assert.Equal(0, comparison.Snapshot().Disagreements);

        comparison.Record([Floats("p", 0.2f)], [Floats("q", 0.2f)]);
        comparison.Record([Floats("p", 0.2f)], [Floats("p", 0.2f, 0.2f)]);
        comparison.Record([Floats("p", 0.2f)], [Floats("p", 0.2f), Floats("q", 0.2f)]);
        comparison.Record([Texts("t", "yes")], [Texts("t", "no")]);

        Assert.Equal((5, 4), (comparison.Snapshot().Compared, comparison.Snapshot().DecisionsDiffer));
    }

    [Fact]
    public async Task Redacted_columns_are_never_written_to_a_file()
    {
        using var data = new TemporaryData();
        await using var log = ServingFixtures.OpenLog(data);
        var arm = new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0"));
        arm.Model.Log = LogPolicy.Parse(DefinitionYaml.Parse("redact: [entity_key, 'calendar:hour', output]"));
        log.Append(arm, "flight-000001", 0, [733f, 12.5f], 0.75f, key: "secret-passenger");
        await ServingHost.UntilAsync(() => log.Written == 1);
        var folder = Path.Combine(data.Options.ColumnsDirectory, "predictions");
        await ServingHost.UntilAsync(() => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Any(file => Contains(file, "flight-000001"u8)));
        Assert.DoesNotContain(Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories), file => Contains(file, "secret-passenger"u8) || Contains(file, BitConverter.GetBytes(12.5f)));

        await log.FlushAsync(Cancel);

        var segment = Assert.Single(log.Segments("delay", DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1)));
        Assert.Equal([null, null, 733.0, null], Assert.Single(PredictionLogTests.Query($"SELECT entity_key, output, \"flight:distance\", \"calendar:hour\" FROM read_parquet({DuckDbLiteral.Quote(segment)})")));
    }

    [Fact]
    public async Task Redacted_tensors_keep_their_shape_and_lose_their_values()
    {
        await using var host = await StartAsync(TensorModels.Echo(OnnxElementType.String, -1));
        await ApplyAsync(host, "log: {redact: [IN, OUT]}");
        Assert.Equal(200, (await host.InferAsync(new { inputs = new[] { new { name = "IN", shape = new[] { 1 }, datatype = "BYTES", data = new[] { "secret" } } } })).Status);

        var row = Assert.Single(await LoggedAsync(host, "SELECT inputs, outputs FROM {0}"));

        Assert.Equal("""{"IN":{"datatype":"BYTES","shape":[1]}}""", row[0]);
        Assert.Equal("""{"OUT":{"datatype":"BYTES","shape":[1]}}""", row[1]);
    }

    [Fact]
    public async Task What_is_declared_holds_for_every_version_of_a_folder()
    {
        using var data = new TemporaryData();
        var repository = Path.Combine(data.Options.ColumnsDirectory, "models");
        foreach (var version in new[] { "1", "2" })
        {
            var folder = Directory.CreateDirectory(Path.Combine(repository, "echo", version));
            await File.WriteAllBytesAsync(Path.Combine(folder.FullName, "model.onnx"), TensorModels.Echo(OnnxElementType.String, -1), Cancel);
        }

        await File.WriteAllTextAsync(Path.Combine(repository, "echo", "config.pbtxt"), "version_policy: { all { } }", Cancel);
        await using var host = await ServingHost.StartAsync(serving => serving.ModelRepository = repository);
        await ServingHost.UntilAsync(() => host.Area.Service<ModelFolder>().Find("echo", "1") is not null);

        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving").ApplyAsync("kind: serving\nname: echo\nlog: {redact: [IN]}\n", Caller.System("test"), Cancel);
        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "review").ApplyAsync("kind: review\nname: echo\nband: {from: 0, to: 1}\n", Caller.System("test"), Cancel);

        foreach (var version in new[] { "1", "2" })
        {
            var loaded = host.Area.Service<ModelFolder>().Find("echo", version)!;
            Assert.Equal(["IN"], loaded.Log.Redacted);
            Assert.NotNull(loaded.Review);
        }
    }

    [Fact]
    public async Task A_sample_keeps_its_share_and_the_same_predictions_everywhere()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "log: {sample: 0.25}");
        const int requests = 400;
        for (var i = 0; i < requests; i++)
        {
            Assert.Equal(200, (await host.InferAsync(new { id = $"sampled-{i:000000}", inputs = new[] { new { name = "features", shape = new[] { 1, 2 }, datatype = "FP32", data = new[] { i, 8f } } } })).Status);
        }

        var ids = (await LoggedAsync(host, "SELECT prediction_id FROM {0}")).Select(row => (string)row[0]!).ToHashSet();

        // 100 of 400 on average, with a standard deviation of 8.7; the ids are fixed, and so is which of them are taken.
        Assert.InRange(ids.Count, 70, 130);
        var policy = LogPolicy.Parse(DefinitionYaml.Parse("sample: 0.25"));
        Assert.Equal(Enumerable.Range(0, requests).Select(i => $"sampled-{i:000000}").Where(id => policy.Takes(Encoding.UTF8.GetBytes(id))).ToHashSet(), ids);
    }

    [Fact]
    public async Task Predictions_older_than_they_are_kept_are_deleted_by_the_segment_and_the_audit_trail_says_so()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "log: {keep: 30d}");
        var log = host.Area.Service<PredictionLog>();
        var arm = host.Router.Find(ServingHost.Model)!.Stable!;
        foreach (var age in new[] { 31, 29 })
        {
            log.Append(arm, $"aged-{age}-000001", TimeProvider.System.GetUtcNow().AddDays(-age).ToUnixTimeMilliseconds(), [1, 2], 0.5f);
            await log.FlushAsync(Cancel);
        }

        Assert.Equal(1, await host.Area.Service<PredictionRetention>().ExpireAsync(Cancel));

        Assert.Equal("aged-29-000001", Assert.Single(await LoggedAsync(host, "SELECT prediction_id FROM {0}"))[0]);
        Assert.Equal(0, await host.Area.Service<PredictionRetention>().ExpireAsync(Cancel));
        var expired = host.Area.Service<Database>().Read(connection => Dapper.SqlMapper.Query<string>(connection, "SELECT reason FROM audit_events WHERE action = 'predictions.expired'"));
        Assert.StartsWith("1 segments, whose predictions are all from before ", Assert.Single(expired), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_event_time_far_ahead_keeps_no_prediction_longer()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "log: {keep: 30d}");
        var log = host.Area.Service<PredictionLog>();
        log.Append(host.Router.Find(ServingHost.Model)!.Stable!, "far-ahead-000001", new DateTimeOffset(9999, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds(), [1, 2], 0.5f);
        await log.FlushAsync(Cancel);
        var segment = Assert.Single(log.Segments(ServingHost.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue));
        Assert.Equal(0, await host.Area.Service<PredictionRetention>().ExpireAsync(Cancel));

        File.SetLastWriteTimeUtc(segment, TimeProvider.System.GetUtcNow().UtcDateTime.AddDays(-31));

        Assert.Equal(1, await host.Area.Service<PredictionRetention>().ExpireAsync(Cancel));
    }

    [Theory]
    [InlineData("log: {sample: 0}", "log.sample")]
    [InlineData("log: {keep: 1h}", "log.keep")]
    [InlineData("log: {redacts: [a]}", "log.redacts")]
    public async Task What_cannot_be_meant_is_refused_by_name(string yaml, string field)
    {
        await using var host = await ServingHost.StartAsync();
        Assert.Contains(field, (await Assert.ThrowsAsync<SlipwayException>(() => ApplyAsync(host, yaml))).Message, StringComparison.Ordinal);
    }

    private static async Task<ServingHost> StartAsync(byte[] onnx)
    {
        var host = await ServingHost.StartAsync();
        host.Router.SetStable(host.Area.Service<ModelLoader>().Load(await host.RegisterTensorsAsync(onnx)));
        return host;
    }

    private static Task<AppliedDefinition> ApplyAsync(ServingHost host, string yaml) =>
        host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving").ApplyAsync($"kind: serving\nname: {ServingHost.Model}\n{yaml}\n", Caller.System("test"), Cancel);

    private static async Task<IReadOnlyList<object?[]>> LoggedAsync(ServingHost host, string sql)
    {
        var log = host.Area.Service<PredictionLog>();
        await log.FlushAsync(Cancel);
        var files = string.Join(", ", log.Segments(ServingHost.Model, DateTimeOffset.MinValue, DateTimeOffset.MaxValue).Select(DuckDbLiteral.Quote));
        return PredictionLogTests.Query(sql.Replace("{0}", $"read_parquet([{files}], union_by_name = true)", StringComparison.Ordinal));
    }

    private static object Request(string id, int value) => new { id, inputs = new[] { Input("INPUT0", 1, Enumerable.Repeat(value, 16).ToArray()), Input("INPUT1", 1, Enumerable.Repeat(2, 16).ToArray()) } };

    private static object Input(string name, int rows, int[] data) => new { name, shape = new[] { rows, 16 }, datatype = "INT32", data };

    private static AnswerTensor Floats(string name, params float[] values) =>
        new(name, Datatype.FP32, [values.Length], System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray(), null);

    private static AnswerTensor Texts(string name, string value) =>
        new(name, Datatype.BYTES, [1], [.. BitConverter.GetBytes(value.Length), .. Encoding.UTF8.GetBytes(value)], null);

    private static bool Contains(string file, ReadOnlySpan<byte> text)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes.AsSpan().IndexOf(text) >= 0;
    }
}
