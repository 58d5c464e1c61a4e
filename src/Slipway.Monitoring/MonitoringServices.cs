using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Slipway.Monitoring.Definitions;
using Slipway.Registry;
using Slipway.Serving.Predictions;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring;

/// <summary>Registers monitoring.</summary>
public static class MonitoringServices
{
    /// <summary>Adds the <c>monitor</c> kind, the stores and the scheduler. Needs the prediction and label logs, the registry, pipelines, and the shared DuckDB.</summary>
    public static IServiceCollection AddSlipwayMonitoring(this IServiceCollection services)
    {
        services.AddSingleton(MigrationSet.Of<MonitorStore>("monitoring"));
        services.TryAddSingleton<MonitoringOptions>();
        services.AddSingleton<IDefinitionKind, MonitorKind>();
        services.TryAddSingleton(provider => BaselineSource.Of(provider.GetRequiredService<ModelRegistry>(), provider.GetRequiredService<BlobStore>()));
        services.AddSingleton<INodeDescriber, MonitorNodes>();
        services.AddSingleton<WindowWriter>();
        services.AddSingleton<ActionStarter>();
        services.AddMetrics();
        services.AddSingleton<DriftGauges>();
        services.AddSingleton<MonitorRunner>();
        services.AddSingleton(provider => new MonitorRuns(provider.GetRequiredService<MonitorRunner>()));
        services.AddSingleton(provider => new MonitorStore(
            provider.GetRequiredService<Database>(), provider.GetRequiredService<DefinitionStore>(), provider.GetRequiredService<PredictionLog>(), provider.GetRequiredService<BaselineSource>()));
        services.AddHostedService<MonitorScheduler>();
        return services;
    }
}
