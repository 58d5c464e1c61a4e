using Dapper;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Monitoring.Performance;
using Slipway.Serving.Labels;
using Slipway.Statistics.Evaluation;

namespace Slipway.Tests.Monitoring;

public sealed class PerformanceMonitorTests
{
    private const string WithPerformance = MonitorHost.Yaml + """

        performance: {metric: auc, window: 2d, min_labels: 200, warning_drop: 0.02, critical_drop: 0.05}
        """;

    private static readonly DateTimeOffset May = MonitorHost.May;

    private static readonly PerformanceDefinition Auc = new(PerformanceMetric.Auc, TimeSpan.FromDays(7), TimeSpan.FromHours(1), 10, 0.02, 0.05, 0.5);

    // The outputs of MonitorHost.Serve are 0.1, 0.35, 0.6, 0.85 in turn; this truth agrees with the order in all but one of eight rows.
    private static bool Good(int i) => i % 4 >= 2 != (i % 8 == 2);

    // The outcomes no longer follow the order of the outputs.
    private static bool Random(int i) => i / 4 % 2 == 0;

    [Fact, Trait("capability", "MON-05")]
    public void Rolling_counts_give_the_metrics_of_the_rows_in_the_window()
    {
        var random = new System.Random(7);
        var rows = new List<LabelledScore>();
        for (var i = 0; i < 20_000; i++)
        {
            var score = (float)(0.05 + 0.5 * random.NextDouble());
            rows.Add(new LabelledScore(score, random.NextDouble() < score));
        }

        var counts = new ScoreCounts(0.3);
        rows.ForEach(row => counts.Add(row, 1));
        rows.Take(5000).ToList().ForEach(row => counts.Add(row, -1)); // as a window that has moved on
        var left = rows.Skip(5000).ToList();
        bool[] labels = [.. left.Select(row => row.Positive)];
        double[] scores = [.. left.Select(row => (double)row.Score)];

        var readings = counts.Readings(Auc with { Threshold = 0.3 }, MonitorHost.Baseline().Performance, 30_000).ToDictionary(r => r.Metric);

        Assert.Equal(BinaryMetrics.RocAuc(labels, scores), readings["auc"].Value, 4);
        Assert.Equal(BinaryMetrics.LogLoss(labels, scores), readings["log_loss"].Value, 9);
        Assert.Equal(BinaryMetrics.Brier(labels, scores), readings["brier"].Value, 9);
        Assert.Equal(Calibration.ExpectedError(labels, scores), readings["ece"].Value, 9);
        var (tp, fp) = (left.Count(r => r.Positive && r.Score >= 0.3), left.Count(r => !r.Positive && r.Score >= 0.3));
        Assert.Equal((double)tp / (tp + fp), readings["precision"].Value, 12);
        Assert.Equal((double)tp / labels.Count(l => l), readings["recall"].Value, 12);
        Assert.Equal(left.Count(r => r.Positive == r.Score >= 0.3) / 15_000.0, readings["accuracy"].Value, 12);
        Assert.Equal(2.0 * tp / (2 * tp + fp + labels.Count(l => l) - tp), readings["f1"].Value, 12);
        Assert.Equal((0.5, 30_000L), (readings["label_coverage"].Value, readings["label_coverage"].N));
    }

    [Fact, Trait("capability", "MON-05")]
    public void Performance_bands_follow_the_baseline_of_the_version()
    {
        MonitorBand BandAt(double baselineAuc)
        {
            var counts = new ScoreCounts(0.5);
            for (var i = 0; i < 400; i++)
            {
                counts.Add(new LabelledScore(i % 4 / 4f, Good(i)), 1);
            }

            return counts.Readings(Auc, MonitorHost.Baseline(baselineAuc).Performance, 400).Single(r => r.Metric == "auc").Band;
        }

        var auc = BinaryMetrics.RocAuc([.. Enumerable.Range(0, 8).Select(Good)], [.. Enumerable.Range(0, 8).Select(i => i % 4 / 4.0)]);
        Assert.Equal(MonitorBand.Ok, BandAt(auc + 0.019));
        Assert.Equal(MonitorBand.Warning, BandAt(auc + 0.021));
        Assert.Equal(MonitorBand.Warning, BandAt(auc + 0.049));
        Assert.Equal(MonitorBand.Critical, BandAt(auc + 0.051));
    }

    [Fact, Trait("capability", "MON-03")]
    public async Task Late_labels_change_exactly_the_windows_that_hold_their_predictions_and_coverage_shows()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync(WithPerformance);
        host.ServeHours(May, 24 * 6 + 1);
        await host.RunAsync();
        Assert.All(host.Series("performance", "label_coverage"), point => Assert.Equal(0, point.Value));
        Assert.Empty(host.Series("performance", "auc"));

