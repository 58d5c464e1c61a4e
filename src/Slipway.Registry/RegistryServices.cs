using Microsoft.Extensions.DependencyInjection;
using Slipway.Registry.Stages;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Registry;

/// <summary>Registers models and versions.</summary>
public static class RegistryServices
{
    /// <summary>Adds the registry, its tables and the <c>policy</c> kind.</summary>
    public static IServiceCollection AddSlipwayRegistry(this IServiceCollection services) => services
        .AddSingleton(MigrationSet.Of<ModelRegistry>("registry"))
        .AddSingleton<ModelRegistry>()
        .AddSingleton<IDefinitionKind, PolicyKind>();
}
