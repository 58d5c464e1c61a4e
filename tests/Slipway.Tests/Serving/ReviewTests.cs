using Dapper;
using Slipway.Contracts;
using Slipway.Native.DuckDb;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Serving.Reviews;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Serving;

/// <summary>Predictions that a person decides.</summary>
[Trait("capability", "RAI-05")]
public sealed class ReviewTests
{
    private const string Path = "/api/slipway/v1/reviews";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Close_predictions_wait_with_what_they_were_made_of_and_others_do_not()
    {
        await using var host = await StartAsync("band: {from: 0.4, to: 0.6}");

        // Probability = sigmoid(distance / 1000).
        await InferAsync(host, "review-case-0001", 100, 2000, -300);
        await UntilAsync(host, open: 2);

        var (_, page) = await host.Area.GetAsync($"{Path}?model={ServingHost.Model}");
        var cases = page.GetProperty("cases").EnumerateArray().ToList();
        Assert.Equal(["review-case-0001#0", "review-case-0001#2"], cases.Select(one => one.GetProperty("prediction_id").GetString()));
        Assert.Equal((0.525, "1.0.0", "stable", "band", "ORD"), (
            Math.Round(cases[0].GetProperty("output").GetDouble(), 3), cases[0].GetProperty("version").GetString(), cases[0].GetProperty("arm").GetString(), cases[0].GetProperty("why").GetString(),
            cases[0].GetProperty("entity_key").GetString()));
        Assert.Equal((100, 8), (cases[0].GetProperty("features").GetProperty("flight:distance").GetDouble(), cases[0].GetProperty("features").GetProperty("calendar:hour").GetDouble()));
        Assert.Equal((2, 0), (page.GetProperty("open").GetInt32(), page.GetProperty("dropped").GetInt32()));
    }

    [Fact]
    public async Task A_decision_is_for_good_and_leaves_an_audit_row_and_a_label()
    {
        await using var host = await StartAsync("band: {from: 0.4, to: 0.6}\nlabels: true");
        await InferAsync(host, "review-case-0001", 100);
        await UntilAsync(host, open: 1);
        var id = (await host.Area.GetAsync($"{Path}?model={ServingHost.Model}")).Body.GetProperty("cases")[0].GetProperty("id").GetString();

        Assert.Equal(400, (await host.Area.PostAsync($"{Path}/{id}/decide", new { decision = 1, reason = " " })).Status);
        Assert.Equal(404, (await host.Area.PostAsync($"{Path}/other/decide", new { decision = 1, reason = "seen" })).Status);
        var (status, decided) = await host.Area.PostAsync($"{Path}/{id}/decide", new { decision = 1, reason = "the crew was late" });
        Assert.True(status == 200, decided.ToString());
        Assert.Equal((1, "ada", "the crew was late"), (decided.GetProperty("decision").GetInt32(), decided.GetProperty("decided_by").GetString(), decided.GetProperty("reason").GetString()));
        Assert.Equal(200, (await host.Area.PostAsync($"{Path}/{id}/decide", new { decision = 1, reason = "sent again" })).Status);
        var (conflict, why) = await host.Area.PostAsync($"{Path}/{id}/decide", new { decision = 0, reason = "no" });
        Assert.Equal(409, conflict);
        Assert.Contains("ada has decided this case already: 1, because the crew was late", why.ToString(), StringComparison.Ordinal);

        Assert.Equal(1L, host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM audit_events WHERE action = 'review.decided'")));
        var labels = host.Area.Service<LabelLog>();
        await labels.FlushAsync(Cancel);
        Assert.Equal(["review-case-0001", 1.0], Assert.Single(PredictionLogTests.Query($"SELECT DISTINCT prediction_id, label FROM read_parquet({DuckDbLiteral.Quote(labels.Segments(ServingHost.Model).Single())})")));
        Assert.Equal(0, (await host.Area.GetAsync($"{Path}?model={ServingHost.Model}")).Body.GetProperty("open").GetInt32());
        Assert.Single((await host.Area.GetAsync($"{Path}?model={ServingHost.Model}&status=decided")).Body.GetProperty("cases").EnumerateArray());
    }

    [Fact]
    public async Task No_more_wait_than_may_and_the_rest_is_counted()
    {
        await using var host = await StartAsync("band: {from: 0.4, to: 0.6}\nmax_open: 3");
        await InferAsync(host, "review-case-0001", 1, 2, 3, 4, 5);
        await UntilAsync(host, open: 3);
        await ServingHost.UntilAsync(() => host.Area.Service<ReviewCollector>().Dropped(ServingHost.Model) == 2);

        Assert.Equal(2, (await host.Area.GetAsync($"{Path}?model={ServingHost.Model}")).Body.GetProperty("dropped").GetInt32());
        Assert.Equal(0, (await host.Area.GetAsync($"{Path}?model=another")).Body.GetProperty("dropped").GetInt32());

        // Pages go on after the last.
        var (_, first) = await host.Area.GetAsync($"{Path}?model={ServingHost.Model}&limit=2");
        var (_, second) = await host.Area.GetAsync($"{Path}?model={ServingHost.Model}&limit=2&after={first.GetProperty("next").GetString()}");
        Assert.Equal((2, 1), (first.GetProperty("cases").GetArrayLength(), second.GetProperty("cases").GetArrayLength()));
        Assert.False(second.TryGetProperty("next", out _));
        Assert.Equal(3, first.GetProperty("cases").EnumerateArray().Concat(second.GetProperty("cases").EnumerateArray()).Select(one => one.GetProperty("id").GetString()).Distinct().Count());
        Assert.Equal(400, (await host.Area.GetAsync($"{Path}?model={ServingHost.Model}&limit=0")).Status);
        Assert.Equal(400, (await host.Area.GetAsync(Path)).Status);
        Assert.Equal(400, (await host.Area.GetAsync($"{Path}?model=m&status=closed")).Status);
    }

    [Fact]
    public async Task What_is_never_logged_is_not_in_a_case_either_and_a_sample_is_drawn_beside_the_band()
    {
        await using var host = await StartAsync("band: {from: 0.4, to: 0.6}\nsample: 1");
        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving")
            .ApplyAsync($"kind: serving\nname: {ServingHost.Model}\nlog: {"{redact: [entity_key, 'calendar:hour']}"}\n", Caller.System("test"), Cancel);

        await InferAsync(host, "review-case-0001", 5000);
        await UntilAsync(host, open: 1);

        var one = host.Area.Service<ReviewStore>().List(ServingHost.Model, isOpen: true, null, 10).Single();
        Assert.Equal(("sample", (string?)null), (one.Why, one.EntityKey));
        Assert.Equal(["flight:distance"], one.Features.Keys);
    }

    [Fact]
    public async Task An_output_that_is_never_written_makes_no_case()
    {
        await using var host = await StartAsync("band: {from: 0, to: 1}");
        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "serving")
            .ApplyAsync($"kind: serving\nname: {ServingHost.Model}\nlog: {"{redact: [output]}"}\n", Caller.System("test"), Cancel);

        await InferAsync(host, "review-case-0001", 100);
        await ServingHost.UntilAsync(() => host.Area.Service<PredictionLog>().Written == 1);
        await Task.Delay(500, Cancel); // Longer than a case takes.

        Assert.Equal(0, host.Area.Service<ReviewStore>().CountOpen(ServingHost.Model));
    }

