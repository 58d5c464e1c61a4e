using Dapper;
using Npgsql;
using Slipway.Storage;
using Slipway.Storage.Audit;

namespace Slipway.Tests.Hosting;

/// <summary>
/// Which database the tests run on: SQLite, or with <c>SLIPWAY_TEST_POSTGRES</c> (a postgresql:// address without a query) that
/// PostgreSQL server, where each data folder has a schema of its own, some of them to a database: a new connection reads the catalogue, which
/// takes the longer the more schemas there are.
/// </summary>
internal static class TestDatabase
{
    /// <summary>Why a test that looks into SQLite's files is left out.</summary>
    public const string SqliteOnly = "It looks into SQLite's files.";

    private const int SchemasOfDatabase = 25;

    private static readonly string? Cluster = Environment.GetEnvironmentVariable("SLIPWAY_TEST_POSTGRES") is { Length: > 0 } address ? address : null;
    private static readonly Dictionary<string, string> Known = new(StringComparer.Ordinal);

    public static bool IsPostgres => Cluster is not null;

    /// <summary>The value of --database for a data folder; null for SQLite. The same folder leads to the same schema.</summary>
    public static string? Address(string folder)
    {
        if (Cluster is null)
        {
            return null;
        }

        lock (Known)
        {
            if (!Known.TryGetValue(folder, out var address))
            {
                var database = $"t{Environment.ProcessId}_{Known.Count / SchemasOfDatabase}";
                if (Known.Count % SchemasOfDatabase == 0)
                {
                    Create(database);
                }

                address = $"{Cluster[..Cluster.LastIndexOf('/')]}/{database}?search_path=t_{Known.Count % SchemasOfDatabase}&pool_size=8&connect_timeout=60";
                Known.Add(folder, address);
            }

            return address;
        }
    }

    public static StorageOptions Options(string folder) => StorageOptions.Resolve(folder, Address(folder));

    /// <summary>What someone who may alter tables does first: takes away the database's own guard of the audit trail.</summary>
    public static Task AllowTamperingAsync(Database database) => database.WriteAsync(transaction =>
    {
        foreach (var (table, _) in AuditTrail.AppendOnly)
        {
            transaction.Connection.Execute(IsPostgres
                ? $"DROP TRIGGER {table}_append_only ON {table}"
                : $"DROP TRIGGER {table}_no_update; DROP TRIGGER {table}_no_delete; DROP TRIGGER {table}_no_replace");
        }
    }, CancellationToken.None);

    /// <summary>Lets every change of a table fail from now on, as a fault in the middle of a longer change does.</summary>
    public static string FailWhere(Database database, string table, string condition) => database.Dialect == SqlDialect.Postgres
        ? $"ALTER TABLE {table} ADD CONSTRAINT refused CHECK (NOT ({condition})) NOT VALID"
        : $"""
           CREATE TRIGGER refused_insert BEFORE INSERT ON {table} WHEN NEW.{condition} BEGIN SELECT RAISE(ABORT, 'no'); END;
           CREATE TRIGGER refused_update BEFORE UPDATE ON {table} WHEN NEW.{condition} BEGIN SELECT RAISE(ABORT, 'no'); END
           """;

    private static void Create(string database)
    {
        var server = new Uri(Cluster!);
        using var connection = new NpgsqlConnection($"Host={server.Host};Port={server.Port};Username={server.UserInfo};Database={server.AbsolutePath.Trim('/')};Pooling=false;Timeout=60;Command Timeout=120");
        connection.Open();
        connection.Execute($"CREATE DATABASE {database}");
    }
}
