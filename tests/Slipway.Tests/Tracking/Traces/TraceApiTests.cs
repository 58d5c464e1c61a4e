using Dapper;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Traces;

namespace Slipway.Tests.Tracking.Traces;

public sealed class TraceApiTests : IAsyncLifetime
{
    private const string V3 = TraceClient.V3;
    private const string V2 = TraceClient.V2;

    private AreaHost _host = null!;
    private TraceClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        _client = new TraceClient(_host);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_trace_is_answered_as_it_was_stated()
    {
        var (status, created) = await _host.PostAsync($"{V3}/traces", """
            {"trace":{"trace_info":{"trace_id":"tr-1","client_request_id":"req-9","trace_location":{"type":"MLFLOW_EXPERIMENT","mlflow_experiment":{"experiment_id":"0"}},
              "request_preview":"{\"q\":1}","response_preview":"\"a\"","request_time":"2025-11-19T10:00:00.123456789Z","execution_duration":"1.500s","state":"OK",
              "trace_metadata":{"mlflow.trace_schema.version":"3"},"tags":{"mlflow.traceName":"ask"},
              "assessments":[{"assessment_id":"a-1","assessment_name":"good","feedback":{"value":true},"source":{"source_type":"HUMAN","source_id":"ada"}}]},
             "spans":[],"unknown":1}}
            """);
        await _host.PostAsync($"{V3}/traces", """
            {"trace":{"trace_info":{"trace_id":"tr-1","trace_location":{"mlflow_experiment":{"experiment_id":"0"}},"request_time":"2025-11-19T11:00:00.5+01:00","execution_duration":"2s",
              "state":"ERROR","tags":{"more":"yes"},"assessments":[{"assessment_id":"a-1","assessment_name":"good","feedback":{"value":true}}]}}}
            """);

        var (_, read) = await _host.GetAsync($"{V3}/traces/tr-1");

        Assert.Equal(200, status);
        var info = created.GetProperty("trace").GetProperty("trace_info");
        Assert.Equal("2025-11-19T10:00:00.123Z", info.GetProperty("request_time").GetString());
        Assert.Equal("1.500s", info.GetProperty("execution_duration").GetString());
        Assert.Equal("mlflow-artifacts:/0/traces/tr-1/artifacts", info.GetProperty("tags").GetProperty("mlflow.artifactLocation").GetString());
        var assessment = Assert.Single(info.GetProperty("assessments").EnumerateArray());
        Assert.Equal(("a-1", true, "HUMAN"), (assessment.GetProperty("assessment_id").GetString(), assessment.GetProperty("feedback").GetProperty("value").GetBoolean(), assessment.GetProperty("source").GetProperty("source_type").GetString()));
        var again = read.GetProperty("trace").GetProperty("trace_info");
        Assert.Equal(("2025-11-19T10:00:00.500Z", "2s", "ERROR", "req-9"), (again.GetProperty("request_time").GetString(), again.GetProperty("execution_duration").GetString(), again.GetProperty("state").GetString(), again.GetProperty("client_request_id").GetString()));
        Assert.Equal(("ask", "yes"), (again.GetProperty("tags").GetProperty("mlflow.traceName").GetString(), again.GetProperty("tags").GetProperty("more").GetString()));
        Assert.Single(again.GetProperty("assessments").EnumerateArray());
    }

