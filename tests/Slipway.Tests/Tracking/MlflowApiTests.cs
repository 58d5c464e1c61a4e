using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tests.Tracking;

public sealed class MlflowApiTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_client_s_whole_run_is_read_back_as_it_was_logged()
    {
        var (_, experiment) = await Post("experiments/create", new { name = "flights", tags = new[] { new { key = "team", value = "ops" } } });
        var experimentId = experiment.GetProperty("experiment_id").GetString();
        var (_, created) = await Post("runs/create", new { experiment_id = experimentId, run_name = "first", start_time = 1700000000000L, user_id = "grace", tags = new[] { new { key = "t", value = "1" } }, unknown_field = 1 });
        var runId = created.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;
        await Post("runs/log-parameter", new { run_id = runId, key = "depth", value = "6" });
        await Post("runs/log-metric", new { run_id = runId, key = "auc", value = 0.7, timestamp = 1700000000001L, step = 1 });
        await Post("runs/log-batch", """{"run_id":"RUN","metrics":[{"key":"auc","value":0.75,"timestamp":"1700000000002","step":"2"},{"key":"bad","value":"NaN","timestamp":1,"step":0}],"params":[{"key":"eta","value":"0.1"}],"tags":[{"key":"u","value":"2"}]}""".Replace("RUN", runId, StringComparison.Ordinal));
        await Post("runs/log-inputs", new { run_id = runId, datasets = new[] { new { tags = new[] { new { key = "mlflow.data.context", value = "train" } }, dataset = new { name = "flights", digest = "abc", source_type = "local", source = "x" } } } });
        var (_, updated) = await Post("runs/update", new { run_id = runId, status = "FINISHED", end_time = 1700000009000L });

        var (status, answer) = await Get($"runs/get?run_id={runId}");

        Assert.Equal(200, status);
        Assert.Equal(1700000009000L, updated.GetProperty("run_info").GetProperty("end_time").GetInt64());
        var run = answer.GetProperty("run");
        Assert.Equal(
            $$"""{"run_uuid":"{{runId}}","run_id":"{{runId}}","experiment_id":"{{experimentId}}","run_name":"first","user_id":"grace","status":"FINISHED","start_time":1700000000000,"end_time":1700000009000,"artifact_uri":"mlflow-artifacts:/{{experimentId}}/{{runId}}/artifacts","lifecycle_stage":"active"}""",
            Compact(run.GetProperty("info")));
        Assert.Equal(
            """{"metrics":[{"key":"auc","value":0.75,"timestamp":1700000000002,"step":2},{"key":"bad","value":"NaN","timestamp":1,"step":0}],"params":[{"key":"depth","value":"6"},{"key":"eta","value":"0.1"}],"tags":[{"key":"mlflow.runName","value":"first"},{"key":"t","value":"1"},{"key":"u","value":"2"}]}""",
            Compact(run.GetProperty("data")));
        Assert.Equal(
            """{"dataset_inputs":[{"tags":[{"key":"mlflow.data.context","value":"train"}],"dataset":{"name":"flights","digest":"abc","source_type":"local","source":"x"}}]}""",
            Compact(run.GetProperty("inputs")));
        Assert.Equal(runId, (await Post("runs/search", new { experiment_ids = new[] { experimentId }, filter = "metrics.auc > 0.7 and params.depth = '6'" })).Body.GetProperty("runs")[0].GetProperty("info").GetProperty("run_id").GetString());
    }

    [Fact]
    public async Task Experiments_are_made_found_renamed_tagged_deleted_and_restored()
    {
        var (_, created) = await Post("experiments/create", new { name = "flights" });
        var id = created.GetProperty("experiment_id").GetString();
        await Post("experiments/set-experiment-tag", new { experiment_id = id, key = "team", value = "ops" });
        await Post("experiments/update", new { experiment_id = id, new_name = "flights2" });

        Assert.Equal((400, "RESOURCE_ALREADY_EXISTS"), Error(await Post("experiments/create", new { name = "flights2" })));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Get("experiments/get-by-name?experiment_name=flights")));
        var byName = (await Get("experiments/get-by-name?experiment_name=flights2")).Body.GetProperty("experiment");
        Assert.Equal("""[{"key":"team","value":"ops"}]""", Compact(byName.GetProperty("tags")));
        Assert.Equal($"mlflow-artifacts:/{id}", byName.GetProperty("artifact_location").GetString());
        Assert.Equal("flights2", (await Get("experiments/search?filter=tags.team%20%3D%20'ops'&max_results=5")).Body.GetProperty("experiments")[0].GetProperty("name").GetString());

        var run = await NewRun(id!);
        await Post("experiments/delete", new { experiment_id = id });
        Assert.Equal("deleted", (await Get($"experiments/get?experiment_id={id}")).Body.GetProperty("experiment").GetProperty("lifecycle_stage").GetString());
        Assert.Equal("deleted", (await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("info").GetProperty("lifecycle_stage").GetString());
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("runs/create", new { experiment_id = id })));
        Assert.Equal(1, (await Post("experiments/search", new { view_type = "ACTIVE_ONLY" })).Body.GetProperty("experiments").GetArrayLength());
        Assert.Equal(2, (await Post("experiments/search", new { view_type = "ALL" })).Body.GetProperty("experiments").GetArrayLength());

        await Post("experiments/restore", new { experiment_id = id });
        Assert.Equal("active", (await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("info").GetProperty("lifecycle_stage").GetString());
    }

    [Fact]
    public async Task Experiments_are_paged_in_the_asked_order()
    {
        foreach (var name in (string[])["b", "c", "a"])
        {
            await Post("experiments/create", new { name });
        }

        var names = new List<string>();
        string? token = null;
        do
        {
            var (_, page) = await Post("experiments/search", new { max_results = 1, order_by = new[] { "name ASC" }, page_token = token });
            names.Add(page.GetProperty("experiments")[0].GetProperty("name").GetString()!);
            token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
        }
        while (token is not null);

        Assert.Equal(["Default", "a", "b", "c"], names);
    }

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task A_long_curve_is_paged_and_comes_whole_when_no_page_is_asked_for()
    {
        var run = await NewRun();
        for (var batch = 0; batch < 3; batch++)
        {
            await Post("runs/log-batch", new { run_id = run, metrics = Enumerable.Range(batch * 100, 100).Select(step => new { key = "loss", value = 1.0 / (step + 1), timestamp = 1000 + step, step }) });
        }

        var steps = new List<long>();
        string? token = null;
        do
        {
            var (_, page) = await Get($"metrics/get-history?run_id={run}&metric_key=loss&max_results=70&page_token={token}");
            steps.AddRange(page.GetProperty("metrics").EnumerateArray().Select(point => point.GetProperty("step").GetInt64()));
            token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
        }
        while (token is not null);

        Assert.Equal(Enumerable.Range(0, 300).Select(step => (long)step), steps);
        Assert.Equal(300, (await Get($"metrics/get-history?run_uuid={run}&metric_key=loss")).Body.GetProperty("metrics").GetArrayLength());
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task A_file_goes_through_the_proxy_is_listed_and_comes_back_byte_for_byte()
    {
        var run = await NewRun();
        var bytes = RandomNumberGenerator.GetBytes(100_000);
        using var put = await _host.Client.PutAsync($"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/weights%20v1.bin", new ByteArrayContent(bytes));
        using var proxied = await _host.Client.GetAsync($"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/weights%20v1.bin");
        using var direct = await _host.Client.GetAsync($"/get-artifact?run_uuid={run}&path=model/weights%20v1.bin");

        Assert.Equal(HttpStatusCode.OK, put.StatusCode);
        Assert.Equal(bytes, await proxied.Content.ReadAsByteArrayAsync());
        Assert.Equal(bytes, await direct.Content.ReadAsByteArrayAsync());
        Assert.Equal("attachment", direct.Content.Headers.ContentDisposition!.DispositionType);
        Assert.Equal("nosniff", Assert.Single(direct.Headers.GetValues("X-Content-Type-Options")));
        Assert.Equal($"\"{Convert.ToHexStringLower(SHA256.HashData(bytes))}\"", direct.Headers.ETag!.Tag);
        var root = (await Get($"artifacts/list?run_id={run}")).Body;
        Assert.Equal("""[{"path":"model","is_dir":true}]""", Compact(root.GetProperty("files")));
        Assert.Equal($"mlflow-artifacts:/0/{run}/artifacts", root.GetProperty("root_uri").GetString());
        Assert.Equal("""[{"path":"model/weights v1.bin","is_dir":false,"file_size":100000}]""", Compact((await Get($"artifacts/list?run_id={run}&path=model")).Body.GetProperty("files")));
        Assert.Equal("""[{"path":"weights v1.bin","is_dir":false,"file_size":100000}]""", Compact((await _host.GetAsync($"/api/2.0/mlflow-artifacts/artifacts?path=0/{run}/artifacts/model")).Body.GetProperty("files")));
        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Delete, $"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model")).Status);
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await _host.GetAsync($"/get-artifact?run_id={run}&path=model/weights%20v1.bin")));
    }

    [Theory]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=../../etc/passwd")]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=/etc/passwd")]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=C:/..")]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=a/..%5C..%5Cb")]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=a%00b")]
    [InlineData("GET", "/get-artifact?run_id=RUN&path=%252e%252e%252fb")]
    [InlineData("GET", "/api/2.0/mlflow/artifacts/list?run_id=RUN&path=..")]
    [InlineData("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0/RUN/artifacts/../../x")]
    [InlineData("GET", "/api/2.0/mlflow-artifacts/artifacts/..%2f..%2fetc/passwd")]
    [InlineData("DELETE", "/api/2.0/mlflow-artifacts/artifacts/..%2f..%2fdir")]
    [InlineData("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/%252e%252e%252fkept.txt")]
    [InlineData("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/x/../kept.txt")]
    [InlineData("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/x/%2e%2e/kept.txt")]
    [InlineData("DELETE", "/ajax-api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/x/;/../../kept.txt")]
    [InlineData("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts/a%5C..%5Cb")]
    [InlineData("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/RUN/other/x")]
    [InlineData("PUT", "/api/2.0/mlflow-artifacts/artifacts/x")]
    public async Task A_path_that_leaves_the_run_is_refused_on_every_route_and_nothing_changes(string method, string target)
    {
        var run = await NewRun();
        await _host.Service<RunStore>().LogArtifactAsync(run, "kept.txt", "kept"u8.ToArray(), TestStores.Caller, default);

        var status = await SendRawAsync(method, target.Replace("RUN", run, StringComparison.Ordinal));

        Assert.Equal(400, status);
        Assert.Equal("kept.txt", Assert.Single(_host.Service<ArtifactStore>().List(run)).Path);
    }

    [Fact]
    public async Task A_file_is_not_reached_through_another_experiment()
    {
        var run = await NewRun();
        await _host.Service<RunStore>().LogArtifactAsync(run, "kept.txt", "kept"u8.ToArray(), TestStores.Caller, default);

        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await _host.GetAsync($"/api/2.0/mlflow-artifacts/artifacts/1/{run}/artifacts/kept.txt")));
    }

    [Theory]
    [InlineData("runs/get?run_id=nope", null, 404, "RESOURCE_DOES_NOT_EXIST")]
    [InlineData("runs/get", null, 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/get?experiment_id=abc", null, 404, "RESOURCE_DOES_NOT_EXIST")]
    [InlineData("experiments/search?max_results=2147483648", null, 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", "{}", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", """{"name":"x","artifact_location":"http://x/a;/../../../etc"}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", """{"name":5}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", "null", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", "[1]", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("experiments/create", "{", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/create", """{"experiment_id":"99"}""", 404, "RESOURCE_DOES_NOT_EXIST")]
    [InlineData("runs/create", """{"experiment_id":"0","start_time":9223372036854775807}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/create", """{"experiment_id":"0","tags":[null]}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/search", """{"max_results":2147483647}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/search", """{"run_view_type":"SOME"}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/search", """{"experiment_ids":["0",null],"filter":"metrics.a ~ 1"}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"order_by":["datasets.name"]}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/update", """{"run_id":"RUN","status":"DONE"}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","timestamp":1}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":"high","timestamp":1}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":1,"timestamp":-1}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/log-metric", """{"run_id":"nope","key":"a","value":1,"timestamp":1}""", 404, "RESOURCE_DOES_NOT_EXIST")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","metrics":[null]}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/log-inputs", """{"run_id":"RUN","models":[{"model_id":"m"}]}""", 404, "RESOURCE_DOES_NOT_EXIST")]
    [InlineData("runs/log-inputs", """{"run_id":"RUN","datasets":[{}]}""", 400, "INVALID_PARAMETER_VALUE")]
    [InlineData("runs/delete-tag", """{"run_id":"RUN","key":"none"}""", 404, "RESOURCE_DOES_NOT_EXIST")]
    public async Task A_faulty_request_gets_MLflow_s_error_and_never_a_500(string path, string? body, int status, string name)
    {
        var run = await NewRun();

        var answer = body is null ? await Get(path) : await Post(path, body.Replace("RUN", run, StringComparison.Ordinal));

        Assert.Equal((status, name), Error(answer));
    }

    [Fact]
    public async Task A_body_that_is_not_declared_as_JSON_or_is_too_long_is_refused()
    {
        using var text = await _host.Client.PostAsync($"{Api}/experiments/create", new StringContent("""{"name":"x"}""", Encoding.UTF8, "text/plain"));
        var (status, _) = await Post("runs/log-batch", $$"""{"run_id":"{{new string('a', 1_000_000)}}"}""");

        Assert.Equal(HttpStatusCode.BadRequest, text.StatusCode);
        Assert.Equal(400, status); // As MLflow has it; a body over the server's own limit is 413.
        Assert.Equal(404, (await Get("experiments/get-by-name?experiment_name=x")).Status);
    }

    [Fact]
    public async Task The_web_page_s_twin_of_a_path_answers_alike()
    {
        var (_, created) = await _host.PostAsync("/ajax-api/2.0/mlflow/experiments/create", new { name = "twin" });

        Assert.Equal("twin", (await Get($"experiments/get?experiment_id={created.GetProperty("experiment_id").GetString()}")).Body.GetProperty("experiment").GetProperty("name").GetString());
    }

    [Fact]
    public async Task Paths_that_are_not_built_say_so_by_name()
    {
        foreach (var (method, path) in UnbuiltEndpoints.Paths)
        {
            foreach (var prefix in (string[])["/api", "/ajax-api"])
            {
                var target = prefix + path.Replace("{**artifact_path}", "a/b", StringComparison.Ordinal).Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal);
                var answer = await _host.SendAsync(new HttpMethod(method), target, method is "GET" ? null : "{}");

                Assert.Equal((501, "NOT_IMPLEMENTED"), Error(answer));
                Assert.Contains(target, answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public void Every_route_says_who_may_call_it_and_MLflow_s_routes_word_errors_as_MLflow()
    {
        var endpoints = _host.Service<Microsoft.AspNetCore.Routing.EndpointDataSource>().Endpoints.OfType<Microsoft.AspNetCore.Routing.RouteEndpoint>().ToList();

        Assert.True(endpoints.Count > 150);
        Assert.All(endpoints, endpoint => Assert.NotNull(endpoint.Metadata.GetMetadata<RequiredAccess>()));
        Assert.All(
            endpoints.Where(endpoint => !endpoint.RoutePattern.RawText!.StartsWith("/api/slipway", StringComparison.Ordinal)),
            endpoint => Assert.Equal(ErrorEnvelope.Mlflow, endpoint.Metadata.GetMetadata<ErrorShape>()!.Envelope));
    }

    [Fact]
    [Trait("capability", "TRK-04")]
    public async Task The_native_record_shows_environment_files_and_flags()
    {
        var run = await NewRun();
        var environment = RunEnvironment.Capture(null, 7);
        var (put, _) = await _host.SendAsync(HttpMethod.Put, $"/api/slipway/v1/runs/{run}/environment", JsonSerializer.Serialize(environment, JsonDefaults.Options));
        var (bad, _) = await _host.SendAsync(HttpMethod.Put, $"/api/slipway/v1/runs/{run}/environment", """{"seed":1}""");

        var (_, record) = await _host.GetAsync($"/api/slipway/v1/runs/{run}");

        Assert.Equal((204, 400), (put, bad));
        Assert.Equal(7, record.GetProperty("environment").GetProperty("seed").GetInt64());
        Assert.Equal("slipway.dataset_missing", record.GetProperty("flags")[0].GetString());
        Assert.Equal(run, JsonSerializer.Deserialize<RunRecord>(record, JsonDefaults.Options)!.RunId);
        Assert.Equal(404, (await _host.GetAsync("/api/slipway/v1/runs/nope")).Status);
        Assert.Equal("Default", (await _host.GetAsync("/api/slipway/v1/experiments")).Body.GetProperty("experiments")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task Many_clients_log_at_once_and_nothing_is_lost()
    {
        var run = await NewRun();

        await Task.WhenAll(Enumerable.Range(0, 200).Select(step => Post("runs/log-metric", new { run_id = run, key = "loss", value = step, timestamp = step, step })));

        Assert.Equal(200, _host.Service<RunStore>().MetricHistory(run, "loss").Count);
        Assert.Equal(199, Assert.Single(_host.Service<RunStore>().Get(run).Metrics).Step);
    }

    private Task<(int Status, JsonElement Body)> Post(string path, object body) => _host.PostAsync($"{Api}/{path}", body);

    private Task<(int Status, JsonElement Body)> Get(string path) => _host.GetAsync($"{Api}/{path}");

    private async Task<string> NewRun(string experimentId = "0") =>
        (await Post("runs/create", new { experiment_id = experimentId })).Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;

    private static (int Status, string? Name) Error((int Status, JsonElement Body) answer)
    {
        Assert.True(answer.Body.GetProperty("message").GetString()!.Length > 0);
        return (answer.Status, answer.Body.GetProperty("error_code").GetString());
    }

    private static string Compact(JsonElement json) => JsonSerializer.Serialize(json);

    // HttpClient would fold the dots away before they reach the server.
    private async Task<int> SendRawAsync(string method, string target)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(_host.Client.BaseAddress!.Host, _host.Client.BaseAddress.Port);
        await using var stream = socket.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        using var reader = new StreamReader(stream, Encoding.ASCII);
        return int.Parse((await reader.ReadLineAsync())!.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }
}
