using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking.Traces;

/// <summary>Wrong requests to one server that has the trace tr-1; none of them changes it.</summary>
public sealed class TraceFaultTests(TraceFaultTests.Server server) : IClassFixture<TraceFaultTests.Server>
{
    [Theory]
    [InlineData("GET", "3.0/mlflow/traces/none", null, 404)]
    [InlineData("GET", "3.0/mlflow/traces/get?trace_id=none", null, 404)]
    [InlineData("GET", "3.0/mlflow/traces/get", null, 400)]
    [InlineData("GET", "3.0/mlflow/traces/batchGet", null, 400)]
    [InlineData("GET", "2.0/mlflow/traces", null, 400)]
    [InlineData("GET", "2.0/mlflow/traces/none/info", null, 404)]
    [InlineData("GET", "2.0/mlflow/get-trace-artifact?request_id=none", null, 404)]
    [InlineData("GET", "2.0/mlflow/get-trace-artifact", null, 400)]
    [InlineData("PATCH", "2.0/mlflow/traces/none", """{"timestamp_ms":1,"status":"OK"}""", 404)]
    [InlineData("PATCH", "2.0/mlflow/traces/none", """{"status":"OK"}""", 400)]
    [InlineData("PATCH", "2.0/mlflow/traces/none", """{"timestamp_ms":-1}""", 400)]
    [InlineData("PATCH", "2.0/mlflow/traces/none", """{"timestamp_ms":1,"status":"DONE"}""", 400)]
    [InlineData("PATCH", "3.0/mlflow/traces/none/tags", """{"key":"a","value":"b"}""", 404)]
    [InlineData("PATCH", "3.0/mlflow/traces/none/tags", """{"value":"b"}""", 400)]
    [InlineData("DELETE", "3.0/mlflow/traces/tr-1/tags", """{"key":"none"}""", 404)]
    [InlineData("DELETE", "3.0/mlflow/traces/tr-1/tags?key=none", null, 404)]
    [InlineData("POST", "2.0/mlflow/traces", """{"experiment_id":"77"}""", 404)]
    [InlineData("POST", "2.0/mlflow/traces", """{}""", 400)]
    [InlineData("POST", "2.0/mlflow/traces", """{"experiment_id":"0","tags":[null]}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a b","trace_location":{"mlflow_experiment":{"experiment_id":"0"}}}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"type":"INFERENCE_TABLE","inference_table":{"full_table_name":"x"}}}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"request_time":"today"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"request_time":"2025-02-30T00:00:00Z"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"execution_duration":"-1s"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"execution_duration":1}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"state":"FINE"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces", """{"trace":{"trace_info":{"trace_id":"a","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"tags":{"a":"\u0000"}}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{"locations":[{"mlflow_experiment":{"experiment_id":"0"}}],"max_results":501}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{"locations":[{"mlflow_experiment":{"experiment_id":"0"}}],"max_results":0}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{"locations":[{"mlflow_experiment":{"experiment_id":"0"}}],"page_token":"abc"}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{"locations":[{"mlflow_experiment":{"experiment_id":"0"}}],"order_by":["span.name"]}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/search", """{"locations":[null]}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/calculate-filter-correlation", """{"experiment_ids":["0"],"filter_string1":"status = 'OK'"}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a"}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","feedback":{}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","expectation":{"value":null}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","feedback":{"value":1},"expectation":{"value":1}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"feedback":{"value":1}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","feedback":{"value":1},"source":{"source_type":"CAT"}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","expectation":{"serialized_value":{"serialization_format":"YAML","value":"1"}}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","expectation":{"serialized_value":{"serialization_format":"JSON_FORMAT","value":"{"}}}}""", 400)]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments", """{"assessment":{"assessment_name":"a","feedback":{"value":1},"overrides":"a-none"}}""", 404)]
    [InlineData("POST", "3.0/mlflow/traces/none/assessments", """{"assessment":{"assessment_name":"a","feedback":{"value":1}}}""", 404)]
    [InlineData("GET", "3.0/mlflow/traces/tr-1/assessments/a-none", null, 404)]
    [InlineData("DELETE", "3.0/mlflow/traces/none/assessments/a-none", null, 404)]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/assessments/a-none", """{"assessment":{"rationale":"x"},"update_mask":"rationale"}""", 404)]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/assessments/a-none", """{"assessment":{"rationale":"x"}}""", 400)]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/assessments/a-none", """{"assessment":{"rationale":"x"},"update_mask":"source"}""", 400)]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/assessments/a-none", """{"assessment":{"rationale":"x"},"update_mask":"feedback"}""", 400)]
    public async Task A_faulty_request_gets_MLflow_s_error_and_never_a_500(string method, string path, string? body, int status)
    {
        var (answered, answer) = await server.Host.SendAsync(new HttpMethod(method), "/api/" + path, body);

        Assert.Equal((status, status == 404 ? "RESOURCE_DOES_NOT_EXIST" : "INVALID_PARAMETER_VALUE"), (answered, answer.GetProperty("error_code").GetString()));
        Assert.True(answer.GetProperty("message").GetString()!.Length > 0);
    }

    [Theory]
    [InlineData("POST", "3.0/mlflow/traces")]
    [InlineData("POST", "3.0/mlflow/traces/search")]
    [InlineData("POST", "3.0/mlflow/traces/delete-traces")]
    [InlineData("POST", "3.0/mlflow/traces/calculate-filter-correlation")]
    [InlineData("POST", "3.0/mlflow/traces/tr-1/assessments")]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/assessments/a-1")]
    [InlineData("PATCH", "3.0/mlflow/traces/tr-1/tags")]
    [InlineData("POST", "2.0/mlflow/traces")]
    [InlineData("PATCH", "2.0/mlflow/traces/tr-1")]
    [InlineData("POST", "2.0/mlflow/traces/link-to-run")]
    [InlineData("POST", "3.0/mlflow/datasets/create")]
    [InlineData("POST", "3.0/mlflow/datasets/search")]
    public async Task Random_bodies_of_the_right_fields_are_never_answered_with_a_500(string method, string path)
    {
        var random = new Random(path.Length);
        for (var i = 0; i < 60; i++)
        {
            var body = Any(random, 0, asObject: true);

            var (status, _) = await server.Host.SendAsync(new HttpMethod(method), "/api/" + path, body);

            Assert.True(status is 200 or 400 or 404, $"Answered {status} to {body}");
        }
    }

    // Fields that these requests have, each with a value of any type.
    private static string Any(Random random, int depth, bool asObject = false)
    {
        string[] names =
        [
            "trace", "trace_info", "trace_id", "trace_location", "mlflow_experiment", "experiment_id", "experiment_ids", "request_time", "execution_duration", "state", "tags", "trace_metadata",
            "assessments", "assessment", "assessment_name", "feedback", "expectation", "value", "serialized_value", "source", "metadata", "update_mask", "locations", "filter", "order_by",
            "max_results", "page_token", "key", "timestamp_ms", "status", "request_metadata", "filter_string1", "filter_string2", "base_filter", "filter_string", "name", "run_id", "trace_ids",
        ];
        string[] texts = ["0", "tr-2", "OK", "status = 'OK'", "span.content RLIKE 'a|'", "2025-01-01T00:00:00Z", "1.5s", "rationale,feedback", "\\u0000", "\\ud800", "%", "'", "{\\\"a\\\":1}"];
        return (asObject ? 0 : random.Next(depth > 4 ? 5 : 8)) switch
        {
            0 or 5 or 6 => "{" + string.Join(',', Enumerable.Range(0, random.Next(1, 7)).Select(_ => $"\"{names[random.Next(names.Length)]}\":{(depth > 4 ? "1" : Any(random, depth + 1))}")) + "}",
            1 => $"\"{texts[random.Next(texts.Length)]}\"",
            2 => random.Next(3) switch { 0 => "-1", 1 => "1e308", _ => "9223372036854775807" },
            3 => "null",
            4 => "true",
            _ => "[" + string.Join(',', Enumerable.Range(0, random.Next(3)).Select(_ => Any(random, depth + 1))) + "]",
        };
    }

    public sealed class Server : IAsyncLifetime
    {
        internal AreaHost Host { get; private set; } = null!;

        public async ValueTask InitializeAsync()
        {
            Host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
            await new TraceClient(Host).State("tr-1");
        }

        public ValueTask DisposeAsync() => Host.DisposeAsync();
    }
}
