using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving;

/// <summary>Versions that join others: preparation, an ensemble, what is made of its answers.</summary>
public sealed class ChainModelTests
{
    private static int _runs;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Hundreds of miles in, and a mean of a logistic regression of this server and one that another server answers.
    private const string Ensemble = """
        kind: model_chain
        inputs:
          - {name: miles, datatype: FP32, shape: [-1, 2]}
        steps:
          - {name: scaled, model: scaler, version: 1.0.0, inputs: {IN: miles}}
          - {name: own, model: flight-delay, version: 1.0.0, inputs: {features: scaled.OUT}}
          - {name: other, model: flight-delay, version: 1.1.0, inputs: {features: scaled.OUT}}
          - {name: both, mean: [own.probability, other.probability], weights: [3, 1]}
        outputs:
          - {name: probability, datatype: FP32, shape: [-1, 1], from: both}
          - {name: km, datatype: FP32, shape: [-1, 2], from: scaled.OUT}
        """;

    [Fact]
    public async Task Steps_run_in_order_each_on_what_came_before()
    {
        await using var host = await StartAsync();
        var version = await RegisterAsync(host, Ensemble);
        Assert.Equal((ModelFormat.Chain, "model.yaml"), (version.Format, version.ServedPath));
        var loaded = host.Area.Service<ModelLoader>().Load(version);
        host.Router.SetStable(loaded);

        var (status, body) = await InferAsync(host, 0, 0, 50, 1);

        Assert.True(status == 200, body.ToString());
        var outputs = body.GetProperty("outputs");
        Assert.Equal([0, 0, 100, 2], outputs[1].GetProperty("data").EnumerateArray().Select(value => value.GetSingle()));
        var (own, other) = (1 / (1 + Math.Exp(-0.1)), 1 / (1 + Math.Exp(-1.1)));
        Assert.Equal(((3 * own) + other) / 4, outputs[0].GetProperty("data")[1].GetDouble(), 1e-6);
        Assert.Equal([2, 1], outputs[0].GetProperty("shape").EnumerateArray().Select(size => size.GetInt32()));
        Assert.Equal("ensemble", (await host.Area.GetAsync("/v2/models/eta")).Body.GetProperty("platform").GetString());
        Assert.Equal((1, 2), (loaded.Statistics.Snapshot().Requests, loaded.Statistics.Snapshot().Rows));
        await host.Area.Service<PredictionLog>().FlushAsync(Cancel);
        Assert.Single(host.Area.Service<PredictionLog>().Segments("eta", DateTimeOffset.MinValue, DateTimeOffset.MaxValue));
    }

