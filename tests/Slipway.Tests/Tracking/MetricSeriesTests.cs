using System.Text.Json;
using Dapper;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Web.Http;

namespace Slipway.Tests.Tracking;

public sealed class MetricSeriesTests : IAsyncLifetime
{
    private const string Path = "/api/slipway/v1/metric-series";

    private AreaHost _host = null!;

    private RunStore Runs => _host.Service<RunStore>();

    public async ValueTask InitializeAsync() =>
        _host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapMetricSeries());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact, Trait("capability", "TRK-02")]
    public async Task A_short_curve_comes_whole_with_a_gap_for_what_is_no_number()
    {
        var run = await RunAsync("a", new("loss", 0.5, 1000, 0), new("loss", double.NaN, 1500, 1), new("loss", double.PositiveInfinity, 1600, 2), new("loss", 0.25, 2000, 3));

        var curve = (await CurvesAsync($"?run_id={run}&key=loss")).Single();

        Assert.Equal(("a", "loss", 4, 2), (curve.GetProperty("run_name").GetString(), curve.GetProperty("key").GetString(), curve.GetProperty("count").GetInt32(), curve.GetProperty("gaps").GetInt32()));
        Assert.Equal("[0,1,2,3]", curve.GetProperty("x").GetRawText());
        Assert.Equal("[0.5,null,null,0.25]", curve.GetProperty("y").GetRawText());
        Assert.Equal("[1000,1500,1600,2000]", (await CurvesAsync($"?run_id={run}&key=loss&x=time")).Single().GetProperty("x").GetRawText());
    }

    [Fact]
    public async Task A_long_curve_keeps_its_ends_and_its_spike_and_a_narrower_range_shows_more_of_it()
    {
        var run = (await Runs.CreateRunAsync("0", "long", null, TestStores.Caller, default)).RunId;
        await _host.Service<Database>().WriteAsync(
            transaction => transaction.Connection.Execute(
                """
                WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999)
                INSERT INTO metric_points (run, key, step, at_ms, value, is_nan)
                SELECT r.id, 'loss', i, 1000 + i, CASE WHEN i = 123456 THEN 50.0 ELSE 1.0 / (1 + i) END, 0 FROM n JOIN runs r ON r.run_id = @run
                """,
                new { run }),
            default);

        var curve = (await CurvesAsync($"?run_id={run}&key=loss&points=400")).Single();
        var narrow = (await CurvesAsync($"?run_id={run}&key=loss&points=400&from=123400&to=123499")).Single();

        var steps = curve.GetProperty("x").EnumerateArray().Select(x => x.GetInt64()).ToList();
        Assert.Equal(200_000, curve.GetProperty("count").GetInt32());
        Assert.InRange(steps.Count, 200, 400);
        Assert.Equal((0L, 199_999L), (steps[0], steps[^1]));
        Assert.Equal(50, curve.GetProperty("y")[steps.IndexOf(123_456)].GetDouble());
        Assert.Equal((100, 123_400L, 123_499L), (narrow.GetProperty("x").GetArrayLength(), narrow.GetProperty("x")[0].GetInt64(), narrow.GetProperty("x")[99].GetInt64()));
    }

    [Fact]
    public async Task Curves_come_for_every_run_and_metric_that_has_points()
    {
        var a = await RunAsync("a", new("loss", 1, 1, 0), new("auc", 2, 1, 0));
        var b = await RunAsync("b", new MetricPoint("loss", 3, 1, 0));

        var curves = await CurvesAsync($"?run_id={a}&run_id={b}&key=loss&key=auc&key=never");

        Assert.Equal([(a, "loss"), (a, "auc"), (b, "loss")], curves.Select(curve => (curve.GetProperty("run_id").GetString()!, curve.GetProperty("key").GetString()!)));
        Assert.Equal(0, (await CurvesAsync($"?run_id={a}&key=loss&from=5")).Single().GetProperty("count").GetInt32());
    }

    [Theory]
    [InlineData("?key=loss", 400, "run_id")]
    [InlineData("?run_id=RUN", 400, "key")]
    [InlineData("?run_id=RUN&key=loss&x=steps", 400, "must be step or time")]
    [InlineData("?run_id=RUN&key=loss&points=3", 400, "from 4 to 10000")]
    [InlineData("?run_id=RUN&key=loss&from=2&to=1", 400, "must not be over")]
    [InlineData("?run_id=none&key=loss", 404, "none")]
    public async Task What_cannot_be_read_is_named(string query, int status, string named)
    {
        var run = await RunAsync("a", new MetricPoint("loss", 1, 1, 0));
        var (answered, body) = await _host.SendAsync(HttpMethod.Get, Path + query.Replace("RUN", run, StringComparison.Ordinal));
        Assert.Equal(status, answered);
        Assert.Contains(named, body.GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task More_than_a_hundred_series_are_refused()
    {
        var keys = string.Concat(Enumerable.Range(0, 101).Select(i => $"&key=m{i}"));
        var (status, body) = await _host.SendAsync(HttpMethod.Get, $"{Path}?run_id=a{keys}");
        Assert.Equal(400, status);
        Assert.Contains("101", body.GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sparkline_has_evenly_spread_values_of_each_run_that_has_a_curve()
    {
        var a = await RunAsync("a", [.. Enumerable.Range(0, 101).Select(i => new MetricPoint("loss", i, i, i))]);
        var b = await RunAsync("b", new MetricPoint("loss", 1, 1, 0));

        var sparks = _host.Service<MetricSeries>().Sparklines([a, b], "loss", 5);

        Assert.Equal([a], sparks.Keys);
        Assert.Equal([0, 25, 50, 75, 100], sparks[a]);
        Assert.Empty(_host.Service<MetricSeries>().Sparklines([], "loss", 5));
    }

    private async Task<string> RunAsync(string name, params MetricPoint[] points)
    {
        var run = (await Runs.CreateRunAsync("0", name, null, TestStores.Caller, default)).RunId;
        await Runs.LogBatchAsync(run, points, [], [], TestStores.Caller, default);
        return run;
    }

    private async Task<List<JsonElement>> CurvesAsync(string query)
    {
        var (status, body) = await _host.SendAsync(HttpMethod.Get, Path + query);
        Assert.True(status == 200, body.ToString());
        return [.. body.GetProperty("series").EnumerateArray()];
    }
}
