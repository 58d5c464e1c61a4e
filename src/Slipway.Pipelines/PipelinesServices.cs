using Microsoft.Extensions.DependencyInjection;
using Slipway.Datasets;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Reproductions;
using Slipway.Pipelines.Runs;
using Slipway.Pipelines.Stages;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines;

/// <summary>Registers pipelines.</summary>
public static class PipelinesServices
{
    /// <summary>Adds the pipeline kind, its stages, the service and the background runner.</summary>
    public static IServiceCollection AddSlipwayPipelines(this IServiceCollection services)
    {
        services.AddSingleton(MigrationSet.Of<PipelineService>("pipelines"));
        services.AddSingleton<PipelineKind>();
        services.AddSingleton<IDefinitionKind>(provider => provider.GetRequiredService<PipelineKind>());
        services.AddSingleton<StageKind, IngestStage>();
        services.AddSingleton<StageKind, ValidateStage>();
        services.AddSingleton<StageKind, FeaturesStage>();
        services.AddSingleton<StageKind, TrainStage>();
        services.AddSingleton<StageKind, EvaluateStage>();
        services.AddSingleton<StageKind, RegisterStage>();
        services.AddSingleton<PipelineStore>();
        services.AddSingleton<INodeDescriber, PipelineNodes>();
        services.AddSingleton<StageCache>();
        services.AddSingleton<RunProgress>();
        services.AddSingleton(provider => new PipelineService(
            provider.GetRequiredService<DefinitionStore>(), provider.GetRequiredService<PipelineKind>(),
            provider.GetRequiredService<PipelineStore>(), provider.GetRequiredService<RunProgress>()));
        services.AddSingleton<ReproductionComparer>();
        services.AddSingleton(provider => new ReproductionService(
            provider.GetRequiredService<ModelRegistry>(), provider.GetRequiredService<DatasetStore>(), provider.GetRequiredService<Database>(),
            provider.GetRequiredService<PipelineKind>(), provider.GetRequiredService<PipelineStore>(), provider.GetRequiredService<RunProgress>(),
            provider.GetRequiredService<TimeProvider>()));
        services.AddHostedService<PipelineRunner>();
        return services;
    }
}
