using System.Diagnostics.Metrics;
using Dapper;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Contracts.Serving;
using Slipway.Serving.Slos;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tests.Storage;

namespace Slipway.Tests.Serving;

/// <summary>Objectives: what is counted, what is left of the error budget, and who is told when it burns.</summary>
public sealed class SloTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void Windows_and_factors_are_the_workbooks_and_stretch_with_the_window()
    {
        Assert.Equal([(14.4, 60.0, 5.0), (6, 360, 30), (1, 4320, 360)], SloBurn.Pairs(TimeSpan.FromDays(30)).Select(pair => (pair.Factor, pair.Long.TotalMinutes, pair.Short.TotalMinutes)));
        Assert.Equal([(14.4, 14.0, 1.0), (6, 84, 7), (1, 1008, 84)], SloBurn.Pairs(TimeSpan.FromDays(7)).Select(pair => (pair.Factor, pair.Long.TotalMinutes, pair.Short.TotalMinutes)));
        Assert.Equal(5, SloBurn.Pairs(TimeSpan.FromDays(1))[0].Long.TotalMinutes); // No shorter: a minute is the smallest that is counted.
    }

    [Theory]
    [InlineData(1000, 15, 100, 2, SloAlertLevel.Fast)] // 15 and 20 times the allowed thousandth.
    [InlineData(1000, 14, 100, 2, SloAlertLevel.Medium)] // 14 is not over 14.4, but over 6.
    [InlineData(1000, 15, 100, 0, SloAlertLevel.None)] // It is over already.
    [InlineData(100, 4, 10, 4, SloAlertLevel.None)] // Four events say nothing.
    [InlineData(0, 0, 0, 0, SloAlertLevel.None)]
    public void An_alert_needs_both_windows_and_some_events(long total, long bad, long shortTotal, long shortBad, SloAlertLevel expected)
    {
        var (@long, @short) = (new SloCounts(total, bad), new SloCounts(shortTotal, shortBad));

        Assert.Equal(expected, SloBurn.Decide(0.999, SloBurn.Pairs(TimeSpan.FromDays(30)).Select(pair => (pair, @long, @short))));
    }

    [Fact]
    public void A_service_at_half_its_budget_alerts_nobody_and_one_that_burns_is_told_of_when_the_arithmetic_says()
    {
        // Ninety days at 120 requests a minute; then failures of 5 %, which is 50 times what 99.9 % allow.
        const int Days = 90;
        var random = new Random(7);
        var (totals, bads) = (new List<long>(), new List<long>());
        void Minutes(int count, double failing)
        {
            for (var i = 0; i < count; i++)
            {
                totals.Add(120);
                bads.Add(Enumerable.Range(0, 120).Count(_ => random.NextDouble() < failing));
            }
        }

        Minutes(Days * 1440, 0.0005);
        Minutes(180, 0.05);
        var (total, bad) = (Sums(totals), Sums(bads));
        var pairs = SloBurn.Pairs(TimeSpan.FromDays(30));
        SloCounts Of(int minute, TimeSpan length) => new(
            total[minute + 1] - total[Math.Max(0, minute + 1 - (int)length.TotalMinutes)], bad[minute + 1] - bad[Math.Max(0, minute + 1 - (int)length.TotalMinutes)]);
        var levels = Enumerable.Range(0, totals.Count).Select(minute => SloBurn.Decide(0.999, pairs.Select(pair => (pair, Of(minute, pair.Long), Of(minute, pair.Short))))).ToList();

        Assert.All(levels.Take(Days * 1440), level => Assert.Equal(SloAlertLevel.None, level));
        int After(SloAlertLevel least) => levels.FindIndex(Days * 1440, level => level >= least) - (Days * 1440);

        // The long window exceeds its factor once factor / burn of it is bad: 14.4 / 50 of an hour, 6 / 50 of six hours.
        Assert.InRange(After(SloAlertLevel.Fast), 14, 21);
        Assert.InRange(After(SloAlertLevel.Medium), 14, 21); // Fast comes first at this rate.
    }

    [Fact]
    public async Task Requests_are_counted_as_answered_failed_and_slow_and_survive_the_counter()
    {
        await using var host = await ServingHost.StartAsync();
        var (store, clock, evaluator, reports) = await PartsAsync(host);
        await ApplyAsync(host, "availability: 0.9\nlatency: {percentile: 90, max_ms: 5}\nthroughput: {per_second: 100, objective: 0.99}");
        var model = ServingFixtures.Model("1.0.0", model: ServingHost.Model);
        host.Router.SetStable(model);
        (long, bool)[] requests = [(1_000, false), (4_600, false), (5_200, false), (9_000, true), .. Enumerable.Repeat((100L, false), 16)];
        foreach (var (latency, failed) in requests)
        {
            model.Statistics.Record(latency, failed: failed);
        }

        await evaluator.CountAsync(Cancel);
        await evaluator.CountAsync(Cancel); // Nothing new.

        var objectives = reports.Get(ServingHost.Model).Now.Objectives;
        Assert.Equal(["availability", "latency", "throughput"], objectives.Select(objective => objective.Name));
        Assert.Equal((20, 1, 0.95), (objectives[0].Total, objectives[0].Bad, objectives[0].Attained));
        Assert.Equal(0.5, objectives[0].BudgetLeft!.Value, 1e-9); // Two of twenty may fail.
        Assert.Equal((20, 2), (objectives[1].Total, objectives[1].Bad));
        Assert.Equal(0, objectives[1].BudgetLeft!.Value, 1e-9);
        Assert.Equal((1, 0, "minutes"), (objectives[2].Total, objectives[2].Bad, objectives[2].Unit));

        // A version that leaves is counted to its end, and another server adds to the same minutes.
        model.Statistics.Record(100, failed: true);
        host.Router.SetStable(ServingFixtures.Model("2.0.0", model: ServingHost.Model));
        await evaluator.CountAsync(Cancel);
        await new SloStore(host.Area.Service<Database>(), host.Area.Service<DefinitionStore>()).AddAsync(
            clock.GetUtcNow(), new Dictionary<string, SloCount> { [ServingHost.Model] = new(9, 0, 0, 0) }, Cancel);
        Assert.Equal((30, 2), (reports.Get(ServingHost.Model).Now.Objectives[0].Total, reports.Get(ServingHost.Model).Now.Objectives[0].Bad));

        // What lies before the window is not in the budget, and is deleted.
        clock.Advance(TimeSpan.FromDays(28) + TimeSpan.FromMinutes(1));
        Assert.Equal((0, null), (reports.Get(ServingHost.Model).Now.Objectives[0].Total, reports.Get(ServingHost.Model).Now.Objectives[0].BudgetLeft));
        await store.ForgetAsync(ServingHost.Model, clock.GetUtcNow(), Cancel);
        Assert.Equal(0L, host.Area.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM slo_minutes")));
    }

    [Fact]
    public async Task What_could_not_be_stored_is_counted_once_it_can()
    {
        await using var host = await ServingHost.StartAsync();
        var (_, _, evaluator, reports) = await PartsAsync(host);
        await ApplyAsync(host, "availability: 0.9");
        var model = ServingFixtures.Model("1.0.0", model: ServingHost.Model);
        host.Router.SetStable(model);
        model.Statistics.Record(100, failed: false);
        await evaluator.CountAsync(Cancel);
        var database = host.Area.Service<Database>();
        await database.WriteAsync(transaction => transaction.Connection.Execute("ALTER TABLE slo_minutes RENAME TO slo_minutes_away"), Cancel);
        model.Statistics.Record(100, failed: true);
        await Assert.ThrowsAnyAsync<Exception>(() => evaluator.CountAsync(Cancel));
        model.Statistics.Record(100, failed: false);
        await Assert.ThrowsAnyAsync<Exception>(() => evaluator.CountAsync(Cancel));
        await database.WriteAsync(transaction => transaction.Connection.Execute("ALTER TABLE slo_minutes_away RENAME TO slo_minutes"), Cancel);

        await evaluator.CountAsync(Cancel);

        var objective = reports.Get(ServingHost.Model).Now.Objectives[0];
        Assert.Equal((3, 1), (objective.Total, objective.Bad));
    }

    [Fact]
    public async Task Minutes_that_refuse_less_than_was_promised_are_bad_and_those_with_more_to_do_are_not()
    {
        await using var host = await ServingHost.StartAsync();
        var (store, clock, _, reports) = await PartsAsync(host);
        await ApplyAsync(host, "throughput: {per_second: 2, objective: 0.5}");
        foreach (var (total, refused) in new (long, long)[] { (120, 0), (120, 1), (121, 30), (10, 10) })
        {
            await store.AddAsync(clock.GetUtcNow(), new Dictionary<string, SloCount> { [ServingHost.Model] = new(total, refused, 0, refused) }, Cancel);
            clock.Advance(TimeSpan.FromMinutes(1));
        }

        var objective = Assert.Single(reports.Get(ServingHost.Model).Now.Objectives);

        Assert.Equal((4, 2), (objective.Total, objective.Bad));
    }

    [Fact]
    public async Task An_alert_opens_rises_and_closes_with_its_audit_rows()
    {
        await using var host = await ServingHost.StartAsync();
        var (store, clock, evaluator, reports) = await PartsAsync(host);
        await ApplyAsync(host, "availability: 0.99");
        async Task Minutes(int count, long failed)
        {
            for (var i = 0; i < count; i++)
            {
                clock.Advance(TimeSpan.FromMinutes(1));
                await store.AddAsync(clock.GetUtcNow(), new Dictionary<string, SloCount> { [ServingHost.Model] = new(100, failed, 0, 0) }, Cancel);
            }

            await evaluator.CountAsync(Cancel);
            await evaluator.LookAsync(Cancel);
            await evaluator.LookAsync(Cancel); // Says it once.
        }

        await Minutes(60, 0);
        Assert.Equal(SloAlertLevel.None, reports.Get(ServingHost.Model).Now.Objectives[0].Alert);
        await Minutes(120, 10); // Ten times too fast: over 6, not over 14.4.
        Assert.Equal(SloAlertLevel.Medium, reports.Get(ServingHost.Model).Now.Objectives[0].Alert);
        await Minutes(60, 50);
        var burning = reports.Get(ServingHost.Model);
        Assert.Equal(SloAlertLevel.Fast, burning.Now.Objectives[0].Alert);
        Assert.Contains("availability burns its budget 50 times too fast over 56 minutes", burning.Alerts[0].Reason, StringComparison.Ordinal);
        await Minutes(400, 0);

        var after = reports.Get(ServingHost.Model);
        Assert.Equal(SloAlertLevel.None, after.Now.Objectives[0].Alert);
        var alert = Assert.Single(after.Alerts);
        Assert.Equal((SloAlertLevel.Fast, true), (alert.Level, alert.ClosedAt is not null));
        var actions = host.Area.Read(connection => connection.Query<string>("SELECT action FROM audit_events WHERE action LIKE 'slo.%' ORDER BY seq").AsList());
        Assert.Equal(["slo.alert_opened", "slo.alert_changed", "slo.alert_closed"], actions);
    }

    [Fact]
    public async Task The_routes_show_all_objectives_and_one_models()
    {
        await using var host = await ServingHost.StartAsync();
        await ApplyAsync(host, "availability: 0.999");

        var (_, all) = await host.Area.GetAsync("/api/slipway/v1/slos");
        Assert.Equal((ServingHost.Model, 28), (all[0].GetProperty("model").GetString(), all[0].GetProperty("window").GetInt32()));
        var (status, one) = await host.Area.GetAsync($"/api/slipway/v1/slos/{ServingHost.Model}");
        Assert.Equal(200, status);
        Assert.Equal("99.9% of the requests are answered", one.GetProperty("now").GetProperty("objectives")[0].GetProperty("says").GetString());
        var (missing, why) = await host.Area.GetAsync("/api/slipway/v1/slos/unknown");
        Assert.Equal(404, missing);
        Assert.Contains("apply a definition of the kind slo", why.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("window: 7d", "availability")]
    [InlineData("availability: 1", "availability")]
    [InlineData("availability: 0.99\nwindow: 1h", "window")]
    [InlineData("latency: {percentile: 99}", "latency.max_ms")]
    [InlineData("throughput: {per_second: 5}", "throughput.objective")]
    [InlineData("availability: 0.99\nbudget: 3", "budget")]
    public void What_cannot_be_promised_is_refused_by_its_field(string yaml, string field)
    {
        var fault = Assert.Throws<SlipwayException>(() => SloSpec.Parse(DefinitionYaml.Parse($"kind: slo\nname: m\n{yaml}\n")));

        Assert.Equal(ErrorCode.InvalidArgument, fault.Code);
        Assert.Contains($"'{field}'", fault.Message, StringComparison.Ordinal);
    }

    private static async Task<(SloStore Store, ManualClock Clock, SloEvaluator Evaluator, SloReports Reports)> PartsAsync(ServingHost host)
    {
        await host.Area.Service<SloEvaluator>().StopAsync(Cancel); // The host's own looks every ten seconds.
        var clock = new ManualClock();
        var store = host.Area.Service<SloStore>();
        var reports = new SloReports(store, clock, host.Area.Service<IMeterFactory>());
        return (store, clock, new SloEvaluator(host.Router, store, reports, clock, NullLogger<SloEvaluator>.Instance), reports);
    }

    private static Task<AppliedDefinition> ApplyAsync(ServingHost host, string yaml) =>
        host.Area.Service<IEnumerable<IDefinitionKind>>().Single(one => one.Kind == "slo").ApplyAsync($"kind: slo\nname: {ServingHost.Model}\n{yaml}\n", Caller.System("test"), Cancel);

    private static List<long> Sums(List<long> values)
    {
        var sums = new List<long> { 0 };
        foreach (var value in values)
        {
            sums.Add(sums[^1] + value);
        }

        return sums;
    }
}
