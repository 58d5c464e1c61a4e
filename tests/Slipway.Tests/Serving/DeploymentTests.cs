using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Registry;
using Slipway.Serving;
using Slipway.Serving.Deployments;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving;

public sealed class DeploymentTests
{
    private static IReadOnlyList<DeploymentRecord> Deployments(ServingHost host) => host.Area.Service<DeploymentStore>().List(ServingHost.Model);

    private static object ForKey(string key) => new
    {
        parameters = new { entity_key = key },
        inputs = new[] { new { name = "features", shape = new[] { 1, 2 }, datatype = "FP32", data = new[] { 733f, 8f } } },
    };

    private static async Task<DeploymentReport> ReportAsync(ServingHost host) =>
        (await host.Area.GetAsync($"/api/slipway/v1/deployments/{ServingHost.Model}")).Body.Deserialize<DeploymentReport>(JsonDefaults.Options)!;

    [Fact]
    [Trait("capability", "REG-07")]
    public async Task A_promotion_switches_the_traffic_within_a_second_and_a_rollback_switches_back()
    {
        await using var host = await ServingHost.StartServingAsync();
        // The quickest of three when the machine's disk stood still for one or two.
        for (var tries = 1; ; tries++)
        {
            var second = await host.RegisterAsync(intercept: 2 + tries);
            await host.PutInProductionAsync(second.Version);
            Assert.Equal(second.Version, (await host.InferAsync(ServingHost.Matrix(1, 2))).Body.GetProperty("model_version").GetString());

            using var stalls = new Stalls();
            var started = TimeProvider.System.GetTimestamp();
            await host.Registry.RollbackAsync(ServingHost.Model, null, "worse on weekends", RegistryHost.Ada, default);
            await ServingHost.UntilAsync(() => host.Router.Find(ServingHost.Model)!.Stable!.Version == "1.0.0");

            var took = TimeProvider.System.GetElapsedTime(started);
            var taken = stalls.Taken;
            Assert.Equal("1.0.0", (await host.InferAsync(ServingHost.Matrix(1, 2))).Body.GetProperty("model_version").GetString());
            await ServingHost.UntilAsync(() => Deployments(host).Count == 1 + (2 * tries));
            var rows = Deployments(host).Select(row => (row.Version, row.Outcome, row.Reason)).ToList();
            Assert.Equal([("1.0.0", null, "worse on weekends"), (second.Version, "rolled_back", "worse on weekends")], rows[..2]);
            Assert.Equal(("1.0.0", "replaced", "better than before"), rows[^1]);
            if (took - taken < TimeSpan.FromSeconds(1))
            {
                break;
            }

            Assert.True(tries < 3, $"It took {took}, of which the busy machine took {taken}.");
        }
    }

    [Fact]
    [Trait("capability", "REG-12")]
    public async Task Callers_of_a_deprecated_version_are_told_in_headers_until_it_is_taken_back()
    {
        await using var host = await ServingHost.StartServingAsync();
        Assert.Empty(await HeadersAsync());

        await host.Registry.DeprecateAsync(ServingHost.Model, "1.0.0", new DeprecateVersion("trained before the strike", new DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero)), RegistryHost.Ada, default);
        await UntilAsync(headers => headers.Count == 2);

        var since = host.Registry.FindDeprecation(ServingHost.Model, "1.0.0")!.At.ToUnixTimeSeconds();
        Assert.Equal([$"Deprecation: @{since}", "Sunset: Fri, 01 Jan 2100 00:00:00 GMT"], await HeadersAsync());
        await host.Registry.UndeprecateAsync(ServingHost.Model, "1.0.0", "it was the data", RegistryHost.Ada, default);
        await UntilAsync(headers => headers.Count == 0);

