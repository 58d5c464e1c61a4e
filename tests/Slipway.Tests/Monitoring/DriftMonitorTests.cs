using System.Text.Json;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Drift;
using Slipway.Serving;
using Slipway.Tests.Statistics;

namespace Slipway.Tests.Monitoring;

public sealed class DriftMonitorTests
{
    private static readonly DateTimeOffset May = MonitorHost.May;

    [Fact, Trait("capability", "MON-01"), Trait("capability", "MON-02"), Trait("capability", "MON-08")]
    public async Task A_window_computed_by_hand_gives_the_same_psi_ks_and_null_share()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        // 40 rows per hour for 24 hours: distances 130, 230, 330, 430 a quarter each, so that the first bin is empty and the last holds half.
        host.ServeHours(May, 24, shift: 80);
        host.Serve(May.AddHours(24), rows: 1); // closes the window

        var report = await host.RunAsync();

        Assert.Equal(24, report.WindowsEvaluated);
        // Shares: reference 1/4 each; current 0 -> 0.0001 (zero fill), 1/4, 1/4, 1/2.
        var byHand = (0.25 - 0.0001) * Math.Log(0.25 / 0.0001) + (0.25 - 0.5) * Math.Log(0.25 / 0.5);
        Assert.Equal(byHand, host.Series("flight:distance", "psi")[^1].Value, 12);
        Assert.Equal(MonitorBand.Act, host.Series("flight:distance", "psi")[^1].Band);
        // The gap is 1/4 at each inner edge; so far out the p-value is the bound 2 exp(-2 N d²) with N = 10000 * 960 / 10960.
        Assert.Equal(0.25, host.Series("flight:distance", "ks")[^1].Value, 12);
        Assert.Equal(Math.Log(2) - 2 * (10_000.0 * 960 / 10_960) * 0.0625, Math.Log(host.Series("flight:distance", "ks_p")[^1].Value), 9);
        Assert.Equal(1, host.Series("prediction", "ks_p")[^1].Value, 12);
        Assert.Equal(0, host.Series("flight:distance", "null_share")[^1].Value);
        Assert.Equal(0, host.Series("calendar:hour", "psi")[^1].Value, 12);
        Assert.Equal(0, host.Series("prediction", "psi")[^1].Value, 12);
        Assert.Equal((960L, May.AddHours(24)), (host.Series("prediction", "psi")[^1].N, host.Series("prediction", "psi")[^1].WindowEnd));
    }

    [Fact, Trait("capability", "MON-01")]
    public void Psi_and_the_binned_ks_of_a_window_agree_with_the_reference_values()
    {
        var compared = 0;
        foreach (var golden in Goldens.Cases("binned_given_edges.json"))
        {
            var (x, y) = (Counts(golden, "counts_x"), Counts(golden, "counts_y"));
            var pair = Goldens.Cases("two_sample_numeric.json").FirstOrDefault(c => c.GetProperty("name").GetString() == golden.GetProperty("pair").GetString());
            if (pair.ValueKind == JsonValueKind.Undefined || x.Sum() != pair.Numbers("x").Length || y.Sum() != pair.Numbers("y").Length)
            {
                continue; // The golden's edges leave values out, which a baseline's open end bins never do.
            }

            Assert.Equal(golden.GetProperty("expected").GetProperty("psi_evidently_zero_fill").Number(), DriftEvaluation.PsiOf(x, y), 9);

            // The exact statistic bounds the binned one from above, its p-value from below.
            var exact = pair.GetProperty("expected").GetProperty("ks_2samp_asymp");
            var inner = golden.Numbers("edges")[1..^1];
            var binned = DriftEvaluation.KsOf(inner, x, y)!.Value;
            Assert.InRange(binned.Statistic, 0, exact.GetProperty("statistic").Number() + 1e-12);
            Assert.InRange(binned.PValue, exact.GetProperty("pvalue").Number() - 1e-9, 1);
            compared++;
        }

        Assert.True(compared > 0);
    }

    private static long[] Counts(JsonElement golden, string key) => [.. golden.Numbers(key).Select(count => (long)count), 0];

    [Fact, Trait("capability", "MON-12")]
    public async Task A_quiet_month_raises_nothing_and_costs_one_window_per_hour()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        host.ServeHours(May, 31 * 24 + 1, rows: 8);

        var report = await host.RunAsync();

        Assert.Equal(31 * 24, report.WindowsEvaluated);
        Assert.Empty(host.Store.Alerts("delay", openOnly: false));
        Assert.All(host.Series("flight:distance", "psi").Skip(24), point => Assert.Equal(MonitorBand.Ok, point.Band));
        Assert.Equal(MonitorBand.Ok, host.Store.Status("delay").Summary.Band);
    }

    [Fact, Trait("capability", "MON-06"), Trait("capability", "MON-11"), Trait("capability", "MON-12")]
    public async Task Planted_drift_opens_one_alert_after_consecutive_breaches_and_closes_it_when_quiet()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        host.ServeHours(May, 48);
        host.ServeHours(May.AddHours(48), 24, shift: 80);
        host.ServeHours(May.AddHours(72), 48);
        host.Serve(May.AddHours(120), rows: 1);

        var report = await host.RunAsync();

        var series = host.Series("flight:distance", "psi");
        var firstBreach = series.First(point => point.Band == MonitorBand.Act).WindowEnd;
        Assert.True(firstBreach > May.AddHours(48), "Drift before it was planted.");
        Assert.Contains(series, point => point.Band == MonitorBand.Investigate);
        var alert = Assert.Single(host.Store.Alerts("delay", openOnly: false));
        Assert.Equal((1, 1), (report.AlertsOpened, report.AlertsClosed));
        Assert.Equal((AlertKind.Drift, AlertSeverity.Critical, AlertStatus.Closed), (alert.Kind, alert.Severity, alert.Status));
        Assert.Equal(firstBreach.AddHours(1), alert.FirstWindowEnd); // the second breach in a row
        Assert.Equal(["flight:distance"], alert.Subjects);
        Assert.Equal(series.Last(point => point.Band == MonitorBand.Act).WindowEnd, alert.LastWindowEnd);
        Assert.Equal(alert.LastWindowEnd.AddHours(2), alert.ClosedWindowEnd);
        Assert.Equal(series.Max(point => point.Value), alert.Peak, 12);
        Assert.Equal(("flight-desk", "docs/monitoring.md"), (alert.Owner, alert.Procedure));
        Assert.Equal(series.Count(point => point.Band == MonitorBand.Act) - 1, alert.Windows);
    }

    [Fact]
    public async Task Shadow_rows_and_failed_requests_are_not_what_production_served()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        for (var hour = 0; hour < 25; hour++)
        {
            host.Serve(May.AddHours(hour));
            host.Serve(May.AddHours(hour), shift: 300, version: "2.0.0", arm: ArmRole.Shadow, prefix: "s");
            host.Serve(May.AddHours(hour), shift: 300, version: "2.0.0", arm: ArmRole.Candidate, prefix: "c");
        }

        await host.RunAsync();

        Assert.Equal(0, host.Series("flight:distance", "psi")[^1].Value, 12);
        Assert.Equal(960, host.Series("flight:distance", "psi")[^1].N);
        Assert.Equal("1.0.0", host.Store.Status("delay").Version);
    }

    [Fact]
    public async Task After_a_promotion_the_new_version_is_judged_by_its_own_baseline_and_rows()
    {
        await using var host = new MonitorHost();
        host.Baselines["1.1.0"] = MonitorHost.Baseline() with
        {
            Features = new Dictionary<string, FeatureBaseline> { ["flight:distance"] = new([180, 280, 380], [25, 25, 25, 25], 0, 280, 100, 80, 480) },
        };
        await host.ApplyAsync();
        host.ServeHours(May, 30);
        host.ServeHours(May.AddHours(30), 31, shift: 80, version: "1.1.0"); // drift for 1.0.0, home for 1.1.0

        await host.RunAsync();

        Assert.DoesNotContain(host.Series("flight:distance", "psi"), point => point.Band is MonitorBand.Act or MonitorBand.Investigate);
        Assert.Equal(MonitorBand.Insufficient, host.Series("flight:distance", "psi").Single(point => point.WindowEnd == May.AddHours(31)).Band);
        Assert.Equal("1.1.0", host.Store.Status("delay").Version);
        Assert.Equal(["1.0.0", "1.1.0"], host.Store.ByMonth("delay").Where(row => row.Subject == "flight:distance").Select(row => row.Version));
    }

    [Fact]
    public async Task Missing_values_show_as_null_share_and_as_drift()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        for (var hour = 0; hour < 25; hour++)
        {
            host.Serve(May.AddHours(hour), nulls: hour % 2 == 0);
        }

        await host.RunAsync();

        Assert.Equal(0.5, host.Series("flight:distance", "null_share")[^1].Value, 12);
        Assert.Equal(MonitorBand.Act, host.Series("flight:distance", "psi")[^1].Band);
        Assert.Equal(0, host.Series("flight:distance", "ks")[^1].Value, 12); // the values present have not moved
    }

    [Fact]
    public async Task A_month_without_traffic_has_no_windows_and_months_add_up_all_their_rows()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync();
        host.ServeHours(May, 24);
        host.ServeHours(May.AddMonths(2), 25, shift: 80);

        var report = await host.RunAsync();

        // 24 hours of traffic are in windows for another 23 hours each time; the gap of two months has none.
        Assert.Equal(24 + 23 + 24, report.WindowsEvaluated);
        var months = host.Store.ByMonth("delay").Where(row => row.Subject == "flight:distance").ToList();
        Assert.Equal(["2001-05", "2001-07"], months.Select(row => row.Month));
        Assert.Equal([960, 960], months.Select(row => row.Rows));
        Assert.Equal(0, months[0].Psi, 12);
        Assert.Equal(MonitorBand.Act, months[1].Band);
    }

    [Fact]
    public async Task Evaluating_hour_by_hour_or_all_at_once_or_across_restarts_gives_the_same_windows()
    {
        var data = Directory.CreateTempSubdirectory("slipway-monitoring-").FullName;
        var total = 0;
        List<ResultPoint> stepwise;
        try
        {
            for (var hour = 0; hour < 60; hour += 5)
            {
                await using var restarted = new MonitorHost(data, keep: true);
                await restarted.ApplyAsync();
                for (var i = hour; i < hour + 5; i++)
                {
                    restarted.Serve(May.AddHours(i), shift: i is > 25 and < 46 ? 80 : 0);
                    total += (await restarted.RunAsync()).WindowsEvaluated;
                }
            }

            await using var last = new MonitorHost(data, keep: true);
            Assert.Equal(0, (await last.RunAsync()).WindowsEvaluated);
            stepwise = [.. last.Store.Series("delay", null, null, 0, long.MaxValue / 2, 100_000)];
            Assert.Equal(1, Assert.Single(last.Store.Alerts("delay", openOnly: false)).TimesOpened);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }

        await using var host = new MonitorHost();
        await host.ApplyAsync();
        for (var i = 0; i < 60; i++)
        {
            host.Serve(May.AddHours(i), shift: i is > 25 and < 46 ? 80 : 0);
        }

        var atOnce = await host.RunAsync();

        Assert.Equal(59, total);
        Assert.Equal(59, atOnce.WindowsEvaluated);
        Assert.Equal(host.Store.Series("delay", null, null, 0, long.MaxValue / 2, 100_000), stepwise);
    }

    [Fact, Trait("capability", "MON-09")]
    public async Task A_seasonal_reference_keeps_a_weekly_pattern_from_raising_an_alarm()
    {
        async Task<int> AlertsWith(string reference)
        {
            await using var host = new MonitorHost();
            await host.ApplyAsync(MonitorHost.Yaml + reference);
            for (var hour = 0; hour < 24 * 21 + 1; hour++)
            {
                host.Serve(May.AddHours(hour), rows: 8, shift: hour / 24 % 7 == 5 ? 80 : 0); // one day of each week flies further
            }

            await host.RunAsync();
            return host.Store.Alerts("delay", openOnly: false).Count(alert => alert.FirstWindowEnd > May.AddDays(10));
        }

        Assert.Equal(2, await AlertsWith(""));
        Assert.Equal(0, await AlertsWith("\nreference: {kind: seasonal, season: 7d}"));
    }
}
