using System.Globalization;
using System.Text.Json;
using Slipway.Client;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Host;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;

namespace Slipway.Bench;

/// <summary>The model that the inference benchmark asks: the example's, made by the example's own pipeline, with a hundred trees.</summary>
internal static class ServedModel
{
    public const string Name = "flight-delay";
    public const string Description = "100 boosted trees of depth 6 over 7 features";

    private const int RequestsDistinct = 256;
    private static readonly string[] Definitions = ["dataset.yaml", "feature-service.yaml", "pipeline.yaml", "features"];
    private static readonly DateTimeOffset Now = new(2001, 5, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Brings the model into production, once per data folder.</summary>
    /// <returns>A token of an engineer, made anew each time.</returns>
    public static async Task<string> PrepareAsync(Uri server, string data)
    {
        using var admin = new SlipwayClient(server, (await File.ReadAllTextAsync(Path.Combine(data, "admin.token"))).Trim());
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
            .Select(path => new DefinitionFile(Path.GetRelativePath(examples, path), HundredTrees(File.ReadAllText(path))));
        await engineer.PostAsync<ApplyResponse>("definitions", new ApplyRequest([.. files]), default);
        await using (var parquet = File.OpenRead(Path.Combine(BenchSettings.Root, "native", "node_modules", "vega-datasets", "data", "flights-3m.parquet")))
        {
            await engineer.UploadAsync<DatasetVersion>("datasets/flights/versions", parquet, null, default);
        }

        var run = await engineer.PostAsync<PipelineRun>($"pipelines/{Name}/runs", new StartPipelineRun("manual", "benchmark", new Dictionary<string, string> { ["sample"] = "200000" }), default);
        while (run.Status is PipelineRunStatus.Queued or PipelineRunStatus.Running)
        {
            await Task.Delay(500);
            run = await engineer.GetAsync<PipelineRun>($"pipelines/runs/{run.Id}", default);
        }

        var version = run.ModelVersion ?? throw new InvalidOperationException($"The pipeline registered no version: {run.Error ?? run.VerdictReason}");
        var approverToken = (await admin.PostAsync<CreatedUser>("users", new CreateUserRequest($"bench-approver-{suffix}", "approver"), default)).Token!;
        using var approver = new SlipwayClient(server, approverToken);
        foreach (var stage in new[] { Stage.Staging, Stage.Production })
        {
            var promotion = await engineer.PostAsync<PromotionRecord>("promotions", new RequestPromotion(Name, version, stage, "benchmark"), default);
            await approver.PostAsync<PromotionRecord>($"promotions/{promotion.Id}/approve", new DecidePromotion("benchmark"), default);
            await engineer.PostAsync<ModelVersionRecord>($"promotions/{promotion.Id}/execute", null, default);
        }

        await engineer.PostAsync<object>("features/materialize", new { up_to = Now }, default);
        while (!await engineer.IsModelReadyAsync(Name, default))
        {
            await Task.Delay(50);
        }

        return token;
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
            ];
            rows.Add((
                $$"""{"inputs":[{"name":"features","datatype":"FP32","shape":[1,7],"data":{{JsonSerializer.Serialize(features)}}}]}""",
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

    // The example stops earlier to be quick; the logistic regression would only be chosen if it were better.
    private static string HundredTrees(string yaml) =>
        yaml.Replace("rounds: 60,", "rounds: 100,", StringComparison.Ordinal).Replace("early_stopping: 10,", "early_stopping: 100,", StringComparison.Ordinal);
}
