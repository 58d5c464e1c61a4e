using System.Text;
using System.Text.Json;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Mlflow;

namespace Slipway.Tests.Tracking;

/// <summary>MLflow's limits, idempotence and errors, rule by rule.</summary>
public sealed class MlflowExactnessTests : IAsyncLifetime
{
    private const string Api = "/api/2.0/mlflow";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("auc", true)]
    [InlineData("val/auc", true)]
    [InlineData("a_b-c.d e:f", true)]
    [InlineData("größe", true)]
    [InlineData("数", true)]
    [InlineData("x½Ⅷ", true)]
    [InlineData("𝒳", true)]
    [InlineData("a..b", true)]
    [InlineData("a b/c d", true)]
    [InlineData("..a", false)]
    [InlineData("a/..", false)]
    [InlineData("./a", false)]
    [InlineData("a/", false)]
    [InlineData("a%b", false)]
    [InlineData("a\tb", false)]
    [InlineData("a\"b", false)]
    [InlineData("a😀", false)]
    [Trait("capability", "TRK-01")]
    public async Task A_name_may_hold_what_MLflow_lets_it_hold(string key, bool allowed)
    {
        var run = await NewRun();

        Assert.Equal(allowed ? 200 : 400, (await Post("runs/log-metric", new { run_id = run, key, value = 1, timestamp = 1 })).Status);
        Assert.Equal(allowed ? 200 : 400, (await Post("runs/log-parameter", new { run_id = run, key, value = "1" })).Status);
        Assert.Equal(allowed ? 200 : 400, (await Post("runs/set-tag", new { run_id = run, key, value = "1" })).Status);
        Assert.Equal(allowed ? 200 : 400, (await Post("experiments/set-experiment-tag", new { experiment_id = "0", key, value = "1" })).Status);
    }

    [Fact]
    public async Task Names_have_250_characters_however_they_are_written()
    {
        var run = await NewRun();

        foreach (var letter in (string[])["a", "ß", "𝒳"])
        {
            Assert.Equal(200, (await Post("runs/set-tag", new { run_id = run, key = Repeat(letter, 250), value = "" })).Status);
            Assert.Equal(400, (await Post("runs/set-tag", new { run_id = run, key = Repeat(letter, 251), value = "" })).Status);
        }
    }

    [Theory]
    [InlineData("a")]
    [InlineData("😀")]
    [Trait("capability", "TRK-01")]
    public async Task Long_values_of_a_run_are_cut_and_those_of_an_experiment_refused(string letter)
    {
        var run = await NewRun();
        await Post("runs/log-parameter", new { run_id = run, key = "p", value = Repeat(letter, 6001) });
        await Post("runs/set-tag", new { run_id = run, key = "t", value = Repeat(letter, 8001) });
        await Post("runs/log-batch", new { run_id = run, @params = new[] { new { key = "p", value = Repeat(letter, 7000) } } }); // Cut to the same value.

        var record = _host.Service<RunStore>().Get(run);
        Assert.Equal((Repeat(letter, 6000), Repeat(letter, 8000)), (record.Parameters["p"], record.Tags["t"]));
        Assert.Equal(200, (await Post("experiments/set-experiment-tag", new { experiment_id = "0", key = "t", value = Repeat(letter, 5000) })).Status);
        Assert.Equal(400, (await Post("experiments/set-experiment-tag", new { experiment_id = "0", key = "t", value = Repeat(letter, 5001) })).Status);
        Assert.Equal(200, (await Post("experiments/create", new { name = Repeat(letter, 500) })).Status);
        Assert.Equal(400, (await Post("experiments/create", new { name = Repeat(letter, 501) })).Status);
    }

    [Theory]
    [InlineData("1", 1.0)]
    [InlineData("\"1\"", 1.0)]
    [InlineData("-0.5e-3", -0.0005)]
    [InlineData("\"NaN\"", double.NaN)]
    [InlineData("NaN", double.NaN)]
    [InlineData("\"Infinity\"", double.MaxValue)]
    [InlineData("Infinity", double.MaxValue)]
    [InlineData("-Infinity", -double.MaxValue)]
    [InlineData("\"-Infinity\"", -double.MaxValue)]
    [Trait("capability", "TRK-02")]
    public async Task A_metric_takes_every_number_that_Python_or_protobuf_writes(string value, double expected)
    {
        var run = await NewRun();

        Assert.Equal(200, (await Post("runs/log-batch", $$"""{"run_id":"{{run}}","metrics":[{"key":"a NaN","value":{{value}},"timestamp":"1","step":2e0},{"key":"b","value":0,"timestamp":1.0}]}""")).Status);

        Assert.Equal(expected, _host.Service<RunStore>().Get(run).Metric("a NaN"));
        var shown = (await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("data").GetProperty("metrics")[0].GetProperty("value");
        Assert.Equal(double.IsNaN(expected) ? "\"NaN\"" : JsonSerializer.Serialize(expected), JsonSerializer.Serialize(shown));
    }

    [Theory]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":"x","timestamp":1}""", "value")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":true,"timestamp":1}""", "value")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","timestamp":1}""", "value")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":1}""", "timestamp")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":1,"timestamp":1.5}""", "timestamp")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":1,"timestamp":-1}""", "timestamp")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":"a","value":1,"timestamp":1,"step":99999999999999999999}""", "step")]
    [InlineData("runs/log-metric", """{"run_id":7,"key":"a","value":1,"timestamp":1}""", "run_id")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","metrics":{}}""", "metrics")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","metrics":[{"key":"a","value":1,"timestamp":1},{"key":"a","value":[],"timestamp":1}]}""", "metrics[1].value")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","params":[{"value":"1"}]}""", "params[0].key")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","params":[{"key":"a","value":"1"},{"key":"a","value":"1"}]}""", "'a'")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","tags":[null]}""", "tags[0].key")]
    [InlineData("runs/log-batch", """{"run_id":"RUN","tags":[{"key":"a","value":"b\u0000c"}]}""", "tags[0].value")]
    [InlineData("runs/update", """{"run_id":"RUN","status":"DONE"}""", "status")]
    [InlineData("runs/update", """{"run_id":"RUN","status":9}""", "status")]
    [InlineData("runs/update", """{"run_id":"RUN","end_time":"soon"}""", "end_time")]
    [InlineData("runs/create", """{"experiment_id":0}""", "experiment_id")]
    [InlineData("runs/create", """{"experiment_id":"0","run_name":"a","tags":[{"key":"mlflow.runName","value":"b"}]}""", "mlflow.runName")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"max_results":50001}""", "max_results")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"max_results":99999999999}""", "max_results")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"run_view_type":"SOME"}""", "run_view_type")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"order_by":["metrics.auc SIDEWAYS"]}""", "order_by")]
    [InlineData("runs/search", """{"experiment_ids":["0"],"order_by":"metrics.auc"}""", "order_by")]
    [InlineData("experiments/search", """{"max_results":0}""", "max_results")]
    [InlineData("experiments/search", """{"order_by":["tags.a"]}""", "order_by")]
    [InlineData("runs/log-metric", """{"run_id":"RUN","key":""", "JSON")]
    [InlineData("runs/log-metric", "[1]", "JSON object")]
    public async Task A_faulty_request_is_refused_and_the_message_names_the_field(string path, string body, string named)
    {
        var answer = await Post(path, body.Replace("RUN", await NewRun(), StringComparison.Ordinal));

        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(answer));
        Assert.Contains(named, answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_batch_has_at_most_a_million_bytes_whether_or_not_it_says_so()
    {
        var run = await NewRun();
        var head = $$"""{"run_id":"{{run}}","tags":[{"key":"a","value":"1"}],"unknown":""" + '"';
        var fits = head + new string('x', 1_000_000 - head.Length - 2) + "\"}";

        Assert.Equal(200, (await Post("runs/log-batch", fits)).Status);
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("runs/log-batch", fits + " ")));
        using var chunked = new HttpRequestMessage(HttpMethod.Post, $"{Api}/runs/log-batch") { Content = new StringContent(fits + "  ", Encoding.UTF8, "application/json") };
        chunked.Headers.TransferEncodingChunked = true;
        using var refused = await _host.Client.SendAsync(chunked);
        Assert.Equal(400, (int)refused.StatusCode);
    }

    [Fact]
    public async Task Old_and_lazy_clients_are_read_as_MLflow_reads_them()
    {
        var run = await NewRun();
        Assert.Equal(200, (await Post("runs/set-tag", JsonSerializer.Serialize($$"""{"run_uuid":"{{run}}","key":"a","value":"1"}"""))).Status);
        Assert.Equal(200, (await Post("runs/set-tag", "\uFEFF" + $$$"""{"run_id":"{{{run}}}","key":"b","value":"2","future":{"x":[1]}}""")).Status);
        Assert.Equal(200, (await Post("experiments/search", "")).Status);
        Assert.Equal(200, (await Post("experiments/search", "null")).Status);
        Assert.Equal(200, (await Post("experiments/search", """{"view_type":3}""")).Status);
        Assert.Equal("0", (await Post("runs/create", new { })).Body.GetProperty("run").GetProperty("info").GetProperty("experiment_id").GetString());
        Assert.Equal("FAILED", (await Post("runs/update", new { run_id = run, status = 4 })).Body.GetProperty("run_info").GetProperty("status").GetString());

        var tags = _host.Service<RunStore>().Get(run).Tags;
        Assert.Equal(("1", "2"), (tags["a"], tags["b"]));
    }

    [Fact]
    [Trait("capability", "TRK-05")]
    public async Task A_run_is_renamed_by_its_name_or_by_its_tag_and_never_loses_its_name()
    {
        var run = await NewRun();
        async Task<(string?, string)> Names() => ((await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("info").GetProperty("run_name").GetString(), _host.Service<RunStore>().Get(run).Tags["mlflow.runName"]);

        await Post("runs/update", new { run_id = run, run_name = "first" });
        Assert.Equal(("first", "first"), await Names());
        await Post("runs/set-tag", new { run_id = run, key = "mlflow.runName", value = "second" });
        Assert.Equal(("second", "second"), await Names());
        await Post("runs/set-tag", new { run_id = run, key = "mlflow.runName", value = "" });
        await Post("runs/update", new { run_id = run, run_name = "" });
        Assert.Equal(("second", "second"), await Names());
        Assert.Equal("same", (await Post("runs/create", new { experiment_id = "0", run_name = "same", tags = new[] { new { key = "mlflow.runName", value = "same" } } })).Body.GetProperty("run").GetProperty("info").GetProperty("run_name").GetString());
    }

    [Fact]
    public async Task A_deleted_run_is_read_deleted_and_restored_and_takes_nothing_else()
    {
        var run = await NewRun();
        await Post("runs/set-tag", new { run_id = run, key = "a", value = "1" });
        await Post("runs/delete", new { run_id = run });

        Assert.Equal(200, (await Post("runs/delete", new { run_id = run })).Status);
        Assert.Equal(200, (await Get($"runs/get?run_id={run}")).Status);
        Assert.Equal(200, (await Get($"metrics/get-history?run_id={run}&metric_key=a")).Status);
        Assert.Equal(200, (await Get($"artifacts/list?run_id={run}")).Status);
        foreach (var (path, body) in ((string, object)[])[
            ("runs/log-metric", new { run_id = run, key = "a", value = 1, timestamp = 1 }),
            ("runs/log-parameter", new { run_id = run, key = "a", value = "1" }),
            ("runs/log-batch", new { run_id = run }),
            ("runs/set-tag", new { run_id = run, key = "a", value = "1" }),
            ("runs/delete-tag", new { run_id = run, key = "a" }),
            ("runs/update", new { run_id = run, status = "FINISHED" }),
            ("runs/log-inputs", new { run_id = run }),
            ("runs/outputs", new { run_id = run, models = Array.Empty<object>() }),
            ("runs/log-model", new { run_id = run, model_json = """{"run_id":"r","artifact_path":"m","utc_time_created":"t","flavors":{}}""" })])
        {
            var answer = await Post(path, body);
            Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(answer));
            Assert.Contains("'active' state", answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
        }

        Assert.Equal(200, (await Post("runs/restore", new { run_id = run })).Status);
        Assert.Equal(200, (await Post("runs/restore", new { run_id = run })).Status);
        Assert.Equal(200, (await Post("runs/log-batch", new { run_id = run })).Status);
    }

    [Fact]
    public async Task Deletion_and_restoration_of_an_experiment_move_all_its_runs_and_are_not_repeated()
    {
        var experiment = (await Post("experiments/create", new { name = "e" })).Body.GetProperty("experiment_id").GetString()!;
        var (kept, deleted) = (await NewRun(experiment), await NewRun(experiment));
        await Post("runs/delete", new { run_id = deleted });

        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Post("experiments/restore", new { experiment_id = experiment })));
        Assert.Equal(200, (await Post("experiments/delete", new { experiment_id = experiment })).Status);
        Assert.Equal((404, "RESOURCE_DOES_NOT_EXIST"), Error(await Post("experiments/delete", new { experiment_id = experiment })));
        Assert.Equal("deleted", await Stage(kept));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("experiments/set-experiment-tag", new { experiment_id = experiment, key = "a", value = "1" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("experiments/delete-experiment-tag", new { experiment_id = experiment, key = "a" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("experiments/update", new { experiment_id = experiment, new_name = "f" })));
        Assert.Equal((400, "INVALID_PARAMETER_VALUE"), Error(await Post("logged-models", new { experiment_id = experiment })));
        Assert.Equal((400, "RESOURCE_ALREADY_EXISTS"), Error(await Post("experiments/create", new { name = "e" })));
        Assert.Equal(200, (await Post("experiments/restore", new { experiment_id = experiment })).Status);
        Assert.Equal(("active", "active"), (await Stage(kept), await Stage(deleted))); // MLflow restores all, also what was deleted before.
    }

    [Theory]
    [InlineData("""{"a":NaN}""", """{"a":"NaN"}""")]
    [InlineData("""[-Infinity,Infinity]""", """["-Infinity","Infinity"]""")]
    [InlineData("""{"a":"NaN \" NaN","b":NaN}""", """{"a":"NaN \" NaN","b":"NaN"}""")]
    [InlineData("""{"a":"NaN"}""", null)]
    [InlineData("""{"a":"\\"}""", null)]
    public void Bare_words_for_numbers_are_quoted_and_texts_left_alone(string json, string? expected) =>
        Assert.Equal(expected, BareNumbers.Quote(Encoding.UTF8.GetBytes(json)) is { } quoted ? Encoding.UTF8.GetString(quoted) : null);

    private async Task<string?> Stage(string run) => (await Get($"runs/get?run_id={run}")).Body.GetProperty("run").GetProperty("info").GetProperty("lifecycle_stage").GetString();

    private static string Repeat(string letter, int count) => string.Concat(Enumerable.Repeat(letter, count));

    private async Task<string> NewRun(string experiment = "0") =>
        (await Post("runs/create", new { experiment_id = experiment })).Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;

    private Task<(int Status, JsonElement Body)> Post(string path, object body) => _host.PostAsync($"{Api}/{path}", body);

    private Task<(int Status, JsonElement Body)> Get(string path) => _host.GetAsync($"{Api}/{path}");

    private static (int Status, string? Name) Error((int Status, JsonElement Body) answer)
    {
        Assert.True(answer.Body.GetProperty("message").GetString()!.Length > 0);
        return (answer.Status, answer.Body.GetProperty("error_code").GetString());
    }
}
