using Slipway.Contracts.Monitoring;
using Slipway.Serving;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Monitoring;

[Trait("database", "none")]
public sealed class MonitorReplayTests
{
    private const int Features = 10;
    private const int RowsPerHour = 100;

    private static readonly string[] Names = [.. Enumerable.Range(0, Features).Select(i => $"view:feature_{i}")];

    private static ModelBaseline Deciles() => new(
        Names.ToDictionary(name => name, _ => new FeatureBaseline([.. Enumerable.Range(1, 9).Select(i => i / 10.0)], [.. Enumerable.Repeat(140_000L, 10)], 0, 0.5, 0.29, 0, 1)),
        new BaselineHistogram([.. Enumerable.Range(1, 19).Select(i => i / 20.0)], [.. Enumerable.Repeat(11_500L, 20)]),
        new BaselinePerformance(0.66, 0.65, 0.67, 0.45, 0.14, 0.01, 0.2, 0.2, 230_000), 1_400_000);

    [Fact, Trait("capability", "MON-07")]
    public async Task Two_months_of_hourly_windows_are_each_evaluated_once_as_traffic_and_late_labels_come_in()
    {
        await using var host = new MonitorHost(baselines: new Dictionary<string, ModelBaseline> { ["1.0.0"] = Deciles() });
        await host.ApplyAsync(MonitorHost.Yaml + "\nperformance: {metric: auc, window: 7d, every: 6h, min_labels: 500}");
        var arm = new Arm(ArmRole.Stable, new LoadedModel("delay", "1.0.0", Names, (_, _, _) => { }));
        var random = new System.Random(1);
        var row = new float[Features];
        var log = host.Get<PredictionLog>();
        const int hours = 61 * 24;
        var windows = 0;
        for (var hour = 0; hour < hours + 1; hour++)
        {
            var start = MonitorHost.May.AddHours(hour);
            for (var i = 0; i < RowsPerHour; i++)
            {
                for (var f = 0; f < Features; f++)
                {
                    row[f] = (float)Math.Pow(random.NextDouble(), 1 + hour / 4000.0); // drifts slowly, so that p-values are neither 0 nor 1
                }

                log.Append(arm, $"p-{hour}-{i}", start.ToUnixTimeMilliseconds() + i * 36_000, row, random.NextSingle());
            }

            if (hour >= 24)
            {
                await host.Get<LabelLog>().AppendAsync(
                    "delay", [.. Enumerable.Range(0, RowsPerHour).Select(i => new Label($"p-{hour - 24}-{i}", random.Next(2), start))], MonitorHost.Cancel);
            }

            if (hour % 24 == 0)
            {
                // As the scheduler does every two seconds while two months pass in two minutes.
                await log.FlushAsync(MonitorHost.Cancel);
                windows += (await host.RunAsync()).WindowsEvaluated;
            }
        }

        Assert.Equal(hours, windows);
        Assert.Equal(hours / 6, host.Series("performance", "label_coverage").Count);
    }
}
