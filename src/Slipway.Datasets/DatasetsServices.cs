using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Slipway.Native.DuckDb;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Datasets;

/// <summary>Registers the dataset stores, and the one DuckDB that all areas share.</summary>
public static class DatasetsServices
{
    /// <summary>Adds <see cref="DatasetStore"/>, the definition kind <c>dataset</c> and the shared <see cref="DuckDbDatabase"/>.</summary>
    public static IServiceCollection AddSlipwayDatasets(this IServiceCollection services)
    {
        services.AddSingleton(MigrationSet.Of<DatasetStore>("datasets"));
        services.AddSingleton<DatasetStore>();
        services.AddSingleton<IDefinitionKind, DatasetDefinitionKind>();
        services.AddSingleton<INodeDescriber, DatasetNodes>();
        services.TryAddSingleton(provider => OpenDuckDb(provider.GetRequiredService<StorageOptions>()));
        return services;
    }

    /// <summary>
    /// The server's DuckDB: in memory, bounded, spilling to the temporary folder. It reads and writes the stores' own folders only,
    /// since the SQL of definitions is written by users.
    /// </summary>
    public static DuckDbDatabase OpenDuckDb(StorageOptions options)
    {
        // Folders must exist before the allow-list is fixed: links in their paths are resolved then.
        string[] folders = [options.BlobLocation is null ? options.BlobDirectory : options.CacheDirectory, options.TemporaryDirectory, options.ColumnsDirectory];
        foreach (var folder in folders)
        {
            Directory.CreateDirectory(folder);
        }

        return DuckDbDatabase.InMemoryOnFirstUse(new DuckDbOptions
        {
            MemoryLimit = "1GB",
            Threads = 2,
            TempDirectory = options.TemporaryDirectory,
            AllowedDirectories = folders,
        });
    }
}
