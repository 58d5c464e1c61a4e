using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Storage;

/// <summary>Registers the stores.</summary>
public static class StorageServices
{
    /// <summary>Adds the database (opened, with every registered <see cref="MigrationSet"/> applied, on first use), blobs, online values, audit, lineage, outbox and leases.</summary>
    public static IServiceCollection AddSlipwayStorage(this IServiceCollection services, StorageOptions options)
    {
        services.AddSingleton(options);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(MigrationSet.Of<Database>("storage"));
        services.AddSingleton(provider => Database.Open(
            options, provider.GetServices<MigrationSet>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<Database>>()));
        services.AddSingleton(provider => BlobStore.Open(provider.GetRequiredService<StorageOptions>()));
        services.AddSingleton<KeyValueStore>();
        services.AddSingleton<SecretBox>();
        services.AddSingleton<AuditTrail>();
        services.AddSingleton<AuditCheckpoints>();
        services.AddSingleton<Lineage>();
        services.AddSingleton<NodeDirectory>();
        services.AddSingleton<Outbox>();
        services.AddSingleton<Leases>();
        services.AddSingleton<DefinitionStore>();
        services.AddSingleton<INodeDescriber, DefinitionNodes>();
        return services;
    }

    /// <summary>Adds the service that signs audit checkpoints while the host runs, and at shutdown.</summary>
    public static IServiceCollection AddSlipwayAuditCheckpoints(this IServiceCollection services) => services.AddHostedService<AuditCheckpointer>();
}
