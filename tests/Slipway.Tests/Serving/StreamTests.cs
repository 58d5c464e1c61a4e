using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Serving;
using Slipway.Serving.Predictions;
using Slipway.Serving.Streams;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Storage.Redis;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Serving;

/// <summary>Events of Redis streams that models score, on a real Redis.</summary>
public sealed class StreamTests : IAsyncLifetime
{
    private TestRedis _redis = null!;
    private ServingHost _host = null!;
    private RedisConnection _connection = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _redis = await TestRedis.StartAsync();
        _connection = await _redis.OpenAsync();
        _host = await ServingHost.StartAsync(serving => serving.Redis = _redis.Address);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _connection.DisposeAsync();
        await _redis.DisposeAsync();
    }

    [Fact, Trait("capability", "SRV-03")]
    public async Task Events_are_answered_as_requests_and_wrong_ones_are_set_aside()
    {
        _host.Router.SetStable(_host.Area.Service<ModelLoader>().Load(await _host.RegisterAsync()));
        await AddAsync("flights", "request", JsonSerializer.Serialize(new { id = "flight-00000001", inputs = new[] { new { name = "features", shape = new[] { 2, 2 }, datatype = "FP32", data = new[] { 0f, 8, 1000, 8 } } } }));
        var named = await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        var wrong = await AddAsync("flights", "flight:distance", "far, \"very\" far", "calendar:hour", "17");
        var unknown = await AddAsync("flights", "colour", "red");
        await ApplyAsync("input: flights\noutput: scores");

        var answers = await ReadAsync("scores", 2);
        var dead = await ReadAsync("flights:dead", 2);

        Assert.Equal("flight-00000001", answers[0]["prediction_id"]);
        var response = JsonDocument.Parse(answers[0]["response"]).RootElement;
        Assert.Equal([0.5, 0.731], response.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(value => Math.Round(value.GetDouble(), 3)));
        Assert.Equal((named, $"late-{named}", "1.0.0", "stable"), (answers[1]["source"], answers[1]["prediction_id"], answers[1]["version"], answers[1]["arm"]));
        Assert.Equal((wrong, "far, \"very\" far"), (dead[0]["source"], dead[0]["flight:distance"]));
        Assert.Contains("'flight:distance'", dead[0]["error"], StringComparison.Ordinal);
        Assert.Contains("'colour' is not an input", dead[1]["error"], StringComparison.Ordinal);
        Assert.Equal(unknown, dead[1]["source"]);
        await UntilAsync(async () => (await ReportAsync()) is var report && report.GetProperty("pending").GetInt32() == 0 && report.GetProperty("lag").GetInt32() == 0);
        var state = await ReportAsync();
        Assert.Equal(("running", 2, 2), (state.GetProperty("state").GetString(), state.GetProperty("scored").GetInt32(), state.GetProperty("dead_lettered").GetInt32()));
        Assert.Equal(2, _host.Router.Find(ServingHost.Model)!.Stable!.Model.Statistics.Snapshot().Requests);
        await _host.Area.Service<PredictionLog>().FlushAsync(Cancel);
        Assert.Equal(3, _host.Area.Service<PredictionLog>().Written);
    }

    [Fact]
    public async Task What_the_model_fails_on_comes_again_and_is_set_aside_in_the_end()
    {
        var failing = 2;
        var model = new LoadedModel(ServingHost.Model, "1.0.0", ServingFixtures.TwoFeatures, (features, rows, outputs) =>
        {
            if (features[0] < 0 || Interlocked.Decrement(ref failing) >= 0)
            {
                throw new InvalidOperationException("not now");
            }

            outputs[..rows].Fill(0.25f);
        });
        _host.Router.SetStable(model);
        await ApplyAsync("input: flights\noutput: scores\nretry: 1s\nmax_deliveries: 4\nbatch: 1");
        var late = await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        var hopeless = await AddAsync("flights", "flight:distance", "-1", "calendar:hour", "17");

        Assert.Equal(late, Assert.Single(await ReadAsync("scores", 1))["source"]);
        var dead = Assert.Single(await ReadAsync("flights:dead", 1));

        Assert.Equal((hopeless, "4"), (dead["source"], dead["deliveries"]));
        Assert.Contains("failed on this request", dead["error"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_another_server_read_and_never_answered_is_taken_up()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        var ids = new List<string>();
        for (var i = 0; i < 150; i++)
        {
            ids.Add(await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17"));
        }

        await _connection.CallAsync(Cancel, "XGROUP", "CREATE", "flights", "slipway", "0");
        await _connection.CallAsync(Cancel, "XREADGROUP", "GROUP", "slipway", "gone", "COUNT", 100, "STREAMS", "flights", ">");
        await _connection.CallAsync(Cancel, "XDEL", "flights", ids[3]); // Deleted while it was pending: there is nothing to score.
        await ApplyAsync("input: flights\noutput: scores\nretry: 1s");

        var answers = await ReadAsync("scores", 149);

        Assert.Equal(ids.Where((_, i) => i != 3).ToHashSet(), answers.Select(answer => answer["source"]).ToHashSet());
        await UntilAsync(async () => (await ReportAsync()).GetProperty("pending").GetInt32() == 0);
        Assert.InRange((await ReportAsync()).GetProperty("retried").GetInt32(), 99, 100);
    }

    [Fact]
    public async Task An_event_whose_answer_cannot_be_added_is_not_acknowledged()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        await ApplyAsync("input: flights\noutput: scores\nretry: 1s");
        await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        await ReadAsync("scores", 1);

        // Somebody makes another thing of the output while the worker is connected.
        await _connection.SendAsync([["MULTI"], ["DEL", "scores"], ["SET", "scores", "not a stream"], ["EXEC"]], Cancel);
        var late = await AddAsync("flights", "flight:distance", "2000", "calendar:hour", "17");
        await UntilAsync(async () => (await ReportAsync()).GetProperty("last_error").GetString()?.Contains("'scores' is a string", StringComparison.Ordinal) is true);
        Assert.Equal(1, (await ReportAsync()).GetProperty("pending").GetInt32());
        await _connection.CallAsync(Cancel, "DEL", "scores");

        Assert.Equal(late, Assert.Single(await ReadAsync("scores", 1))["source"]);
        await UntilAsync(async () => (await ReportAsync()).GetProperty("pending").GetInt32() == 0);
    }

    [Fact]
    public async Task An_event_of_thousands_of_fields_is_set_aside_with_the_first_of_them()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        await ApplyAsync("input: flights\noutput: scores");
        var wide = await AddAsync("flights", [.. Enumerable.Range(0, 9000).SelectMany(i => new[] { $"f{i}", "1" })]);

        var dead = Assert.Single(await ReadAsync("flights:dead", 1));

        Assert.Equal((wide, "8000", "1"), (dead["source"], dead["left_out"], dead["f999"]));
        Assert.False(dead.ContainsKey("f1000"));
    }

    [Fact]
    public async Task A_Redis_that_goes_away_is_waited_for()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        await ApplyAsync("input: flights\noutput: scores");
        await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        await ReadAsync("scores", 1);

        await _redis.KillAsync();
        await UntilAsync(async () => (await ReportAsync()).GetProperty("state").GetString() == "waiting");
        Assert.NotNull((await ReportAsync()).GetProperty("last_error").GetString());
        await _redis.StartAgainAsync();

        await _connection.DisposeAsync();
        _connection = await _redis.OpenAsync();
        var again = await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        Assert.Equal(again, (await ReadAsync("scores", 1))[0]["source"]);
        await UntilAsync(async () => (await ReportAsync()).GetProperty("state").GetString() == "running");
    }

    [Fact]
    public async Task A_paused_stream_is_not_read_until_it_is_resumed()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        await ApplyAsync("input: flights\noutput: scores");
        await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        await ReadAsync("scores", 1);

        Assert.Equal(400, (await _host.Area.PostAsync("/api/slipway/v1/streams/late/pause", new { reason = " " })).Status);
        Assert.Equal(404, (await _host.Area.PostAsync("/api/slipway/v1/streams/early/pause", new { reason = "maintenance" })).Status);
        var (_, paused) = await _host.Area.PostAsync("/api/slipway/v1/streams/late/pause", new { reason = "maintenance" });
        Assert.Equal(("paused", "maintenance"), (paused.GetProperty("state").GetString(), paused.GetProperty("pause_reason").GetString()));
        // Once its worker has closed its connection, which asked for more.
        await UntilAsync(async () => !(await _connection.CallAsync(Cancel, "CLIENT", "LIST")).Text.Contains("cmd=xreadgroup", StringComparison.Ordinal));
        await AddAsync("flights", "flight:distance", "1000", "calendar:hour", "17");
        await Task.Delay(500, Cancel);
        Assert.Single(await ReadAsync("scores", 1));

        await _host.Area.PostAsync("/api/slipway/v1/streams/late/resume", new { reason = "done" });
        Assert.Equal(2, (await ReadAsync("scores", 2)).Count);
        Assert.Equal(["stream.paused", "stream.resumed"], _host.Area.Read(connection => connection.Query<string>("SELECT action FROM audit_events WHERE action LIKE 'stream.%' ORDER BY seq").AsList()));
    }

    [Fact]
    public async Task The_output_keeps_about_as_many_answers_as_it_is_told()
    {
        _host.Router.SetStable(ServingFixtures.Model("1.0.0", model: ServingHost.Model));
        await ApplyAsync("input: flights\noutput: scores\nkeep_output: 100");
        for (var i = 0; i < 1000; i += 50)
        {
            await _connection.SendAsync([.. Enumerable.Range(0, 50).Select(_ => new object[] { "XADD", "flights", "*", "flight:distance", "1", "calendar:hour", "2" })], Cancel);
        }

        await UntilAsync(async () => (await ReportAsync()).GetProperty("scored").GetInt32() == 1000);
        Assert.InRange((await _connection.CallAsync(Cancel, "XLEN", "scores")).Integer!.Value, 100, 300);
    }

    [Theory]
    [InlineData("input: a", "'output' is missing")]
    [InlineData("input: a\noutput: a", "'output' must be another stream")]
    [InlineData("input: a\noutput: b\ndead_letter: b", "'dead_letter' must be another stream")]
    [InlineData("input: a\noutput: b\nretry: 10ms", "'retry'")]
    [InlineData("input: a\noutput: b\nbatch: 0", "'batch'")]
    [InlineData("input: a\noutput: b\nhost: c", "'host'")]
    [InlineData("input: \"\"\noutput: b", "line 4: 'input' must not be empty.")]
    [InlineData("input: a\noutput: \" \"", "line 5: 'output' must not be empty.")]
    [InlineData("input: \"\"\noutput: \"\"", "line 4: 'input' must not be empty; line 5: 'output' must not be empty.")]
    [InlineData("input: a\noutput: b\ngroup: ''", "'group' must not be empty.")]
    [InlineData("input: a\noutput: b\ndead_letter: ''", "'dead_letter' must not be empty.")]
    public void What_cannot_be_meant_is_refused_by_its_field(string yaml, string sentence)
    {
        var fault = Assert.Throws<SlipwayException>(() => StreamSpec.Parse(DefinitionYaml.Parse($"kind: stream\nname: late\nmodel: m\n{yaml}\n")));
        Assert.Contains(sentence, fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_streams_do_not_share_the_events_of_one_group()
    {
        await ApplyAsync("input: flights\noutput: scores");

        var fault = await Assert.ThrowsAsync<SlipwayException>(() => ApplyAsync("input: flights\noutput: others", name: "early"));
        Assert.Equal(ErrorCode.FailedPrecondition, fault.Code);
        Assert.Contains("The stream 'late' reads 'flights' in the group 'slipway' already", fault.Message, StringComparison.Ordinal);
        Assert.Equal(["late"], _host.Area.Service<StreamStore>().Specs().Select(stream => stream.Name));

        await ApplyAsync("input: flights\noutput: others\ngroup: early", name: "early");
        await ApplyAsync("input: flights\noutput: scores\nbatch: 8"); // Itself again.
        Assert.Equal(2, _host.Area.Service<StreamStore>().Specs().Count);
    }

    private async Task ApplyAsync(string yaml, string name = "late") => await _host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "stream")
        .ApplyAsync($"kind: stream\nname: {name}\nmodel: {ServingHost.Model}\n{yaml}\n", Caller.System("test"), Cancel);

    private async Task<string> AddAsync(string stream, params string[] fields) => (await _connection.CallAsync(Cancel, ["XADD", stream, "*", .. fields])).Text;

    private async Task<JsonElement> ReportAsync() => (await _host.Area.GetAsync("/api/slipway/v1/streams/late")).Body;

    /// <summary>All entries, once there are as many.</summary>
    private async Task<List<Dictionary<string, string>>> ReadAsync(string stream, int count)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(TimeSpan.FromMinutes(5));
        while (true)
        {
            var entries = (await _connection.CallAsync(limit.Token, "XRANGE", stream, "-", "+")).Items!;
            if (entries.Count >= count)
            {
                return [.. entries.Select(entry => entry.Items![1].Items!.Chunk(2).ToDictionary(pair => pair[0].Text, pair => pair[1].Text))];
            }

            await Task.Delay(25, limit.Token);
        }
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        while (!await condition())
        {
            await Task.Delay(50, limit.Token);
        }
    }
}
