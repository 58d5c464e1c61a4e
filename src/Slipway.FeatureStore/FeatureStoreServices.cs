using Microsoft.Extensions.DependencyInjection;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>Registers the feature store.</summary>
public static class FeatureStoreServices
{
    /// <summary>Adds the registry, the offline and online stores, and the definition kinds <c>feature_view</c> and <c>feature_service</c>.</summary>
    public static IServiceCollection AddSlipwayFeatureStore(this IServiceCollection services)
    {
        services.AddSingleton(MigrationSet.Of<FeatureRegistry>("feature-store"));
        services.AddSingleton<FeatureRegistry>();
        services.AddSingleton<OfflineStore>();
        services.AddSingleton<OnlineStore>();
        services.AddSingleton<IDefinitionKind, FeatureViewKind>();
        services.AddSingleton<IDefinitionKind, FeatureServiceKind>();
        services.AddSingleton<INodeDescriber, FeatureNodes>();
        return services;
    }
}