    [Fact]
    public async Task Copies_and_requests_that_name_a_version_are_nobodys_cases_and_old_decisions_are_deleted()
    {
        await using var host = await StartAsync("band: {from: 0, to: 1}\nkeep: 1d");
        Assert.Equal(200, (await host.InferAsync(ServingHost.Matrix(1, 2), $"/v2/models/{ServingHost.Model}/versions/1.0.0/infer")).Status);
        var other = await host.RegisterAsync(intercept: 1);
        host.Router.SetCandidate(ServingHost.Model, other.Version, 0, shadow: true, salt: "r");
        await InferAsync(host, "review-case-0001", 100);
        await ServingHost.UntilAsync(() => host.Router.Shadow(ServingHost.Model, other.Version).Snapshot().Compared == 1);
        await UntilAsync(host, open: 1);
        await Task.Delay(500, Cancel); // Longer than the log's interval.
        var store = host.Area.Service<ReviewStore>();
        Assert.Equal(1, store.CountOpen(ServingHost.Model));

        await store.DecideAsync(store.List(ServingHost.Model, isOpen: true, null, 1).Single().Id, 0.5, "seen", new Caller("grace", "test"), Cancel);
        Assert.Equal(0, await store.ForgetAsync(ServingHost.Model, TimeProvider.System.GetUtcNow().AddDays(-1), Cancel));
        Assert.Equal(1, await store.ForgetAsync(ServingHost.Model, TimeProvider.System.GetUtcNow().AddDays(1), Cancel));
        Assert.Empty(store.List(ServingHost.Model, isOpen: false, null, 10));
    }

    [Theory]
    [InlineData("sample: 0.1", "'band' is missing")]
    [InlineData("band: {from: 0.6, to: 0.4}", "'band.to' must be more than 'from' (0.6)")]
    [InlineData("band: {from: 0.4, to: 0.6}\nsample: 2", "'sample'")]
    [InlineData("band: {from: 0.4, to: 0.6}\nkeep: 1h", "'keep' must be at least 1d")]
    [InlineData("band: {from: 0.4, to: 0.6}\nwho: ada", "'who'")]
    public void What_cannot_be_meant_is_refused_by_its_field(string yaml, string sentence)
    {
        var fault = Assert.Throws<SlipwayException>(() => ReviewSpec.Parse(DefinitionYaml.Parse($"kind: review\nname: m\n{yaml}\n")));
        Assert.Contains(sentence, fault.Message, StringComparison.Ordinal);
    }

    private static async Task<ServingHost> StartAsync(string yaml)
    {
        var host = await ServingHost.StartServingAsync();
        await host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "review").ApplyAsync($"kind: review\nname: {ServingHost.Model}\n{yaml}\n", Caller.System("test"), Cancel);
        return host;
    }

    private static async Task InferAsync(ServingHost host, string id, params float[] distances)
    {
        var (status, body) = await host.InferAsync(new
        {
            id,
            parameters = new { entity_key = "ORD" },
            inputs = new[] { new { name = "features", shape = new[] { distances.Length, 2 }, datatype = "FP32", data = distances.SelectMany(distance => new[] { distance, 8f }) } },
        });
        Assert.True(status == 200, body.ToString());
    }

    private static Task UntilAsync(ServingHost host, int open) => ServingHost.UntilAsync(() => host.Area.Service<ReviewStore>().CountOpen(ServingHost.Model) == open);
}
