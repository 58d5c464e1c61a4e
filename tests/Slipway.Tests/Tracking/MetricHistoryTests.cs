using System.Net;
using System.Text.Json;
using FsCheck;
using FsCheck.Fluent;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class MetricHistoryTests : IAsyncLifetime
{
    private const string Api = "/ajax-api/2.0/mlflow";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task Curves_of_several_runs_come_at_once_by_run_and_time()
    {
        var runs = new[] { await NewRun(), await NewRun() }.Order(StringComparer.Ordinal).ToList();
        await Log(runs[1], (0, 5, 1.0), (1, 6, 2.0));
        await Log(runs[0], (0, 9, 3.0), (1, 7, 4.0)); // Step 1 was measured before step 0.

        var (_, all) = await Get($"metrics/get-history-bulk?run_id={runs[1]}&run_id={runs[0]}&run_id=nobody&metric_key=loss");
        var (_, first) = await Get($"metrics/get-history-bulk?run_id={runs[1]}&run_id={runs[0]}&metric_key=loss&max_results=3");

        Assert.Equal([(runs[0], 7L), (runs[0], 9L), (runs[1], 5L), (runs[1], 6L)], Points(all).Select(point => (point.Run, point.Time)));
        Assert.Equal([4.0, 3.0, 1.0], Points(first).Select(point => point.Value));
        Assert.Equal("""{"metrics":[]}""", JsonSerializer.Serialize((await Get($"metrics/get-history-bulk?run_id={runs[0]}&metric_key=none")).Body));
    }

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task Long_curves_are_shown_at_the_same_steps_with_the_ends_of_each()
    {
        var (a, b) = (await NewRun(), await NewRun());
        await Log(a, [.. Enumerable.Range(0, 1000).Select(step => ((long)step, 1000L + step, step / 10.0))]);
        await Log(b, [.. Enumerable.Range(333, 334).Select(step => ((long)step, 1000L + step, -step / 10.0))]);

        var (_, body) = await Get($"metrics/get-history-bulk-interval?run_ids={b}&run_ids={a}&metric_key=loss&max_results=10");
        var points = Points(body).ToList();

        long[] shared = [0, 100, 200, 300, 400, 500, 600, 700, 800, 900];
        Assert.Equal([333, 400, 500, 600, 666], points.Where(point => point.Run == b).Select(point => point.Step));
        Assert.Equal(shared.Append(999).Append(333).Append(666).Order(), points.Where(point => point.Run == a).Select(point => point.Step));
        Assert.Equal(b, points[0].Run);

        var (_, part) = await Get($"metrics/get-history-bulk-interval?run_ids={a}&run_ids={b}&metric_key=loss&max_results=5&start_step=100&end_step=199");
        Assert.Equal([(a, 100L), (a, 120L), (a, 140L), (a, 160L), (a, 180L), (a, 199L)], Points(part).Select(point => (point.Run, point.Step)));
        Assert.Equal("{}", JsonSerializer.Serialize((await Get($"metrics/get-history-bulk-interval?run_ids={a}&metric_key=none")).Body));
    }

    [Theory]
    [InlineData("metrics/get-history-bulk?metric_key=loss", 400, "run_id")]
    [InlineData("metrics/get-history-bulk?run_id=RUN", 400, "metric_key")]
    [InlineData("metrics/get-history-bulk?run_id=RUN&metric_key=loss&max_results=0", 400, "max_results")]
    [InlineData("metrics/get-history-bulk?run_id=RUN&metric_key=loss&max_results=x", 400, "max_results")]
    [InlineData("metrics/get-history-bulk-interval?metric_key=loss", 400, "run_ids")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=RUN", 400, "metric_key")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=RUN&metric_key=loss&max_results=2501", 400, "max_results")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=RUN&metric_key=loss&start_step=1", 400, "both")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=RUN&metric_key=loss&start_step=2&end_step=1", 400, "end_step")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=RUN&metric_key=loss&start_step=a&end_step=1", 400, "start_step")]
    [InlineData("metrics/get-history-bulk-interval?run_ids=nobody&metric_key=loss", 404, "nobody")]
    [InlineData("metrics/get-history?run_id=RUN&metric_key=loss&max_results=0", 400, "max_results")]
    [InlineData("metrics/get-history?run_id=nobody&metric_key=loss", 404, "nobody")]
    public async Task A_faulty_call_is_refused_by_name(string path, int status, string named)
    {
        var answer = await Get(path.Replace("RUN", await NewRun(), StringComparison.Ordinal));

        Assert.Equal(status, answer.Status);
        Assert.Contains(named, answer.Body.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task At_most_a_hundred_runs_are_compared()
    {
        var hundredAndOne = string.Join('&', Enumerable.Range(0, 101).Select(i => $"run_id={i}"));

        Assert.Equal(400, (await Get($"metrics/get-history-bulk?{hundredAndOne}&metric_key=loss")).Status);
        Assert.Equal(400, (await Get($"metrics/get-history-bulk-interval?{hundredAndOne.Replace("run_id", "run_ids", StringComparison.Ordinal)}&metric_key=loss")).Status);
    }

    [Fact]
    public void A_sample_holds_both_ends_and_no_more_than_asked_besides_the_ends_of_runs()
    {
        var cases = from steps in Gen.Choose(-50, 500).Select(step => (long)step).NonEmptyListOf().Select(list => list.Distinct().Order().ToList())
                    from max in Gen.Choose(1, 60)
                    from cut in Gen.Choose(0, 100)
                    select (steps, max, cut);
        Prop.ForAll(cases.ToArbitrary(), it =>
        {
            var (steps, max, cut) = it;
            var ends = new[] { (steps[0], steps[^1]), (steps[cut * (steps.Count - 1) / 100], steps[^1]) };
            var chosen = MetricSampling.Choose(steps, ends, steps[0], steps[^1], max);
            Assert.Equal(steps[0], chosen[0]);
            Assert.Equal(steps[^1], chosen[^1]);
            Assert.Equal(chosen.Distinct().Order(), chosen);
            Assert.Subset(steps.ToHashSet(), chosen.ToHashSet());
            Assert.Contains(ends[1].Item1, chosen);
            Assert.InRange(chosen.Count, Math.Min(max, steps.Count), Math.Min(max + 3, steps.Count));
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData("/api/2.0/mlflow")]
    [InlineData("/ajax-api/2.0/mlflow")]
    [InlineData("/api/2.0mlflow")]
    [InlineData("/ajax-api/2.0mlflow")]
    public async Task The_datasets_of_an_experiment_s_runs_are_listed_once_under_either_spelling(string prefix)
    {
        foreach (var run in new[] { await NewRun(), await NewRun() })
        {
            await Post("runs/log-inputs", new { run_id = run, datasets = new object[] { new { tags = new[] { new { key = "mlflow.data.context", value = "train" } }, dataset = new { name = "flights", digest = "abc", source_type = "local", source = "x" } }, new { dataset = new { name = "routes", digest = "def", source_type = "local", source = "x" } } } });
        }

        var (_, body) = await _host.PostAsync($"{prefix}/experiments/search-datasets", new { experiment_ids = new[] { "0", "99" } });

        Assert.Equal(
            """{"dataset_summaries":[{"experiment_id":"0","name":"flights","digest":"abc","context":"train"},{"experiment_id":"0","name":"routes","digest":"def"}]}""",
            JsonSerializer.Serialize(body));
        Assert.Equal(400, (await _host.PostAsync($"{prefix}/experiments/search-datasets", new { })).Status);
        Assert.Equal(400, (await _host.PostAsync($"{prefix}/experiments/search-datasets", new { experiment_ids = Enumerable.Range(0, 21).Select(i => $"{i}") })).Status);
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task The_web_page_s_upload_takes_ten_megabytes_and_no_more()
    {
        var run = await NewRun();
        using var stored = await _host.Client.PostAsync($"{Api}/upload-artifact?run_uuid={run}&path=prompts/one.json", new ByteArrayContent("{}"u8.ToArray()));
        using var large = await _host.Client.PostAsync($"{Api}/upload-artifact?run_uuid={run}&path=x", new ByteArrayContent(new byte[10 * 1024 * 1024 + 1]));
        using var empty = await _host.Client.PostAsync($"{Api}/upload-artifact?run_uuid={run}&path=x", new ByteArrayContent([]));
        using var outside = await _host.Client.PostAsync($"{Api}/upload-artifact?run_uuid={run}&path=../x", new ByteArrayContent([1]));

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.BadRequest, HttpStatusCode.BadRequest, HttpStatusCode.BadRequest), (stored.StatusCode, large.StatusCode, empty.StatusCode, outside.StatusCode));
        Assert.Equal("{}", await _host.Client.GetStringAsync($"/get-artifact?run_uuid={run}&path=prompts/one.json"));
        Assert.Equal("prompts/one.json", Assert.Single(_host.Service<ArtifactStore>().List(run)).Path);
    }

    [Fact]
    [Trait("capability", "TRK-18")]
    public async Task A_client_before_MLflow_3_notes_its_models_in_a_tag_of_the_run()
    {
        var run = await NewRun();
        const string Model = """{"run_id":"r","artifact_path":"model","utc_time_created":"2024-01-01","model_uuid":"u","signature":{"inputs":"…"},"flavors":{"sklearn":{"code":null,"config":{"secret":1}},"python_function":{}}}""";
        await Post("runs/log-model", new { run_id = run, model_json = Model });
        await Post("runs/log-model", new { run_id = run, model_json = Model.Replace("\"model\"", "\"second\"", StringComparison.Ordinal) });

        var history = JsonDocument.Parse(_host.Service<RunStore>().Get(run).Tags[RunModelHistory.Tag]).RootElement;

        Assert.Equal(
            """{"run_id":"r","artifact_path":"model","utc_time_created":"2024-01-01","model_uuid":"u","flavors":{"sklearn":{"code":null},"python_function":{}}}""",
            JsonSerializer.Serialize(history[0]));
        Assert.Equal("second", history[1].GetProperty("artifact_path").GetString());
        foreach (var bad in (string[])["", "x", "[]", "{}", """{"run_id":"r","artifact_path":"m","utc_time_created":"t","flavors":[]}"""])
        {
            var answer = await Post("runs/log-model", new { run_id = run, model_json = bad });
            Assert.Equal((400, "INVALID_PARAMETER_VALUE"), (answer.Status, answer.Body.GetProperty("error_code").GetString()));
        }
    }

    [Fact]
    public async Task A_tag_of_an_experiment_is_removed_once()
    {
        await Post("experiments/set-experiment-tag", new { experiment_id = "0", key = "team", value = "ops" });

        Assert.Equal(200, (await Post("experiments/delete-experiment-tag", new { experiment_id = "0", key = "team" })).Status);
        Assert.Equal(404, (await Post("experiments/delete-experiment-tag", new { experiment_id = "0", key = "team" })).Status);
        Assert.False((await Get("experiments/get?experiment_id=0")).Body.GetProperty("experiment").TryGetProperty("tags", out _));
    }

    private async Task Log(string run, params (long Step, long Time, double Value)[] points) => await Post(
        "runs/log-batch", new { run_id = run, metrics = points.Select(point => new { key = "loss", value = point.Value, timestamp = point.Time, step = point.Step }) });

    private static IEnumerable<(string Run, long Time, long Step, double Value)> Points(JsonElement body) => body.GetProperty("metrics").EnumerateArray().Select(point => (
        point.GetProperty("run_id").GetString()!, point.GetProperty("timestamp").GetInt64(), point.GetProperty("step").GetInt64(), point.GetProperty("value").GetDouble()));

    private async Task<string> NewRun() =>
        (await Post("runs/create", new { experiment_id = "0" })).Body.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()!;

    private Task<(int Status, JsonElement Body)> Post(string path, object body) => _host.PostAsync($"{Api}/{path}", body);

    private Task<(int Status, JsonElement Body)> Get(string path) => _host.GetAsync($"{Api}/{path}");
}
