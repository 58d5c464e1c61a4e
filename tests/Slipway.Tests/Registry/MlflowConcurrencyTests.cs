using Slipway.Tracking;
using static Slipway.Tests.Registry.RegistryHost;

namespace Slipway.Tests.Registry;

public sealed class MlflowConcurrencyTests
{
    [Fact, Trait("capability", "X-29")]
    public async Task Sixty_four_registrations_at_once_get_the_numbers_one_to_sixty_four_through_both_doors()
    {
        await using var host = await RegistryHost.StartAsync(services => services.AddSlipwayTracking(), app => app.MapSlipwayTracking());
        var (_, experiment) = await host.Area.PostAsync("/api/2.0/mlflow/experiments/create", new { name = "e" });
        var (_, run) = await host.Area.PostAsync("/api/2.0/mlflow/runs/create", new { experiment_id = experiment.GetProperty("experiment_id").GetString() });
        var source = $"runs:/{run.GetProperty("run").GetProperty("info").GetProperty("run_id").GetString()}/model";
        await host.Area.PostAsync("/api/2.0/mlflow/registered-models/create", new { name = Model });
        var own = await host.RequestAsync();

        var answers = await Task.WhenAll(Enumerable.Range(0, 64).Select(i => i % 4 == 0
            ? Task.Run(async () => (Status: 200, Number: (await host.Registry.RegisterAsync(own, Ada, default)).Number))
            : Task.Run(async () =>
            {
                var (status, body) = await host.Area.PostAsync("/api/2.0/mlflow/model-versions/create", new { name = Model, source });
                return (Status: status, Number: status == 200 ? int.Parse(body.GetProperty("model_version").GetProperty("version").GetString()!, System.Globalization.CultureInfo.InvariantCulture) : 0);
            })));

        Assert.All(answers, answer => Assert.Equal(200, answer.Status));
        Assert.Equal(Enumerable.Range(1, 64), answers.Select(answer => answer.Number).Order());
        Assert.Equal(64, host.Registry.ListVersions(Model).Select(version => version.Version).Distinct().Count());
    }
}