    [Fact]
    public async Task A_client_of_2_x_starts_ends_tags_and_finds_its_trace()
    {
        var (_, started) = await _host.PostAsync($"{V2}/traces", """{"experiment_id":"0","timestamp_ms":1700000000000,"request_metadata":[{"key":"m","value":"1"}],"tags":[{"key":"t","value":"2"}]}""");
        var id = started.GetProperty("trace_info").GetProperty("request_id").GetString()!;
        var (_, ended) = await _client.Patch($"{V2}/traces/{id}", """{"timestamp_ms":1700000002500,"status":"OK","request_metadata":[{"key":"n","value":"3"}],"tags":[{"key":"t","value":"4"}]}""");
        await _client.Patch($"{V2}/traces/{id}/tags", """{"key":"u","value":"5"}""");
        await _host.SendAsync(HttpMethod.Delete, $"{V2}/traces/{id}/tags", """{"key":"t"}""");

        var (_, read) = await _host.GetAsync($"{V2}/traces/{id}/info");
        var (_, found) = await _host.GetAsync($"{V2}/traces?experiment_ids=0&experiment_ids=7&filter={Uri.EscapeDataString("status = 'OK'")}&order_by=timestamp_ms%20DESC&max_results=5");

        Assert.Equal("IN_PROGRESS", started.GetProperty("trace_info").GetProperty("status").GetString());
        Assert.Equal(2500, ended.GetProperty("trace_info").GetProperty("execution_time_ms").GetInt64());
        var info = read.GetProperty("trace_info");
        Assert.Equal(("0", 1700000000000, "OK"), (info.GetProperty("experiment_id").GetString(), info.GetProperty("timestamp_ms").GetInt64(), info.GetProperty("status").GetString()));
        Assert.Equal("""[{"key":"m","value":"1"},{"key":"n","value":"3"}]""", TraceClient.Compact(info.GetProperty("request_metadata")));
        Assert.Equal(["mlflow.artifactLocation", "u"], info.GetProperty("tags").EnumerateArray().Select(tag => tag.GetProperty("key").GetString()!).Order(StringComparer.Ordinal));
        Assert.Equal(id, Assert.Single(found.GetProperty("traces").EnumerateArray()).GetProperty("request_id").GetString());
    }

    [Fact]
    public async Task A_filter_by_a_costly_pattern_answers_in_time()
    {
        await _client.State("tr-1", tags: new() { ["mlflow.traceName"] = new string('a', 5000) + "b" });

        var (status, found) = await _client.Search("name RLIKE '(a+)+$'").WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

        Assert.Equal(200, status);
        Assert.Equal("", TraceClient.Names(found));
    }

    [Fact]
    public async Task Deleting_by_time_takes_the_oldest_and_by_id_only_those_of_the_experiment()
    {
        await _client.ThreeTraces();
        var (_, other) = await _host.PostAsync($"{V2}/experiments/create", new { name = "other" });

        var foreign = await _host.PostAsync($"{V3}/traces/delete-traces", new { experiment_id = other.GetProperty("experiment_id").GetString(), request_ids = new[] { "tr-a" } });
        var oldest = await _host.PostAsync($"{V3}/traces/delete-traces", new { experiment_id = "0", max_timestamp_millis = 5000, max_traces = 1 });
        var named = await _host.PostAsync($"{V2}/traces/delete-traces", new { experiment_id = "0", request_ids = new[] { "tr-b", "tr-b", "tr-none" } });
        var left = TraceClient.Names((await _client.Search("")).Body);
        var rest = await _host.PostAsync($"{V3}/traces/delete-traces", new { experiment_id = "0", max_timestamp_millis = 5000 });

        Assert.Equal([0, 1, 1, 1], new[] { foreign, oldest, named, rest }.Select(answer => answer.Body.GetProperty("traces_deleted").GetInt32()));
        Assert.Equal("c", left);
        Assert.Equal(404, (await _host.GetAsync($"{V3}/traces/tr-a")).Status);
        foreach (var table in (string[])["traces", "spans", "span_attributes", "assessments", "trace_tags", "trace_metadata", "trace_runs"])
        {
            Assert.Equal(0L, _host.Read(connection => connection.ExecuteScalar<long>($"SELECT count(*) FROM {table}")));
        }

        Assert.Equal(3, _host.Service<AuditTrail>().List().Count(row => row.Action == "traces.deleted"));
    }

