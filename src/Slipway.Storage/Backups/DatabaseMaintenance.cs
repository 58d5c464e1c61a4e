using System.Data.Common;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Slipway.Storage.Engines;

namespace Slipway.Storage.Backups;

/// <summary>
/// Looks after a database without serving it. A backup is one zip file that either engine reads: a manifest, and each table's rows by
/// primary key in the text form of PostgreSQL's COPY, so that the same data gives the same bytes wherever it was kept.
/// </summary>
public sealed partial class DatabaseMaintenance(StorageOptions options, IEnumerable<MigrationSet> migrations, TimeProvider clock)
{
    private static readonly JsonSerializerOptions Json = JsonDefaults.Apply(new JsonSerializerOptions { WriteIndented = true });

    private readonly List<Migration> _known = [.. migrations.SelectMany(set => set.Load())];

    /// <summary>Engine, size and schema.</summary>
    /// <exception cref="SlipwayException">NotFound: there is no such file; Unavailable: the server cannot be reached.</exception>
    public DatabaseStatus Status()
    {
        using var engine = OpenExisting();
        var applied = engine.Read(connection => engine.Tables(connection).Any(table => table.Name == "schema_migrations")
            ? connection.Query<(string Area, long Number)>("SELECT area, number FROM schema_migrations").ToHashSet()
            : []);
        var areas = _known.GroupBy(file => file.Area).Select(area => new DatabaseAreaStatus(
            area.Key,
            applied.Where(row => row.Area == area.Key).Select(row => row.Number).DefaultIfEmpty(0).Max(),
            area.Max(file => file.Number),
            [.. area.Where(file => !applied.Contains((file.Area, file.Number))).Select(file => file.Name)])).ToList();
        return new DatabaseStatus(engine.Version, engine.Location, engine.SizeBytes, areas.TrueForAll(area => area.Pending.Count == 0), areas);
    }

    /// <summary>Applies what is missing; makes an SQLite file that is not there.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition: a newer build has written the database.</exception>
    public DatabaseMigration Migrate()
    {
        using var engine = Database.OpenEngine(options, patient: true);
        var applied = Migrator.Apply(engine, migrations, clock);
        return new DatabaseMigration(engine.Location, [.. applied.Select(file => $"{file.Area}/{file.Name}")]);
    }

