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
        services.AddSingleton<BlobStore>();
        services.AddSingleton<KeyValueStore>();
        services.AddSingleton<AuditTrail>();
        services.AddSingleton<Lineage>();
        services.AddSingleton<Outbox>();
        services.AddSingleton<Leases>();
        services.AddSingleton<DefinitionStore>();
        return services;
    }
}
