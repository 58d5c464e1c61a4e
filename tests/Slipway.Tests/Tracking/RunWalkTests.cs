using Dapper;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;
using Slipway.Tracking.Search;

namespace Slipway.Tests.Tracking;

/// <summary>Large experiments are read along an index of values. What comes must be what sorting all runs gives.</summary>
public sealed class RunWalkTests : IAsyncDisposable
{
    private static readonly Caller Ada = TestStores.Caller;

    private readonly TestStores _stores = new(services => services.AddSlipwayTracking());

    private RunStore Runs => _stores.Get<RunStore>();

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Fact, Trait("capability", "TRK-14")]
    public async Task Walking_an_index_gives_the_pages_that_sorting_gives()
    {
        var random = new Random(7);
        var other = await Runs.GetOrCreateExperimentAsync("other", Ada, default);
        for (var i = 0; i < 70; i++)
        {
            await AddAsync(i % 6 == 0 ? other : "0", i, random);
        }

        string[] keys = ["metrics.auc", "metrics.loss", "metrics.never", "params.depth", "tags.team", "attributes.end_time"];
        string[] filters = ["", "params.depth != '3'", "metrics.auc > 0.2", "metrics.auc <= 0.4 AND tags.team LIKE '%a%'", "metrics.auc != 0.2", "attributes.status = 'FINISHED'"];
        foreach (var (key, filter) in from key in keys from filter in filters select (key, filter))
        {
            foreach (var order in (string[][])[[$"{key} DESC"], [key], [$"{key} DESC", "metrics.loss", "attributes.run_name DESC"]])
            {
                foreach (var view in Enum.GetValues<LifecycleView>())
                {
                    var sorted = Pages(new RunSearch(["0"], filter, order, 100, null, view), walkFrom: int.MaxValue);
                    foreach (var pageSize in (int[])[1, 4, 100])
                    {
                        var walked = Pages(new RunSearch(["0"], filter, order, pageSize, null, view), walkFrom: 1);
                        Assert.True(sorted.SequenceEqual(walked), $"{string.Join(", ", order)}, '{filter}', {view}, {pageSize} to a page: {string.Join(' ', walked)} instead of {string.Join(' ', sorted)}");
                    }
                }
            }
        }

        Assert.Equal(
            Pages(new RunSearch(["0", other], "", ["metrics.auc DESC"], 100), walkFrom: int.MaxValue),
            Pages(new RunSearch(["0", other], "", ["metrics.auc DESC"], 7), walkFrom: 1));
    }

    [Fact]
    public async Task A_run_that_logged_long_ago_rests_and_moves_again_when_it_logs()
    {
        List<string> runs = [];
        for (var i = 0; i < MovingRuns.Max + 20; i++)
        {
            var run = await Runs.CreateRunAsync("0", $"r{i}", null, Ada, default);
            await Runs.LogBatchAsync(run.RunId, [new MetricPoint("auc", i, 1, 0)], [], [], Ada, default);
            runs.Add(run.RunId);
        }

        Assert.Equal((MovingRuns.Max, MovingRuns.Max, 20), Moving());
        Assert.Equal(runs[0], Assert.Single(Runs.Search(new RunSearch(["0"], "metrics.auc < 1")).Items).RunId);

        // From the index to the moving ones, with a value on the other side of the bound.
        await Runs.LogBatchAsync(runs[0], [new MetricPoint("auc", 5000, 2, 1)], [], [], Ada, default);
        Assert.Empty(Runs.Search(new RunSearch(["0"], "metrics.auc < 1")).Items);
        Assert.Equal(runs[0], Assert.Single(Runs.Search(new RunSearch(["0"], "metrics.auc > 4000")).Items).RunId);
        Assert.Equal((MovingRuns.Max, MovingRuns.Max, 20), Moving());

        // An older point changes neither the newest value nor where it is kept.
        await Runs.LogBatchAsync(runs[2], [new MetricPoint("auc", -1, 1, -1)], [], [], Ada, default);
        Assert.Empty(Runs.Search(new RunSearch(["0"], "metrics.auc < 1")).Items);
        Assert.Equal(runs[2], Assert.Single(Runs.Search(new RunSearch(["0"], "metrics.auc = 2")).Items).RunId);

        await Runs.EndRunAsync(runs[0], RunStatus.Finished, Ada, default);
        Assert.Equal(runs[0], Assert.Single(Runs.Search(new RunSearch(["0"], "metrics.auc > 4000")).Items).RunId);
        Assert.Equal(0, _stores.Database.Read(connection => connection.ExecuteScalar<long>(
            "SELECT count(*) FROM latest_metrics m JOIN runs r ON r.id = m.run WHERE r.run_id = @run AND m.is_resting = 0", new { run = runs[0] })));
    }

    private (long Runs, long Moving, long Resting) Moving() => _stores.Database.Read(connection => (
        connection.ExecuteScalar<long>("SELECT count(*) FROM moving_runs"),
        connection.ExecuteScalar<long>("SELECT count(*) FROM latest_metrics WHERE is_resting = 0"),
        connection.ExecuteScalar<long>("SELECT count(*) FROM latest_metrics WHERE is_resting = 1")));

    private List<long> Pages(RunSearch search, int walkFrom)
    {
        List<long> all = [];
        var dialect = _stores.Database.Dialect;
        do
        {
            var page = search;
            var (runs, next) = _stores.Database.Read(connection => new RunQuery(page, dialect) { WalkFrom = walkFrom, FewRuns = 0 }.Read(connection));
            all.AddRange(runs);
            search = search with { PageToken = next };
        }
        while (search.PageToken is not null);

        return all;
    }

    // Few different values, so that most of them are shared; long ones that differ only past what the index keeps.
    private async Task AddAsync(string experiment, int number, Random random)
    {
        string Text() => random.Next(4) == 0 ? new string('a', 250) + random.Next(3) : "áb😀a"[..random.Next(1, 4)].Trim('\ud83d');
        var tags = random.Next(3) == 0 ? null : new Dictionary<string, string> { ["team"] = Text() };
        var run = await Runs.CreateRunAsync(experiment, $"r{random.Next(5)}", tags, Ada, default, DateTimeOffset.FromUnixTimeMilliseconds(random.Next(5)));
        List<MetricPoint> metrics = [];
        foreach (var key in (string[])["auc", "loss"])
        {
            if (random.Next(4) > 0)
            {
                metrics.Add(new MetricPoint(key, random.Next(6) switch { 0 => double.NaN, 1 => double.PositiveInfinity, var n => n / 10.0 }, 1, 0));
            }
        }

        await Runs.LogBatchAsync(run.RunId, metrics, random.Next(3) == 0 ? [] : [new("depth", random.Next(2) == 0 ? "3" : Text())], [], Ada, default);
        if (random.Next(3) > 0)
        {
            await Runs.UpdateAsync(run.RunId, RunStatus.Finished, random.Next(4), null, Ada, default);
            if (random.Next(3) == 0)
            {
                await Runs.LogBatchAsync(run.RunId, [new MetricPoint("auc", 0.3, 2, 1)], [], [], Ada, default);
            }
        }

        if (number % 7 == 0)
        {
            await Runs.SetDeletedAsync(run.RunId, true, Ada, default);
        }
    }
}
