using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Host;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;

namespace Slipway.Bench;

/// <summary>
/// The model that the inference benchmarks ask: the example's, made by the example's own pipeline, with a hundred trees and 23 features more. A canary of
/// a second version, with a tenth of the traffic, is under way throughout.
/// </summary>
internal static class ServedModel
{
    public const string Name = "flight-delay";
    public const int Features = 30;
    public const string Description = "100 boosted trees of depth 6 over 30 features, a canary of 10 % under way";

    private const int RequestsDistinct = 256;
    private const int Derived = Features - 7;
    private static readonly string[] Definitions = ["dataset.yaml", "feature-service.yaml", "pipeline.yaml", "features"];
    private static readonly DateTimeOffset Now = new(2001, 5, 1, 0, 0, 0, TimeSpan.Zero);

    // No traffic is enough to go on, and neither version is the worse one; the limits only have to be there.
    private const string Rollout =
        """
        kind: rollout
        name: bench
        model: flight-delay
        alpha: 0.05
        sticky_key: entity
        min_evidence: 100
        steps:
          - {shadow: true, min_requests: 1000000000}
          - {percent: 10, min_requests: 1000000000}
          - {percent: 100, min_requests: 1000000000}
        triggers:
          error_rate: {max: 0.05, compare: stable}
          latency: {percentile: 95, max_ms: 10000, compare: stable, tolerance_ratio: 100, tolerance_ms: 1000}
          quality: {metric: brier, max_drop: 0.5, min_labels: 300, required_from_percent: 100}
        """;

    /// <summary>Where its server keeps it.</summary>
    public static string Data { get; } = Path.Combine(BenchSettings.Folder, "serving");

    /// <summary>Brings the model into production, and a second version of it under way, once per data folder.</summary>
    /// <returns>A token of an engineer, made anew each time.</returns>
    public static async Task<string> PrepareAsync(Uri server)
    {
        using var admin = new SlipwayClient(server, (await File.ReadAllTextAsync(Path.Combine(Data, "admin.token"))).Trim());
        var suffix = Guid.NewGuid().ToString("N")[..8];
        var token = (await admin.PostAsync<CreatedUser>("users", new CreateUserRequest($"bench-engineer-{suffix}", "ml_engineer"), default)).Token!;
        using var engineer = new SlipwayClient(server, token);
        using (var http = new HttpClient { BaseAddress = server })
        {
            // What is in production loads beside the start.
            while (!(await http.GetAsync(new Uri("/v2/health/ready", UriKind.Relative))).IsSuccessStatusCode)
            {
                await Task.Delay(50);
            }
        }

        if (await engineer.IsModelReadyAsync(Name, default))
        {
            return token;
        }

        Console.Error.WriteLine("Training the model, once (a minute or two)…");
        var examples = Path.Combine(BenchSettings.Root, "examples", "flights");
        var files = Definitions
            .Select(name => Path.Combine(examples, name))
            .SelectMany(path => Directory.Exists(path) ? Directory.GetFiles(path, "*.yaml") : [path])
            .Select(path => new DefinitionFile(Path.GetRelativePath(examples, path), Enlarged(path, File.ReadAllText(path))));
        await engineer.PostAsync<ApplyResponse>("definitions", new ApplyRequest([.. files, new DefinitionFile("features/derived.yaml", DerivedView()), new DefinitionFile("rollout-bench.yaml", Rollout)]), default);
        await using (var parquet = File.OpenRead(Path.Combine(BenchSettings.Root, "native", "node_modules", "vega-datasets", "data", "flights-3m.parquet")))
        {
            await engineer.UploadAsync<DatasetVersion>("datasets/flights/versions", parquet, null, default);
        }

        var approverToken = (await admin.PostAsync<CreatedUser>("users", new CreateUserRequest($"bench-approver-{suffix}", "approver"), default)).Token!;
        using var approver = new SlipwayClient(server, approverToken);
        await PromoteAsync(await TrainAsync("200000"), Stage.Staging, Stage.Production);
        await engineer.PostAsync<object>("features/materialize", new { up_to = Now }, default);
        while (!await engineer.IsModelReadyAsync(Name, default))
        {
            await Task.Delay(50);
        }

        var second = await TrainAsync("180000");
        await PromoteAsync(second, Stage.Staging);
        var rollout = await engineer.PostAsync<RolloutResponse>("rollouts", new StartRolloutRequest(Name, second, "benchmark", "bench"), default);
        await engineer.PostAsync<RolloutResponse>($"rollouts/{rollout.Id}/promote", new PromoteRolloutRequest("past the shadow step"), default);
        return token;

        async Task<string> TrainAsync(string sample)
        {
            var run = await engineer.PostAsync<PipelineRun>($"pipelines/{Name}/runs", new StartPipelineRun("manual", "benchmark", new Dictionary<string, string> { ["sample"] = sample }), default);
            while (run.Status is PipelineRunStatus.Queued or PipelineRunStatus.Running)
            {
                await Task.Delay(500);
                run = await engineer.GetAsync<PipelineRun>($"pipelines/runs/{run.Id}", default);
            }

            return run.ModelVersion ?? throw new InvalidOperationException($"The pipeline registered no version: {run.Error ?? run.VerdictReason}");
        }

        async Task PromoteAsync(string version, params Stage[] stages)
        {
            foreach (var stage in stages)
            {
                var promotion = await engineer.PostAsync<PromotionRecord>("promotions", new RequestPromotion(Name, version, stage, "benchmark"), default);
                await approver.PostAsync<PromotionRecord>($"promotions/{promotion.Id}/approve", new DecidePromotion("benchmark"), default);
                await engineer.PostAsync<ModelVersionRecord>($"promotions/{promotion.Id}/execute", null, default);
            }
        }
    }