    [Theory]
    [InlineData("""{"experiment_id":"0"}""", 400)]
    [InlineData("""{"experiment_id":"0","max_timestamp_millis":1,"request_ids":["tr-a"]}""", 400)]
    [InlineData("""{"experiment_id":"0","max_traces":1,"request_ids":["tr-a"]}""", 400)]
    [InlineData("""{"experiment_id":"0","max_timestamp_millis":1,"max_traces":0}""", 400)]
    [InlineData("""{"max_timestamp_millis":1}""", 400)]
    [InlineData("""{"experiment_id":"77","max_timestamp_millis":1}""", 404)]
    [InlineData("""{"experiment_id":"x","max_timestamp_millis":1}""", 404)]
    public async Task A_delete_that_does_not_say_what_is_refused(string body, int status) =>
        Assert.Equal(status, (await _host.PostAsync($"{V3}/traces/delete-traces", body)).Status);

    [Fact]
    public async Task How_two_filters_meet_is_measured_as_mutual_information()
    {
        for (var i = 0; i < 10; i++)
        {
            await _client.State($"tr-{i}", tags: new() { ["x"] = i < 4 ? "1" : "0", ["y"] = i is >= 1 and < 4 or 9 ? "1" : "0" });
        }

        var (status, answer) = await _host.PostAsync(
            $"{V3}/traces/calculate-filter-correlation", new { experiment_ids = new[] { "0" }, filter_string1 = "tags.x = '1'", filter_string2 = "tags.y = '1'", base_filter = "status = 'OK'" });

        // Both 3, each 4, of 10: ln(0.3 / 0.16) / -ln(0.3) = 0.5221; with half a trace more in each cell ln((3.5/12) / (5/12)^2) / -ln(3.5/12) = 0.42105.
        Assert.Equal(200, status);
        Assert.Equal(0.5221, answer.GetProperty("npmi").GetDouble(), 4);
        Assert.Equal(0.42105, answer.GetProperty("npmi_smoothed").GetDouble(), 5);
        Assert.Equal([4, 4, 3, 10], new[] { "filter1_count", "filter2_count", "joint_count", "total_count" }.Select(name => answer.GetProperty(name).GetInt32()));
    }

    [Theory]
    [InlineData(10, 10, 10, 100, 1.0)]
    [InlineData(0, 20, 30, 100, -1.0)]
    [InlineData(10, 20, 50, 100, 0.0)]
    [InlineData(100, 100, 100, 100, 1.0)]
    [InlineData(0, 0, 10, 100, double.NaN)]
    [InlineData(0, 0, 0, 0, double.NaN)]
    public void Mutual_information_has_its_ends_and_middle(long joint, long first, long second, long total, double expected) =>
        Assert.Equal(expected, FilterCorrelation.Of(joint, first, second, total).Npmi, 9);

