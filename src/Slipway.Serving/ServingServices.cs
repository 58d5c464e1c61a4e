using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Slipway.Registry;
using Slipway.Serving.Deployments;
using Slipway.Serving.Folder;
using Slipway.Serving.Grpc;
using Slipway.Serving.Labels;
using Slipway.Serving.Predictions;
using Slipway.Serving.Protocol;
using Slipway.Serving.Queues;
using Slipway.Serving.Remote;
using Slipway.Serving.Reviews;
using Slipway.Serving.Rollouts;
using Slipway.Serving.Slos;
using Slipway.Serving.Streams;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving;

/// <summary>Registers serving.</summary>
public static class ServingServices
{
    /// <summary>Adds the request path, its logs, the deployments and the rollouts.</summary>
    public static IServiceCollection AddSlipwayServing(this IServiceCollection services, Action<ServingOptions>? configure = null)
    {
        var options = new ServingOptions();
        configure?.Invoke(options);
        services.AddMetrics();
        services.AddSingleton(options);
        services.AddSingleton(MigrationSet.Of<ModelRouter>("serving"));
        services.AddSingleton<FeatureServing>();
        services.AddSingleton(options.RemoteHosts);
        services.AddSingleton<RemoteClient>();
        services.AddSingleton<ModelLoader>();
        services.AddSingleton(provider => new ModelRouter(provider.GetRequiredService<ModelLoader>().Load));
        services.AddSingleton<ModelFolder>();
        services.AddSingleton<PinnedVersions>();
        services.AddSingleton<PredictionLog>();
        services.AddSingleton<LoggedPredictions>();
        services.AddSingleton<PredictionRetention>();
        services.AddHostedService(provider => provider.GetRequiredService<PredictionRetention>());
        services.AddSingleton<LabelLog>();
        services.AddSingleton<ShadowMirror>();
        services.AddSingleton<IDefinitionKind, ServingKind>();
        services.AddHostedService<IdleVersions>();
        services.AddSingleton<Inference>();
        services.AddSingleton<InferHandler>();
        services.AddSingleton<ServedModels>();
        services.AddSingleton(provider => new GrpcRoutes(
            provider.GetRequiredService<Inference>(), provider.GetRequiredService<ServedModels>(), provider.GetRequiredService<DeploymentReports>(), options,
            provider.GetRequiredService<IHostApplicationLifetime>()));
        services.AddSingleton<DeploymentStore>();
        services.AddSingleton<INodeDescriber, ServingNodes>();
        services.AddSingleton<Deployer>();
        services.AddSingleton<TrafficTimeline>();
        services.AddSingleton(provider => new DeploymentReports(
            provider.GetRequiredService<ModelRouter>(), provider.GetRequiredService<ModelRegistry>(), provider.GetRequiredService<DeploymentStore>(),
            provider.GetRequiredService<PredictionLog>(), provider.GetRequiredService<Deployer>(), provider.GetRequiredService<ModelFolder>(), provider.GetRequiredService<TrafficTimeline>(),
            provider.GetRequiredService<Rollouts.RolloutController>(), provider.GetRequiredService<PinnedVersions>(), provider.GetRequiredService<DefinitionStore>(), provider.GetRequiredService<IMeterFactory>()));
        services.AddHostedService(provider => provider.GetRequiredService<Deployer>());
        services.AddHostedService(provider => provider.GetRequiredService<ModelFolder>());
        services.AddHostedService(provider => provider.GetRequiredService<ShadowMirror>());
        services.AddHostedService(provider => provider.GetRequiredService<TrafficTimeline>());
        services.AddSingleton(provider => new ReviewStore(
            provider.GetRequiredService<Database>(), provider.GetRequiredService<DefinitionStore>(), provider.GetRequiredService<LabelLog>(), provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<IDefinitionKind, ReviewKind>();
        services.AddSingleton(provider =>
        {
            var collector = ActivatorUtilities.CreateInstance<ReviewCollector>(provider);
            provider.GetRequiredService<PredictionLog>().Look = collector.Look;
            return collector;
        });
        services.AddHostedService(provider => provider.GetRequiredService<ReviewCollector>());
        services.AddSingleton<StreamStore>();
        services.AddSingleton<IDefinitionKind, StreamKind>();
        services.AddSingleton<StreamService>();
        services.AddHostedService(provider => provider.GetRequiredService<StreamService>());
        services.AddSingleton<SloStore>();
        services.AddSingleton<IDefinitionKind, SloKind>();
        services.AddSingleton(provider => new SloReports(provider.GetRequiredService<SloStore>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<IMeterFactory>()));
        services.AddSingleton<SloEvaluator>();
        services.AddHostedService(provider => provider.GetRequiredService<SloEvaluator>());
        services.AddSlipwayRollouts();
        return services;
    }
}
