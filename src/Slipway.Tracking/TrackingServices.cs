using Microsoft.Extensions.DependencyInjection;
using Slipway.Storage;
using Slipway.Storage.Definitions;
using Slipway.Tracking.Configs;
using Slipway.Tracking.Discipline;
using Slipway.Tracking.Traces;

namespace Slipway.Tracking;

/// <summary>Registers experiments and runs.</summary>
public static class TrackingServices
{
    /// <summary>Adds the stores and their tables.</summary>
    public static IServiceCollection AddSlipwayTracking(this IServiceCollection services) =>
        services.AddSingleton(MigrationSet.Of<RunStore>("tracking")).AddSingleton<ExperimentStore>().AddSingleton<ArtifactStore>().AddSingleton<DirectArtifacts>().AddSingleton<RunStore>().AddSingleton<LoggedModelStore>()
            .AddSingleton<MultipartUploads>().AddSingleton<ScorerStore>().AddSingleton<RunModelHistory>().AddSingleton<MetricHistories>().AddSingleton<RunIntake>()
            .AddSingleton<MetricSeries>().AddSingleton<RunTable>().AddSingleton<RunBin>().AddSingleton<ConfigComparer>().AddSingleton<ExperimentOverview>()
            .AddSingleton<ExperimentDiscipline>().AddSingleton<IDefinitionKind, ExperimentKind>()
            .AddSingleton<INodeDescriber, TrackingNodes>().AddTraces();
}
