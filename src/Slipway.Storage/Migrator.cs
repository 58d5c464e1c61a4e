using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Microsoft.Data.Sqlite;
using Slipway.Contracts;

namespace Slipway.Storage;

/// <summary>One project's numbered SQL files, embedded as <c>Migrations/NNNN-title.sql</c>.</summary>
/// <param name="Area">The project's short name, such as <c>registry</c>.</param>
/// <param name="Assembly">Where the files are embedded.</param>
public sealed record MigrationSet(string Area, Assembly Assembly)
{
    /// <summary>The set of the assembly that holds <typeparamref name="T"/>.</summary>
    public static MigrationSet Of<T>(string area) => new(area, typeof(T).Assembly);

    internal IReadOnlyList<(int Number, string Name, string Sql)> Load()
    {
        var files = new List<(int, string, string)>();
        foreach (var resource in Assembly.GetManifestResourceNames().Where(name => name.EndsWith(".sql", StringComparison.Ordinal)))
        {
            // "Slipway.Registry.Migrations.0001-models.sql"
            var file = resource[(resource.IndexOf(".Migrations.", StringComparison.Ordinal) + ".Migrations.".Length)..];
            using var reader = new StreamReader(Assembly.GetManifestResourceStream(resource)!, Encoding.UTF8);
            files.Add((int.Parse(file.AsSpan(0, 4), System.Globalization.CultureInfo.InvariantCulture), file, reader.ReadToEnd()));
        }

        return [.. files.OrderBy(file => file.Item1)];
    }
}

/// <summary>Applies the numbered SQL files, each once, all in one transaction, so that a stop in between leaves the old schema whole.</summary>
internal static class Migrator
{
    public static void Apply(SqliteConnection connection, IEnumerable<MigrationSet> sets, TimeProvider clock)
    {
        var knowsStrict = Version.Parse(connection.ServerVersion) >= new Version(3, 37);
        connection.Execute("BEGIN EXCLUSIVE");
        try
        {
            connection.Execute(Portable(
                """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    area TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at_ms INTEGER NOT NULL,
                    PRIMARY KEY (area, number)) STRICT
                """, knowsStrict));
            var applied = connection.Query<(string Area, long Number, string Name)>("SELECT area, number, name FROM schema_migrations").ToList();
            foreach (var set in sets)
            {
                var files = set.Load();
                var newest = applied.Where(row => row.Area == set.Area).Select(row => row.Number).DefaultIfEmpty(0).Max();
                if (newest > files.Count)
                {
                    throw new SlipwayException(ErrorCode.FailedPrecondition,
                        $"The database holds {set.Area} migration {newest}, but this build knows only {files.Count}; start the newer build again or restore a backup.");
                }

                foreach (var (number, name, sql) in files.Where(file => file.Number > newest))
                {
                    connection.Execute(Portable(sql, knowsStrict));
                    connection.Execute(
                        "INSERT INTO schema_migrations (area, number, name, sha256, applied_at_ms) VALUES (@area, @number, @name, @sha256, @now)",
                        new { area = set.Area, number, name, sha256 = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(sql))), now = clock.GetUtcNow().ToUnixTimeMilliseconds() });
                }
            }

            connection.Execute("COMMIT");
        }
        catch
        {
            connection.Execute("ROLLBACK");
            throw;
        }
    }

    // STRICT only guards against values of a wrong type; a library without it (before 3.37) holds the same tables.
    private static string Portable(string sql, bool knowsStrict) =>
        knowsStrict ? sql : sql.Replace(") STRICT, WITHOUT ROWID", ") WITHOUT ROWID", StringComparison.Ordinal).Replace(") STRICT", ")", StringComparison.Ordinal);
}
