using FsCheck.Fluent;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Tracking;

public sealed class RunSearchTests : IAsyncLifetime
{
    private static readonly Caller Ada = TestStores.Caller;

    private readonly TestStores _stores = new(services => services.AddSlipwayTracking());

    private RunStore Runs => _stores.Get<RunStore>();

    // Four runs: a 0.9, b 0.7, c NaN, d without the metric.
    public async ValueTask InitializeAsync()
    {
        await Add("a", 1000, 0.9, "6", "Ops");
        await Add("b", 2000, 0.7, "12", "ops");
        await Add("c", 3000, double.NaN, "6", "it's");
        await Add("d", 4000, null, null, null);
        await Runs.LogInputAsync(ByName("a"), new RunInput("flights", "d1", "s3://x", "train"), Ada, default);
        await Runs.EndRunAsync(ByName("b"), RunStatus.Finished, Ada, default);
    }

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Theory]
    [InlineData("", "d c b a")]
    [InlineData("metrics.auc > 0.8", "a")]
    [InlineData("metrics.auc >= 0.7", "b a")]
    [InlineData("metrics.auc < 0.8 ", "b")]
    [InlineData("metrics.auc<=0.7e0", "b")]
    [InlineData("metric.auc = 0.9", "a")]
    [InlineData("metrics.auc != 0.9", "c b")]
    [InlineData("metrics.`test auc` > -1", "a")]
    [InlineData("metrics.\"test auc\" > -1", "a")]
    [InlineData("params.depth = '6'", "c a")]
    [InlineData("params.depth != '6'", "b")]
    [InlineData("parameters.depth LIKE '1%'", "b")]
    [InlineData("params.depth like '_'", "c a")]
    [InlineData("tags.team = \"ops\"", "b")]
    [InlineData("tags.team LIKE 'O%'", "a")]
    [InlineData("tag.team ILIKE 'O%'", "b a")]
    [InlineData("tags.team = 'it''s'", "c")]
    [InlineData("tags.team LIKE '*'", "")]
    [InlineData("tags.`mlflow.runName` = 'a'", "a")]
    [InlineData("attributes.status = 'FINISHED'", "b")]
    [InlineData("status = 'RUNNING' and metrics.auc > 0", "a")]
    [InlineData("run_name IN ('a', 'd')", "d a")]
    [InlineData("attr.`Run name` NOT IN ('a', 'd')", "c b")]
    [InlineData("start_time >= 3000", "d c")]
    [InlineData("attributes.created < 2000", "a")]
    [InlineData("end_time > 0", "b")]
    [InlineData("user_id = 'ada' AND start_time = 1000", "a")]
    [InlineData("artifact_uri LIKE 'mlflow-artifacts:/0/%' AND start_time = 1000", "a")]
    [InlineData("datasets.name = 'flights'", "a")]
    [InlineData("dataset.digest IN ('d1', 'd2') AND datasets.context = 'train'", "a")]
    [InlineData("params.depth = '6' AND metrics.auc > 0.5 AND tags.team ILIKE 'ops'", "a")]
    [InlineData("tags.team = '''; DROP TABLE runs; --'", "")]
    public void A_filter_finds_exactly_its_runs(string filter, string names) =>
        Assert.Equal(names, string.Join(' ', Runs.Search(new RunSearch(["0"], filter)).Items.Select(run => run.Name)));

    [Theory]
    [InlineData("metrics.auc DESC", "a b c d")]
    [InlineData("metrics.auc ASC", "b a c d")]
    [InlineData("metrics.auc", "b a c d")]
    [InlineData("params.depth", "b c a d")]
    [InlineData("params.depth DESC", "c a b d")]
    [InlineData("attributes.start_time ASC", "a b c d")]
    [InlineData("`Run name` desc", "d c b a")]
    [InlineData("end_time", "b d c a")]
    [InlineData("tags.team", "a c b d")]
    public void Runs_come_in_the_asked_order_with_the_missing_last(string order, string names)
    {
        Assert.Equal(names, string.Join(' ', Runs.Search(new RunSearch(["0"], OrderBy: [order])).Items.Select(run => run.Name)));

        // The same order page by page.
        var paged = new List<string>();
        string? token = null;
        do
        {
            var page = Runs.Search(new RunSearch(["0"], OrderBy: [order], MaxResults: 1, PageToken: token));
            paged.AddRange(page.Items.Select(run => run.Name));
            token = page.NextCursor;
        }
        while (token is not null && paged.Count < 10);
        Assert.Equal(names, string.Join(' ', paged));
    }

    [Theory]
    [InlineData("metrics.auc > '0.5'", "a number without quotes")]
    [InlineData("metrics.auc LIKE 'x'", "cannot be compared with LIKE")]
    [InlineData("metrics.auc > nan", "a number without quotes")]
    [InlineData("params.depth > '6'", "cannot be compared with >")]
    [InlineData("params.depth = 6", "a text in quotes")]
    [InlineData("params.depth IN ('6')", "works on attributes and datasets only")]
    [InlineData("params.depth = '6' OR params.depth = '7'", "OR is not supported")]
    [InlineData("params.depth = '6", "is never closed")]
    [InlineData("(params.depth = '6')", "a key such as")]
    [InlineData("params. = '6'", "a name after 'params.'")]
    [InlineData("wrong.depth = '6'", "'wrong' at position 1 is not a kind of key")]
    [InlineData("lifetime = 'x'", "there is no attribute 'lifetime'")]
    [InlineData("datasets.rows = 'x'", "there is no dataset field 'rows'")]
    [InlineData("params.depth '6'", "a comparator")]
    [InlineData("params.depth ! '6'", "a comparator")]
    [InlineData("run_id IN ()", "a text in quotes")]
    [InlineData("run_id IN ('a' 'b')", "')'")]
    [InlineData("params.depth = '6' AND", "found the end")]
    [InlineData("params.depth = '6'; DROP TABLE runs", "AND or the end")]
    public void A_faulty_filter_is_told_its_fault(string filter, string part)
    {
        var error = Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], filter)));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_filter_past_its_bounds_is_refused_quickly()
    {
        var clauses = string.Join(" AND ", Enumerable.Repeat("metrics.auc > 0", 101));
        var list = string.Join(", ", Enumerable.Repeat("'a'", 1001));

        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], clauses)));
        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], $"run_id IN ({list})")));
        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], new string('a', 50_001))));
        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], MaxResults: 50_001)));
        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], MaxResults: 0)));
    }

    [Fact]
    public void A_page_token_of_another_search_or_of_nobody_is_refused()
    {
        var token = Runs.Search(new RunSearch(["0"], MaxResults: 1)).NextCursor!;

        Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], "metrics.auc > 0", PageToken: token)));
        foreach (var junk in (string[])["x", "eyJvZmZzZXQiOiAxfQ", "%%%", "bnVsbA", "WzEsMl0", "W10"])
        {
            Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => Runs.Search(new RunSearch(["0"], PageToken: junk))).Code);
        }
    }

    [Fact]
    public void Only_the_named_experiments_are_searched()
    {
        Assert.Empty(Runs.Search(new RunSearch([])).Items);
        Assert.Empty(Runs.Search(new RunSearch(["7", "not a number"])).Items);
        Assert.Equal(4, Runs.Search(new RunSearch(["7", "0", "0"])).Items.Count);
    }

    [Fact]
    public void Any_text_as_a_filter_ends_in_an_answer_or_in_one_sentence()
    {
        string[] pieces = ["metrics.", "auc", "params.depth", "tags.`a b`", "run_id", "=", "!=", "<", "LIKE", "NOT", "IN", "(", ")", ",", "'x'", "'", "\"", "`", "1.5", "-", " ", " AND ", ";", "%", "\0", "é", "[", "datasets.name"];
        var filters = Gen.Elements(pieces).ListOf().Select(list => string.Concat(list)).ToArbitrary();
        FsCheck.Check.One(FsCheck.Config.QuickThrowOnFailure.WithMaxTest(500), Prop.ForAll(filters, filter =>
        {
            try
            {
                Runs.Search(new RunSearch(["0"], filter));
                return true;
            }
            catch (SlipwayException e)
            {
                return e.Code == ErrorCode.InvalidArgument;
            }
        }));
    }

    private async Task Add(string name, long start, double? auc, string? depth, string? team)
    {
        var run = await Runs.CreateRunAsync("0", name, team is null ? null : new Dictionary<string, string> { ["team"] = team }, Ada, default, DateTimeOffset.FromUnixTimeMilliseconds(start));
        List<MetricPoint> metrics = auc is { } value ? [new("auc", 0.1, 1, 0), new("auc", value, 2, 1)] : [];
        if (name == "a")
        {
            metrics.Add(new MetricPoint("test auc", 0.5, 1, 0));
        }

        await Runs.LogBatchAsync(run.RunId, metrics, depth is null ? [] : [new("depth", depth)], [], Ada, default);
    }

    private string ByName(string name) => Assert.Single(Runs.Search(new RunSearch(["0"], $"run_name = '{name}'")).Items).RunId;
}
