using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Serving;
using Slipway.Serving.Deployments;
using Slipway.Serving.Protocol;
using Slipway.Serving.Queues;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Storage;

namespace Slipway.Tests.Serving;

/// <summary>Versions that give their memory back while nobody asks for them. Time is moved by hand, but for one that waits for a real second.</summary>
[Trait("database", "none")]
public sealed class IdleTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact, Trait("capability", "SRV-08"), Trait("capability", "X-42")]
    public async Task A_version_that_nobody_asks_gives_its_memory_back_and_is_loaded_once_however_many_ask_then()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "scaling: {min: 0, idle: 1h}");
        var (clock, versions) = Watched(host);
        var idle = Stable(host).Idle!;
        versions.Look();

        clock.Advance(TimeSpan.FromMinutes(59));
        versions.Look();
        Assert.False(idle.IsAsleep);
        clock.Advance(TimeSpan.FromMinutes(1));
        versions.Look();
        Assert.True(idle.IsAsleep);

        Assert.Equal(200, (await host.Area.SendAsync(HttpMethod.Get, $"/v2/models/{ServingHost.Model}/ready")).Status); // It answers, if a little later.
        Assert.Equal((0, 0), (Measure(host, "slipway.serving.loaded"), Measure(host, "slipway.serving.wakes")));
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => host.InferAsync(ServingHost.Matrix(i * 100, 8))));

        for (var i = 0; i < answers.Length; i++)
        {
            Assert.True(answers[i].Status == 200, answers[i].Body.ToString());
            Assert.Equal(1 / (1 + Math.Exp(-i * 0.1)), answers[i].Body.GetProperty("outputs")[0].GetProperty("data")[0].GetDouble(), 1e-5);
        }

        Assert.Equal((1, 1), (Measure(host, "slipway.serving.loaded"), Measure(host, "slipway.serving.wakes")));
        Assert.False(idle.IsAsleep);
        Assert.Equal((0, 0), (Stable(host).Queue.Running, Stable(host).Queue.Waiting));
        clock.Advance(TimeSpan.FromHours(1));
        versions.Look(); // It has answered since.
        Assert.False(idle.IsAsleep);
        clock.Advance(TimeSpan.FromHours(1));
        versions.Look();
        Assert.True(idle.IsAsleep);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task The_server_looks_by_itself()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "scaling: {min: 0, idle: 1s}");

        await ServingHost.UntilAsync(() => Stable(host).Idle!.IsAsleep);

        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_version_that_is_asked_now_and_then_stays()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "scaling: {min: 0, idle: 1h}");
        var (clock, versions) = Watched(host);
        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
            await ServingHost.UntilAsync(() => Stable(host).Statistics.Snapshot().Requests == i + 1);
            versions.Look();
            clock.Advance(TimeSpan.FromMinutes(40));
            versions.Look();
        }

        Assert.Equal((false, 0L), (Stable(host).Idle!.IsAsleep, Stable(host).Idle!.Wakes));
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task What_cannot_be_loaded_is_told_counts_and_is_tried_again_by_the_next_request()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "scaling: {min: 0}");
        var model = Stable(host);
        var file = host.Blobs.PathOf(host.Registry.Find(ServingHost.Model, model.Version)!.ServedSha256!);
        var content = await File.ReadAllBytesAsync(file, Cancel);
        Assert.True(model.Idle!.TrySleep());

        File.Delete(file);
        var gone = await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => host.InferAsync(ServingHost.Matrix(1, 2))));
        await File.WriteAllBytesAsync(file, [.. content[..^1], (byte)(content[^1] ^ 1)], Cancel);
        var damaged = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.All(gone, answer => Assert.Equal(503, answer.Status));
        Assert.Contains($"Version {model.Version} of '{ServingHost.Model}' cannot be served: its model file is gone", gone[0].Body.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(503, damaged.Status);
        Assert.Contains("its model file has been changed on disk", damaged.Body.GetProperty("error").GetString(), StringComparison.Ordinal);
        await ServingHost.UntilAsync(() => model.Statistics.Snapshot() is { Requests: 6, Errors: 6 });
        Assert.True(model.Idle.IsAsleep);

        await File.WriteAllBytesAsync(file, content, Cancel);
        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
        Assert.Equal(1, model.Idle.Wakes);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_load_that_fails_is_no_answer_to_what_came_while_it_ran()
    {
        var onnx = OnnxConverters.LogisticRegression(ServingFixtures.TwoFeatures, [0, 0], [1, 1], [0.001, 0], 0);
        using var began = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        var loads = 0;
        var idle = new IdleSession(OnnxSession.Load(onnx), "It", () =>
        {
            loads++;
            began.Release();
            goOn.Wait();
            return loads == 1 ? throw new SlipwayException(ErrorCode.Unavailable, "its file is gone") : OnnxSession.Load(onnx);
        }, NullLogger.Instance);
        using var queue = new ModelQueue();
        idle.Attach(queue);
        Assert.True(idle.TrySleep());

        var before = Request();
        var beforeEnds = queue.WaitAsync(before, null, Cancel);
        await began.WaitAsync(Cancel);
        var meanwhile = queue.WaitAsync(Request(), null, Cancel);
        goOn.Release();

        Assert.Equal((QueueEnd.Unloaded, "its file is gone"), (await beforeEnds, before.Refusal));
        await began.WaitAsync(Cancel);
        Assert.False(meanwhile.IsCompleted);
        goOn.Release();
        Assert.Equal(QueueEnd.Turn, await meanwhile);
        Assert.Equal((2, 1), (loads, idle.Wakes));

        static QueuedRequest Request() => new(new InferScratch(), default, 0, long.MaxValue);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task Candidate_and_shadow_keep_their_counters_over_a_sleep()
    {
        await using var host = await ServingHost.StartServingAsync();
        var next = await host.RegisterAsync(intercept: 0.5);
        host.Router.SetCandidate(ServingHost.Model, next.Version, share: 0.5, shadow: true, salt: "s", sticky: false);
        await ApplyAsync(host, "scaling: {min: 0}");
        var (clock, versions) = Watched(host);
        async Task SendAsync(long times)
        {
            for (var i = 0; i < 40; i++)
            {
                Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
            }

            var stable = Stable(host).Statistics;
            await ServingHost.UntilAsync(() => stable.Snapshot().Requests + host.Router.Statistics(ServingHost.Model, next.Version).Snapshot().Requests == times
                && host.Router.Shadow(ServingHost.Model, next.Version).Snapshot().Compared == stable.Snapshot().Requests);
        }

        await SendAsync(40);
        versions.Look();
        clock.Advance(TimeSpan.FromMinutes(15));
        versions.Look();

        var candidate = host.Router.Loaded(ServingHost.Model, next.Version)!;
        Assert.Equal((true, true), (candidate.Idle!.IsAsleep, Stable(host).Idle!.IsAsleep));
        await SendAsync(80);
        Assert.Equal((1L, 1L), (candidate.Idle.Wakes, Stable(host).Idle!.Wakes));
        Assert.Equal(0, candidate.Statistics.Snapshot().Errors);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_shadow_that_sleeps_is_loaded_for_the_first_copy()
    {
        await using var host = await ServingHost.StartServingAsync();
        var next = await host.RegisterAsync(intercept: 0.5);
        host.Router.SetCandidate(ServingHost.Model, next.Version, share: 0, shadow: true, salt: "s");
        await ApplyAsync(host, "scaling: {min: 0}");
        var shadow = host.Router.Loaded(ServingHost.Model, next.Version)!;
        Assert.True(shadow.Idle!.TrySleep());

        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status);

        await ServingHost.UntilAsync(() => host.Router.Shadow(ServingHost.Model, next.Version).Snapshot().Compared == 1);
        Assert.Equal((1L, 1L), (shadow.Idle.Wakes, shadow.Served));
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task Models_of_tensors_and_batches_are_loaded_again_too()
    {
        await using var host = await ServingHost.StartAsync();
        await host.RegisterTensorsAsync(TensorModels.SumAndDifference(), "simple");
        await ApplyAsync(host, "scaling: {min: 0}\nbatching: {max_rows: 8}", "simple");
        var path = "/v2/models/simple/versions/1.0.0/infer";
        Assert.Equal(200, (await host.InferAsync(TensorInferenceTests.Models.SimpleJson, path)).Status);
        var model = host.Area.Service<PinnedVersions>().Get("simple", "1.0.0").Model;
        await ServingHost.UntilAsync(() => model.Idle!.TrySleep());

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => host.InferAsync(TensorInferenceTests.Models.SimpleJson, path)));

        Assert.All(answers, answer => Assert.Equal(200, answer.Status));
        Assert.All(answers, answer => Assert.Equal(16, answer.Body.GetProperty("outputs")[0].GetProperty("data")[15].GetInt32()));
        Assert.Equal(1, model.Idle!.Wakes);
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task No_request_meets_a_version_that_falls_asleep_under_it()
    {
        await using var host = await ServingHost.StartServingAsync();
        var idle = Stable(host).Idle!;
        using var done = new CancellationTokenSource();
        var sleeping = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                _ = idle.TrySleep();
                await Task.Yield();
            }
        }, Cancel);

        var statuses = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            var seen = new HashSet<int>();
            for (var i = 0; i < 100; i++)
            {
                seen.Add((await host.InferAsync(ServingHost.Matrix(1, 2))).Status);
            }

            return seen;
        }, Cancel)));
        await done.CancelAsync();
        await sleeping;

        Assert.Equal([200], statuses.SelectMany(seen => seen).Distinct());
        Assert.InRange(idle.Wakes, 2, long.MaxValue);
    }

    [Fact]
    public void What_runs_beside_the_queue_loads_a_graph_that_is_gone_and_runs_on_that()
    {
        var onnx = OnnxConverters.LogisticRegression(ServingFixtures.TwoFeatures, [0, 0], [1, 1], [0.001, 0], 0);
        using var queue = new ModelQueue();
        var idle = new IdleSession(OnnxSession.Load(onnx), "it", () => OnnxSession.Load(onnx), NullLogger.Instance);
        idle.Attach(queue);
        var output = new float[1];
        Assert.True(queue.TryEnter());
        Assert.False(idle.TrySleep()); // Somebody runs it.
        queue.GiveBack();
        Assert.True(idle.TrySleep());
        Assert.Equal((true, false, 0), (queue.IsAsleep, queue.TryEnter(), queue.Running));

        idle.RunMatrix([0, 0], 1, output);

        Assert.Equal((0.5f, false, 1L), (output[0], queue.IsAsleep, idle.Wakes));
        Assert.False(new IdleSession(OnnxSession.Load(onnx)).TrySleep()); // Nobody could load it again.
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_fallback_that_sleeps_is_loaded_when_it_has_to_answer()
    {
        await using var host = await ServingHost.StartServingAsync();
        var fallback = Stable(host).Version;
        var broken = await host.RegisterAsync(intercept: double.NaN);
        await ApplyAsync(host, $"scaling: {{min: 0}}\nfallback: {fallback}");
        var pinned = host.Area.Service<PinnedVersions>();
        var stand = pinned.Get(ServingHost.Model, fallback).Model;
        host.Router.SetStable(pinned.Get(ServingHost.Model, broken.Version).Model);

        foreach (var asleep in new[] { false, true })
        {
            Assert.True(stand.Idle!.TrySleep());
            Assert.True(!asleep || Stable(host).Idle!.TrySleep()); // The version in production too.
            var (status, answer) = await host.InferAsync(ServingHost.Matrix(1, 2));

            Assert.True(status == 200, answer.ToString());
            Assert.Equal("fallback", answer.GetProperty("parameters").GetProperty("arm").GetString());
        }
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_model_folder_sleeps_too_and_a_file_put_in_its_place_is_not_taken_for_it()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-idle-").FullName;
        try
        {
            var file = Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "echo", "1")).FullName, "model.onnx");
            await File.WriteAllBytesAsync(file, TensorModels.Echo(OnnxElementType.Int32, -1), Cancel);
            await using var host = await ServingHost.StartAsync(options => options.ModelRepository = folder);
            await ServingHost.UntilAsync(() => host.Router.Find("echo") is not null);
            await ApplyAsync(host, "scaling: {min: 0}", "echo");
            var idle = host.Router.Find("echo")!.Stable!.Model.Idle!;
            const string Request = """{"inputs":[{"name":"IN","shape":[1],"datatype":"INT32","data":[7]}]}""";

            Assert.True(idle.TrySleep());
            Assert.Equal(200, (await host.InferAsync(Request, "/v2/models/echo/infer")).Status);
            await ServingHost.UntilAsync(idle.TrySleep);
            await File.WriteAllBytesAsync(file, TensorModels.Echo(OnnxElementType.Int64, -1), Cancel);
            var (status, answer) = await host.InferAsync(Request, "/v2/models/echo/infer");

            Assert.Equal(503, status);
            Assert.Contains("its file has been changed since it was loaded; load the model from the repository again", answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact, Trait("capability", "SRV-08")]
    public async Task A_policy_holds_at_once_and_one_that_contradicts_itself_is_refused()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ApplyAsync(host, "scaling: {min: 0, max: 8, target: 4, idle: 10m}");
        Assert.Equal(new ScalingPolicy(0, 8, 4, TimeSpan.FromMinutes(10)), Stable(host).Scaling);
        Assert.Equal(8, Stable(host).Queue.Settings.Instances);
        Assert.Equal(new ScalingReport(0, 8, 4, 600), host.Area.Service<DeploymentReports>().Get(ServingHost.Model).Scaling);
        Assert.True(Stable(host).Idle!.TrySleep());

        await ApplyAsync(host, "queue: {max: 9}");
        Assert.Equal(ScalingPolicy.Default, Stable(host).Scaling);
        Assert.Null(host.Area.Service<DeploymentReports>().Get(ServingHost.Model).Scaling);
        await ServingHost.UntilAsync(() => !Stable(host).Idle!.IsAsleep); // It is kept ready again.

        var (clock, versions) = Watched(host);
        versions.Look();
        clock.Advance(TimeSpan.FromDays(1));
        versions.Look();
        Assert.False(Stable(host).Idle!.IsAsleep);
        var fault = await Assert.ThrowsAsync<SlipwayException>(() => ApplyAsync(host, "instances: 3\nscaling: {min: 9, max: 8, target: 0, idle: 0.5s}"));
        Assert.All(["'instances' says what 'scaling.max' says", "'scaling.max' must be at least 'min', which is 9", "scaling.target", "'scaling.idle' must be at least 1s"],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
        fault = await Assert.ThrowsAsync<SlipwayException>(() => ApplyAsync(host, "queue: {max: 0}\nscaling: {min: 0}"));
        Assert.Contains("'queue.max' must be at least 1 beside a 'scaling.min' of 0", fault.Message, StringComparison.Ordinal);
    }

    private static LoadedModel Stable(ServingHost host) => host.Router.Find(ServingHost.Model)!.Stable!.Model;

    private static Task<AppliedDefinition> ApplyAsync(ServingHost host, string settings, string model = ServingHost.Model) =>
        host.Area.Service<IEnumerable<IDefinitionKind>>().Single(kind => kind.Kind == "serving").ApplyAsync($"kind: serving\nname: {model}\n{settings}\n", Caller.System("test"), Cancel);

    private static (ManualClock Clock, IdleVersions Versions) Watched(ServingHost host)
    {
        var clock = new ManualClock();
        return (clock, new IdleVersions(host.Area.Service<PinnedVersions>(), clock, NullLogger<IdleVersions>.Instance));
    }

    private static long Measure(ServingHost host, string name)
    {
        _ = host.Area.Service<DeploymentReports>(); // Which keeps the meter.
        long sum = 0;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, to) =>
        {
            if (instrument.Name == name && instrument.Meter.Scope == host.Area.Service<IMeterFactory>())
            {
                to.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<int>((_, value, _, _) => sum += value);
        listener.SetMeasurementEventCallback<long>((_, value, _, _) => sum += value);
        listener.Start();
        listener.RecordObservableInstruments();
        return sum;
    }
}
