using System.Data.Common;
using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Slipway.Contracts;
using Slipway.Storage.Audit;
using Slipway.Storage.Engines;

namespace Slipway.Storage;

/// <summary>One project's numbered SQL files, embedded as <c>Migrations/NNNN-title.sql</c>.</summary>
/// <param name="Area">The project's short name, such as <c>registry</c>.</param>
/// <param name="Assembly">Where the files are embedded.</param>
public sealed record MigrationSet(string Area, Assembly Assembly)
{
    /// <summary>The set of the assembly that holds <typeparamref name="T"/>.</summary>
    public static MigrationSet Of<T>(string area) => new(area, typeof(T).Assembly);

    internal IReadOnlyList<Migration> Load()
    {
        var files = new List<Migration>();
        foreach (var resource in Assembly.GetManifestResourceNames().Where(name => name.EndsWith(".sql", StringComparison.Ordinal)))
        {
            // "Slipway.Registry.Migrations.0001-models.sql"
            var file = resource[(resource.IndexOf(".Migrations.", StringComparison.Ordinal) + ".Migrations.".Length)..];
            using var reader = new StreamReader(Assembly.GetManifestResourceStream(resource)!, Encoding.UTF8);
            files.Add(new Migration(Area, int.Parse(file.AsSpan(0, 4), CultureInfo.InvariantCulture), file, reader.ReadToEnd()));
        }

        return [.. files.OrderBy(file => file.Number)];
    }
}

/// <summary>One numbered SQL file, in SQLite's spelling.</summary>
internal sealed record Migration(string Area, int Number, string Name, string Sql)
{
    public string Sha256 => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Sql)));
}

/// <summary>Applies the numbered SQL files, each once, all in one transaction, so that a stop in between leaves the old schema whole.</summary>
internal static class Migrator
{
    private const string Table =
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            area TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at_ms INTEGER NOT NULL,
            PRIMARY KEY (area, number)) STRICT
        """;

    /// <summary>Applies what is missing.</summary>
    /// <returns>The files applied now.</returns>
    /// <exception cref="SlipwayException">FailedPrecondition: the database has a migration that this build does not know.</exception>
    public static IReadOnlyList<Migration> Apply(DatabaseEngine engine, IEnumerable<MigrationSet> sets, TimeProvider clock)
    {
        try
        {
            var connection = engine.Begin();
            MakeTable(engine, connection);
            var missing = Missing(connection, [.. sets.SelectMany(set => set.Load())]);
            foreach (var file in missing)
            {
                Run(engine, connection, file);
                Record(connection, file, clock);
            }

            Protect(engine, connection);
            engine.Commit();
            return missing;
        }
        catch
        {
            engine.RollBack();
            throw;
        }
    }

    /// <summary>What this build knows and the database has not.</summary>
    public static IReadOnlyList<Migration> Missing(DbConnection connection, IReadOnlyList<Migration> known)
    {
        var applied = connection.Query<(string Area, long Number)>("SELECT area, number FROM schema_migrations").ToHashSet();
        DemandKnown(applied, known);
        return [.. known.Where(file => !applied.Contains((file.Area, file.Number)))];
    }

    /// <summary>Refuses a database or a backup that a newer build has written.</summary>
    public static void DemandKnown(IEnumerable<(string Area, long Number)> applied, IReadOnlyList<Migration> known)
    {
        var numbers = known.ToLookup(file => file.Area, file => (long)file.Number);
        foreach (var (area, number) in applied.OrderByDescending(row => row.Number))
        {
            if (numbers[area].Any() && !numbers[area].Contains(number))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition,
                    $"The database holds {area} migration {number}, but this build knows only {numbers[area].Max()}; start the newer build again or restore a backup.");
            }
        }
    }

    /// <summary>Lets the database refuse changes to what is only ever added to.</summary>
    public static void Protect(DatabaseEngine engine, DbConnection connection)
    {
        foreach (var (table, key) in AuditTrail.AppendOnly)
        {
            engine.MakeAppendOnly(connection, table, key);
        }
    }

    /// <summary>Makes the table that says which files were applied.</summary>
    public static void MakeTable(DatabaseEngine engine, DbConnection connection) => connection.Execute(engine.Translate(Table));

    public static void Run(DatabaseEngine engine, DbConnection connection, Migration file) => connection.Execute(engine.Translate(file.Sql), commandTimeout: 0);

    public static void Record(DbConnection connection, Migration file, TimeProvider clock) => connection.Execute(
        "INSERT INTO schema_migrations (area, number, name, sha256, applied_at_ms) VALUES (@Area, @Number, @Name, @Sha256, @now)",
        new { file.Area, file.Number, file.Name, file.Sha256, now = clock.GetUtcNow().ToUnixTimeMilliseconds() });
}
