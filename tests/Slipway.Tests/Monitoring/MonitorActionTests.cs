using System.Diagnostics.Metrics;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Pipelines;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Definitions;

namespace Slipway.Tests.Monitoring;

public sealed class MonitorActionTests
{
    private const string WithRetraining = MonitorHost.Yaml + """

        actions:
          - {on: [drift], do: retrain, pipeline: retrain-delay, reason: Inputs have moved, parameters: {train_until: "{watermark-1d}"}, at_most_every: 10d}
        """;

    private static readonly DateTimeOffset May = MonitorHost.May;

    private static void ServeDrift(MonitorHost host, int fromDay, int days, float shift) => host.ServeHours(May.AddDays(fromDay), 24 * days, rows: 8, shift);

    [Fact, Trait("capability", "PIP-07"), Trait("capability", "MON-16")]
    public async Task Sustained_drift_starts_one_pipeline_run_with_its_reason_and_dates_from_the_watermark()
    {
        await using var host = new MonitorHost();
        await host.ApplyPipelineAsync();
        await host.ApplyAsync(WithRetraining);
        ServeDrift(host, 0, 3, 0);
        ServeDrift(host, 3, 5, 80);

        var report = await host.RunAsync();

        Assert.Equal(1, report.ActionsDecided);
        var alert = Assert.Single(host.Store.Alerts("delay", openOnly: true));
        var action = Assert.Single(host.Store.Actions("delay"));
        Assert.Equal((MonitorActionStatus.Started, alert.Id, alert.FirstWindowEnd), (action.Status, action.AlertId, action.WindowEnd));
        var run = Assert.Single(host.Get<PipelineService>().List());
        Assert.Equal((action.PipelineRunId, "drift", action.WindowEnd.AddDays(-1).ToString("yyyy-MM-dd", null)), (run.Id, run.Trigger, run.Parameters["train_until"]));
        var psi = host.Series("flight:distance", "psi").Single(point => point.WindowEnd == action.WindowEnd).Value;
        Assert.Contains(FormattableString.Invariant($"flight:distance psi {psi:0.####} is at or above its limit 0.2 over 24 hours to {action.WindowEnd:yyyy-MM-dd HH:mm}Z"), run.Reason, StringComparison.Ordinal);
        Assert.StartsWith("Inputs have moved: ", run.Reason, StringComparison.Ordinal);
        var audit = host.Get<AuditTrail>().List(new NodeRef(NodeKinds.Monitor, "delay")).Select(row => row.Action).ToList();
        Assert.Equal(["monitor_action.started", "monitor_action.decided", "alert.opened"], audit);
        Assert.Contains(host.Get<Lineage>().Downstream(new NodeRef(NodeKinds.Monitor, "delay")), edge => edge.To.Id == run.Id);
    }

    [Fact, Trait("capability", "MON-16"), Trait("capability", "MON-12")]
    public async Task An_action_that_asks_for_days_of_drift_waits_for_them_and_starts_over_after_a_quiet_window()
    {
        await using var host = new MonitorHost();
        await host.ApplyPipelineAsync();
        await host.ApplyAsync(WithRetraining.Replace("at_most_every: 10d", "sustained_for: 3d, at_most_every: 10d", StringComparison.Ordinal));
        ServeDrift(host, 0, 2, 80); // two days: too short
        ServeDrift(host, 2, 3, 0);
        ServeDrift(host, 5, 2, 80); // two days again: the first two do not count
        await host.RunAsync();
        Assert.NotEmpty(host.Store.Alerts("delay", openOnly: false));
        Assert.Empty(host.Store.Actions("delay"));

        ServeDrift(host, 7, 2, 80);
        await host.RunAsync();

        var action = Assert.Single(host.Store.Actions("delay"));
        // 72 hourly windows in a row: the first of them and 71 more.
        var first = host.Series("flight:distance", "psi").First(point => point.WindowEnd > May.AddDays(5) && point.Value >= 0.2).WindowEnd;
        Assert.Equal(first.AddHours(71), action.WindowEnd);
    }

