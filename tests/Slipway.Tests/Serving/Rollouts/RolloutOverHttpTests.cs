using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Slipway.Native.Onnx;
using Slipway.Serving.Rollouts;
using Slipway.Storage.Definitions;
using Slipway.Tests.Registry;

namespace Slipway.Tests.Serving.Rollouts;

/// <summary>The whole way: clients over HTTP, real models, the background controller.</summary>
public sealed class RolloutOverHttpTests
{
    private const string Routes = "/api/slipway/v1/rollouts";

    // Short steps: the counts are the test's time.
    private const string Spec =
        $$"""
        kind: rollout
        name: delays
        model: {{ServingHost.Model}}
        min_evidence: 50
        steps:
          - {shadow: true, min_requests: 150}
          - {percent: 20, min_requests: 100}
          - {percent: 50, min_requests: 100}
          - {percent: 100, min_requests: 50}
        triggers:
          error_rate: {max: 0.05, compare: stable}
          latency: {percentile: 90, max_ms: 2000, compare: stable, tolerance_ratio: 1.5, tolerance_ms: 4}
          disagreement: {max_rate: 0.1, tolerance: 0.1}
          skew: {psi_max: 0.25, compare: stable, min_values: 100}
          quality: {metric: brier, max_drop: 0.02, min_labels: 100, required_from_percent: 50}
        """;

    [Fact, Trait("capability", "SRV-10"), Trait("capability", "SRV-15")]
    public async Task A_good_version_takes_over_under_traffic_and_no_request_fails()
    {
        await using var host = await StartAsync();
        var version = await StageAsync(host, OnnxConverters.LogisticRegression(ServingFixtures.TwoFeatures, [0, 0], [1, 1], [0.001, 0], 0.01));
        var id = await BeginAsync(host, version);

        var (ended, statuses) = await SendUntilEndedAsync(host, id);

        Assert.Equal((RolloutStatus.Completed, "All steps passed with every trigger quiet."), (ended.Status, ended.EndReason));
        Assert.Equal([200], statuses.Keys);
        await ServingHost.UntilAsync(() => host.Router.Find(ServingHost.Model) is { Candidate: null } table && table.Stable!.Version == version);
        var (_, answer) = await host.InferAsync(ServingHost.Matrix(733, 8));
        Assert.Equal((version, "stable"), (answer.GetProperty("model_version").GetString(), answer.GetProperty("parameters").GetProperty("arm").GetString()));
        Assert.All(ended.Steps, step => Assert.True(step.Requests >= step.MinRequests));
    }

    [Fact, Trait("capability", "SRV-13")]
    public async Task A_slow_version_is_taken_back_under_traffic_and_no_request_fails()
    {
        await using var host = await StartAsync();
        var good = OnnxConverters.LogisticRegression(ServingFixtures.TwoFeatures, [0, 0], [1, 1], [0.001, 0], 0.01);
        var version = await StageAsync(host, OnnxConverters.WithBallast(good, 256, 10));
        var id = await BeginAsync(host, version);

        var (ended, statuses) = await SendUntilEndedAsync(host, id);

        Assert.Equal((RolloutStatus.RolledBack, 2), (ended.Status, ended.Step));
        Assert.StartsWith("[latency] P90 latency", ended.EndReason, StringComparison.Ordinal);
        Assert.InRange(ended.RestoreMs!.Value, 0, 1000);
        Assert.Equal([200], statuses.Keys);
        var (_, answer) = await host.InferAsync(ServingHost.Matrix(733, 8));
        Assert.Equal("1.0.0", answer.GetProperty("model_version").GetString());
    }

    private static async Task<ServingHost> StartAsync()
    {
        var host = await ServingHost.StartServingAsync();
        host.Area.Service<RolloutOptions>().QualityInterval = TimeSpan.FromMilliseconds(500);
        await host.Area.Service<IEnumerable<IDefinitionKind>>().OfType<RolloutKind>().Single()
            .ApplyAsync(Spec, RegistryHost.Ada, default);
        return host;
    }

    /// <summary>Registers a version and brings it to staging, its way to production approved.</summary>
    private static async Task<string> StageAsync(ServingHost host, byte[] onnx)
    {
        var version = (await host.RegisterAsync(onnx)).Version;
        await host.PromoteAsync(version, Stage.Staging);
        var promotion = await host.Registry.RequestPromotionAsync(ServingHost.Model, version, Stage.Production, "better", RegistryHost.Ada, default);
        await host.Registry.ApproveAsync(promotion.Id, "read the report", RegistryHost.Grace, default);
        return version;
    }

    private static async Task<string> BeginAsync(ServingHost host, string version)
    {
        var (status, rollout) = await host.Area.PostAsync(Routes, new { model = ServingHost.Model, version, reason = "retrained on May" });
        Assert.Equal(201, status);
        return rollout.GetProperty("id").GetString()!;
    }

    /// <summary>Four clients send requests and, a moment later, their labels until the rollout has ended; then each sends 200 more.</summary>
    private static async Task<(RolloutResponse Ended, ConcurrentDictionary<int, int> Statuses)> SendUntilEndedAsync(ServingHost host, string id)
    {
        var statuses = new ConcurrentDictionary<int, int>();
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        RolloutResponse? ended = null;
        await Task.WhenAll(Enumerable.Range(0, 4).Select(client => Task.Run(async () =>
        {
            var random = new Random(client);
            var last = 200;
            for (var round = 0; ended is null || last > 0; round++)
            {
                last -= ended is null ? 0 : 50;
                var sent = new List<string>();
                for (var i = 0; i < 50; i++)
                {
                    limit.Token.ThrowIfCancellationRequested();
                    var (status, answer) = await host.InferAsync(ServingHost.Matrix(random.Next(100, 2500), random.Next(24)));
                    statuses.AddOrUpdate(status, 1, (_, count) => count + 1);
                    if (status == 200)
                    {
                        sent.Add(answer.GetProperty("parameters").GetProperty("prediction_id").GetString()!);
                    }
                }

                await host.Area.PostAsync($"/v2/models/{ServingHost.Model}/labels", new
                {
                    labels = sent.Select(prediction => new { id = prediction, label = random.Next(2), observed_at = "2001-05-02T00:00:00Z" }),
                });
                if (client == 0 && ended is null)
                {
                    var (_, body) = await host.Area.GetAsync(string.Create(CultureInfo.InvariantCulture, $"{Routes}/{id}"));
                    var rollout = body.Deserialize<RolloutResponse>(JsonDefaults.Options)!;
                    ended = rollout.Status == RolloutStatus.Running ? null : rollout;
                }
            }
        })));
        return (ended!, statuses);
    }
}
