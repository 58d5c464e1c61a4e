using Slipway.Contracts;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class RunTableTests : IAsyncDisposable
{
    private static readonly RunColumn Auc = new(RunColumnKind.Metric, "auc");
    private static readonly RunColumn Depth = new(RunColumnKind.Parameter, "depth");
    private static readonly RunColumn Team = new(RunColumnKind.Tag, "team");

    private readonly TestStores _stores = new(services => services.AddSlipwayTracking());

    private RunStore Runs => _stores.Get<RunStore>();

    private RunTable Table => _stores.Get<RunTable>();

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Fact]
    public void Without_runs_every_reading_is_empty()
    {
        var query = new RunTableQuery(["0"], "metrics.auc > 1");
        Assert.Empty(Table.Page(query, [Auc, Depth], 10, null).Items);
        Assert.Equal(0, Table.Count(query));
        Assert.Empty(Table.Groups(query, Depth, ["auc"]));
        Assert.Empty(Table.KnownColumns(["0"]));
        Assert.Empty(Table.Children("none", [Auc], 10));
        Assert.Empty(Table.Page(new RunTableQuery([]), [], 10, null).Items);
        var activity = _stores.Get<ExperimentOverview>().Of(["0"], [])["0"];
        Assert.Equal((0L, null, null), (activity.Runs, activity.LastStartMs, activity.Metric));
    }

    [Fact, Trait("capability", "X-27")]
    public async Task Rows_hold_the_chosen_columns_only_and_pages_follow_each_other()
    {
        for (var i = 0; i < 5; i++)
        {
            await RunAsync($"r{i}", i / 10.0, $"{i % 2}", start: i);
        }

        var query = new RunTableQuery(["0"], OrderBy: ["metrics.auc DESC"]);
        var first = Table.Page(query, [Auc, Team], 3, null);
        var second = Table.Page(query, [Auc, Team], 3, first.NextCursor);

        Assert.Equal(["r4", "r3", "r2", "r1", "r0"], first.Items.Concat(second.Items).Select(row => row.Name));
        Assert.Null(second.NextCursor);
        Assert.Equal(("0.4", "ops", null), (first.Items[0].Text(Auc), first.Items[0].Text(Team), first.Items[0].Text(Depth)));
        Assert.Equal(5, Table.Count(query));
        Assert.Equal(2, Table.Count(query with { Filter = "params.depth = '1'" }));
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => Table.Page(query with { Filter = "metrics.auc > 0" }, [], 3, first.NextCursor)).Code);
    }

    [Fact]
    public async Task Groups_hold_counts_means_and_ends_and_leave_out_what_is_no_number()
    {
        await RunAsync("a", 0.5, "6");
        await RunAsync("b", 0.7, "6");
        await RunAsync("c", double.NaN, "6");
        await RunAsync("d", 0.9, "12");
        await Runs.CreateRunAsync("0", "none", null, TestStores.Caller, default);

        var groups = Table.Groups(new RunTableQuery(["0"]), Depth, ["auc", "never"]);

        Assert.Equal([("6", 3L), (null, 1L), ("12", 1L)], groups.Select(group => (group.Value, group.Runs)).OrderByDescending(group => group.Runs).ThenBy(group => group.Item1));
        var six = groups.Single(group => group.Value == "6");
        Assert.Equal(new RunGroupMetric(0.6, 0.5, 0.7), six.Metrics["auc"]);
        Assert.Equal(new RunGroupMetric(null, null, null), six.Metrics["never"]);
        Assert.Contains("group them by", Assert.Throws<SlipwayException>(() => Table.Groups(new RunTableQuery(["0"]), Auc, [])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Children_are_counted_listed_and_can_be_left_out()
    {
        var parent = await RunAsync("study", 0.1, "1");
        var child = await RunAsync("trial", 0.2, "2", parent: parent);

        var row = Table.Page(new RunTableQuery(["0"], TopLevel: true), [], 10, null).Items.Single();

        Assert.Equal(("study", 1L), (row.Name, row.Children));
        Assert.Equal(child, Table.Children(parent, [Auc], 10).Single().RunId);
        await Runs.SetDeletedAsync(child, true, TestStores.Caller, default);
        Assert.Empty(Table.Children(parent, [], 10));
    }

    [Fact]
    public async Task Known_columns_come_most_frequent_first_with_curves_marked()
    {
        await RunAsync("a", 0.5, "6");
        var b = await RunAsync("b", 0.5, "6");
        await Runs.LogBatchAsync(b, [new("loss", 1, 1, 7)], [], [], TestStores.Caller, default);

        var known = Table.KnownColumns(["0"]);

        Assert.Equal([new KnownColumn(Auc, 2, false), new KnownColumn(new(RunColumnKind.Metric, "loss"), 1, true)], known.Where(column => column.Column.Kind is RunColumnKind.Metric));
        Assert.Contains(new KnownColumn(Depth, 2, false), known);
    }

    [Theory]
    [InlineData("metrics.auc > 0.5", 0, "")]
    [InlineData("metrics.auc >", 1, "metrics.auc >")]
    [InlineData("metrics.auc > 1 AND params.depth > 5", 2, "params.depth > 5")]
    [InlineData("tags.a = 'x AND y' and nonsense", 2, "nonsense")]
    [InlineData("metrics.auc > 1 AND ", 2, "")]
    [InlineData("metrics.auc > 1 AND", 2, "")]
    [InlineData("metrics.auc > 1 OR metrics.auc < 0", 1, "metrics.auc > 1 OR metrics.auc < 0")]
    public void A_broken_filter_is_explained_by_its_clause(string filter, int number, string clause)
    {
        var fault = RunTable.Explain(filter);
        Assert.Equal(number == 0 ? (0, "") : (number, clause), fault is null ? (0, "") : (fault.Number, fault.Clause));
        Assert.True(fault is null || fault.Message.Length > 10);
    }

    [Fact]
    public async Task Many_runs_go_to_the_bin_together_with_their_reason_or_not_at_all()
    {
        var (a, b) = (await RunAsync("a", 1, "1"), await RunAsync("b", 1, "1"));
        var bin = _stores.Get<RunBin>();

        Assert.Equal(2, await bin.MoveAsync([a, b, a], true, "leaked labels", TestStores.Caller, default));
        Assert.Equal(0, await bin.MoveAsync([a], true, "again", TestStores.Caller, default));
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<SlipwayException>(() => bin.MoveAsync([a, "none"], false, "back", TestStores.Caller, default))).Code);
        Assert.True(Runs.Get(a).Deleted);
        foreach (var (runs, reason) in new[] { (Array.Empty<string>(), "x"), ([a], " ") })
        {
            Assert.Equal(ErrorCode.InvalidArgument, (await Assert.ThrowsAsync<SlipwayException>(() => bin.MoveAsync(runs, true, reason, TestStores.Caller, default))).Code);
        }

        var moved = Assert.Single(_stores.Get<AuditTrail>().List(RunStore.Node(a)), entry => entry.Action == "run.deleted");
        Assert.Equal("leaked labels", moved.Reason);
        Assert.Equal(["a", "b"], Table.Page(new RunTableQuery(["0"], View: LifecycleView.Deleted), [], 10, null).Items.Select(row => row.Name).Order());
    }

    private async Task<string> RunAsync(string name, double auc, string depth, long start = 1000, string? parent = null)
    {
        var tags = new Dictionary<string, string> { ["team"] = "ops" };
        if (parent is not null)
        {
            tags[RunTable.ParentTag] = parent;
        }

        var run = (await Runs.CreateRunAsync("0", name, tags, TestStores.Caller, default, DateTimeOffset.FromUnixTimeMilliseconds(start))).RunId;
        await Runs.LogBatchAsync(run, [new("auc", auc, start, 0)], [new("depth", depth)], [], TestStores.Caller, default);
        return run;
    }
}
