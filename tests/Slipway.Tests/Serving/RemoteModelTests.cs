using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Formats;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;
using Slipway.Serving.Remote;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Registry;
using Slipway.Tests.Storage;

namespace Slipway.Tests.Serving;

/// <summary>Versions that another server runs: what is sent there, what its answers may be, and what comes of it when it fails.</summary>
public sealed class RemoteModelTests
{
    private const string Scores = """{"model_name": "m", "outputs": [{"name": "probability", "datatype": "FP32", "shape": [1, 1], "data": [0.75]}]}""";

    private static int _runs;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Another_Slipway_answers_through_the_same_routes_and_log(bool binary)
    {
        await using var other = await ServingHost.StartAsync();
        other.Router.SetStable(other.Area.Service<ModelLoader>().Load(await other.RegisterTensorsAsync(TensorModels.SumAndDifference())));
        var authority = other.Area.Client.BaseAddress!.Authority;
        await using var host = await ServingHost.StartAsync(serving => serving.RemoteHosts = RemoteHosts.Parse([authority], _ => null));
        var version = await RegisterAsync(host, $"""
            kind: remote_model
            protocol: v2
            url: http://{authority}
            model: {ServingHost.Model}
            binary: {(binary ? "true" : "false")}
            inputs:
              - {"{name: INPUT0, datatype: INT32, shape: [-1, 16]}"}
              - {"{name: INPUT1, datatype: INT32, shape: [-1, 16]}"}
            outputs:
              - {"{name: OUTPUT0, datatype: INT32, shape: [-1, 16]}"}
              - {"{name: OUTPUT1, datatype: INT32, shape: [-1, 16]}"}
            """);
        Assert.Equal((ModelFormat.Remote, "model.yaml"), (version.Format, version.ServedPath));
        Assert.Equal(["INPUT0", "INPUT1"], version.Signature.Inputs.Select(input => input.Name));
        var loaded = host.Area.Service<ModelLoader>().Load(version);
        host.Router.SetStable(loaded);

        var (status, body) = await host.InferAsync(new { id = "remote-000001", inputs = new[] { Integers("INPUT0", 7), Integers("INPUT1", 2) }, outputs = new[] { new { name = "OUTPUT1" } } });

        Assert.True(status == 200, body.ToString());
        var output = Assert.Single(body.GetProperty("outputs").EnumerateArray());
        Assert.Equal(("OUTPUT1", 5), (output.GetProperty("name").GetString(), output.GetProperty("data")[0].GetInt32()));
        Assert.Equal(("1.0.0", "stable"), (body.GetProperty("model_version").GetString(), body.GetProperty("parameters").GetProperty("arm").GetString()));
        Assert.Equal((1, 0), (loaded.Statistics.Snapshot().Requests, loaded.Statistics.Snapshot().Errors));
        Assert.Equal("slipway_remote", (await host.Area.GetAsync($"/v2/models/{ServingHost.Model}")).Body.GetProperty("platform").GetString());
        var bad = await host.InferAsync(new { inputs = new[] { Integers("INPUT0", 7) } });
        Assert.Equal(400, bad.Status); // Refused here: nothing is sent there.
        Assert.Equal(1, other.Router.Find(ServingHost.Model)!.Stable!.Model.Statistics.Snapshot().Requests);
    }

    [Fact]
    public async Task Features_go_to_MLflows_scoring_server_by_their_columns()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always("""{"predictions": [0.25, 0.5]}""");
        await using var host = await StartAsync(backend, """
            kind: remote_model
            protocol: mlflow
            url: http://{0}
            columns: ["flight:distance", "calendar:hour"]
            inputs: [{name: features, datatype: FP32, shape: [-1, 2]}]
            outputs: [{name: probability, datatype: FP32, shape: [-1, 1]}]
            """, "TOKEN", ServingFixtures.TwoFeatures);

        var (status, body) = await host.InferAsync(new
        {
            inputs = new object[]
            {
                new { name = "flight:distance", shape = new[] { 2 }, datatype = "FP32", data = new float[] { 100, 200 } },
                new { name = "calendar:hour", shape = new[] { 2 }, datatype = "FP32", data = new float[] { 8, 9.5f } },
            },
        });

