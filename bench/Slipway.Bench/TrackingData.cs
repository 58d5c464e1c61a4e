using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Slipway.Bench;

/// <summary>The data under the load, made through MLflow's API only, so that any compatible server can be measured.</summary>
internal sealed class TrackingData
{
    private const int Steps = 1000;

    private TrackingData(string experiment, string writeExperiment, string shortRun, string longRun)
    {
        Experiment = experiment;
        WriteExperiment = writeExperiment;
        ShortRun = shortRun;
        LongRun = longRun;
    }

    /// <summary>Holds the runs that are read.</summary>
    public string Experiment { get; }

    /// <summary>Takes what the load writes, so that reads find the same in every round.</summary>
    public string WriteExperiment { get; }

    /// <summary>Has 25,000 points of <c>loss</c>.</summary>
    public string ShortRun { get; }

    /// <summary>Has 100,000 points of <c>loss</c>.</summary>
    public string LongRun { get; }

    /// <summary>Finds the data of an earlier run or makes it.</summary>
    public static async Task<TrackingData> EnsureAsync(Uri server, int runs)
    {
        using var http = await HttpConnection.OpenAsync(server);
        var name = $"bench-{runs}";
        var written = await ExperimentAsync(http, $"{name}-written");
        var experiment = await ExperimentAsync(http, name);
        // The long run is made last: where it is, all is.
        if (await FindRunAsync(http, experiment, "long") is { } longRun)
        {
            return new TrackingData(experiment, written, (await FindRunAsync(http, experiment, "short"))!, longRun);
        }

        Console.Error.WriteLine($"Making {runs:N0} runs and two long histories at {server} …");
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            using var own = await HttpConnection.OpenAsync(server);
            for (var i = Interlocked.Increment(ref next); i < runs; i = Interlocked.Increment(ref next))
            {
                await MakeRunAsync(own, experiment, i);
                if (i % 2000 == 1999)
                {
                    Console.Error.WriteLine($"  {i + 1:N0}");
                }
            }
        })));
        var shortRun = await MakeHistoryAsync(http, experiment, "short", 25_000);
        return new TrackingData(experiment, written, shortRun, await MakeHistoryAsync(http, experiment, "long", 100_000));
    }

    public static async Task<string> CreateRunAsync(HttpConnection http, string experiment, string name, long startMs) =>
        Read(await http.AskAsync("/api/2.0/mlflow/runs/create", $$"""{"experiment_id":"{{experiment}}","run_name":"{{name}}","user_id":"bench","start_time":{{startMs}}}"""), "run", "info", "run_id")!;

    /// <summary>The body of a batch of 1000 points: ten metrics, a hundred steps of each.</summary>
    public static string Batch(string run, long firstStep, int keys = 10)
    {
        var body = new StringBuilder($$"""{"run_id":"{{run}}","metrics":[""");
        for (var i = 0; i < 1000; i++)
        {
            body.Append(CultureInfo.InvariantCulture, $$"""{{(i == 0 ? "" : ",")}}{"key":"metric_{{i % keys}}","value":{{Math.Sin(firstStep + i):R}},"timestamp":{{1_700_000_000_000 + firstStep + i}},"step":{{firstStep + (i / keys)}}}""");
        }

        return body.Append("]}").ToString();
    }

    public static string? Read(string json, params string[] path)
    {
        using var document = JsonDocument.Parse(json);
        var element = document.RootElement;
        foreach (var part in path)
        {
            if (element.ValueKind is JsonValueKind.Array)
            {
                element = element[0];
            }

            if (!element.TryGetProperty(part, out element))
            {
                return null;
            }
        }

        return element.GetString();
    }

    private static async Task<string> ExperimentAsync(HttpConnection http, string name)
    {
        try
        {
            return Read(await http.AskAsync($"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}"), "experiment", "experiment_id")!;
        }
        catch (HttpRequestException e) when (e.StatusCode is System.Net.HttpStatusCode.NotFound)
        {
            return Read(await http.AskAsync("/api/2.0/mlflow/experiments/create", $$"""{"name":"{{name}}"}"""), "experiment_id")!;
        }
    }

    private static async Task<string?> FindRunAsync(HttpConnection http, string experiment, string name) => Read(
        await http.AskAsync("/api/2.0/mlflow/runs/search", $$"""{"experiment_ids":["{{experiment}}"],"filter":"attributes.run_name = '{{name}}' AND attributes.status = 'FINISHED'","max_results":1}"""),
        "runs", "info", "run_id");

    // Ten metrics, ten parameters, two tags: an ordinary training run.
    private static async Task MakeRunAsync(HttpConnection http, string experiment, int number)
    {
        var run = await CreateRunAsync(http, experiment, $"run-{number}", 1_700_000_000_000 + (number * 1000L));
        var metrics = string.Join(',', Enumerable.Range(0, 10).Select(i =>
            string.Create(CultureInfo.InvariantCulture, $$"""{"key":"m{{i}}","value":{{((number * 7919L) + (i * 104729L)) % 10007 / 10007.0:R}},"timestamp":1700000000000,"step":1}""")));
        var parameters = string.Join(',', Enumerable.Range(0, 10).Select(i => $$"""{"key":"p{{i}}","value":"{{(i == 0 ? number : (number + i) % 10)}}"}"""));
        await http.AskAsync("/api/2.0/mlflow/runs/log-batch",
            $$"""{"run_id":"{{run}}","metrics":[{{metrics}}],"params":[{{parameters}}],"tags":[{"key":"team","value":"{{(number % 2 == 0 ? "ops" : "data")}}"},{"key":"stage","value":"trial-{{number % 100}}"}]}""");
    }

    private static async Task<string> MakeHistoryAsync(HttpConnection http, string experiment, string name, int points)
    {
        var run = await CreateRunAsync(http, experiment, name, 1_600_000_000_000);
        for (var first = 0; first < points; first += Steps)
        {
            await http.AskAsync("/api/2.0/mlflow/runs/log-batch", Batch(run, first, keys: 1).Replace("metric_0", "loss", StringComparison.Ordinal));
        }

        await http.AskAsync("/api/2.0/mlflow/runs/update", $$"""{"run_id":"{{run}}","status":"FINISHED","end_time":1600000100000}""");
        return run;
    }
}
