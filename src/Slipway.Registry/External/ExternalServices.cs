using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Datasets;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Tracking;

namespace Slipway.Registry.External;

/// <summary>Registers the mirror of an external registry.</summary>
public static class ExternalServices
{
    /// <summary>Adds the mirror when the options name a server; it needs the registry and tracking.</summary>
    public static IServiceCollection AddExternalRegistry(this IServiceCollection services, ExternalRegistryOptions? options)
    {
        if (options is null)
        {
            return services;
        }

        services.AddSingleton(options);
        services.AddSingleton<MlflowServer>();
        services.AddSingleton(provider => new VersionFactsReader(
            provider.GetRequiredService<MlflowServer>(), options, provider.GetRequiredService<BlobStore>(), provider.GetRequiredService<RunIntake>(), provider.GetService<DatasetStore>()));
        services.AddSingleton(provider => new ExternalRegistry(
            options, provider.GetRequiredService<MlflowServer>(), provider.GetRequiredService<VersionFactsReader>(), provider.GetRequiredService<Database>(), provider.GetRequiredService<Outbox>(),
            provider.GetRequiredService<Leases>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<ExternalRegistry>>()));
        services.AddHostedService<ExternalSync>();
        return services;
    }
}