        var hour = May.AddHours(50);
        await host.LabelAsync(hour, Good, every: 2);
        var report = await host.RunAsync();

        // Windows of two days that end in (50 h, 98 h]: 48 of them hold the labelled hour.
        Assert.Equal(48, report.PerformanceWindows);
        var labelled = host.Series("performance", "label_coverage").Where(point => point.Value > 0).ToList();
        Assert.Equal(Enumerable.Range(51, 48).Select(h => May.AddHours(h)), labelled.Select(point => point.WindowEnd));
        Assert.All(labelled.Where(point => point.WindowEnd >= May.AddHours(52)), point => Assert.Equal(20.0 / point.N, point.Value, 12));

        // A correction of the same labels replaces them; nothing is counted twice.
        await host.LabelAsync(hour, i => !Good(i), every: 2);
        await host.RunAsync();
        var brier = host.Series("performance", "brier")[^1];
        Assert.Equal(20, brier.N);
        Assert.True(brier.Value > 0.4, $"Brier {brier.Value} of turned labels");
        Assert.Equal(0, (await host.RunAsync()).PerformanceWindows);
    }

    [Fact, Trait("capability", "MON-03")]
    public async Task Too_few_labels_are_not_judged_and_a_label_without_a_prediction_changes_nothing()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync(WithPerformance);
        host.ServeHours(May, 25);
        await host.RunAsync();
        await host.LabelAsync(May.AddHours(3), Random);
        await host.Get<LabelLog>().AppendAsync("delay", [new Label("of-another-world", 1, May)], MonitorHost.Cancel);

        await host.RunAsync();

        Assert.Equal(40, host.Series("performance", "brier")[^1].N);
        Assert.All(host.Series("performance", "auc"), point => Assert.Equal(MonitorBand.Insufficient, point.Band));
        Assert.Empty(host.Store.Alerts("delay", openOnly: false));
    }

    [Fact, Trait("capability", "MON-04"), Trait("capability", "MON-05")]
    public async Task Outcomes_that_no_longer_follow_the_predictions_raise_a_performance_alert_while_inputs_are_stable()
    {
        await using var host = new MonitorHost();
        host.Baselines["1.0.0"] = MonitorHost.Baseline(auc: 0.85);
        await host.ApplyAsync(WithPerformance);
        for (var hour = 0; hour < 24 * 8; hour++)
        {
            host.Serve(May.AddHours(hour));
            if (hour >= 24)
            {
                // Known one day later: what was predicted on day four and after no longer holds.
                await host.LabelAsync(May.AddHours(hour - 24), hour - 24 < 96 ? Good : Random);
            }

            if (hour % 12 == 11)
            {
                await host.RunAsync();
            }
        }

        await host.RunAsync();

        var alert = Assert.Single(host.Store.Alerts("delay", openOnly: true));
        Assert.Equal((AlertKind.Performance, AlertSeverity.Critical, "auc"), (alert.Kind, alert.Severity, alert.Metric));
        Assert.True(alert.FirstWindowEnd > May.AddHours(96), "Nothing had changed by then.");
        Assert.All(host.Series("flight:distance", "psi").Skip(24), point => Assert.Equal(MonitorBand.Ok, point.Band));
        Assert.Equal(0.8, alert.Limit, 12);
        Assert.True(alert.Value < 0.8);
        var status = host.Store.Status("delay");
        Assert.Equal((0.85, 0.83), (status.Limits.PerformanceBaseline!.Value, Math.Round(status.Limits.WarningLimit!.Value, 9)));
        Assert.Equal(MonitorBand.Critical, status.Summary.Band);
    }

    [Fact]
    public async Task Labels_before_and_after_a_restart_are_counted_once()
    {
        var data = Directory.CreateTempSubdirectory("slipway-monitoring-").FullName;
        try
        {
            await using (var first = new MonitorHost(data, keep: true))
            {
                await first.ApplyAsync(WithPerformance);
                first.ServeHours(May, 30);
                await first.LabelAsync(May, Good);
                await first.RunAsync();
            }

            await using var second = new MonitorHost(data, keep: true);
            await second.LabelAsync(May.AddHours(1), Good);
            await second.RunAsync();

            Assert.Equal(80, second.Series("performance", "brier")[^1].N);
            Assert.Equal(2, second.Read(c => c.ExecuteScalar<long>("SELECT count(*) FROM monitor_label_segments")));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }
}
