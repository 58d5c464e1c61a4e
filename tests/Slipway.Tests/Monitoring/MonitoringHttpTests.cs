using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Slipway.Contracts.Monitoring;
using Slipway.Datasets;
using Slipway.Monitoring;
using Slipway.Monitoring.Definitions;
using Slipway.Pipelines;
using Slipway.Pipelines.Runs;
using Slipway.Pipelines.Stages;
using Slipway.Serving;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Monitoring;

public sealed class MonitoringHttpTests
{
    private const string Root = "/api/slipway/v1";

    private static Task<AreaHost> StartAsync() => AreaHost.StartAsync(
        services =>
        {
            services.AddSlipwayDatasets();
            services.AddSingleton(new ServingOptions());
            services.AddSingleton<PredictionLog>();
            services.AddSingleton<LabelLog>();
            services.AddSlipwayPipelines();
            services.RemoveAll<StageKind>();
            services.Remove(services.Single(service => service.ImplementationType == typeof(PipelineRunner))); // Needs a registry; no pipeline runs here.
            services.AddSingleton(new BaselineSource((_, version) => version == "1.0.0" ? MonitorHost.Baseline() : null));
            services.AddSingleton(new MonitoringOptions { Tick = TimeSpan.FromMilliseconds(20) });
            services.AddSlipwayMonitoring();
        },
        app => app.MapSlipwayMonitoring());

    [Fact, Trait("capability", "MON-18")]
    public async Task The_scheduler_evaluates_by_itself_and_the_routes_show_what_it_found()
    {
        await using var host = await StartAsync();
        Assert.Equal("[]", (await host.GetAsync($"{Root}/monitors")).Body.GetRawText());
        await new MonitorKind(host.Service<Database>()).ApplyAsync(MonitorHost.Yaml, MonitorHost.Ada, MonitorHost.Cancel);
        var arm = new Arm(ArmRole.Stable, ServingFixtures.Model("1.0.0"));
        for (var i = 0; i < 24 * 30 + 1; i++)
        {
            host.Service<PredictionLog>().Append(arm, $"p-{i}", MonitorHost.May.ToUnixTimeMilliseconds() + i * 120_000L, [350f, i % 2 * 12f], 0.1f);
        }

        JsonElement summary;
        do
        {
            summary = (await host.GetAsync($"{Root}/monitors")).Body[0];
        }
        while (summary.GetProperty("windows").GetInt32() < 24);

        Assert.Equal("act", summary.GetProperty("band").GetString());
        var (status, monitor) = await host.GetAsync($"{Root}/monitors/delay");
        Assert.Equal(200, status);
        Assert.Equal("1.0.0", monitor.GetProperty("version").GetString());
        Assert.Contains("0.0001", monitor.GetProperty("method").GetProperty("zero_fill").GetString(), StringComparison.Ordinal);
        Assert.Equal(24, (await host.GetAsync($"{Root}/monitors/delay/results?subject=flight:distance&metric=psi")).Body.GetArrayLength());
        Assert.Equal(3, (await host.GetAsync($"{Root}/monitors/delay/results?subject=flight:distance&metric=psi&points=3")).Body.GetArrayLength());
        Assert.Equal(2, (await host.GetAsync($"{Root}/monitors/delay/results?subject=prediction&metric=psi&from=2001-05-01T22:00:00Z")).Body.GetArrayLength());
        Assert.Equal("2001-05", (await host.GetAsync($"{Root}/monitors/delay/drift?by=month")).Body[0].GetProperty("month").GetString());
        var alert = (await host.GetAsync($"{Root}/alerts?monitor=delay&open=true")).Body[0];
        Assert.Equal("flight-desk", alert.GetProperty("owner").GetString());
        Assert.Equal("drift", alert.GetProperty("kind").GetString());
        var acknowledged = await host.PostAsync($"{Root}/alerts/{alert.GetProperty("id").GetString()}/acknowledge", new { comment = "on it" });
        Assert.Equal((200, "ada"), (acknowledged.Status, acknowledged.Body.GetProperty("acknowledged_by").GetString()));
        var run = await host.PostAsync($"{Root}/monitors/delay/run", "");
        Assert.Equal((200, 0), (run.Status, run.Body.GetProperty("windows_evaluated").GetInt32()));
    }

    [Theory]
    [InlineData("GET", "/monitors/none", 404)]
    [InlineData("GET", "/monitors/none/results", 404)]
    [InlineData("GET", "/monitors/none/drift", 404)]
    [InlineData("POST", "/monitors/none/run", 404)]
    [InlineData("POST", "/alerts/none/acknowledge", 404)]
    [InlineData("GET", "/monitors/none/drift?by=week", 400)]
    [InlineData("GET", "/monitors/none/results?points=0", 400)]
    public async Task Requests_that_cannot_be_answered_say_why(string method, string path, int expected)
    {
        await using var host = await StartAsync();

        var (status, body) = await host.SendAsync(new HttpMethod(method), Root + path);

        Assert.Equal(expected, status);
        Assert.NotEmpty(body.GetProperty("message").GetString()!);
    }

    [Fact]
    public async Task The_flights_monitor_is_valid()
    {
        var monitor = MonitorDefinition.Parse(Slipway.Storage.Definitions.DefinitionYaml.Parse(
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "examples", "flights", "monitor.yaml"), MonitorHost.Cancel)));

        Assert.Equal(("flight-delay", "flight-delay"), (monitor.Name, monitor.Model));
        Assert.Equal((0.1, 0.2, 0.02, 0.05), (monitor.PsiInvestigate, monitor.PsiAct, monitor.Performance!.WarningDrop, monitor.Performance.CriticalDrop));
        Assert.Equal([AlertKind.Drift, AlertKind.Performance], monitor.Actions.Single().On);
    }
}