    [Fact]
    public async Task Requests_that_go_together_are_answered_as_by_themselves()
    {
        await using var host = await StartAsync();
        var loaded = host.Area.Service<ModelLoader>().Load(await RegisterAsync(host, Ensemble));
        loaded.Queue.Settings = loaded.Queue.Settings with { BatchRowsMax = 8, BatchDelay = TimeSpan.FromMilliseconds(20), Instances = 1 };
        host.Router.SetStable(loaded);

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => InferAsync(host, i, i)));

        Assert.All(answers.Select((answer, i) => (answer, i)), item =>
        {
            Assert.Equal(200, item.answer.Status);
            Assert.Equal(2 * item.i, item.answer.Body.GetProperty("outputs")[1].GetProperty("data")[0].GetInt32());
        });
        Assert.True(loaded.Queue.Together > 0);
    }

    [Fact]
    public async Task A_step_on_another_server_is_waited_for_and_its_failure_is_the_chains()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always("""{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [5, 6]}]}""");
        await using var host = await StartAsync(serving => serving.RemoteHosts = backend.Hosts());
        await RegisterAsync(host, $$"""
            kind: remote_model
            protocol: v2
            url: http://{{backend.Authority}}
            model: m
            inputs: [{name: x, datatype: FP32, shape: [-1, 2]}]
            outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
            """, "far");
        var loaded = host.Area.Service<ModelLoader>().Load(await RegisterAsync(host, """
            kind: model_chain
            inputs: [{name: miles, datatype: FP32, shape: [-1, 2]}]
            steps:
              - {name: far, model: far, version: 1.0.0, inputs: {x: miles}}
              - {name: scaled, model: scaler, version: 1.0.0, inputs: {IN: far.y}}
            outputs: [{name: km, datatype: FP32, shape: [-1, 2], from: scaled.OUT}]
            """));
        host.Router.SetStable(loaded);

        Assert.Equal([10, 12], (await InferAsync(host, 1, 1)).Body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetSingle()));
        backend.Answer = FakeBackend.Always("{}", 500);
        var (status, body) = await InferAsync(host, 1, 1);
        Assert.Equal(502, status);
        Assert.Contains("answers 500", body.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal((2, 1), (loaded.Statistics.Snapshot().Requests, loaded.Statistics.Snapshot().Errors));
    }

    [Fact]
    public async Task What_runs_in_a_chain_is_upstream_of_it()
    {
        await using var host = await StartAsync();
        var version = await RegisterAsync(host, Ensemble);

        var parts = host.Area.Service<Lineage>().EdgesTo(new NodeRef(NodeKinds.ModelVersion, $"eta@{version.Version}")).Where(edge => edge.Relation == "depends_on").Select(edge => edge.From.Id);

        Assert.Equal(["flight-delay@1.0.0", "flight-delay@1.1.0", "scaler@1.0.0"], parts.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_chain_goes_no_further_than_what_it_runs_has_been()
    {
        await using var host = await StartAsync();
        var version = await RegisterAsync(host, Ensemble);

        async Task<GateItem> CheckAsync(Stage stage) => (await host.Registry.CheckAsync("eta", version.Version, stage, Cancel)).Items.Single(item => item.Name == "parts");

        Assert.False((await CheckAsync(Stage.Staging)).Passed);
        await host.PromoteAsync("1.0.0", Stage.Staging);
        var some = await CheckAsync(Stage.Staging);
        Assert.Equal((false, "scaler 1.0.0 was never in staging; flight-delay 1.1.0 was never in staging"), (some.Passed, some.Detail));
        var production = await CheckAsync(Stage.Production);
        Assert.Contains("flight-delay 1.0.0 was never in production", production.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chain_of_versions_that_are_not_there_is_not_registered()
    {
        await using var host = await StartAsync();

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => RegisterAsync(host, Ensemble.Replace("version: 1.1.0", "version: 7.0.0", StringComparison.Ordinal)));

        Assert.Equal("'files' has a chain that runs flight-delay 7.0.0, which is not registered or holds no model file that this server can run; register it first.", refused.Message);
        Assert.Null(host.Registry.Find("eta", "1.0.0"));
    }

    [Theory]
    [InlineData("{IN: miles}}", "{OUT: miles}}", "step 'scaled' gives OUT to scaler 1.0.0, which takes IN FP32 [-1, 2]")]
    [InlineData("features: scaled.OUT", "features: scaled.NONE", "step 'own' uses 'scaled.NONE', which no step gives: there are miles, scaled.OUT")]
    [InlineData("datatype: FP32, shape: [-1, 2], from", "datatype: INT32, shape: [-1, 2], from", "its output 'km' is INT32 [-1, 2], but 'scaled.OUT' is FP32 [-1, 2]")]
    [InlineData("name: miles, datatype: FP32, shape: [-1, 2]", "name: miles, datatype: FP32, shape: [-1, 3]", "step 'scaled' gives 'miles', FP32 [-1, 3], as 'IN', FP32 [-1, 2]")]
    public async Task Steps_that_do_not_fit_each_other_are_not_loaded(string replaced, string by, string sentence)
    {
        await using var host = await StartAsync();
        var version = await RegisterAsync(host, Ensemble.Replace(replaced, by, StringComparison.Ordinal));

        var refused = Assert.Throws<SlipwayException>(() => host.Area.Service<ModelLoader>().Load(version));

        Assert.Contains(sentence, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_chain_runs_is_neither_deleted_nor_renamed_before_the_chain_is_gone()
    {
        await using var host = await StartAsync();
        var chain = await RegisterAsync(host, Ensemble);
        foreach (var change in new Func<Task>[]
        {
            () => host.Registry.DeleteVersionAsync("scaler", "1.0.0", RegistryHost.Ada, Cancel),
            () => host.Registry.DeleteModelAsync("scaler", RegistryHost.Ada, Cancel),
            () => host.Registry.RenameModelAsync("scaler", "scaler-2", RegistryHost.Ada, Cancel),
        })
        {
            var refused = await Assert.ThrowsAsync<SlipwayException>(change);
            Assert.Equal(ErrorCode.FailedPrecondition, refused.Code);
            Assert.StartsWith("model_version:scaler@1.0.0 is a step of eta@1.0.0; delete that version before it is ", refused.Message, StringComparison.Ordinal);
        }

        await host.Registry.DeleteVersionAsync("eta", chain.Version, RegistryHost.Ada, Cancel);
        await host.Registry.DeleteModelAsync("scaler", RegistryHost.Ada, Cancel);
        Assert.Null(host.Registry.Find("scaler", "1.0.0"));
    }

    [Fact]
    public async Task Chains_that_double_each_other_are_refused_before_they_are_too_many_and_load_each_version_once()
    {
        await using var host = await StartAsync();
        ModelVersionRecord? last = null;
        SlipwayException? refused = null;
        for (var i = 0; i < 8 && refused is null; i++)
        {
            var (part, output) = i == 0 ? ("model: scaler, version: 1.0.0, inputs: {IN: miles}", "OUT") : ($"model: twice-{i - 1}, version: 1.0.0, inputs: {{miles: miles}}", "km");
            var yaml = $$"""
                kind: model_chain
                inputs: [{name: miles, datatype: FP32, shape: [-1, 2]}]
                steps:
                  - {name: one, {{part}}}
                  - {name: two, {{part}}}
                  - {name: both, mean: [one.{{output}}, two.{{output}}]}
                outputs: [{name: km, datatype: FP32, shape: [-1, 2], from: both}]
                """;
            try
            {
                last = await RegisterAsync(host, yaml, $"twice-{i}");
            }
            catch (SlipwayException e)
            {
                refused = e;
            }
        }

        // Runs double, and each chain is one more: 2, 6, 14, 30, 62, and 126 are too many.
        Assert.Equal("twice-4", last!.Model);
        Assert.Equal(ErrorCode.InvalidArgument, refused!.Code);
        Assert.Contains("come to 126 runs for one request; at most 64 are made", refused.Message, StringComparison.Ordinal);
        host.Router.SetStable(host.Area.Service<ModelLoader>().Load(last));
        var (status, body) = await host.InferAsync(
            new { inputs = new[] { new { name = "miles", shape = new[] { 1, 2 }, datatype = "FP32", data = new[] { 1f, 2f } } } }, "/v2/models/twice-4/infer");
        Assert.True(status == 200, body.ToString());
        Assert.Equal([2, 4], body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetSingle()));
    }

    [Fact]
    public async Task Who_may_not_ask_a_step_registers_no_chain_that_does()
    {
        await using var host = await StartAsync();
        var permissions = new[] { Permission.Read, Permission.Write, Permission.Predict };
        Caller With(GrantLevel level) => RegistryHost.Ada with { Access = new CallerAccess(Role.MlEngineer, permissions, grants: [new GrantedLevel(ResourceKind.Model, "scaler", null, level, false)]) };

        var hidden = await Assert.ThrowsAsync<SlipwayException>(() => RegisterAsync(host, Ensemble, by: With(GrantLevel.NoPermissions)));
        var seen = await Assert.ThrowsAsync<SlipwayException>(() => RegisterAsync(host, Ensemble, by: With(GrantLevel.Read)));

        Assert.Contains("runs scaler 1.0.0, which is not registered or holds no model file", hidden.Message, StringComparison.Ordinal);
        Assert.Equal(ErrorCode.PermissionDenied, seen.Code);
        Assert.Contains("'predict' on model 'scaler'", seen.Message, StringComparison.Ordinal);
        Assert.Empty(host.Registry.ListVersions("eta"));
    }

    [Theory]
    [InlineData("inputs: {IN: miles}", "inputs: {IN: kilometres}", "'steps[0].inputs.IN' uses 'kilometres'")]
    [InlineData("inputs: {IN: miles}", "inputs: {IN: own.probability}", "uses 'own.probability'")] // Not before its step.
    [InlineData("version: 1.1.0", "version: production", "name the semantic version")]
    [InlineData("name: other", "name: own", "is 'own'; give each step a name of its own")]
    [InlineData("weights: [3, 1]", "weights: [3]", "1 numbers for 2 tensors")]
    [InlineData("weights: [3, 1]", "weights: [3, -1]", "holds '-1'")]
    [InlineData("mean: [own.probability, other.probability]", "mean: [own.probability]", "at least two tensors")]
    [InlineData(", from: both", "", "'outputs[0].from' is missing")]
    [InlineData("kind: model_chain", "kind: model_chain\nretries: 3", "'retries'")]
    public void A_file_that_cannot_be_meant_is_refused_by_its_fields(string replaced, string by, string sentence)
    {
        var fault = Assert.Throws<SlipwayException>(() => ModelChainFile.Parse(Ensemble.Replace(replaced, by, StringComparison.Ordinal)));

        Assert.Equal(ErrorCode.InvalidArgument, fault.Code);
        Assert.Contains(sentence, fault.Message, StringComparison.Ordinal);
    }

    /// <summary>A scaler that doubles, and two logistic regressions of one feature, the second with an intercept of 1.</summary>
    private static async Task<ServingHost> StartAsync(Action<ServingOptions>? options = null)
    {
        var host = await ServingHost.StartAsync(options);
        await host.RegisterTensorsAsync(new OnnxModelWriter("scaler")
            .AddInput("IN", OnnxElementType.Float, -1, 2).AddOutput("OUT", OnnxElementType.Float, -1, 2).AddNode("Add", ["IN", "IN"], ["OUT"]).ToBytes(), "scaler");
        await host.RegisterAsync();
        await host.RegisterAsync(intercept: 1);
        return host;
    }

    private static Task<(int Status, System.Text.Json.JsonElement Body)> InferAsync(ServingHost host, params float[] values) => host.InferAsync(
        new { inputs = new[] { new { name = "miles", shape = new[] { values.Length / 2, 2 }, datatype = "FP32", data = values } } }, "/v2/models/eta/infer");

    private static async Task<ModelVersionRecord> RegisterAsync(ServingHost host, string yaml, string model = "eta", Caller? by = null)
    {
        var file = await host.Blobs.PutAsync(System.Text.Encoding.UTF8.GetBytes(yaml), Cancel);
        return await host.Registry.RegisterAsync(
            new RegisterVersion(
                model, "minor", $"chain-{Interlocked.Increment(ref _runs)}", [new ArtifactFile("model.yaml", file.Sha256, file.SizeBytes)], null, null, null, null, null, new string('a', 64),
                [new DatasetRef("flights", 1, new string('d', 64))]),
            by ?? RegistryHost.Ada, default);
    }
}
