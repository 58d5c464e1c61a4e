using Slipway.Contracts.Host;
using Slipway.Storage;
using Slipway.Storage.Backups;

namespace Slipway.Web;

/// <summary>The database of a server that is not running here: what <c>slipway db</c> does.</summary>
public static class ServerDatabase
{
    /// <summary>Engine, size and schema.</summary>
    public static DatabaseStatus Status(ServerOptions options) => Maintenance(options).Status();

    /// <summary>Applies the migrations that are missing.</summary>
    public static DatabaseMigration Migrate(ServerOptions options) => Maintenance(options).Migrate();

    /// <summary>Writes a backup while servers may go on.</summary>
    /// <param name="options">Where the database is.</param>
    /// <param name="file">Where to; must not be there yet.</param>
    /// <param name="progress">Told the rows written and the rows there are.</param>
    public static DatabaseBackup Backup(ServerOptions options, string file, Action<long, long> progress) => Maintenance(options).Backup(file, progress);

    /// <summary>Fills the database from a backup; no server may run on this data folder.</summary>
    /// <param name="options">Where the database is.</param>
    /// <param name="file">The backup.</param>
    /// <param name="force">Throw away what the database holds now.</param>
    /// <param name="progress">Told the rows read and the rows there are.</param>
    public static DatabaseBackup Restore(ServerOptions options, string file, bool force, Action<long, long> progress)
    {
        using var data = DataDirectoryLock.Take(options.DataDirectory);
        return Maintenance(options).Restore(file, force, progress);
    }

    private static DatabaseMaintenance Maintenance(ServerOptions options)
    {
        var services = new ServiceCollection();
        SlipwayServer.AddAreas(services, options);
        using var provider = services.BuildServiceProvider();
        return new DatabaseMaintenance(provider.GetRequiredService<StorageOptions>(), provider.GetServices<MigrationSet>(), TimeProvider.System);
    }
}