    /// <summary>Writes all rows, as of one instant, to a new file that only its owner may read. Servers may go on meanwhile.</summary>
    /// <param name="file">Where to; must not be there yet.</param>
    /// <param name="progress">Told the rows written and the rows there are, now and then.</param>
    /// <exception cref="SlipwayException">AlreadyExists: the file; NotFound: the database.</exception>
    public DatabaseBackup Backup(string file, Action<long, long> progress)
    {
        if (File.Exists(file))
        {
            throw new SlipwayException(ErrorCode.AlreadyExists, $"'{file}' is there already; move it away or name another file.");
        }

        using var engine = OpenExisting();
        // Under another name until it is whole, so that a backup that was cut off is never taken for one.
        var partial = file + ".partial";
        try
        {
            BackupManifest manifest;
            using (var stream = new FileStream(partial, PrivateFiles.Options(FileMode.Create, FileAccess.Write)))
            {
                using (var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
                {
                    manifest = engine.Read(connection => WriteTables(engine, connection, archive, progress));
                    using var entry = archive.CreateEntry(BackupManifest.EntryName).Open();
                    JsonSerializer.Serialize(entry, manifest, Json);
                }

                stream.Flush(flushToDisk: true);
            }

            File.Move(partial, file);
            return Summary(file, engine, manifest);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Fills a database from a backup of either engine and brings its schema up to this build's, all in one transaction.</summary>
    /// <param name="file">The backup.</param>
    /// <param name="force">Throw away what the database holds now.</param>
    /// <param name="progress">Told the rows read and the rows there are, now and then.</param>
    /// <exception cref="SlipwayException">FailedPrecondition: the database is not empty, or a newer build has written the backup; InvalidArgument: the file is damaged or no backup.</exception>
    public DatabaseBackup Restore(string file, bool force, Action<long, long> progress)
    {
        using var archive = OpenArchive(file);
        var manifest = ReadManifest(archive, file);
        Migrator.DemandKnown(manifest.Migrations.Select(migration => (migration.Area, migration.Number)), _known);
        using var engine = Database.OpenEngine(options, patient: true);
        try
        {
            var connection = engine.Begin();
            Clear(engine, connection, force);
            Migrator.MakeTable(engine, connection);
            var had = manifest.Migrations.Select(migration => (migration.Area, migration.Number)).ToHashSet();
            foreach (var migration in _known.Where(migration => had.Contains((migration.Area, migration.Number))))
            {
                Migrator.Run(engine, connection, migration);
            }

            ReadTables(engine, connection, archive, manifest, progress);
            foreach (var migration in Migrator.Missing(connection, _known))
            {
                Migrator.Run(engine, connection, migration);
                Migrator.Record(connection, migration, clock);
            }

            Migrator.Protect(engine, connection);
            engine.Commit();
            return Summary(file, engine, manifest);
        }
        catch (Exception e)
        {
            engine.RollBack();
            throw e switch
            {
                FormatException or InvalidDataException or JsonException or DbException { SqlState: ['2', '2' or '3', ..] } =>
                    new SlipwayException(ErrorCode.InvalidArgument, $"'{file}' is damaged ({e.Message.TrimEnd('.')}); the database was left as it was.", e),
                _ when engine.Explain(e) is SlipwayException explained => explained,
                _ => e,
            };
        }
    }

    private DatabaseEngine OpenExisting() => options.PostgresConnection is null && !File.Exists(options.DatabasePath)
        ? throw new SlipwayException(ErrorCode.NotFound, $"There is no database at '{options.DatabasePath}'; name the data folder with --data, or the database with --database.")
        : Database.OpenEngine(options, patient: true);

    private BackupManifest WriteTables(DatabaseEngine engine, DbConnection connection, ZipArchive archive, Action<long, long> progress)
    {
        var tables = OwnTables(engine, connection);
        var expected = tables.Sum(table => connection.ExecuteScalar<long>($"SELECT count(*) FROM {table.Name}"));
        var done = 0L;
        var written = tables.Select(table =>
        {
            var entry = archive.CreateEntry($"tables/{table.Name}.copy", CompressionLevel.Fastest);
            using var stream = new LineCountingStream(entry.Open(), lines => progress(done += lines, expected));
            using (var writer = new StreamWriter(stream, new UTF8Encoding(false), 64 * 1024, leaveOpen: true))
            {
                engine.Export(connection, table, writer);
            }

            return new BackupTable(table.Name, table.Columns, stream.Lines, stream.Sha256, engine.Counter(connection, table));
        }).ToList();
        var applied = connection.Query<(string Area, long Number, string Name)>("SELECT area, number, name FROM schema_migrations ORDER BY area, number");
        return new BackupManifest(
            BackupManifest.FormatName, engine.Version, clock.GetUtcNow(), [.. applied.Select(row => new BackupMigration(row.Area, row.Number, row.Name))], written);
    }

    private static void ReadTables(DatabaseEngine engine, DbConnection connection, ZipArchive archive, BackupManifest manifest, Action<long, long> progress)
    {
        var shapes = TableShape.ParentsFirst(engine.Tables(connection)).Where(table => manifest.Tables.Any(backup => backup.Name == table.Name)).ToList();
        foreach (var table in shapes.AsEnumerable().Reverse())
        {
            connection.Execute($"DELETE FROM {table.Name}"); // What migrations put there is in the backup too.
        }

        var backups = manifest.Tables.ToDictionary(table => table.Name, StringComparer.Ordinal);
        var done = 0L;
        foreach (var table in shapes)
        {
            var backup = backups[table.Name];
            backups.Remove(table.Name);
            if (backup.Columns.Any(column => !table.Columns.Contains(column)))
            {
                throw new InvalidDataException($"table {table.Name} has other columns than its migrations make");
            }

            var entry = archive.GetEntry(backup.EntryName) ?? throw new InvalidDataException($"{backup.EntryName} is missing");
            using var stream = new LineCountingStream(entry.Open(), lines => progress(done += lines, manifest.Tables.Sum(each => each.Rows)));
            using (var reader = new StreamReader(stream, new UTF8Encoding(false, throwOnInvalidBytes: true), false, 64 * 1024, leaveOpen: true))
            {
                engine.Import(connection, table with { Columns = backup.Columns }, reader);
            }

            if (stream.Sha256 != backup.Sha256 || stream.Lines != backup.Rows)
            {
                throw new InvalidDataException($"{backup.EntryName} does not match its SHA-256");
            }

            engine.SetCounter(connection, table, backup.Counter ?? 0);
        }

        if (backups.Count > 0)
        {
            throw new InvalidDataException($"no migration makes its table {backups.Keys.First()}");
        }
    }

    private void Clear(DatabaseEngine engine, DbConnection connection, bool force)
    {
        var tables = OwnTables(engine, connection);
        if (tables.Count > 0 && !force)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"{engine.Location} holds a Slipway database already; name an empty one, or throw away what it holds with --force.");
        }

        foreach (var table in tables.Reverse())
        {
            connection.Execute($"DROP TABLE {table.Name}");
        }
    }

    // A PostgreSQL schema may hold tables of others; a file is all ours.
    private IReadOnlyList<TableShape> OwnTables(DatabaseEngine engine, DbConnection connection)
    {
        var names = _known.SelectMany(file => CreatedTable().Matches(file.Sql).Select(match => match.Groups[1].Value)).Append("schema_migrations").ToHashSet(StringComparer.Ordinal);
        return TableShape.ParentsFirst(engine.Tables(connection).Where(table => names.Contains(table.Name)));
    }

    internal static ZipArchive OpenArchive(string file)
    {
        try
        {
            return ZipFile.OpenRead(file);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no file '{file}'.", e);
        }
        catch (InvalidDataException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{file}' is not a backup made by slipway db backup, or is cut off.", e);
        }
    }

    internal static BackupManifest ReadManifest(ZipArchive archive, string file)
    {
        try
        {
            using var entry = archive.GetEntry(BackupManifest.EntryName)?.Open() ?? throw new InvalidDataException("It has no manifest.");
            var manifest = JsonSerializer.Deserialize<BackupManifest>(entry, Json);
            return manifest is { Format: BackupManifest.FormatName, Migrations: not null, Tables: not null } ? manifest : throw new InvalidDataException("Its format is unknown.");
        }
        catch (Exception e) when (e is InvalidDataException or JsonException)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'{file}' is not a backup made by slipway db backup, or is damaged.", e);
        }
    }

    private static DatabaseBackup Summary(string file, DatabaseEngine engine, BackupManifest manifest) =>
        new(file, engine.Location, manifest.Engine, manifest.Tables.Count, manifest.Tables.Sum(table => table.Rows), manifest.CreatedAt);

    [GeneratedRegex(@"CREATE TABLE (?:IF NOT EXISTS )?(\w+)")]
    private static partial Regex CreatedTable();
}