        Assert.True(status == 200, body.ToString());
        Assert.Equal([0.25f, 0.5f], body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetSingle()));
        var sent = Assert.Single(backend.Requests);
        Assert.Equal(("/invocations", "Bearer s3cret"), (sent.Path, sent.Authorization));
        Assert.Equal("""{"dataframe_split":{"columns":["flight:distance","calendar:hour"],"data":[[100,8],[200,9.5]]}}""", sent.Body);
        await host.Area.Service<PredictionLog>().FlushAsync(Cancel);
        Assert.Equal(2, host.Area.Service<PredictionLog>().Written);
    }

    [Fact]
    public void Missing_values_of_the_feature_store_are_null_for_MLflow_and_bytes_for_others()
    {
        var request = new TensorRequest();
        request.Inputs.Add(new RequestTensor("features", Datatype.FP32, [1, 2], System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(new[] { 1.5f, float.NaN }).ToArray()));

        Assert.Equal("""{"dataframe_split":{"columns":["a","b"],"data":[[1.5,null]]}}""", System.Text.Encoding.UTF8.GetString(RemoteMessages.WriteMlflow(request, ["a", "b"])));
        var (body, jsonLength) = RemoteMessages.WriteV2(request, binary: true);
        Assert.Equal(float.NaN, BitConverter.ToSingle(body, jsonLength!.Value + sizeof(float)));
    }

    [Theory]
    [InlineData("""{"predictions": {"label": [3, 4], "score": [0.5, 0.25]}}""")]
    [InlineData("""{"predictions": [{"label": 3, "score": 0.5}, {"label": 4, "score": 0.25}]}""")]
    public async Task Several_outputs_of_MLflow_come_as_lists_or_as_records(string answer)
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always(answer);
        await using var host = await StartAsync(backend, """
            kind: remote_model
            protocol: mlflow
            url: http://{0}
            inputs: [{name: x, datatype: INT64, shape: [-1, 2]}]
            outputs: [{name: label, datatype: INT64, shape: [-1]}, {name: score, datatype: FP64, shape: [-1]}]
            """);

        var (status, body) = await host.InferAsync(new { inputs = new[] { new { name = "x", shape = new[] { 2, 2 }, datatype = "INT64", data = new[] { 1, 2, 3, 4 } } } });

        Assert.True(status == 200, body.ToString());
        Assert.Equal([3, 4], body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetInt32()));
        Assert.Equal([0.5, 0.25], body.GetProperty("outputs")[1].GetProperty("data").EnumerateArray().Select(value => value.GetDouble()));
        Assert.Equal("""{"inputs":{"x":[[1,2],[3,4]]}}""", Assert.Single(backend.Requests).Body);
    }

    [Fact]
    public async Task Each_text_is_a_chat_of_its_own_with_an_OpenAI_server()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = (context, body) =>
        {
            var messages = JsonDocument.Parse(body).RootElement.GetProperty("messages");
            var answer = JsonSerializer.Serialize(new { choices = new[] { new { message = new { role = "assistant", content = messages[1].GetProperty("content").GetString()!.ToUpperInvariant() } } } });
            return FakeBackend.Always(answer)(context, body);
        };
        await using var host = await StartAsync(backend, """
            kind: remote_model
            protocol: openai
            url: http://{0}
            model: small
            system: Answer in capitals.
            temperature: 0
            max_tokens: 20
            """);

        var (status, body) = await host.InferAsync(new { inputs = new[] { new { name = "text_input", shape = new[] { 2 }, datatype = "BYTES", data = new[] { "one", "zwölf" } } } });

        Assert.True(status == 200, body.ToString());
        Assert.Equal(["ONE", "ZWÖLF"], body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => value.GetString()));
        Assert.All(backend.Requests, request => Assert.Equal("/v1/chat/completions", request.Path));
        Assert.Equal("""{"model":"small","messages":[{"role":"system","content":"Answer in capitals."},{"role":"user","content":"one"}],"temperature":0,"max_tokens":20}""", backend.Requests.First().Body);
    }

    [Fact]
    public async Task A_server_that_was_not_named_is_never_called()
    {
        await using var backend = await FakeBackend.StartAsync();
        await using var host = await ServingHost.StartAsync();
        var version = await RegisterAsync(host, V2(backend.Authority));

        var refused = Assert.Throws<SlipwayException>(() => host.Area.Service<ModelLoader>().Load(version));

        Assert.Equal($"Version 1.0.0 of '{ServingHost.Model}' cannot be served: it runs on {backend.Authority}, where this server may not send anything; start it with --remote-host {backend.Authority}.", refused.Message);
        Assert.Empty(backend.Requests);
    }

    [Theory]
    [InlineData("not JSON", 200, 502, "its answer is no Open Inference answer")]
    [InlineData("{\"outputs\": []}", 200, 502, "it has no output 'probability'")]
    [InlineData("""{"outputs": [{"name": "probability", "datatype": "FP64", "shape": [1, 1], "data": [0.5]}]}""", 200, 502, "'probability' is FP64 [1, 1] instead of FP32 [-1, 1]")]
    [InlineData("""{"outputs": [{"name": "probability", "datatype": "FP32", "shape": [1, 3], "data": [0.5, 1, 2]}]}""", 200, 502, "'probability' is FP32 [1, 3] instead of FP32 [-1, 1]")]
    [InlineData("""{"outputs": [{"name": "probability", "datatype": "FP32", "shape": [1, 1], "data": [0.5, 1, 2]}]}""", 200, 502, "no Open Inference answer")]
    [InlineData("{\"error\": \"weights\\nlost\"}", 500, 502, "answers 500: weights lost")]
    [InlineData("gone", 404, 502, "answers 404")]
    [InlineData("", 302, 502, "answers 302")]
    [InlineData("{\"error\": \"too long a text.\"}", 400, 400, "refuses these inputs: too long a text")]
    public async Task What_a_server_answers_wrongly_is_told_and_counted(string answer, int answered, int expected, string sentence)
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always(answer, answered);
        await using var host = await StartAsync(backend, V2());

        var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.Equal(expected, status);
        Assert.Contains(sentence, body.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(expected == 400 ? (0, 0) : (1, 1), (Served(host).Requests, Served(host).Errors));
    }

    [Fact]
    public async Task Rows_that_are_missing_from_an_answer_are_not_made_up()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always(Scores);
        await using var host = await StartAsync(backend, V2(), null, ServingFixtures.TwoFeatures);

        var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2, 3, 4));

        Assert.Equal(502, status);
        Assert.Contains("1 values for 2 rows", body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_answer_longer_than_a_request_may_be_is_not_read_to_its_end()
    {
        await using var backend = await FakeBackend.StartAsync();
        var sent = 0L;
        backend.Answer = async (context, _) =>
        {
            var block = new byte[64 * 1024];
            while (!context.RequestAborted.IsCancellationRequested && sent < 1L << 30)
            {
                await context.Response.Body.WriteAsync(block, context.RequestAborted);
                sent += block.Length;
            }
        };
        await using var host = await StartAsync(backend, V2(), options: serving => serving.BodyBytesMax = 1 << 20);

        var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.Equal(502, status);
        Assert.Contains("answers more bytes than are read", body.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.True(sent < 1L << 30, $"{sent} bytes were taken.");
    }

    [Fact]
    public async Task A_server_that_hangs_is_given_up_and_after_five_failures_not_asked_for_a_minute()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = (context, _) => Task.Delay(Timeout.Infinite, context.RequestAborted);
        await using var host = await StartAsync(backend, $"{V2()}\ntimeout_ms: 100");

        for (var i = 0; i < CircuitBreaker.FailuresMax; i++)
        {
            var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2));
            Assert.Equal(504, status);
            Assert.Contains("gave no answer in 100 ms", body.GetProperty("error").GetString(), StringComparison.Ordinal);
        }

        backend.Answer = FakeBackend.Always(Scores);
        using var response = await host.Area.Client.PostAsync(new Uri($"/v2/models/{ServingHost.Model}/infer", UriKind.Relative), new StringContent(JsonSerializer.Serialize(ServingHost.Matrix(1, 2))), Cancel);
        Assert.Equal(503, (int)response.StatusCode);
        Assert.InRange(response.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 2, 60);
        Assert.InRange(backend.Requests.Count, 1, CircuitBreaker.FailuresMax); // One may be given up before it arrives. A sixth would have been answered with 200.
        Assert.Equal((6, 6), (Served(host).Requests, Served(host).Errors));

        foreach (var path in (string[])["/invocations", $"/v1/models/{ServingHost.Model}:predict"])
        {
            using var content = new StringContent("""{"instances":[[1,2]]}""", System.Text.Encoding.UTF8, "application/json");
            using var other = await host.Area.Client.PostAsync(new Uri(path, UriKind.Relative), content, Cancel);
            Assert.Equal(503, (int)other.StatusCode);
            Assert.InRange(other.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 2, 60);
        }
    }

    [Fact]
    public void The_breaker_lets_one_try_after_its_pause_and_opens_again_when_that_fails()
    {
        var clock = new ManualClock();
        var breaker = new CircuitBreaker(clock);
        for (var i = 0; i < CircuitBreaker.FailuresMax - 1; i++)
        {
            Assert.True(breaker.TryEnter(out _, out _));
            breaker.Fail(isTrial: false);
        }

        breaker.Succeed(isTrial: false); // Only failures in a row count.
        for (var i = 0; i < CircuitBreaker.FailuresMax; i++)
        {
            Assert.True(breaker.TryEnter(out _, out _));
            breaker.Fail(isTrial: false);
        }

        Assert.False(breaker.TryEnter(out var wait, out _));
        Assert.Equal(CircuitBreaker.Pause, wait);
        clock.Advance(CircuitBreaker.Pause);
        Assert.True(breaker.TryEnter(out _, out var isTrial));
        Assert.True(isTrial);
        breaker.Abandon(isTrial: false); // Requests from before the pause end as they will:
        breaker.Fail(isTrial: false);
        Assert.False(breaker.TryEnter(out _, out _)); // still one at a time.
        breaker.Fail(isTrial);
        Assert.False(breaker.TryEnter(out _, out _));
        clock.Advance(CircuitBreaker.Pause);
        Assert.True(breaker.TryEnter(out _, out isTrial));
        breaker.Abandon(isTrial); // Its caller left: nothing is known, and another may try.
        Assert.True(breaker.TryEnter(out _, out isTrial));
        breaker.Succeed(isTrial);
        Assert.True(breaker.TryEnter(out _, out _));
        Assert.True(breaker.TryEnter(out _, out _));
    }

    [Fact]
    public async Task Values_that_cannot_be_sent_say_nothing_of_the_server()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always("{}", 500);
        await using var host = await StartAsync(backend, V2());
        var bytes = new byte[8];
        BitConverter.TryWriteBytes(bytes, float.NaN);
        for (var i = 0; i < CircuitBreaker.FailuresMax; i++)
        {
            Assert.Equal(502, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
            var refused = await SendRawAsync(host, bytes);
            Assert.Contains("not a finite number", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        }

        Assert.Equal(503, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
        Assert.Equal(CircuitBreaker.FailuresMax, backend.Requests.Count);
    }

    [Theory]
    [InlineData(400, 400, 0)]
    [InlineData(200, 502, 1)]
    public async Task What_a_candidate_refuses_counts_when_the_version_in_production_takes_it(int stableAnswers, int expected, int errors)
    {
        await using var stable = await FakeBackend.StartAsync();
        stable.Answer = FakeBackend.Always(stableAnswers == 200 ? Scores : "{\"error\": \"too long\"}", stableAnswers);
        await using var candidate = await FakeBackend.StartAsync();
        candidate.Answer = FakeBackend.Always("{\"error\": \"too long\"}", 400);
        await using var host = await ServingHost.StartAsync(serving => serving.RemoteHosts = RemoteHosts.Parse([stable.Authority, candidate.Authority], _ => null));
        var first = await RegisterAsync(host, V2(stable.Authority), ServingFixtures.TwoFeatures);
        host.Router.SetStable(host.Area.Service<ModelLoader>().Load(first));
        var second = await RegisterAsync(host, V2(candidate.Authority), ServingFixtures.TwoFeatures);
        host.Router.SetCandidate(ServingHost.Model, second.Version, 1, shadow: false, salt: "r");

        var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.Equal(expected, status);
        Assert.Contains("too long", body.GetProperty("error").GetString(), StringComparison.Ordinal);
        var counted = host.Router.Statistics(ServingHost.Model, second.Version).Snapshot();
        Assert.Equal((errors, errors), (counted.Requests, counted.Errors));
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_told_as_that()
    {
        var backend = await FakeBackend.StartAsync();
        await using var host = await StartAsync(backend, V2());
        await backend.DisposeAsync();

        var (status, body) = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.Equal(502, status);
        Assert.Contains("cannot be reached", body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_fallback_answers_for_a_server_that_fails_and_counts_for_no_arm()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always("{}", 500);
        await using var host = await ServingHost.StartAsync(serving => serving.RemoteHosts = backend.Hosts());
        var own = await host.RegisterAsync();
        var remote = host.Area.Service<ModelLoader>().Load(await RegisterAsync(host, V2(backend.Authority), ServingFixtures.TwoFeatures));
        host.Router.SetStable(remote);
        Assert.Equal(502, (await host.InferAsync(ServingHost.Matrix(0, 8))).Status);
        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving")
            .ApplyAsync($"kind: serving\nname: {ServingHost.Model}\nfallback: {own.Version}\nbatching: {{max_rows: 8}}\n", Caller.System("test"), Cancel);

        var (status, body) = await host.InferAsync(ServingHost.Matrix(0, 8));

        Assert.True(status == 200, body.ToString());
        Assert.Equal((own.Version, "fallback"), (body.GetProperty("model_version").GetString(), body.GetProperty("parameters").GetProperty("arm").GetString()));
        Assert.Equal(0.5, body.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), 1e-6);
        Assert.Equal((2, 2), (Served(host).Requests, Served(host).Errors));
        var fallback = host.Area.Service<PinnedVersions>().Get(ServingHost.Model, own.Version).Model;
        Assert.Equal((0, 1), (fallback.Statistics.Snapshot().Requests, fallback.DirectStatistics.Snapshot().Requests));

        backend.Answer = FakeBackend.Always(Scores);
        Assert.Equal("stable", (await host.InferAsync(ServingHost.Matrix(0, 8))).Body.GetProperty("parameters").GetProperty("arm").GetString());
    }

    [Fact]
    public async Task A_fallback_answers_for_a_model_of_this_server_too()
    {
        await using var host = await ServingHost.StartAsync();
        var own = await host.RegisterAsync();
        var failing = new LoadedModel(ServingHost.Model, "9.9.9", ServingFixtures.TwoFeatures, (_, _, _) => throw new InvalidOperationException("broken"), inputs: null, matrixName: "features") { Fallback = own.Version };
        host.Router.SetStable(failing);

        var (status, body) = await host.InferAsync(ServingHost.Matrix(0, 8));

        Assert.True(status == 200, body.ToString());
        Assert.Equal((own.Version, "fallback"), (body.GetProperty("model_version").GetString(), body.GetProperty("parameters").GetProperty("arm").GetString()));
        Assert.Equal((1, 1), (failing.Statistics.Snapshot().Requests, failing.Statistics.Snapshot().Errors));
    }

    [Fact]
    public async Task A_remote_candidate_shadows_a_version_of_this_server()
    {
        await using var backend = await FakeBackend.StartAsync();
        backend.Answer = FakeBackend.Always(Scores);
        await using var host = await ServingHost.StartAsync(serving => serving.RemoteHosts = backend.Hosts());
        host.Router.SetStable(host.Area.Service<ModelLoader>().Load(await host.RegisterAsync()));
        var remote = await RegisterAsync(host, V2(backend.Authority), ServingFixtures.TwoFeatures);
        host.Router.SetCandidate(ServingHost.Model, remote.Version, 0, shadow: true, salt: "r");
        var comparison = host.Router.Shadow(ServingHost.Model, remote.Version);

        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(0, 8))).Status); // 0.5 here, 0.75 there.

        await ServingHost.UntilAsync(() => comparison.Snapshot().Compared == 1);
        Assert.Equal((1, 0.25), (comparison.Snapshot().Disagreements, Math.Round(comparison.Snapshot().MaxDifference, 6)));
    }

    [Theory]
    [InlineData("protocol: v2\nurl: http://a:1", "'model' is missing", "'inputs' is missing")]
    [InlineData("protocol: soap\nurl: http://a:1\nmodel: m", "'protocol'", "soap")]
    [InlineData("protocol: v2\nurl: http://user:secret@a:1\nmodel: m\ninputs: [{name: x, datatype: FP32, shape: [1]}]\noutputs: [{name: y, datatype: FP32, shape: [1]}]", "'url' must be an address", "--remote-host")]
    [InlineData("protocol: v2\nurl: http://a:1\nmodel: m\ninputs: [{name: x, datatype: FP31, shape: [1]}]\noutputs: [{name: y, datatype: FP16, shape: [-2]}]", "FP31", "'-2'")]
    [InlineData("protocol: v2\nurl: http://a:1\nmodel: m\ninputs: [{name: x, datatype: FP16, shape: [1]}]\noutputs: [{name: y, datatype: FP32, shape: [1]}]", "binary: true", "FP16")]
    [InlineData("protocol: mlflow\nurl: http://a:1\nmodel: m\ncolumns: [a]\ninputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\noutputs: [{name: y, datatype: FP32, shape: [1]}]", "'model' has no meaning", "names 1 columns")]
    [InlineData("protocol: openai\nurl: http://a:1\nmodel: m\nbinary: true\ninputs: [{name: x, datatype: FP32, shape: [1]}]\noutputs: [{name: y, datatype: FP32, shape: [1]}]", "'binary' is for protocol v2", "a text in, a text out")]
    [InlineData("protocol: v2\nurl: http://a:1\nmodel: m\nheaders: {a: b}\ninputs: [{name: x, datatype: FP32, shape: [1]}]\noutputs: [{name: y, datatype: FP32, shape: [1]}]", "'headers'", "")]
    public void A_file_that_cannot_be_meant_is_refused_by_its_fields(string yaml, string first, string second)
    {
        var fault = Assert.Throws<SlipwayException>(() => RemoteModelFile.Parse($"kind: remote_model\n{yaml}\n"));

        Assert.Equal(ErrorCode.InvalidArgument, fault.Code);
        Assert.Contains(first, fault.Message, StringComparison.Ordinal);
        Assert.Contains(second, fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("models.internal", "host and a port")]
    [InlineData("http://models.internal:80", "host and a port")]
    [InlineData("models.internal:8000=MISSING", "not set")]
    public void Hosts_are_named_with_their_port_and_tokens_by_variables_that_are_set(string given, string sentence)
    {
        var fault = Assert.Throws<SlipwayException>(() => RemoteHosts.Parse([given], _ => null));
        Assert.Contains(sentence, fault.Message, StringComparison.Ordinal);
    }

    private static string V2(string authority = "{0}") => $$"""
        kind: remote_model
        protocol: v2
        url: http://{{authority}}
        model: m
        inputs: [{name: features, datatype: FP32, shape: [-1, 2]}]
        outputs: [{name: probability, datatype: FP32, shape: [-1, 1]}]
        """;

    private static async Task<ServingHost> StartAsync(FakeBackend backend, string yaml, string? token = null, string[]? features = null, Action<ServingOptions>? options = null)
    {
        var host = await ServingHost.StartAsync(serving =>
        {
            serving.RemoteHosts = backend.Hosts(token);
            options?.Invoke(serving);
        });
        host.Router.SetStable(host.Area.Service<ModelLoader>().Load(await RegisterAsync(host, yaml.Replace("{0}", backend.Authority, StringComparison.Ordinal), features ?? [])));
        return host;
    }

    private static async Task<ModelVersionRecord> RegisterAsync(ServingHost host, string yaml, params string[] features)
    {
        var file = await host.Blobs.PutAsync(System.Text.Encoding.UTF8.GetBytes(yaml), Cancel);
        return await host.Registry.RegisterAsync(
            new RegisterVersion(
                ServingHost.Model, "minor", $"remote-{Interlocked.Increment(ref _runs)}", [new ArtifactFile("model.yaml", file.Sha256, file.SizeBytes)], null,
                features.Length == 0 ? null : new FeatureSchema("none", 1, [.. features.Select(name => new FeatureField(name, "DOUBLE"))], []),
                null, null, null, new string('a', 64), [new DatasetRef("flights", 1, new string('d', 64))]),
            RegistryHost.Ada, default);
    }

    private static Task<HttpResponseMessage> SendRawAsync(ServingHost host, byte[] values)
    {
        var json = System.Text.Encoding.UTF8.GetBytes("""{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}""");
        var content = new ByteArrayContent([.. json, .. values]);
        content.Headers.Add("Inference-Header-Content-Length", json.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
        return host.Area.Client.PostAsync(new Uri($"/v2/models/{ServingHost.Model}/infer", UriKind.Relative), content, Cancel);
    }

    private static ArmSnapshot Served(ServingHost host) => host.Router.Find(ServingHost.Model)!.Stable!.Model.Statistics.Snapshot();

    private static object Integers(string name, int value) => new { name, shape = new[] { 1, 16 }, datatype = "INT32", data = Enumerable.Repeat(value, 16) };
}