        async Task UntilAsync(Func<List<string>, bool> condition)
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
            while (!condition(await HeadersAsync()))
            {
                await Task.Delay(20, limit.Token);
            }
        }

        async Task<List<string>> HeadersAsync()
        {
            using var content = new StringContent(JsonSerializer.Serialize(ServingHost.Matrix(1, 2)), Encoding.UTF8, "application/json");
            using var response = await host.Area.Client.PostAsync(new Uri($"/v2/models/{ServingHost.Model}/infer", UriKind.Relative), content);
            Assert.True(response.IsSuccessStatusCode);
            return [.. response.Headers.Where(header => header.Key is "Deprecation" or "Sunset").Select(header => $"{header.Key}: {string.Join(", ", header.Value)}").Order(StringComparer.Ordinal)];
        }
    }

    [Fact]
    [Trait("capability", "REG-17")]
    public async Task Every_time_a_version_was_deployed_is_listed_with_its_times_and_how_it_ended()
    {
        await using var host = await ServingHost.StartServingAsync();
        await host.PutInProductionAsync((await host.RegisterAsync(intercept: 3)).Version);
        await ServingHost.UntilAsync(() => Deployments(host).Count == 2);
        await host.Registry.RollbackAsync(ServingHost.Model, null, "worse on weekends", RegistryHost.Ada, default);
        await ServingHost.UntilAsync(() => Deployments(host).Count == 3);

        var history = (await ReportAsync(host)).History;

        var (again, between, first) = (history[0], history[1], history[2]);
        Assert.Equal([("1.0.0", null), (between.Version, "rolled_back"), ("1.0.0", "replaced")], history.Select(row => (row.Version, row.Outcome)));
        Assert.NotEqual("1.0.0", between.Version);
        Assert.All(history, row => Assert.Equal("stable", row.Arm));
        Assert.True(first.StartedAt <= first.EndedAt && first.EndedAt <= between.StartedAt && between.StartedAt <= between.EndedAt && between.EndedAt <= again.StartedAt);
        Assert.Null(again.EndedAt);
        Assert.NotEqual(first.Id, again.Id);
    }

    [Fact]
    public async Task A_deployment_is_audited_and_linked_to_its_version()
    {
        await using var host = await ServingHost.StartServingAsync();
        await ServingHost.UntilAsync(() => Deployments(host).Count == 1);
        var row = Deployments(host).Single();

        var audit = Assert.Single(host.Area.Service<AuditTrail>().List(new NodeRef(NodeKinds.Deployment, row.Id)));
        Assert.Equal(("deployment.started", "system:serving", "better than before"), (audit.Action, audit.Actor, audit.Reason));
        Assert.Contains(
            host.Area.Service<Lineage>().Upstream(new NodeRef(NodeKinds.Deployment, row.Id)),
            edge => edge.From == ModelVersionNode.Of(ServingHost.Model, "1.0.0") && edge.Relation == "deployed_as");
    }

    [Fact]
    public async Task The_roles_of_a_rollout_are_recorded_with_how_each_ended()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: 1)).Version;
        host.Router.SetCandidate(ServingHost.Model, second, 0, shadow: true, "rollout-1");
        await ServingHost.UntilAsync(() => Deployments(host).Any(row => row.Arm == "shadow"));
        host.Router.SetCandidate(ServingHost.Model, second, 0.05, shadow: false, "rollout-1");
        await ServingHost.UntilAsync(() => Deployments(host).Any(row => row.Arm == "candidate"));
        host.Router.ClearCandidate(ServingHost.Model, "rolled_back", "p99 latency over 200 ms");
        await ServingHost.UntilAsync(() => Deployments(host).All(row => row.Arm == "stable" || row.EndedAt is not null));

        var rows = Deployments(host);
        Assert.Equal("stepped", rows.Single(row => row.Arm == "shadow").Outcome);
        Assert.Equal(("rolled_back", "p99 latency over 200 ms"), (rows.Single(row => row.Arm == "candidate").Outcome, rows.Single(row => row.Arm == "candidate").Reason));
        Assert.Null(rows.Single(row => row.Arm == "stable").EndedAt);
    }

    [Fact, Trait("capability", "REG-23")]
    public async Task A_version_whose_file_was_changed_is_not_loaded_and_the_one_before_it_goes_on_answering()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = await host.RegisterAsync(intercept: 3);
        await host.PromoteAsync(second.Version, Stage.Staging);
        var promotion = await host.Registry.RequestPromotionAsync(ServingHost.Model, second.Version, Stage.Production, "better", RegistryHost.Ada, default);
        await host.Registry.ApproveAsync(promotion.Id, "read", RegistryHost.Grace, default);
        await host.Area.Service<Database>().WriteAsync(transaction => MoveWithoutGate(transaction, second.Version), default);
        using (var file = new FileStream(host.Blobs.PathOf(second.ServedSha256!), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.Position = 40;
            file.WriteByte((byte)'#');
        }

        await host.Area.Service<Database>().WriteAsync(
            transaction => transaction.Publish(ModelRegistry.StageChangedTopic, new { ServingHost.Model, version = second.Version, to = Stage.Production, cause = "promotion", reason = "better" }), default);
        await ServingHost.UntilAsync(() => host.Area.Service<Deployer>().FailureOf(ServingHost.Model) is not null);

        Assert.Equal("1.0.0", (await host.InferAsync(ServingHost.Matrix(1, 2))).Body.GetProperty("model_version").GetString());
        var report = await ReportAsync(host);
        Assert.Contains("its model file has been changed on disk", report.Now.LoadFailure, StringComparison.Ordinal);
        Assert.Equal(503, (await host.Area.GetAsync("/v2/health/ready")).Status);
        await ServingHost.UntilAsync(() => host.Area.Service<AuditTrail>().List(new NodeRef(NodeKinds.Model, ServingHost.Model)).Any(row => row.Action == "deployment.load_failed"));
    }

    [Fact, Trait("capability", "X-22")]
    public async Task The_health_of_a_model_is_200_with_its_loaded_version_and_503_when_that_cannot_be_loaded()
    {
        await using var host = await ServingHost.StartServingAsync();
        var (status, body) = await host.Area.GetAsync($"/v1/models/{ServingHost.Model}");
        Assert.Equal(200, status);
        var loaded = Assert.Single(body.GetProperty("model_version_status").EnumerateArray());
        Assert.Equal(("1.0.0", "AVAILABLE"), (loaded.GetProperty("version").GetString(), loaded.GetProperty("state").GetString()));
        Assert.Equal(200, (await host.Area.GetAsync($"/v2/models/{ServingHost.Model}/ready")).Status);

        await using var broken = await ServingHost.StartAsync();
        var version = await broken.RegisterAsync();
        File.WriteAllText(broken.Blobs.PathOf(version.ServedSha256!), "no model");
        await broken.Area.Service<Database>().WriteAsync(transaction => MoveWithoutGate(transaction, version.Version), default);
        await broken.Area.Service<Database>().WriteAsync(
            transaction => transaction.Publish(ModelRegistry.StageChangedTopic, new { ServingHost.Model, version = version.Version, to = Stage.Production, cause = "promotion", reason = "first" }), default);
        await ServingHost.UntilAsync(() => broken.Area.Service<Deployer>().FailureOf(ServingHost.Model) is not null);

        Assert.Equal(503, (await broken.Area.GetAsync($"/v1/models/{ServingHost.Model}")).Status);
        Assert.Equal(503, (await broken.Area.GetAsync($"/v2/models/{ServingHost.Model}/ready")).Status);
    }

    [Fact, Trait("capability", "MON-10")]
    public async Task A_model_that_fails_answers_500_counts_an_error_and_logs_it()
    {
        await using var host = await ServingHost.StartAsync();
        // log(-1) is not a number: a model that is broken for every input.
        var broken = new OnnxModelWriter("broken")
            .AddInput("features", OnnxElementType.Float, -1, 2).AddOutput("probability", OnnxElementType.Float, -1, 1)
            .AddInitializer("weight", (ReadOnlySpan<float>)[0f, 0f], 2, 1).AddInitializer("minus", (ReadOnlySpan<float>)[-1f], 1)
            .AddNode("Gemm", ["features", "weight", "minus"], ["minus_one"]).AddNode("Log", ["minus_one"], ["probability"]).ToBytes();
        await host.PutInProductionAsync((await host.RegisterAsync(broken)).Version);

        var (status, answer) = await host.InferAsync(ServingHost.Matrix(1, 2));

        Assert.Equal(500, status);
        Assert.Contains("not a finite number", answer.GetProperty("error").GetString(), StringComparison.Ordinal);
        var arm = Assert.Single((await ReportAsync(host)).Now.Arms);
        Assert.Equal((1, 1, 1.0), (arm.Requests, arm.Errors, arm.ErrorRate));
        await host.Area.Service<PredictionLog>().FlushAsync(default);
        Assert.Equal(1, host.Area.Service<PredictionLog>().Written);
    }

    [Fact]
    public async Task A_model_of_another_form_cannot_be_served_and_says_why()
    {
        await using var host = await ServingHost.StartServingAsync();
        var wide = await host.RegisterAsync(OnnxConverters.LogisticRegression(["a", "b", "c"], [0, 0, 0], [1, 1, 1], [1, 1, 1], 0));

        var error = Assert.Throws<SlipwayException>(() => host.Router.SetCandidate(ServingHost.Model, wide.Version, 0.5, shadow: false, "r"));

        Assert.Equal(ErrorCode.Unavailable, error.Code);
        Assert.Contains("one column per feature of its schema", error.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "SRV-16")]
    public async Task Requests_of_one_key_meet_one_version_over_http_and_every_arm_is_counted()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: 1)).Version;
        host.Router.SetCandidate(ServingHost.Model, second, 0.5, shadow: false, "rollout-1");
        var candidates = 0;
        for (var key = 0; key < 60; key++)
        {
            var expected = host.Router.Find(ServingHost.Model)!.Choose(Encoding.UTF8.GetBytes($"user-{key}"))!.Version;
            candidates += expected == second ? 1 : 0;
            for (var repeat = 0; repeat < 2; repeat++)
            {
                Assert.Equal(expected, (await host.InferAsync(ForKey($"user-{key}"))).Body.GetProperty("model_version").GetString());
            }
        }

        Assert.InRange(candidates, 12, 48);
        var arms = (await ReportAsync(host)).Now.Arms;
        Assert.Equal((120 - (2 * candidates), 2 * candidates), (arms[0].Requests, arms[1].Requests));
        Assert.All(arms, arm => Assert.InRange(arm.LatencyMsP50, 0.001, 1000));
    }

    [Fact, Trait("capability", "SRV-17")]
    public async Task Without_stickiness_one_key_meets_both_versions_and_the_deployment_says_so()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: 1)).Version;
        host.Router.SetCandidate(ServingHost.Model, second, 0.5, shadow: false, "rollout-1", sticky: false);
        var versions = new HashSet<string?>();
        for (var i = 0; i < 60; i++)
        {
            versions.Add((await host.InferAsync(ForKey("user-1"))).Body.GetProperty("model_version").GetString());
        }

        Assert.Equal(2, versions.Count);
        Assert.False((await ReportAsync(host)).Now.Sticky);
    }

    [Fact, Trait("capability", "SRV-09")]
    public async Task A_shadow_sees_every_request_answers_none_and_its_disagreement_is_reported()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: -2)).Version;
        host.Router.SetCandidate(ServingHost.Model, second, 0, shadow: true, "rollout-1");
        for (var i = 0; i < 50; i++)
        {
            Assert.Equal("1.0.0", (await host.InferAsync(ServingHost.Matrix(733, 8))).Body.GetProperty("model_version").GetString());
        }

        await ServingHost.UntilAsync(() => host.Router.Shadow(ServingHost.Model, second).Snapshot().Compared == 50);
        var shadow = (await ReportAsync(host)).Now.Shadow!;
        Assert.Equal((second, 1.0, 50, 0), (shadow.Version, shadow.DisagreementRate, shadow.DecisionsDiffer, shadow.Dropped));
        var log = host.Area.Service<PredictionLog>();
        await ServingHost.UntilAsync(() => log.Written == 100); // A copy is compared first, and logged then.
        Assert.Equal(50, host.Router.Skew(ServingHost.Model, second).Snapshot()[0].ActualRows);
    }

    [Fact]
    public async Task A_shadow_that_gives_no_number_has_failed()
    {
        await using var host = await ServingHost.StartServingAsync();
        var roots = new OnnxModelWriter("roots").AddInput("features", OnnxElementType.Float, -1, 2).AddOutput("probability", OnnxElementType.Float, -1, 1)
            .AddInitializer("first", [-1f, 0], 2, 1).AddInitializer("most", [1000f], 1)
            .AddNode("MatMul", ["features", "first"], ["negative"]).AddNode("Add", ["negative", "most"], ["left"]).AddNode("Sqrt", ["left"], ["probability"]).ToBytes();
        var shadow = (await host.RegisterAsync(roots)).Version;
        host.Router.SetCandidate(ServingHost.Model, shadow, 0, shadow: true, "rollout-1");
        await host.InferAsync(ServingHost.Matrix(733, 8));
        await host.InferAsync(ServingHost.Matrix(733, 8, 1733, 8));

        var statistics = host.Router.Shadow(ServingHost.Model, shadow);
        await ServingHost.UntilAsync(() => statistics.Snapshot() is { Compared: 2, Errors: 1 });
        Assert.True(double.IsFinite(statistics.Snapshot().MaxDifference));
    }

    [Fact]
    public async Task An_alias_that_moves_answers_with_its_new_version()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: 1)).Version;
        await host.Registry.SetAliasAsync(ServingHost.Model, "champion", "1.0.0", RegistryHost.Ada, default);
        async Task<string?> AskAsync(string name) => (await host.InferAsync(ServingHost.Matrix(1, 2), $"/v2/models/{ServingHost.Model}/versions/{name}/infer")).Body.GetProperty("model_version").GetString();
        Assert.Equal(("1.0.0", second), (await AskAsync("@champion"), await AskAsync("latest")));

        await host.Registry.SetAliasAsync(ServingHost.Model, "champion", second, RegistryHost.Ada, default);
        var third = (await host.RegisterAsync(intercept: 2)).Version;

        for (var waited = 0; (await AskAsync("@champion"), await AskAsync("latest")) != (second, third); waited++)
        {
            Assert.True(waited < 3000, "The names go on answering with the versions they stood for.");
            await Task.Delay(20);
        }

        var pinned = host.Area.Service<PinnedVersions>();
        Assert.Same(pinned.Get(ServingHost.Model, "@champion"), pinned.Get(ServingHost.Model, second));
    }

    [Fact]
    public async Task A_name_that_is_deleted_answers_no_more()
    {
        await using var host = await ServingHost.StartServingAsync();
        var second = (await host.RegisterAsync(intercept: 1)).Version;
        await host.Registry.SetAliasAsync(ServingHost.Model, "champion", "1.0.0", RegistryHost.Ada, default);
        async Task<int> AskAsync(string name) => (await host.InferAsync(ServingHost.Matrix(1, 2), $"/v2/models/{ServingHost.Model}/versions/{name}/infer")).Status;
        async Task UntilGoneAsync(string name)
        {
            for (var waited = 0; await AskAsync(name) != 404; waited++)
            {
                Assert.True(waited < 3000, $"{name} goes on answering.");
                await Task.Delay(20);
            }
        }

        Assert.Equal((200, 200), (await AskAsync("@champion"), await AskAsync(second)));
        await host.Registry.DeleteAliasAsync(ServingHost.Model, "champion", RegistryHost.Ada, default);
        await host.Registry.DeleteVersionAsync(ServingHost.Model, second, RegistryHost.Ada, default);

        await UntilGoneAsync("@champion");
        await UntilGoneAsync(second);
        Assert.Equal(200, await AskAsync("1.0.0"));
    }

    [Fact, Trait("capability", "MON-10")]
    public async Task Traffic_is_shown_per_arm_over_time()
    {
        await using var host = await ServingHost.StartServingAsync();
        // One of the test's own: the host's takes a sample every two seconds by itself.
        using var timeline = new TrafficTimeline(host.Router, TimeProvider.System);
        await host.InferAsync(ServingHost.Matrix(1, 2));
        await host.InferAsync(ServingHost.Matrix(1, 2));
        timeline.Sample();
        await host.InferAsync(ServingHost.Matrix(1, 2));

        var points = timeline.Points(ServingHost.Model);
        var reported = (await ReportAsync(host)).Traffic;

        Assert.Equal([2L, 1L], points.Select(point => point.Requests));
        Assert.Equal(3, reported.Sum(point => point.Requests));
        Assert.All(points.Concat(reported), point => Assert.Equal(("stable", "1.0.0", 0L), (point.Arm, point.Version, point.Errors)));
    }

    [Fact]
    public async Task An_unknown_model_has_no_deployment()
    {
        await using var host = await ServingHost.StartAsync();

        Assert.Equal(404, (await host.Area.GetAsync("/api/slipway/v1/deployments/nothing")).Status);
        Assert.Equal("[]", (await host.Area.GetAsync("/api/slipway/v1/deployments")).Body.GetRawText());
    }

    private static void MoveWithoutGate(WriteTransaction transaction, string version)
    {
        Dapper.SqlMapper.Execute(transaction.Connection, "UPDATE model_versions SET stage = 'archived' WHERE stage = 'production'");
        Dapper.SqlMapper.Execute(transaction.Connection, "UPDATE model_versions SET stage = 'production' WHERE version = @version", new { version });
    }
}