    [Fact, Trait("capability", "MON-16")]
    public async Task At_most_every_holds_across_alerts_and_restarts_and_allows_the_next_one_afterwards()
    {
        var data = Directory.CreateTempSubdirectory("slipway-monitoring-").FullName;
        try
        {
            for (var step = 0; step < 4; step++)
            {
                await using var host = new MonitorHost(data, keep: true);
                await host.ApplyPipelineAsync();
                await host.ApplyAsync(WithRetraining);
                ServeDrift(host, 5 * step, 2, 0); // days 0, 5, 10, 15: quiet, the alert closes
                ServeDrift(host, 5 * step + 2, 3, 80);
                await host.RunAsync();
                Assert.Equal(step < 2 ? 1 : 2, host.Store.Actions("delay").Count);
            }

            await using var last = new MonitorHost(data, keep: true);
            Assert.Equal(4, last.Store.Alerts("delay", openOnly: false).Count);
            Assert.Equal(2, last.Get<PipelineService>().List().Count);
            var ends = last.Store.Actions("delay").Select(action => action.WindowEnd).ToList();
            Assert.True(ends[0] - ends[1] >= TimeSpan.FromDays(10));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    [Fact]
    public async Task A_run_started_just_before_a_crash_is_taken_over_instead_of_starting_a_second()
    {
        await using var host = new MonitorHost();
        await host.ApplyPipelineAsync();
        await host.ApplyAsync(WithRetraining);
        ServeDrift(host, 0, 3, 80);
        await host.RunAsync();
        // As a process leaves it that is killed between the start and its record.
        await host.Get<Database>().WriteAsync(t => t.Connection.Execute("UPDATE monitor_actions SET status = 'pending', pipeline_run_id = NULL"), MonitorHost.Cancel);

        host.Serve(May.AddDays(4));
        await host.RunAsync();

        var run = Assert.Single(host.Get<PipelineService>().List());
        Assert.Equal((MonitorActionStatus.Started, run.Id), (host.Store.Actions("delay")[0].Status, host.Store.Actions("delay")[0].PipelineRunId));
    }

    [Fact]
    public async Task An_action_that_cannot_start_says_why_and_leaves_the_windows_alone()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync(WithRetraining); // the pipeline was never applied
        ServeDrift(host, 0, 3, 80);

        var report = await host.RunAsync();

        Assert.Equal(3 * 24 - 1, report.WindowsEvaluated);
        var action = Assert.Single(host.Store.Actions("delay"));
        Assert.Equal(MonitorActionStatus.Failed, action.Status);
        Assert.Contains("no pipeline 'retrain-delay'", action.Error, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "MON-12")]
    public async Task A_breach_within_the_cooldown_opens_the_same_alert_again()
    {
        await using var host = new MonitorHost();
        await host.ApplyAsync(MonitorHost.Yaml.Replace("cooldown: 12h", "cooldown: 5d", StringComparison.Ordinal));
        for (var step = 0; step < 3; step++)
        {
            ServeDrift(host, 4 * step, 2, 0);
            ServeDrift(host, 4 * step + 2, 2, 80);
        }

        await host.RunAsync();

        var alert = Assert.Single(host.Store.Alerts("delay", openOnly: false));
        Assert.Equal((3, AlertStatus.Open), (alert.TimesOpened, alert.Status));
        var seen = await host.Store.AcknowledgeAsync(alert.Id, "retraining tonight", MonitorHost.Ada, MonitorHost.Cancel);
        Assert.Equal(("ada", "retraining tonight"), (seen.AcknowledgedBy, seen.Comment));
    }

    [Fact, Trait("capability", "MON-15")]
    public async Task The_newest_psi_of_each_feature_is_a_gauge()
    {
        await using var host = new MonitorHost();
        var seen = new Dictionary<string, double>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Meter.Name == "Slipway.Monitoring")
            {
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) =>
        {
            if (tags.ToArray().Contains(new("monitor", "gauged")))
            {
                lock (seen)
                {
                    seen[instrument.Name] = value;
                }
            }
        });
        listener.Start();
        await host.ApplyAsync(MonitorHost.Yaml.Replace("name: delay", "name: gauged", StringComparison.Ordinal));
        ServeDrift(host, 0, 3, 80);

        await host.RunAsync("gauged");

        var newest = host.Store.Series("gauged", null, "psi", 0, long.MaxValue / 2, 1).ToDictionary(point => $"drift.psi.{point.Subject}", point => point.Value);
        Assert.Equal(["drift.psi.calendar:hour", "drift.psi.flight:distance", "drift.psi.prediction"], newest.Keys.Order());
        Assert.Equal(newest, seen);
    }

    [Fact]
    public void A_monitor_file_reports_all_its_faults_together()
    {
        var error = Assert.Throws<SlipwayException>(() => MonitorDefinition.Parse(DefinitionYaml.Parse(
            """
            kind: monitor
            name: delay
            model: delay
            owner: desk
            cadence: 1h
            window: 90m
            psi: {investigate: 0.3, act: 0.2}
            featurs: all
            actions:
              - {on: [weather], do: retrain, pipeline: p, parameters: {until: "{today}"}}
            """)));

        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
        foreach (var part in new[] { "'procedure' is missing", "'window' must be a multiple of 'cadence'", "'psi.act'", "'featurs' is not a known key; did you mean 'features'?", "not 'weather'", "{today}" })
        {
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("{watermark}", "2001-06-15")]
    [InlineData("{watermark-30d}", "2001-05-16")]
    [InlineData("from {watermark-1d} to {watermark+1d}", "from 2001-06-14 to 2001-06-16")]
    public void Parameters_are_dates_counted_from_the_watermark(string template, string expected)
    {
        Assert.Null(ParameterTemplate.FaultOf(template));
        Assert.Equal(expected, ParameterTemplate.Fill(template, new DateTimeOffset(2001, 6, 15, 5, 0, 0, TimeSpan.Zero)));
    }

    [Fact]
    public async Task Listings_of_a_monitor_without_predictions_are_empty()
    {
        await using var host = new MonitorHost();
        Assert.Empty(host.Store.List());
        Assert.Equal(ErrorCode.NotFound, Assert.Throws<SlipwayException>(() => host.Store.Status("delay")).Code);
        await host.ApplyAsync(WithRetraining);

        Assert.Equal((0, null), ((await host.RunAsync()).WindowsEvaluated, (await host.RunAsync()).Watermark));
        Assert.Equal(MonitorBand.None, Assert.Single(host.Store.List()).Band);
        Assert.Empty(host.Store.Status("delay").Results);
        Assert.Empty(host.Store.ByMonth("delay"));
        Assert.Empty(host.Store.Alerts(null, openOnly: true));
        Assert.Empty(host.Store.Actions(null));
        Assert.Empty(host.Series("prediction", "psi"));
    }
}
