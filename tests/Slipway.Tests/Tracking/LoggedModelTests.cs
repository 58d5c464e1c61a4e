using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class LoggedModelTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_model_is_logged_as_an_MLflow_3_client_logs_it_and_read_back()
    {
        var run = await NewRun();
        var (status, created) = await Post("logged-models", new
        {
            experiment_id = "0",
            name = "classifier",
            model_type = "Classifier",
            source_run_id = run,
            @params = new[] { new { key = "depth", value = "6" } },
            tags = new[] { new { key = "team", value = "ops" } },
        });
        var info = created.GetProperty("model").GetProperty("info");
        var id = info.GetProperty("model_id").GetString()!;
        await Post("runs/outputs", new { run_id = run, models = new[] { new { model_id = id, step = 3 } } });
        await Post($"logged-models/{id}/params", new { @params = new[] { new { key = "eta", value = "0.1" }, new { key = "depth", value = "6" } } });
        await Patch($"logged-models/{id}/tags", new { tags = new[] { new { key = "team", value = "dev" }, new { key = "b", value = "2" } } });
        await Post("runs/log-metric", new { run_id = run, key = "auc", value = 0.7, timestamp = 10, step = 1, model_id = id, dataset_name = "flights", dataset_digest = "abc" });
        await Post("runs/log-batch", new { run_id = run, metrics = new object[] { new { key = "auc", value = 0.8, timestamp = 20, step = 2, model_id = id, dataset_name = "flights", dataset_digest = "abc" }, new { key = "auc", value = "NaN", timestamp = 20, step = 2, model_id = id }, new { key = "other", value = 1, timestamp = 1, step = 0 } } });
        var (_, ready) = await Patch($"logged-models/{id}", new { model_id = id, status = "LOGGED_MODEL_READY" });

        var (_, read) = await Get($"logged-models/{id}");

        Assert.Equal(200, status);
        Assert.Matches("^m-[0-9a-f]{32}$", id);
        Assert.Equal("LOGGED_MODEL_PENDING", info.GetProperty("status").GetString());
        Assert.Equal("LOGGED_MODEL_READY", ready.GetProperty("model").GetProperty("info").GetProperty("status").GetString());
        var model = read.GetProperty("model");
        Assert.Equal($"mlflow-artifacts:/0/models/{id}/artifacts", model.GetProperty("info").GetProperty("artifact_uri").GetString());
        Assert.Equal(("classifier", "Classifier", run), (Text(model, "name"), Text(model, "model_type"), Text(model, "source_run_id")));
        Assert.Equal("""[{"key":"b","value":"2"},{"key":"team","value":"dev"}]""", Compact(model.GetProperty("info").GetProperty("tags")));
        Assert.Equal(
            $$"""{"params":[{"key":"depth","value":"6"},{"key":"eta","value":"0.1"}],"metrics":[{"key":"auc","value":"NaN","timestamp":20,"step":2,"model_id":"{{id}}","run_id":"{{run}}"},{"key":"auc","value":0.8,"timestamp":20,"step":2,"dataset_name":"flights","dataset_digest":"abc","model_id":"{{id}}","run_id":"{{run}}"}]}""",
            Compact(model.GetProperty("data")));
        Assert.Equal(
            $$"""{"model_outputs":[{"model_id":"{{id}}","step":3}]}""",
            Compact((await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("outputs")));
        Assert.Equal(3, (await Get($"metrics/get-history?run_id={run}&metric_key=auc")).Body.GetProperty("metrics").GetArrayLength());
    }

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_run_shows_the_models_it_used()
    {
        var run = await NewRun();
        var id = await NewModel();

        await Post("runs/log-inputs", new { run_id = run, models = new[] { new { model_id = id } } });
        await Post("runs/log-inputs", new { run_id = run, models = new[] { new { model_id = id } } });

        var answer = (await Get($"runs/get?run_id={run}")).Body.GetProperty("run");
        Assert.Equal($$"""{"model_inputs":[{"model_id":"{{id}}"}]}""", Compact(answer.GetProperty("inputs")));
        Assert.False(answer.TryGetProperty("outputs", out _));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Post("runs/log-inputs", new { run_id = run, models = new[] { new { model_id = "m-0" } } })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("runs/outputs", new { run_id = run })));
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task A_model_s_files_go_through_the_proxy_and_come_back_byte_for_byte()
    {
        var id = await NewModel();
        var bytes = RandomNumberGenerator.GetBytes(100_000);
        var proxy = $"/api/2.0/mlflow-artifacts/artifacts/0/models/{id}/artifacts";
        using var put = await _host.Client.PutAsync($"{proxy}/code/model.bin", new ByteArrayContent(bytes));
        await _host.Client.PutAsync($"{proxy}/MLmodel", new ByteArrayContent("flavors: {}"u8.ToArray()));

        var root = (await Get($"logged-models/{id}/artifacts/directories")).Body;

        Assert.Equal(HttpStatusCode.OK, put.StatusCode);
        Assert.Equal($"mlflow-artifacts:/0/models/{id}/artifacts", root.GetProperty("root_uri").GetString());
        Assert.Equal("""[{"path":"MLmodel","is_dir":false,"file_size":11},{"path":"code","is_dir":true}]""", Compact(root.GetProperty("files")));
        Assert.Equal(
            """[{"path":"code/model.bin","is_dir":false,"file_size":100000}]""",
            Compact((await Get($"logged-models/{id}/artifacts/directories?artifact_directory_path=code")).Body.GetProperty("files")));
        Assert.Equal(
            """[{"path":"model.bin","is_dir":false,"file_size":100000}]""",
            Compact((await _host.GetAsync($"/api/2.0/mlflow-artifacts/artifacts?path=0/models/{id}/artifacts/code")).Body.GetProperty("files")));
        Assert.Equal(bytes, await _host.Client.GetByteArrayAsync($"{proxy}/code/model.bin"));
        Assert.Equal(bytes, await _host.Client.GetByteArrayAsync($"/ajax-api/2.0/mlflow/logged-models/{id}/artifacts/files?artifact_file_path=code/model.bin"));
        Assert.Contains(_host.Service<RunStore>().ReferencedBlobs(), blob => blob.Subject.ToString() == $"logged_model:{id}" && blob.Part == "code/model.bin");
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await _host.GetAsync($"/ajax-api/2.0/mlflow/logged-models/{id}/artifacts/files?artifact_file_path=../x")));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await _host.SendAsync(HttpMethod.Delete, $"/api/2.0/mlflow-artifacts/artifacts/1/models/{id}/artifacts/code")));
        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Delete, $"{proxy}/code")).Status);
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await _host.GetAsync($"{proxy}/code/model.bin")));
    }

    [Theory]
    [InlineData("name = 'b'", "b")]
    [InlineData("attributes.name LIKE '%' AND name != 'a'", "c b")]
    [InlineData("name IN ('a', 'c')", "c a")]
    [InlineData("model_type = 'Tree'", "c a")]
    [InlineData("model_type ILIKE 'TR%'", "c a")]
    [InlineData("status = 'READY'", "b")]
    [InlineData("status = 'LOGGED_MODEL_READY'", "b")]
    [InlineData("creation_timestamp > 0 AND last_updated_time > 0 AND creation_time > 0", "c b a")]
    [InlineData("creation_timestamp < 5", "")]
    [InlineData("params.depth = '6'", "a")]
    [InlineData("params.`depth` LIKE '%'", "b a")]
    [InlineData("tags.team != 'ops'", "c")]
    [InlineData("tags.\"my tag\" = 'x'", "c")]
    [InlineData("metrics.auc > 0.75", "c b")]
    [InlineData("metrics.auc >= 0.7 AND metrics.auc < 0.75", "a")]
    [InlineData("source_run_id = 'none'", "")]
    public async Task A_filter_finds_the_models_it_describes(string filter, string expected)
    {
        await ThreeModels();

        Assert.Equal(expected, await Names(new { experiment_ids = new[] { "0" }, filter }));
    }

    [Theory]
    [InlineData("metrics.auc > '0.7'", "without quotes")]
    [InlineData("metrics.auc LIKE '1'", "LIKE")]
    [InlineData("params.depth > '6'", ">")]
    [InlineData("colour = 'red'", "colour")]
    [InlineData("spans.name = 'red'", "spans")]
    [InlineData("name = 'a' OR name = 'b'", "OR")]
    [InlineData("name = a", "'a'")]
    public async Task A_faulty_filter_is_refused_and_the_message_names_the_fault(string filter, string named)
    {
        var answer = await Post("logged-models/search", new { experiment_ids = new[] { "0" }, filter });

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(answer));
        Assert.Contains(named, answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Metrics_count_only_on_the_datasets_asked_for()
    {
        await ThreeModels();
        object On(string name, string? digest) => new { dataset_name = name, dataset_digest = digest };

        Assert.Equal("b", await Names(new { experiment_ids = new[] { "0" }, filter = "metrics.auc > 0.75", datasets = new[] { On("test", null) } }));
        Assert.Equal("b a", await Names(new { experiment_ids = new[] { "0" }, datasets = new[] { On("test", null) } }));
        Assert.Equal("a", await Names(new { experiment_ids = new[] { "0" }, datasets = new[] { On("test", "d1") } }));
        Assert.Equal("c a", await Names(new { experiment_ids = new[] { "0" }, datasets = new[] { On("test", "d1"), On("live", null) } }));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models/search", new { experiment_ids = new[] { "0" }, datasets = new[] { new { dataset_digest = "d1" } } })));
    }

    [Theory]
    [InlineData("name", true, null, null, "a b c")]
    [InlineData("name", false, null, null, "c b a")]
    [InlineData("creation_timestamp", true, null, null, "a b c")]
    [InlineData("metrics.auc", true, null, null, "a b c")]
    [InlineData("metrics.auc", false, null, null, "c b a")]
    [InlineData("metrics.auc", true, "test", null, "a b c")]
    [InlineData("metrics.auc", false, "test", "d2", "b c a")]
    [InlineData("params.depth", false, null, null, "b a c")]
    [InlineData("tags.`my tag`", true, null, null, "c b a")]
    public async Task Models_come_in_the_asked_order_and_page_by_page_in_the_same(string field, bool ascending, string? dataset, string? digest, string expected)
    {
        await ThreeModels();
        var order = new[] { new { field_name = field, ascending, dataset_name = dataset, dataset_digest = digest } };

        var names = new List<string?>();
        string? token = null;
        do
        {
            var (_, page) = await Post("logged-models/search", new { experiment_ids = new[] { "0" }, order_by = order, max_results = 1, page_token = token });
            names.Add(page.GetProperty("models")[0].GetProperty("info").GetProperty("name").GetString());
            token = page.TryGetProperty("next_page_token", out var next) ? next.GetString() : null;
        }
        while (token is not null);

        Assert.Equal(expected, await Names(new { experiment_ids = new[] { "0" }, order_by = order }));
        Assert.Equal(expected, string.Join(' ', names));
    }

    [Fact]
    public async Task Wrong_requests_are_refused_by_name()
    {
        var id = await NewModel();
        await Post($"logged-models/{id}/params", new { @params = new[] { new { key = "depth", value = "6" } } });

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models", new { })));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Post("logged-models", new { experiment_id = "77" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models", new { experiment_id = "0", name = "a/b" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Patch($"logged-models/{id}", new { status = "LOGGED_MODEL_PENDING" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post($"logged-models/{id}/params", new { @params = new[] { new { key = "depth", value = "7" } } })));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Get("logged-models/m-00000000000000000000000000000000")));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await _host.SendAsync(HttpMethod.Delete, $"{Api}/logged-models/{id}/tags/none")));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models/search", new { experiment_ids = new[] { "0" }, order_by = new[] { new { field_name = "spans.x" } } })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models/search", new { experiment_ids = new[] { "0" }, max_results = 0 })));
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Post("runs/log-metric", new { run_id = await NewRun(), key = "auc", value = 1, timestamp = 1, model_id = "m-1" })));
    }

    [Fact]
    public async Task A_deleted_model_is_neither_found_nor_read()
    {
        var id = await NewModel();
        await Patch($"logged-models/{id}/tags", new { tags = new[] { new { key = "a", value = "1" } } });

        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Delete, $"{Api}/logged-models/{id}/tags/a")).Status);
        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Delete, $"{Api}/logged-models/{id}")).Status);
        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Delete, $"{Api}/logged-models/{id}")).Status);

        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Get($"logged-models/{id}")));
        Assert.Equal("", await Names(new { experiment_ids = new[] { "0" } }));
        Assert.Equal(404, (int)(await _host.Client.PutAsync($"/api/2.0/mlflow-artifacts/artifacts/0/models/{id}/artifacts/x", new ByteArrayContent([1]))).StatusCode);
    }

    // a: depth 6, team ops, auc 0.7 on test d1; b: depth 8, auc 0.8 on test d2, ready; c: team dev, auc 0.9 on live.
    private async Task ThreeModels()
    {
        var run = await NewRun();
        var ids = new List<string>();
        foreach (var (name, type, parameter, tag) in ((string, string, object[], object[])[])[
            ("a", "Tree", [new { key = "depth", value = "6" }], [new { key = "team", value = "ops" }]),
            ("b", "Net", [new { key = "depth", value = "8" }], []),
            ("c", "Tree", [], [new { key = "team", value = "dev" }, new { key = "my tag", value = "x" }])])
        {
            ids.Add(await NewModel(new { experiment_id = "0", name, model_type = type, @params = parameter, tags = tag }));
        }

        await Patch($"logged-models/{ids[1]}", new { status = "LOGGED_MODEL_READY" });
        async Task Log(int model, double value, string dataset, string digest, long timestamp) => await Post("runs/log-metric", new { run_id = run, key = "auc", value, timestamp, step = 0, model_id = ids[model], dataset_name = dataset, dataset_digest = digest });
        await Log(0, 0.1, "test", "d1", 5);
        await Log(0, 0.7, "test", "d1", 10);
        await Log(1, 0.8, "test", "d2", 10);
        await Log(2, 0.9, "live", "d3", 10);
    }

    private async Task<string> Names(object search)
    {
        var (status, body) = await Post("logged-models/search", search);
        Assert.Equal(200, status);
        return body.TryGetProperty("models", out var models) ? string.Join(' ', models.EnumerateArray().Select(model => Text(model, "name"))) : "";
    }

    private async Task<string> NewModel(object? request = null) =>
        (await Post("logged-models", request ?? new { experiment_id = "0" })).Body.GetProperty("model").GetProperty("info").GetProperty("model_id").GetString()!;

    private async Task<string> NewRun() =>
        (await Post("runs/create", new { experiment_id = "0" })).Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;

    private Task<(int Status, JsonElement Body)> Post(string path, object body) => _host.PostAsync($"{Api}/{path}", body);

    private Task<(int Status, JsonElement Body)> Patch(string path, object body) => _host.SendAsync(HttpMethod.Patch, $"{Api}/{path}", body);

    private Task<(int Status, JsonElement Body)> Get(string path) => _host.GetAsync($"{Api}/{path}");

    private static (int Status, string? Name) Error((int Status, JsonElement Body) answer)
    {
        Assert.True(answer.Body.GetProperty("message").GetString()!.Length > 0);
        return (answer.Status, answer.Body.GetProperty("error_code").GetString());
    }

    private static string? Text(JsonElement model, string field) => model.GetProperty("info").GetProperty(field).GetString();

    private static string Compact(JsonElement json) => JsonSerializer.Serialize(json);
}
