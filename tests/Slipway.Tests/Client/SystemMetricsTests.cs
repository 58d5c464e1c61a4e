using System.Diagnostics.Metrics;
using Slipway.Client.Runs;

namespace Slipway.Tests.Client;

public sealed class SystemMetricsTests
{
    [Fact]
    [Trait("capability", "X-30")]
    public async Task Machine_and_process_are_sampled_under_MLflow_s_names_in_steps()
    {
        await using var host = await TrackingHost.StartAsync();
        var run = await host.StartRunAsync(host.Options with { SystemMetrics = true, SystemMetricsInterval = TimeSpan.FromMilliseconds(30), FlushInterval = TimeSpan.FromMilliseconds(20) });
        while (host.Runs.MetricHistory(run.Id, "system/disk_usage_percentage").Count < 3)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        await run.DisposeAsync();

        var newest = host.Record(run).Metrics.ToDictionary(point => point.Key, point => point.Value);
        string[] expected =
        [
            "system/cpu_utilization_percentage", "system/disk_available_megabytes", "system/disk_usage_megabytes", "system/disk_usage_percentage",
            "system/network_receive_megabytes", "system/network_transmit_megabytes", "system/process_cpu_utilization_percentage",
            "system/process_memory_usage_megabytes", "system/system_memory_usage_megabytes", "system/system_memory_usage_percentage",
        ];
        Assert.Equal(expected, newest.Keys.Where(key => !key.Contains("gpu_", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        Assert.All(newest.Where(metric => metric.Key.EndsWith("percentage", StringComparison.Ordinal)), metric => Assert.InRange(metric.Value, 0, 101));
        Assert.InRange(newest["system/process_memory_usage_megabytes"], 10, 100_000);
        var steps = host.Runs.MetricHistory(run.Id, "system/disk_usage_percentage").Select(point => point.Step).ToList();
        Assert.Equal(Enumerable.Range(0, steps.Count).Select(step => (long)step), steps);
        Assert.Empty(host.Problems);
    }

    [Fact]
    [Trait("capability", "X-30")]
    public void What_nvidia_smi_prints_becomes_metrics_and_what_a_card_does_not_know_is_left_out()
    {
        Assert.Equal(
            [
                ("gpu_0_utilization_percentage", 87), ("gpu_0_memory_usage_megabytes", 1048.576), ("gpu_0_memory_usage_percentage", 25),
                ("gpu_0_power_usage_watts", 60.5), ("gpu_0_power_usage_percentage", 50),
                ("gpu_1_utilization_percentage", 0), ("gpu_1_memory_usage_megabytes", 0), ("gpu_1_memory_usage_percentage", 0),
            ],
            NvidiaSmi.Parse("0, 87, 1000, 4000, 60.50, 121.00\n1, 0, 0, 4000, [N/A], [N/A]\n"));
        Assert.Empty(new NvidiaSmi("/nonexistent/nvidia-smi").Read());
    }

    [Fact]
    [Trait("capability", "TRK-13")]
    public async Task A_library_s_instruments_are_logged_where_its_switch_is_on()
    {
        await using var host = await TrackingHost.StartAsync();
        using var on = new Meter("Slipway.Tests.Trainer");
        using var off = new Meter("Slipway.Tests.Other");
        var batches = on.CreateCounter<long>("batches");
        var seconds = on.CreateHistogram<double>("batch seconds");
        on.CreateObservableGauge("rate", () => 0.25);
        var run = await host.StartRunAsync(host.Options with { AutoLog = AutoLogOptions.None with { Libraries = new HashSet<string> { "Slipway.Tests.Trainer" } } });
        off.CreateCounter<int>("hidden").Add(1);
        batches.Add(3);
        batches.Add(4);
        seconds.Record(1);
        seconds.Record(3);
        await run.DisposeAsync();

        Assert.Equal(
            [("Slipway.Tests.Trainer/batch_seconds", 2), ("Slipway.Tests.Trainer/batches", 7), ("Slipway.Tests.Trainer/rate", 0.25)],
            host.Record(run).Metrics.Select(point => (point.Key, point.Value)).OrderBy(point => point.Key, StringComparer.Ordinal));
    }
}