    [Fact]
    public async Task Traces_link_to_a_run_at_most_100_at_once_and_even_before_they_arrive()
    {
        var run = await _client.Run();
        var (linked, _) = await _host.PostAsync($"{V2}/traces/link-to-run", new { run_id = run, trace_ids = new[] { "tr-late", "tr-late" } });
        await _client.State("tr-late");
        var (many, tooMany) = await _host.PostAsync($"{V2}/traces/link-to-run", new { run_id = run, trace_ids = Enumerable.Range(0, 101).Select(i => $"tr-{i}") });
        var (nowhere, _) = await _host.PostAsync($"{V2}/traces/link-to-run", new { run_id = "none", trace_ids = new[] { "tr-late" } });

        Assert.Equal((200, 400, 404), (linked, many, nowhere));
        Assert.Contains("100", tooMany.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal("late", TraceClient.Names((await _client.Search($"run_id = '{run}'")).Body));
    }

    [Fact]
    public async Task Spans_uploaded_as_a_file_in_either_form_are_rows_like_any_others()
    {
        const string Key = "0af7651916cd43dd8448eb211c80319c";
        await _client.State("tr-" + Key);
        await _client.State("tr-old");
        var v3 = await _client.Put($"/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-{Key}/artifacts/traces.json",
            $$$"""{"spans":[{"trace_id":"{{{Convert.ToBase64String(Convert.FromHexString(Key))}}}","span_id":"t61rcWkgMzE=","parent_span_id":null,"name":"new","start_time_unix_nano":1,"end_time_unix_nano":2,"events":[],"status":{"code":"STATUS_CODE_OK","message":""},"attributes":{"mlflow.spanType":"\"LLM\"","plain":"not json"}}]}""");
        var v2 = await _client.Put("/ajax-api/2.0/mlflow-artifacts/artifacts/0/traces/tr-old/artifacts/traces.json",
            """{"spans":[{"name":"old","context":{"span_id":"0x00f067aa0ba902b7","trace_id":"0x1"},"parent_id":null,"start_time":5,"end_time":6,"status_code":"ERROR","status_message":"no","attributes":{"mlflow.spanType":"\"TOOL\""},"events":[{"name":"e","timestamp":5,"attributes":{"a":1}}]}],"request":"r","response":"s"}""");

        var (_, read) = await _host.GetAsync($"/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-{Key}/artifacts/traces.json");
        var (_, old) = await _host.GetAsync("/api/3.0/mlflow/get-trace-artifact?request_id=tr-old");

        Assert.Equal((200, 200), (v3, v2));
        Assert.Equal("\"LLM\"", read.GetProperty("spans")[0].GetProperty("attributes").GetProperty("mlflow.spanType").GetString());
        Assert.Equal("AAAAAAAAAAAAAAAAAAAAAQ==", old.GetProperty("spans")[0].GetProperty("trace_id").GetString());
        Assert.Equal(1, old.GetProperty("spans")[0].GetProperty("events")[0].GetProperty("attributes").GetProperty("a").GetInt32());
        Assert.Equal("old", TraceClient.Names((await _client.Search("span.status = 'ERROR' AND span.type = 'TOOL'")).Body));
        Assert.Equal(404, (await _host.GetAsync("/api/2.0/mlflow-artifacts/artifacts/7/traces/tr-old/artifacts/traces.json")).Status);
        Assert.Equal(404, await _client.Put("/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-none/artifacts/traces.json", """{"spans":[]}"""));
        foreach (var broken in (string[])["[]", "{", """{"spans":[1]}""", """{"spans":[{"trace_id":"x"}]}""", """{"spans":[{"name":"\ud800"}]}"""])
        {
            Assert.Equal(400, await _client.Put("/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-old/artifacts/traces.json", broken));
        }
    }

    [Fact]
    public async Task Assessments_are_given_changed_overridden_and_taken_back()
    {
        await _client.State("tr-1");
        var judged = await _client.Assess("""{"assessment":{"assessment_name":"relevance","source":{"source_type":"LLM_JUDGE","source_id":"gpt-4"},"feedback":{"value":0.7},"rationale":"close","metadata":{"k":"v"},"span_id":"b7ad6b7169203331","create_time":"2025-11-19T10:00:00Z","last_update_time":"2025-11-19T10:00:01.250Z"}}""");
        var failed = await _client.Assess("""{"assessment":{"assessment_name":"safety","feedback":{"value":null,"error":{"error_code":"RATE_LIMIT","error_message":"slow down","stack_trace":"…"}}}}""");
        var expected = await _client.Assess("""{"assessment":{"assessment_name":"facts","expectation":{"serialized_value":{"serialization_format":"JSON_FORMAT","value":"[\"a\", {\"b\": 1}]"}}}}""");
        var plain = await _client.Assess("""{"assessment":{"assessment_name":"answer","expectation":{"value":"42"}}}""");
        var id = judged.GetProperty("assessment_id").GetString()!;
        var human = await _client.Assess($$$"""{"assessment":{"assessment_name":"relevance","source":{"source_type":"HUMAN","source_id":"ada"},"feedback":{"value":1},"overrides":"{{{id}}}"}}""");
        var (_, overridden) = await _host.GetAsync($"{V3}/traces/tr-1/assessments/{id}");
        var onlyHuman = TraceClient.Names((await _client.Search("feedback.relevance = 1")).Body) + TraceClient.Names((await _client.Search("feedback.relevance = 0.7")).Body);
        var (changedStatus, changed) = await _client.Patch($"{V3}/traces/tr-1/assessments/{human.GetProperty("assessment_id").GetString()}",
            """{"assessment":{"feedback":{"value":"high"},"rationale":"read twice","metadata":{"more":"1"},"assessment_name":"relevance2"},"update_mask":"feedback,rationale,metadata,assessmentName"}""");
        var (mixed, _) = await _client.Patch($"{V3}/traces/tr-1/assessments/{plain.GetProperty("assessment_id").GetString()}", """{"assessment":{"feedback":{"value":1}},"update_mask":"feedback"}""");
        var (deleted, _) = await _host.SendAsync(HttpMethod.Delete, $"{V3}/traces/tr-1/assessments/{human.GetProperty("assessment_id").GetString()}");
        var (_, restored) = await _host.GetAsync($"{V3}/traces/tr-1/assessments/{id}");

        Assert.Equal(
            $$$"""{"assessment_id":"{{{id}}}","assessment_name":"relevance","trace_id":"tr-1","span_id":"b7ad6b7169203331","source":{"source_type":"LLM_JUDGE","source_id":"gpt-4"},"create_time":"2025-11-19T10:00:00Z","last_update_time":"2025-11-19T10:00:01.250Z","feedback":{"value":0.7},"rationale":"close","metadata":{"k":"v"},"valid":true}""",
            TraceClient.Compact(judged));
        Assert.Equal("RATE_LIMIT", failed.GetProperty("feedback").GetProperty("error").GetProperty("error_code").GetString());
        Assert.Equal("""["a", {"b": 1}]""", expected.GetProperty("expectation").GetProperty("serialized_value").GetProperty("value").GetString());
        Assert.Equal("42", plain.GetProperty("expectation").GetProperty("value").GetString());
        Assert.False(overridden.GetProperty("assessment").GetProperty("valid").GetBoolean());
        Assert.Equal("1", onlyHuman);
        Assert.Equal(200, changedStatus);
        var after = changed.GetProperty("assessment");
        Assert.Equal(("high", "read twice", "relevance2", "1"), (after.GetProperty("feedback").GetProperty("value").GetString(), after.GetProperty("rationale").GetString(), after.GetProperty("assessment_name").GetString(), after.GetProperty("metadata").GetProperty("more").GetString()));
        Assert.Equal((400, 200), (mixed, deleted));
        Assert.True(restored.GetProperty("assessment").GetProperty("valid").GetBoolean());
        Assert.Equal(4, (await _host.GetAsync($"{V3}/traces/tr-1")).Body.GetProperty("trace").GetProperty("trace_info").GetProperty("assessments").GetArrayLength());
    }

    [Fact]
    public async Task A_tag_that_is_too_long_is_cut_and_its_key_refused()
    {
        await _client.State("tr-1");
        var (cut, _) = await _client.Patch($"{V3}/traces/tr-1/tags", new { key = "a", value = new string('x', 9000) });
        var (refused, _) = await _client.Patch($"{V3}/traces/tr-1/tags", new { key = new string('k', 251), value = "b" });

        Assert.Equal((200, 400), (cut, refused));
        Assert.Equal(8000, _host.Service<TraceStore>().Get("tr-1").Tags["a"].Length);
    }

    [Fact]
    public async Task Searching_an_empty_server_finds_nothing()
    {
        Assert.Equal("{}", TraceClient.Compact((await _client.Search("span.attributes.a = 'b' AND feedback.c > 1 AND name RLIKE 'x'")).Body));
        Assert.Equal("""{"traces":[]}""", TraceClient.Compact((await _host.GetAsync($"{V3}/traces/batchGet?trace_ids=none")).Body));
        Assert.Equal("NaN", (await _host.PostAsync($"{V3}/traces/calculate-filter-correlation", new { experiment_ids = new[] { "0" }, filter_string1 = "name = 'a'", filter_string2 = "name = 'b'" })).Body.GetProperty("npmi").GetString());
    }
}