    /// <summary>Ends the benchmark where the canary has not been under way until now: the figures would be of something else.</summary>
    public static async Task RequireCanaryAsync(SlipwayClient client)
    {
        var rollout = (await client.GetAsync<RolloutListResponse>($"rollouts?model={Name}", default)).Rollouts[0];
        if (rollout.Status != RolloutStatus.Running || rollout.Step != 2)
        {
            throw new InvalidOperationException($"The benchmark's canary is {rollout.Status} in step {rollout.Step}: {rollout.EndReason}. Remove {Data} to begin anew.");
        }
    }

    /// <summary>Request bodies from real flights of the day after the features were materialised, each as a features tensor and as entity keys.</summary>
    public static async Task<IReadOnlyList<(string Features, string Keys)>> RowsAsync(SlipwayClient client)
    {
        var random = new Random(1);
        var rows = new List<(string, string)>();
        await foreach (var line in client.LinesAsync("datasets/flights/versions/1/rows?from=2001-05-01&to=2001-05-02&share=0.1", default))
        {
            using var json = JsonDocument.Parse(line);
            var flight = json.RootElement;
            var scheduled = DateTimeOffset.Parse(flight.GetProperty("date").GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
            var distance = flight.GetProperty("distance").GetInt64();
            float[] features =
            [
                MathF.Round(random.NextSingle() * 0.4f, 4), MathF.Round((random.NextSingle() * 30) - 5, 3), random.Next(1, 60), scheduled.Hour,
                scheduled.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)scheduled.DayOfWeek, scheduled.Day, distance,
                .. Enumerable.Range(1, Derived).Select(i => DerivedValue(distance, scheduled.Hour, i)),
            ];
            rows.Add((
                $$"""{"inputs":[{"name":"features","datatype":"FP32","shape":[1,{{Features}}],"data":{{JsonSerializer.Serialize(features)}}}]}""",
                $$"""{"inputs":[{{Tensor("origin", "BYTES", $"\"{flight.GetProperty("origin").GetString()}\"")}},{{Tensor("destination", "BYTES", $"\"{flight.GetProperty("destination").GetString()}\"")}},{{Tensor("scheduled", "INT64", scheduled.ToUnixTimeMilliseconds())}},{{Tensor("distance", "FP32", distance)}}]}"""));
            if (rows.Count == RequestsDistinct)
            {
                break;
            }
        }

        return rows;
    }

    private static string Tensor(string name, string datatype, object value) =>
        string.Create(CultureInfo.InvariantCulture, $$"""{"name":"{{name}}","datatype":"{{datatype}}","shape":[1],"data":[{{value}}]}""");

    // The 23 features more: simple, but with as many digits as real ones have.
    private static string DerivedView()
    {
        var yaml = new StringBuilder("kind: feature_view\nname: derived\ndescription: For the benchmark.\nentity: derived\non_demand: true\ninputs:\n  - { name: distance, type: float32 }\n  - { name: scheduled, type: timestamp }\nfeatures:\n");
        for (var i = 1; i <= Derived; i++)
        {
            yaml.Append(CultureInfo.InvariantCulture, $"  - name: d{i}\n    type: float32\n    description: For the benchmark.\n    expression: distance / (extract(hour FROM scheduled) + {i})\n");
        }

        return yaml.ToString();
    }

    private static float DerivedValue(long distance, int hour, int i) => (float)distance / (hour + i);

    // The example stops earlier to be quick; the logistic regression would only be chosen if it were better.
    private static string Enlarged(string path, string yaml) => Path.GetFileName(path) == "feature-service.yaml"
        ? yaml.TrimEnd() + string.Concat(Enumerable.Range(1, Derived).Select(i => string.Create(CultureInfo.InvariantCulture, $"\n  - derived:d{i}"))) + "\n"
        : yaml.Replace("rounds: 60,", "rounds: 100,", StringComparison.Ordinal).Replace("early_stopping: 10,", "early_stopping: 100,", StringComparison.Ordinal);
}
