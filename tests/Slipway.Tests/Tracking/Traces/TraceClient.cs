using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>What the tests of traces ask of a server, over HTTP.</summary>
internal sealed class TraceClient(AreaHost host)
{
    public const string V3 = "/api/3.0/mlflow";
    public const string V2 = "/api/2.0/mlflow";

    public async Task<string> ThreeTraces()
    {
        var run = await Run();
        await State("tr-a", 1000, "0.1s", "OK", "R1", new() { ["mlflow.traceName"] = "alpha", ["team"] = "ops" }, new() { ["user"] = "ada", ["mlflow.sourceRun"] = run });
        await State("tr-b", 2000, "0.2s", "ERROR", "r2", new() { ["mlflow.traceName"] = "beta", ["team"] = "ops" });
        await State("tr-c", 3000, null, "IN_PROGRESS", null, new() { ["odd key"] = "x'y", ["team"] = "dev" }, new() { ["user"] = "bob" });
        await host.PostAsync($"{V2}/traces/link-to-run", new { run_id = run, trace_ids = new[] { "tr-b" } });
        await Upload("tr-a", """{"name":"call","type":"LLM","status":"OK","attributes":{"model":"\"gpt-4\"","gen_ai.usage.input_tokens":"5"}}""");
        await Upload("tr-b", """{"name":"call","type":"TOOL","status":"ERROR","attributes":{"model":"\"claude\"","gen_ai.usage.input_tokens":"100","q":"\"a needle\""}}""");
        await Assess("""{"assessment":{"assessment_name":"quality","feedback":{"value":0.9}}}""", "tr-a");
        await Assess("""{"assessment":{"assessment_name":"quality","feedback":{"value":0.8}}}""", "tr-b");
        await Assess("""{"assessment":{"assessment_name":"correct","feedback":{"value":true}}}""", "tr-a");
        await Assess("""{"assessment":{"assessment_name":"correct","feedback":{"value":false}}}""", "tr-b");
        await Assess("""{"assessment":{"assessment_name":"answer","expectation":{"value":"yes"}}}""", "tr-c");
        return run;
    }

    private async Task Upload(string traceId, string span)
    {
        var parts = JsonDocument.Parse(span).RootElement;
        var attributes = parts.GetProperty("attributes").EnumerateObject().ToDictionary(item => item.Name, item => item.Value.GetString()!);
        attributes["mlflow.spanType"] = $"\"{parts.GetProperty("type").GetString()}\"";
        var body = JsonSerializer.Serialize(new
        {
            spans = new[]
            {
                new
                {
                    trace_id = "AAAAAAAAAAAAAAAAAAAAAQ==", span_id = "t61rcWkgMzE=", name = parts.GetProperty("name").GetString(), start_time_unix_nano = 1, end_time_unix_nano = 2,
                    status = new { code = "STATUS_CODE_" + parts.GetProperty("status").GetString() }, attributes,
                },
            },
        });
        Assert.Equal(200, await Put($"/api/2.0/mlflow-artifacts/artifacts/0/traces/{traceId}/artifacts/traces.json", body));
    }

    public async Task State(
        string id, long atMs = 1000, string? duration = null, string state = "OK", string? clientId = null, Dictionary<string, string>? tags = null, Dictionary<string, string>? metadata = null)
    {
        var (status, _) = await host.PostAsync($"{V3}/traces", new
        {
            trace = new
            {
                trace_info = new
                {
                    trace_id = id,
                    client_request_id = clientId,
                    trace_location = Locations("0")[0],
                    state,
                    tags,
                    trace_metadata = metadata,
                    execution_duration = duration,
                    request_time = DateTimeOffset.FromUnixTimeMilliseconds(atMs).ToString("o", CultureInfo.InvariantCulture),
                },
            },
        });
        Assert.Equal(200, status);
    }

    public async Task<JsonElement> Assess(string body, string traceId = "tr-1")
    {
        var (status, answer) = await host.PostAsync($"{V3}/traces/{traceId}/assessments", body);
        Assert.Equal(200, status);
        return answer.GetProperty("assessment");
    }

    public Task<(int Status, JsonElement Body)> Search(string filter) => host.PostAsync($"{V3}/traces/search", new { locations = Locations("0"), filter });

    public Task<(int Status, JsonElement Body)> Patch(string path, object body) => host.SendAsync(HttpMethod.Patch, path, body);

    public async Task<int> Put(string path, string body)
    {
        using var response = await host.Client.PutAsync(path, new ByteArrayContent(Encoding.UTF8.GetBytes(body)));
        return (int)response.StatusCode;
    }

    public async Task<string> Run() =>
        (await host.PostAsync($"{V2}/runs/create", new { experiment_id = "0" })).Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;

    public static object[] Locations(string experiment) => [new { type = "MLFLOW_EXPERIMENT", mlflow_experiment = new { experiment_id = experiment } }];

    public static string Names(JsonElement found) => !found.TryGetProperty("traces", out var traces)
        ? ""
        : string.Join(' ', traces.EnumerateArray().Select(trace => trace.GetProperty("trace_id").GetString()![3..]));

    public static string Compact(JsonElement json) => JsonSerializer.Serialize(json, Relaxed);

    private static readonly JsonSerializerOptions Relaxed = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
