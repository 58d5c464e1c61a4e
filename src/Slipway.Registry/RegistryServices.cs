using Microsoft.Extensions.DependencyInjection;
using Slipway.Registry.Mlflow;
using Slipway.Registry.Provenance;
using Slipway.Registry.Stages;
using Slipway.Registry.Webhooks;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Registry;

/// <summary>Registers models and versions.</summary>
public static class RegistryServices
{
    /// <summary>Adds the registry, its tables, lineage queries, the delivery of its webhooks, and the <c>policy</c> and <c>requirement</c> kinds.</summary>
    /// <param name="services">To add to.</param>
    /// <param name="webhooks">Changes how webhooks are delivered; null for the defaults.</param>
    public static IServiceCollection AddSlipwayRegistry(this IServiceCollection services, Action<WebhookOptions>? webhooks = null)
    {
        var options = new WebhookOptions();
        webhooks?.Invoke(options);
        return services
        .AddSingleton(MigrationSet.Of<ModelRegistry>("registry"))
        .AddSingleton<GateSources>()
        .AddSingleton<ModelRegistry>()
        .AddSingleton<LineageQueries>()
        .AddSingleton<INodeDescriber, RegistryNodes>()
        .AddSingleton<IDefinitionKind, RequirementKind>()
        .AddSingleton<RegistrySearch>()
        .AddSingleton<ModelSources>()
        .AddSingleton<MlflowRegistration>()
        .AddSingleton(options)
        .AddSingleton<WebhookSender>()
        .AddSingleton<WebhookStore>()
        .AddHostedService<WebhookDispatcher>()
        .AddSingleton<IDefinitionKind, PolicyKind>();
    }

    /// <summary>Measures each new version in the background, in a process of its own.</summary>
    public static IServiceCollection AddSlipwayBenchmarks(this IServiceCollection services) => services.AddHostedService<VersionBenchmarks>();
}
