using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Tracking;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class RunIntakeTests : IAsyncLifetime
{
    private const string Api = "/api/slipway/v1";
    private const string Id = "0123456789abcdef0123456789abcdef";

    private AreaHost _host = null!;

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "X-31")]
    public async Task A_run_put_twice_is_one_run_and_the_second_time_writes_nothing()
    {
        var run = new
        {
            experiment_name = "flights",
            name = "offline",
            user_id = "grace",
            status = "finished",
            start_time_ms = 1000,
            end_time_ms = 2000,
            parent_run_id = new string('a', 32),
            tags = new { team = "ops" },
            parameters = new { depth = "6" },
        };
        var (status, first) = await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", run);
        var before = Everything();
        var (_, second) = await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", run);

        Assert.Equal(200, status);
        Assert.True(first.GetProperty("created").GetBoolean());
        Assert.False(second.GetProperty("created").GetBoolean());
        Assert.Equal(before, Everything());
        var record = _host.Service<RunStore>().Get(Id);
        Assert.Equal(("offline", "grace", RunStatus.Finished, 1000L, 2000L), (record.Name, record.UserId, record.Status, record.StartTimeMs, record.EndTimeMs));
        Assert.Equal("6", record.Parameters["depth"]);
        Assert.Equal(new string('a', 32), record.Tags["mlflow.parentRunId"]);
        Assert.Equal("offline", record.Tags["mlflow.runName"]);
        Assert.Equal("flights", _host.Service<ExperimentStore>().Find(record.ExperimentId)!.Name);
    }

    [Fact]
    public async Task A_run_is_completed_by_what_is_given_and_keeps_the_rest()
    {
        await Put(new { experiment_id = "0", start_time_ms = 1000 });
        Assert.Equal("run-01234567", _host.Service<RunStore>().Get(Id).Name);

        await Put(new { name = "better", status = "FAILED", end_time_ms = 5000, tags = new { why = "disk" } });
        await Put(new { deleted = true });

        var record = _host.Service<RunStore>().Get(Id);
        Assert.Equal(("better", "ada", RunStatus.Failed, 1000L, 5000L, true), (record.Name, record.UserId, record.Status, record.StartTimeMs, record.EndTimeMs, record.Deleted));
        Assert.Equal("disk", record.Tags["why"]);
        // A run in the bin takes more too: an import that was interrupted goes on where it was.
        await Put(new { parameters = new { eta = "0.1" }, deleted = false });
        Assert.False(_host.Service<RunStore>().Get(Id).Deleted);
        Assert.Equal(
            ["run.created", "run.ended", "run.deleted", "run.restored"],
            _host.Service<AuditTrail>().List(new Slipway.Storage.NodeRef(Slipway.Storage.NodeKinds.Run, Id)).Select(entry => entry.Action).Reverse());
    }

    [Fact]
    [Trait("capability", "TRK-01")]
    public async Task A_parameter_with_another_value_is_refused_in_MLflow_s_words_and_nothing_is_written()
    {
        await Put(new { experiment_id = "0", parameters = new { depth = "6" } });

        var (status, error) = await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", new { name = "other", parameters = new { depth = "7", eta = "1" } });

        Assert.Equal(400, status);
        Assert.Contains("Changing param values is not allowed. Param with key='depth' was already logged with value='6'", error.GetProperty("message").GetString(), StringComparison.Ordinal);
        var record = _host.Service<RunStore>().Get(Id);
        Assert.Equal("run-01234567", record.Name);
        Assert.Equal(["depth"], record.Parameters.Keys);
    }

    [Fact]
    [Trait("capability", "TRK-02")]
    public async Task Metrics_come_in_streams_of_any_length_and_a_point_sent_twice_is_one()
    {
        await Put(new { experiment_id = "0" });
        var lines = new StringBuilder();
        for (var i = 0; i < 25_000; i++)
        {
            lines.Append(System.Globalization.CultureInfo.InvariantCulture, $$"""{"key":"loss","value":{{1.0 / (i + 1):R}},"timestamp":{{1000 + i}},"step":{{i}}}""").Append(i % 3 == 0 ? "\r\n" : "\n");
        }

        lines.Append("""{"points":[[0,1000,"NaN"],[1,1001,"Infinity"],[2,1002,-3e2]],"key":"odd"}""").Append("\n\n");

        Assert.Equal(25_003, await Post(lines.ToString()));
        Assert.Equal(25_003, await Post(lines.ToString()));

        var (_, counts) = await _host.GetAsync($"{Api}/runs/{Id}/metrics");
        Assert.Equal("""{"metrics":[{"key":"loss","points":25000},{"key":"odd","points":3}]}""", JsonSerializer.Serialize(counts));
        Assert.Equal([double.NaN, double.MaxValue, -300], _host.Service<RunStore>().MetricHistory(Id, "odd").Select(point => point.Value));
        Assert.Equal(24_999, _host.Service<RunStore>().Get(Id).Metrics.Single(metric => metric.Key == "loss").Step);
    }

    [Theory]
    [InlineData("""{"value":1,"timestamp":1}""", "lacks 'key'")]
    [InlineData("""{"key":"a","timestamp":1}""", "lacks 'value'")]
    [InlineData("""{"key":"a","value":1}""", "lacks 'timestamp'")]
    [InlineData("""{"key":"a","value":"much","timestamp":1}""", "'value' in line 2")]
    [InlineData("""{"key":"a","value":1,"timestamp":1.5}""", "'timestamp' in line 2")]
    [InlineData("""{"key":"a","value":1,"timestamp":-1}""", "not negative")]
    [InlineData("""{"key":"a","points":[[1,2]]}""", "line 2")]
    [InlineData("""{"key":"a","points":[1]}""", "'points' in line 2")]
    [InlineData("""{"key":"../a","value":1,"timestamp":1}""", "clean relative path")]
    [InlineData("""{"key":"a","value":1,"timestamp":1,"stop":2}""", "unknown field 'stop'")]
    [InlineData("""[1]""", "must be a JSON object")]
    [InlineData("""{"key":""", "Line 2 of the body is not valid JSON")]
    [InlineData("""{"key":"a","value":1,"timestamp":1} {}""", "Line 2 of the body is not valid JSON")]
    public async Task A_faulty_line_is_named(string line, string expected)
    {
        await Put(new { experiment_id = "0" });

        using var response = await Send($$"""{"key":"good","value":1,"timestamp":1}{{'\n'}}{{line}}""");

        Assert.Equal(System.Net.HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(expected, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0123", "{}", 400, "32 hexadecimal digits")]
    [InlineData(Id, "{}", 400, "needs its experiment")]
    [InlineData(Id, """{"experiment_id":"77"}""", 404, "No Experiment with id=77 exists.")]
    [InlineData(Id, """{"experiment_id":"0","start_time_ms":-1}""", 400, "'start_time_ms'")]
    [InlineData(Id, """{"experiment_id":"0","parent_run_id":"x"}""", 400, "'parent_run_id'")]
    [InlineData(Id, """{"experiment_id":"0","tags":{"a":null}}""", 400, "'tags.a'")]
    [InlineData(Id, """{"experiment_id":"0","parameters":{"a":"\u0000"}}""", 400, "'parameters.a'")]
    [InlineData(Id, """{"experiment_id":"0","parameters":{"a=b":"1"}}""", 400, "may hold only letters")]
    public async Task A_faulty_run_is_refused_and_nothing_is_written(string id, string body, int status, string expected)
    {
        var (given, error) = await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{id}", body);

        Assert.Equal(status, given);
        Assert.Contains(expected, error.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(0L, _host.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM runs")));
    }

    [Fact]
    public async Task A_run_stays_in_its_experiment()
    {
        await Put(new { experiment_name = "one" });

        Assert.Equal(409, (await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", new { experiment_id = "0" })).Status);
        // By name it is found again, also when the experiment has another name now.
        Assert.Equal(200, (await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", new { experiment_name = "renamed since" })).Status);
        Assert.Null(_host.Service<ExperimentStore>().FindByName("renamed since"));
    }

    [Fact]
    public async Task An_experiment_keeps_its_id_where_that_is_free()
    {
        var first = await PutExperiment(new { name = "kept", experiment_id = "41", created_at_ms = 1000, updated_at_ms = 2000, deleted = true, tags = new { team = "ops" } });
        var again = await PutExperiment(new { name = "kept", experiment_id = "41", created_at_ms = 1000, updated_at_ms = 2000, deleted = true, tags = new { team = "ops" } });
        var moved = await PutExperiment(new { name = "moved", experiment_id = "41" });
        var standard = await PutExperiment(new { name = "Default", experiment_id = "0" });

        Assert.Equal(("41", true), first);
        Assert.Equal(("41", false), again);
        Assert.Equal(("42", true), moved);
        Assert.Equal(("0", false), standard);
        var kept = _host.Service<ExperimentStore>().Find("41")!;
        Assert.Equal(("kept", true, 1000L, 2000L, "ops"), (kept.Name, kept.Deleted, kept.CreatedAtMs, kept.UpdatedAtMs, kept.Tags["team"]));
    }

    [Fact]
    [Trait("capability", "TRK-03")]
    public async Task Files_and_datasets_are_stored_and_a_file_comes_back_as_it_was()
    {
        await Put(new { experiment_id = "0" });
        var bytes = RandomNumberGenerator.GetBytes(100_000);
        using var content = new ByteArrayContent(bytes);
        using var stored = await _host.Client.PutAsync(new Uri($"{Api}/runs/{Id}/artifacts/plots/a%20b.png", UriKind.Relative), content, TestContext.Current.CancellationToken);
        await _host.PostAsync($"{Api}/runs/{Id}/inputs", new { inputs = new[] { new { name = "flights@1", digest = new string('b', 64), source = "s", context = "train", rows = 5 } } });

        var file = Assert.Single(_host.Service<RunStore>().Get(Id).Artifacts);
        Assert.Equal(new RunArtifact("plots/a b.png", Convert.ToHexStringLower(SHA256.HashData(bytes)), 100_000), file);
        Assert.Equal(bytes, await _host.Client.GetByteArrayAsync(new Uri($"/get-artifact?run_id={Id}&path=plots/a%20b.png", UriKind.Relative), TestContext.Current.CancellationToken));
        Assert.Equal((5L, "train"), (Assert.Single(_host.Service<RunStore>().Get(Id).Inputs).Rows!.Value, _host.Service<RunStore>().Get(Id).Inputs[0].Context));
        using var empty = new ByteArrayContent([]);
        using var escape = await _host.Client.PutAsync(new Uri($"{Api}/runs/{Id}/artifacts/%2e%2e%2fx", UriKind.Relative), empty, TestContext.Current.CancellationToken);
        Assert.Equal(System.Net.HttpStatusCode.BadRequest, escape.StatusCode);
        Assert.Equal(400, (await _host.PostAsync($"{Api}/runs/{Id}/inputs", new { })).Status);
    }

    [Fact]
    public async Task The_client_streams_points_files_and_records_and_reads_them_back()
    {
        var ct = TestContext.Current.CancellationToken;
        using var client = new Slipway.Client.SlipwayClient(_host.Client.BaseAddress!);
        var experiment = await client.PutExperimentAsync(new PutExperiment { Name = "flights" }, ct);
        Assert.True((await client.PutRunAsync(Id, new PutRun { ExperimentId = experiment.ExperimentId, Status = RunStatus.Finished }, ct)).Created);
        // Lines hold neighbours of one metric: these change metric often and seldom.
        var points = Enumerable.Range(0, 9000).Select(i => new MetricPoint(i < 4500 ? "long" : $"m{i % 3}", i == 7 ? double.NaN : i / 7.0, 1000 + i, i - 10)).ToList();

        Assert.Equal(9000, await client.AddMetricsAsync(Id, points, ct));
        Assert.Equal(0, await client.AddMetricsAsync(Id, [], ct));
        await client.AddInputsAsync(Id, [new RunInput("flights@1", new string('b', 64), "s")], ct);
        await client.PutArtifactAsync(Id, "a b/c#d.txt", new MemoryStream([1, 2, 3]), null, ct);

        Assert.Equal(points.Where(point => point.Key == "m1"), _host.Service<RunStore>().MetricHistory(Id, "m1"));
        Assert.Equal([("long", 4500L), ("m0", 1500L), ("m1", 1500L), ("m2", 1500L)], (await client.CountMetricsAsync(Id, ct)).Select(count => (count.Key, count.Points)));
        var run = await client.GetRunAsync(Id, ct);
        Assert.Equal("a b/c#d.txt", Assert.Single(run.Artifacts).Path);
        Assert.Equal("flights@1", Assert.Single(run.Inputs).Name);
        var error = await Assert.ThrowsAsync<Slipway.Contracts.SlipwayException>(() => client.AddMetricsAsync(new string('f', 32), [], ct));
        Assert.Equal(Slipway.Contracts.ErrorCode.NotFound, error.Code);
    }

    private string Everything() => _host.Read(connection => JsonSerializer.Serialize(new
    {
        runs = connection.Query<string>("SELECT run_id || name || status || start_at_ms || coalesce(end_at_ms, -1) FROM runs").AsList(),
        tags = connection.Query<string>("SELECT key || '=' || value FROM tags").AsList(),
        experiments = connection.Query<string>("SELECT name || updated_at_ms FROM experiments").AsList(),
        audit = connection.ExecuteScalar<long>("SELECT count(*) FROM audit_events"),
    }));

    private async Task Put(object run) => Assert.Equal(200, (await _host.SendAsync(HttpMethod.Put, $"{Api}/runs/{Id}", run)).Status);

    private async Task<(string Id, bool Created)> PutExperiment(object body)
    {
        var (status, answer) = await _host.SendAsync(HttpMethod.Put, $"{Api}/experiments", body);
        Assert.Equal(200, status);
        return (answer.GetProperty("experiment_id").GetString()!, answer.GetProperty("created").GetBoolean());
    }

    private async Task<long> Post(string lines)
    {
        using var response = await Send(lines);
        Assert.Equal(System.Net.HttpStatusCode.OK, response.StatusCode);
        return JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement.GetProperty("points").GetInt64();
    }

    private Task<HttpResponseMessage> Send(string lines) =>
        _host.Client.PostAsync(new Uri($"{Api}/runs/{Id}/metrics", UriKind.Relative), new StringContent(lines, Encoding.UTF8, "application/x-ndjson"), TestContext.Current.CancellationToken);
}
