using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Serving;
using Slipway.Serving.Folder;
using Slipway.Serving.Grpc;
using Slipway.Serving.Queues;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Serving;

/// <summary>What happens to requests that find the model busy. The model here stands still until the test lets it go on, so that nothing depends on time.</summary>
[Trait("database", "none")]
public sealed class QueueTests
{
    private const float Poison = -666;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_more_than_may_wait_is_refused_with_the_time_to_come_again()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, WaitingMax = 2 });
        var running = model.SendAsync(1);
        await model.UntilRunningAsync();
        var waiting = new[] { model.SendAsync(2), model.SendAsync(3) };
        await model.UntilWaitingAsync(2);

        using var refused = await model.SendAsync(4);

        Assert.Equal(429, (int)refused.StatusCode);
        Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 3600);
        Assert.Contains("2 requests wait for version 1.0.0 of 'delay' already; try again in", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        foreach (var path in new[] { "/invocations?model=delay", "/v1/models/delay:predict" })
        {
            using var body = Json(new { instances = new[] { new[] { 4, 8 } } });
            using var other = await host.Area.Client.PostAsync(path, body, Cancel);
            Assert.Equal(429, (int)other.StatusCode);
            Assert.InRange(other.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 3600);
        }

        model.LetGo();
        var answered = await Task.WhenAll(new[] { running }.Concat(waiting).Select(AnswerAsync));
        Assert.Equal([1f, 2, 3], answered);
        Assert.Equal([1f, 2, 3], model.Ran.Order());
        Assert.Equal((3, 0), (model.Queue.Rejected, model.Queue.Waiting));
        var served = host.Router.Statistics("delay", "1.0.0").Snapshot();
        Assert.Equal((6, 3), (served.Requests, served.Errors)); // Refusing is a failure of whoever cannot keep up.
    }

    [Fact]
    public async Task Requests_that_wait_are_bounded_by_their_bytes_too()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, WaitingBytesMax = 250 });
        var running = model.SendAsync(1);
        await model.UntilRunningAsync();
        var waiting = new[] { model.SendAsync(2), model.SendAsync(3) }; // 93 bytes each.
        await model.UntilWaitingAsync(2);

        using var refused = await model.SendAsync(4);
        Assert.Equal(429, (int)refused.StatusCode);
        model.LetGo();

        Assert.Equal([1f, 2, 3], (await Task.WhenAll(new[] { running }.Concat(waiting).Select(AnswerAsync))).Order());
    }

    [Fact]
    public async Task A_slow_model_leaves_the_server_awake()
    {
        await using var host = await ServingHost.StartAsync();
        using var open = new ManualResetEventSlim();
        var model = new LoadedModel("slow", "1.0.0", ServingFixtures.TwoFeatures, (_, rows, outputs) =>
        {
            Thread.Sleep(20);
            open.Wait();
            outputs[..rows].Clear();
        });
        model.Queue.Settings = model.Queue.Settings with { WaitMax = TimeSpan.FromMinutes(10) };
        host.Router.SetStable(model);
        open.Set();
        await host.InferAsync(ServingHost.Matrix(1, 2), "/v2/models/slow/infer"); // From now on it is known to be slow.
        open.Reset();

        var sent = Enumerable.Range(0, 100).Select(_ => host.InferAsync(ServingHost.Matrix(1, 2), "/v2/models/slow/infer")).ToList();
        await ServingHost.UntilAsync(() => model.Queue.Waiting == 100 - Environment.ProcessorCount);

        Assert.Equal(Environment.ProcessorCount, model.Queue.Running);
        Assert.Equal(200, (await host.Area.SendAsync(HttpMethod.Get, "/v2/health/live")).Status);
        open.Set();
        Assert.All(await Task.WhenAll(sent), answer => Assert.Equal(200, answer.Status));
    }

    [Fact]
    public async Task What_waited_too_long_is_told_so_and_never_runs()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1 });
        var running = model.SendAsync(1);
        await model.UntilRunningAsync();

        using var expired = await model.SendAsync(2, parameters: new { timeout = 30_000 });

        Assert.Equal(503, (int)expired.StatusCode);
        Assert.NotNull(expired.Headers.RetryAfter);
        Assert.Contains("The request waited 30 ms for version 1.0.0 of 'delay' and was not run", await expired.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        model.LetGo();
        Assert.Equal(1, await AnswerAsync(running));
        Assert.Equal(3, await AnswerAsync(model.SendAsync(3)));
        Assert.Equal([1f, 3], model.Ran);
        Assert.Equal(1, model.Queue.Expired);
    }

    [Fact]
    public async Task A_caller_who_goes_away_frees_his_place()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, WaitingMax = 1 });
        var running = model.SendAsync(1);
        await model.UntilRunningAsync();
        using var leaving = new CancellationTokenSource();
        var gone = model.SendAsync(2, cancel: leaving.Token);
        await model.UntilWaitingAsync(1);

        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gone);
        await model.UntilWaitingAsync(0);
        var next = model.SendAsync(3);
        await model.UntilWaitingAsync(1);
        model.LetGo();

        var answered = await Task.WhenAll(AnswerAsync(running), AnswerAsync(next));
        Assert.Equal([1f, 3], answered);
        Assert.Equal([1f, 3], model.Ran);
    }

    [Fact]
    public async Task Of_those_that_wait_the_lower_priority_number_runs_first_and_none_at_all_last()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1 });
        var sent = new List<Task<HttpResponseMessage>> { model.SendAsync(1) };
        await model.UntilRunningAsync();
        foreach (var (value, priority) in new[] { (2f, 0), (3, 7), (4, 1), (5, 7) })
        {
            sent.Add(model.SendAsync(value, parameters: new { priority }));
            await model.UntilWaitingAsync(sent.Count - 1);
        }

        model.LetGo();
        await Task.WhenAll(sent.Select(AnswerAsync));

        Assert.Equal([1f, 4, 3, 5, 2], model.Ran);
    }

    [Theory]
    [InlineData("""{"timeout":-1}""", "'parameters.timeout' is not a whole number of microseconds")]
    [InlineData("""{"timeout":"soon"}""", "'parameters.timeout' is not a whole number of microseconds")]
    [InlineData("""{"priority":1.5}""", "'parameters.priority' is not a whole number of 0 or more")]
    [InlineData("""{"priority":[]}""", "'parameters.priority' is not a whole number of 0 or more")]
    public async Task A_schedule_that_is_none_is_named(string parameters, string expected)
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, QueueSettings.Default);

        using var answer = await model.SendAsync(1, JsonSerializer.Deserialize<JsonElement>(parameters));

        Assert.Equal(400, (int)answer.StatusCode);
        Assert.Contains(expected, await answer.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(3_600_000_001)]
    public async Task Any_time_that_a_request_allows_is_taken(long timeout)
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, BatchRowsMax = 4 });
        model.LetGo();

        Assert.Equal(3, await AnswerAsync(model.SendAsync(3, new { timeout })));
    }

    [Fact, Trait("capability", "X-40")]
    public async Task What_waits_runs_together_and_each_gets_its_own_answer()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, BatchRowsMax = 4 });
        var sent = new List<Task<HttpResponseMessage>> { model.SendAsync(1) };
        await model.UntilRunningAsync();
        for (var value = 2; value <= 7; value++)
        {
            sent.Add(model.SendAsync(value));
            await model.UntilWaitingAsync(value - 1);
        }

        model.LetGo();

        var answered = await Task.WhenAll(sent.Select(AnswerAsync));
        Assert.Equal([1f, 2, 3, 4, 5, 6, 7], answered);
        Assert.Equal([1, 4, 2], model.Batches);
        var (_, statistics) = await host.Area.SendAsync(HttpMethod.Get, "/v2/models/delay/stats");
        var stats = statistics.GetProperty("model_stats")[0];
        Assert.Equal((7, 3), (stats.GetProperty("inference_count").GetInt64(), stats.GetProperty("execution_count").GetInt64()));
        Assert.True(stats.GetProperty("inference_stats").GetProperty("queue").GetProperty("ns").GetInt64() > 0);
    }

    [Fact, Trait("capability", "X-40")]
    public async Task A_request_that_fails_takes_no_other_with_it()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, BatchRowsMax = 16 });
        var sent = new List<Task<HttpResponseMessage>> { model.SendAsync(1) };
        await model.UntilRunningAsync();
        foreach (var value in new[] { 2, Poison, 3 })
        {
            sent.Add(model.SendAsync(value));
            await model.UntilWaitingAsync(sent.Count - 1);
        }

        model.LetGo();
        var answers = await Task.WhenAll(sent);

        Assert.Equal([200, 200, 500, 200], answers.Select(answer => (int)answer.StatusCode));
        Assert.Equal((4, 1), (host.Router.Statistics("delay", "1.0.0").Snapshot().Requests, host.Router.Statistics("delay", "1.0.0").Snapshot().Errors));
    }

    [Fact, Trait("capability", "X-40")]
    public async Task A_delay_gathers_what_comes_one_after_the_other()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 1, BatchRowsMax = 3, BatchDelay = TimeSpan.FromMinutes(1) });
        model.LetGo();

        var sent = new[] { model.SendAsync(1), model.SendAsync(2), model.SendAsync(3) };

        var answered = await Task.WhenAll(sent.Select(AnswerAsync));

        Assert.Equal([1f, 2, 3], answered); // A full batch does not wait for the minute.
        Assert.Equal([3], model.Batches);
    }

    [Fact, Trait("capability", "X-40")]
    public async Task Known_features_are_answered_without_a_run()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { CacheEntries = 1 << 20 }); // So many places that no two features meet in one.
        model.LetGo();

        foreach (var value in new[] { 5f, 5, 6, 5 })
        {
            Assert.Equal(value, await AnswerAsync(model.SendAsync(value)));
        }

        Assert.Equal([5f, 6], model.Ran);
        Assert.Equal((2, 2), (model.Queue.Cache!.Hits, model.Queue.Cache.Misses));
        Assert.Equal(4, host.Router.Statistics("delay", "1.0.0").Snapshot().Requests);
        Assert.Equal(500, (int)(await model.SendAsync(Poison)).StatusCode);
        Assert.Equal(500, (int)(await model.SendAsync(Poison)).StatusCode); // A failure is not kept.
    }

    [Fact, Trait("capability", "X-40")]
    public async Task Nothing_is_lost_or_mixed_up_among_a_thousand_callers_who_come_and_go()
    {
        await using var host = await ServingHost.StartAsync();
        using var model = new Held(host, new QueueSettings { Instances = 2, BatchRowsMax = 8, WaitingMax = 40 });
        model.LetGo();
        var random = new Random(7);
        var delays = Enumerable.Range(0, 1000).Select(_ => random.Next(4)).ToArray();
        var statuses = new ConcurrentDictionary<int, int>();

        await Parallel.ForEachAsync(Enumerable.Range(0, 1000), new ParallelOptions { MaxDegreeOfParallelism = 64, CancellationToken = Cancel }, async (i, cancel) =>
        {
            using var leaving = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            if (delays[i] == 0)
            {
                leaving.CancelAfter(1);
            }

            try
            {
                using var answer = await model.SendAsync(i, cancel: leaving.Token);
                statuses.AddOrUpdate((int)answer.StatusCode, 1, (_, count) => count + 1);
                if (answer.IsSuccessStatusCode)
                {
                    Assert.Equal(i, await ValueAsync(answer));
                }
            }
            catch (OperationCanceledException) when (leaving.IsCancellationRequested)
            {
            }
        });

        await ServingHost.UntilAsync(() => model.Queue is { Waiting: 0, Running: 0 });
        Assert.True(statuses.GetValueOrDefault(200) > 500, string.Join(", ", statuses));
        Assert.Empty(statuses.Keys.Except([200, 429]));
        Assert.Equal(7, await AnswerAsync(model.SendAsync(7)));
    }

    [Fact]
    public async Task A_definition_holds_for_what_is_loaded_and_for_what_comes()
    {
        await using var host = await ServingHost.StartServingAsync();
        var kind = host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving");
        var yaml = $"""
            kind: serving
            name: {ServingHost.Model}
            instances: 3
            queue: {"{max: 100, max_wait: 10m}"}
            batching: {"{max_rows: 32, max_delay_ms: 5}"}
            cache: {"{entries: 1000}"}
            """;

        await kind.ApplyAsync(yaml, Caller.System("test"), Cancel);

        var expected = new QueueSettings
        {
            Instances = 3,
            WaitingMax = 100,
            WaitMax = TimeSpan.FromMinutes(10),
            BatchRowsMax = 32,
            BatchDelay = TimeSpan.FromMilliseconds(5),
            CacheEntries = 1000,
        };
        Assert.Equal(expected, host.Router.Find(ServingHost.Model)!.Stable!.Model.Queue.Settings);
        var next = await host.RegisterAsync(intercept: 1);
        await host.PutInProductionAsync(next.Version);
        Assert.Equal(expected, host.Router.Find(ServingHost.Model)!.Stable!.Model.Queue.Settings);
        var answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => host.InferAsync(ServingHost.Matrix(i * 100, 8))));
        for (var i = 0; i < 40; i++)
        {
            Assert.Equal(200, answers[i].Status);
            Assert.Equal(1 / (1 + Math.Exp(-1 - (i * 0.1))), answers[i].Body.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), 1e-5);
        }

        var fault = Assert.Throws<SlipwayException>(() => kind.Validate(DefinitionYaml.Parse("kind: serving\nname: x\ninstances: 0\nqueue: {max_wait: 2d}\nbatching: {max_delay_ms: 5}\n")));
        Assert.All(["instances", "queue.max_wait", "batching.max_rows"], field => Assert.Contains(field, fault.Message, StringComparison.Ordinal));
        var nowhere = Assert.Throws<SlipwayException>(() => kind.Validate(DefinitionYaml.Parse("kind: serving\nname: x\nqueue: {max: 0}\nbatching: {max_rows: 8}\n")));
        Assert.Contains("'queue.max' must be at least 1 beside 'batching'", nowhere.Message, StringComparison.Ordinal);
        var nobody = Assert.Throws<SlipwayException>(() => kind.Validate(DefinitionYaml.Parse("kind: serving\nname: x\nfallback: ''\n")));
        Assert.Contains("'fallback' must not be empty", nobody.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_s_own_definition_holds_until_another_is_applied()
    {
        var server = new GrpcServer();
        server.Add("declared", TensorModels.Echo(OnnxElementType.Float, -1, 2), config: "instance_group { count: 5 }", serving: "kind: serving\nname: Another's name\ninstances: 2\nqueue: {max: 3}\nbatching: {max_rows: 4}\nlog: {sample: 0.5}\n");
        await server.InitializeAsync();
        try
        {
            var model = server.App.Services.GetRequiredService<ModelFolder>().Find("declared", "1")!;
            Assert.Equal(QueueSettings.Default with { Instances = 2, WaitingMax = 3, BatchRowsMax = 4 }, model.Queue.Settings);
            Assert.Equal(0.5, model.Log.Share);

            await server.App.Services.GetRequiredService<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving").ApplyAsync("kind: serving\nname: declared\ninstances: 3\n", Caller.System("test"), Cancel);
            Assert.Equal(QueueSettings.Default with { Instances = 3 }, model.Queue.Settings);
            Assert.Equal(System.Net.HttpStatusCode.OK, (await server.Http.PostAsync("/v2/repository/models/declared/load", null, Cancel)).StatusCode);
            Assert.Equal(QueueSettings.Default with { Instances = 3 }, server.App.Services.GetRequiredService<ModelFolder>().Find("declared", "1")!.Queue.Settings);
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    [Fact, Trait("capability", "X-40"), Trait("capability", "MON-10")]
    public async Task Tensors_are_joined_row_by_row_as_a_triton_configuration_asks()
    {
        var server = new GrpcServer();
        server.Add("batched", TensorModels.SumAndDifference(OnnxElementType.Float, null, -1, 2), config: "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 20000 preferred_batch_size: [ 4, 8 ] } instance_group [ { count: 1 } ]");
        await server.InitializeAsync();
        try
        {
            var answers = await Task.WhenAll(Enumerable.Range(0, 24).Select(async i =>
            {
                using var answer = await server.Http.PostAsync("/v2/models/batched/infer", Json(new
                {
                    inputs = new[] { "INPUT0", "INPUT1" }.Select(name => new { name, shape = new[] { 1 + (i % 2), 2 }, datatype = "FP32", data = Enumerable.Repeat((float)i, 2 + (2 * (i % 2))) }),
                }), Cancel);
                return (answer.StatusCode, await answer.Content.ReadAsStringAsync(Cancel));
            }));

            for (var i = 0; i < answers.Length; i++)
            {
                Assert.True(answers[i].StatusCode == System.Net.HttpStatusCode.OK, answers[i].Item2);
                var sum = JsonDocument.Parse(answers[i].Item2).RootElement.GetProperty("outputs").EnumerateArray().Single(output => output.GetProperty("name").GetString() == "OUTPUT0");
                Assert.Equal([1 + (i % 2), 2], sum.GetProperty("shape").EnumerateArray().Select(size => size.GetInt32()));
                Assert.All(sum.GetProperty("data").EnumerateArray(), value => Assert.Equal(2 * i, value.GetDouble()));
            }

            var metrics = (await server.Http.GetStringAsync("/metrics", Cancel)).Split('\n');
            Assert.Contains("# TYPE slipway_serving_requests_total counter", metrics);
            Assert.Contains("slipway_serving_requests_total{model=\"batched\",version=\"1\",arm=\"stable\"} 24", metrics);
            Assert.Contains("slipway_serving_queue_depth{model=\"batched\",version=\"1\",arm=\"stable\"} 0", metrics);
            Assert.Contains("# TYPE slipway_serving_latency_p99_seconds gauge", metrics);
            Assert.Contains(metrics, line => line.StartsWith("dotnet_process_memory_working_set_bytes ", StringComparison.Ordinal));
            Assert.All(metrics.Where(line => line.Length > 0), line => Assert.Matches("""^(# (HELP|TYPE) [a-z0-9_]+ .+|[a-z_][a-z0-9_]*(\{([a-z_]+="[^"]*",?)+\})? -?[0-9.E+-]+)$""", line));

            using var stats = JsonDocument.Parse(await server.Http.GetStringAsync("/v2/models/batched/stats", Cancel));
            var model = stats.RootElement.GetProperty("model_stats")[0];
            Assert.Equal(36, model.GetProperty("inference_count").GetInt64());
            Assert.InRange(model.GetProperty("execution_count").GetInt64(), 5, 23); // 36 rows are at least five batches of eight.
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    [Fact]
    public async Task Over_grpc_too_much_at_once_is_resource_exhausted()
    {
        var server = new GrpcServer();
        server.Add("busy", TensorModels.SumAndDifference(OnnxElementType.Float, null, -1, 2), config: "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 60000000 default_queue_policy { max_queue_size: 1 } }");
        await server.InitializeAsync();
        try
        {
            var sent = Enumerable.Range(0, 4).Select(_ => server.CallAsync("ModelInfer", Sum("busy"), ModelInferResponse.Parser, server.Token)).ToList();
            await ServingHost.UntilAsync(() => sent.Count(call => call.IsCompleted) == 3);
            var queue = server.App.Services.GetRequiredService<ModelFolder>().Find("busy", "1")!.Queue;
            queue.Settings = queue.Settings with { BatchDelay = TimeSpan.Zero };
            var calls = await Task.WhenAll(sent);

            Assert.Equal(1, calls.Count(call => call.Status == 0));
            Assert.All(calls.Where(call => call.Status != 0), call =>
            {
                Assert.Equal(GrpcStatus.Of(ErrorCode.ResourceExhausted), call.Status);
                Assert.Contains("1 requests wait for version 1 of 'busy' already; try again in 1 s", call.Message, StringComparison.Ordinal);
            });
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    private static ModelInferRequest Sum(string model)
    {
        ModelInferRequest.Types.InferInputTensor Tensor(string name) =>
            new() { Name = name, Datatype = "FP32", Shape = { 1, 2 }, Contents = new InferTensorContents { Fp32Contents = { 1, 2 } } };
        return new ModelInferRequest { ModelName = model, Inputs = { Tensor("INPUT0"), Tensor("INPUT1") } };
    }

    private static async Task<float> AnswerAsync(Task<HttpResponseMessage> sent)
    {
        using var answer = await sent;
        return await ValueAsync(answer);
    }

    private static async Task<float> ValueAsync(HttpResponseMessage answer)
    {
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("outputs")[0].GetProperty("data")[0].GetSingle();
    }

    private static StringContent Json(object body) => new(JsonSerializer.Serialize(body), System.Text.Encoding.UTF8, "application/json");

    /// <summary>A model in production that gives back its first feature, and stands still until it is let go.</summary>
    private sealed class Held : IDisposable
    {
        private readonly ManualResetEventSlim _open = new();
        private readonly ServingHost _host;
        private readonly ConcurrentQueue<float> _ran = [];
        private readonly ConcurrentQueue<int> _batches = [];
        private int _running;

        public Held(ServingHost host, QueueSettings settings)
        {
            _host = host;
            var model = new LoadedModel("delay", "1.0.0", ServingFixtures.TwoFeatures, Score);
            model.Queue.Settings = settings with { WaitMax = TimeSpan.FromMinutes(10) };
            Queue = model.Queue;
            host.Router.SetStable(model);
        }

        public ModelQueue Queue { get; }

        /// <summary>First features, in the order in which they were scored.</summary>
        public IEnumerable<float> Ran => _ran;

        /// <summary>Rows of each run that went well.</summary>
        public IEnumerable<int> Batches => _batches;

        public void LetGo() => _open.Set();

        public Task UntilRunningAsync() => ServingHost.UntilAsync(() => Volatile.Read(ref _running) > 0);

        public Task UntilWaitingAsync(int requests) => ServingHost.UntilAsync(() => Queue.Waiting == requests);

        public async Task<HttpResponseMessage> SendAsync(float value, object? parameters = null, CancellationToken cancel = default)
        {
            using var request = Json(new
            {
                parameters = parameters ?? new { },
                inputs = new[] { new { name = "features", shape = new[] { 1, 2 }, datatype = "FP32", data = new[] { value, 8 } } },
            });
            return await _host.Area.Client.PostAsync("/v2/models/delay/infer", request, cancel);
        }

        public void Dispose()
        {
            _open.Set();
            _open.Dispose();
        }

        private void Score(ReadOnlySpan<float> features, int rows, Span<float> outputs)
        {
            Interlocked.Increment(ref _running);
            _open.Wait();
            if (features.Contains(Poison))
            {
                throw new InvalidOperationException("a planted failure");
            }

            for (var row = 0; row < rows; row++)
            {
                outputs[row] = features[2 * row];
                _ran.Enqueue(features[2 * row]);
            }

            _batches.Enqueue(rows);
        }
    }
}
