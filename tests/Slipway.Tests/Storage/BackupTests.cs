using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Contracts.Tracking;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Backups;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Storage;

/// <summary>A backup of either engine fills either engine: from SQLite to the engine under test and back.</summary>
public sealed class BackupTests : IDisposable
{
    private static readonly MigrationSet[] Areas = [MigrationSet.Of<Database>("storage"), MigrationSet.Of<RunStore>("tracking")];
    private static readonly Caller Ada = TestStores.Caller;

    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_backup_of_one_engine_fills_the_other_and_comes_back_byte_for_byte()
    {
        var (sqlite, other) = (StorageOptions.Resolve(Folder("a")), TestDatabase.Options(Folder("b")));
        var run = await FillAsync(sqlite);

        var first = Maintenance(sqlite).Backup(File("first.zip"), (_, _) => { });
        var restored = Maintenance(other).Restore(File("first.zip"), force: false, (_, _) => { });
        Maintenance(other).Backup(File("second.zip"), (_, _) => { });
        Maintenance(StorageOptions.Resolve(Folder("c"))).Restore(File("second.zip"), force: false, (_, _) => { });
        Maintenance(StorageOptions.Resolve(Folder("c"))).Backup(File("third.zip"), (_, _) => { });

        Assert.True(first.Rows > 20);
        Assert.Equal((first.Rows, first.Tables), (restored.Rows, restored.Tables));
        foreach (var (table, digest) in Digests("first.zip"))
        {
            Assert.True(digest == Digests("second.zip")[table], $"{table}: {Content("first.zip", table)} became {Content("second.zip", table)}");
        }

        Assert.Equal(Digests("first.zip"), Digests("third.zip"));

        // The restored database goes on: the chain holds, and no number is given twice.
        await using var services = Services(other);
        var database = services.GetRequiredService<Database>();
        Assert.Null(new AuditTrail(database).Verify().BrokenAtSeq);
        var experiments = services.GetRequiredService<ExperimentStore>();
        Assert.Equal("3", await experiments.CreateAsync("after", null, Ada, default));
        var seq = await database.WriteAsync(transaction =>
        {
            transaction.Publish("notes", new { n = 2 });
            return transaction.Connection.ExecuteScalar<long>("SELECT max(seq) FROM outbox");
        }, default);
        Assert.Equal(3, seq); // Event 2 was published and removed before the backup.
        Assert.Equal(Awkward, services.GetRequiredService<RunStore>().Get(run).Tags["awkward"]);
    }

    [Fact]
    public async Task A_database_that_is_not_empty_is_kept_unless_forced()
    {
        var (from, to) = (StorageOptions.Resolve(Folder("a")), TestDatabase.Options(Folder("b")));
        await FillAsync(from);
        await FillAsync(to);
        await using (var database = Open(to))
        {
            await new ExperimentStore(database, to).CreateAsync("to be replaced", null, Ada, default);
        }

        Maintenance(from).Backup(File("backup.zip"), (_, _) => { });
        var error = Assert.Throws<SlipwayException>(() => Maintenance(to).Restore(File("backup.zip"), force: false, (_, _) => { }));
        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("--force", error.Message, StringComparison.Ordinal);
        Assert.NotNull(Find(to, "to be replaced"));

        Maintenance(to).Restore(File("backup.zip"), force: true, (_, _) => { });
        Assert.Null(Find(to, "to be replaced"));
        Assert.NotNull(Find(to, "first"));
    }

    [Theory]
    [InlineData("tables/tags.copy", "a row is added")]
    [InlineData("tables/tags.copy", "a row is cut")]
    [InlineData("tables/metric_points.copy", "a letter is changed")]
    [InlineData("tables/runs.copy", "it is gone")]
    [InlineData("manifest.json", "it is gone")]
    [InlineData("manifest.json", "a newer build")]
    public async Task A_damaged_or_newer_backup_changes_nothing(string entry, string damage)
    {
        var (from, to) = (StorageOptions.Resolve(Folder("a")), TestDatabase.Options(Folder("b")));
        await FillAsync(from);
        await FillAsync(to);
        Maintenance(from).Backup(File("backup.zip"), (_, _) => { });
        Damage(entry, damage);

        var error = Assert.Throws<SlipwayException>(() => Maintenance(to).Restore(File("backup.zip"), force: true, (_, _) => { }));

        Assert.Equal(damage == "a newer build" ? ErrorCode.FailedPrecondition : ErrorCode.InvalidArgument, error.Code);
        Assert.NotNull(Find(to, "first"));
        await using var database = Open(to);
        Assert.Null(new AuditTrail(database).Verify().BrokenAtSeq);
    }

    [Fact]
    public async Task A_file_that_is_there_or_is_no_backup_is_left_alone()
    {
        var options = TestDatabase.Options(Folder("a"));
        await FillAsync(options);
        await System.IO.File.WriteAllTextAsync(File("mine.zip"), "mine", TestContext.Current.CancellationToken);

        Assert.Equal(ErrorCode.AlreadyExists, Assert.Throws<SlipwayException>(() => Maintenance(options).Backup(File("mine.zip"), (_, _) => { })).Code);
        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => Maintenance(options).Restore(File("mine.zip"), true, (_, _) => { })).Code);
        Assert.Equal(ErrorCode.NotFound, Assert.Throws<SlipwayException>(() => Maintenance(options).Restore(File("none.zip"), true, (_, _) => { })).Code);
        Assert.Equal("mine", await System.IO.File.ReadAllTextAsync(File("mine.zip"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Migrating_brings_the_schema_up_and_status_tells_before_and_after()
    {
        var options = TestDatabase.Options(Folder("a"));
        var maintenance = Maintenance(options);

        var applied = maintenance.Migrate().Applied;
        var status = maintenance.Status();

        Assert.Contains("storage/0001-storage.sql", applied);
        Assert.Empty(maintenance.Migrate().Applied);
        Assert.True(status.UpToDate);
        Assert.True(status.SizeBytes > 0);
        Assert.Equal(["storage", "tracking"], status.Areas.Select(area => area.Area));
        Assert.All(status.Areas, area => Assert.Equal(area.Known, area.Applied));
        Assert.StartsWith(TestDatabase.IsPostgres ? "PostgreSQL " : "SQLite ", status.Engine, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1e15, "1e+15")]
    [InlineData(-999999999999999.0, "-999999999999999")]
    [InlineData(123456.75, "123456.75")]
    [InlineData(100000, "100000")]
    [InlineData(0.0001, "0.0001")]
    [InlineData(0.000012, "1.2e-05")]
    [InlineData(-0.5, "-0.5")]
    [InlineData(1.7976931348623157e308, "1.7976931348623157e+308")]
    [InlineData(5e-324, "5e-324")]
    [InlineData(0, "0")]
    [InlineData(double.PositiveInfinity, "Infinity")]
    public void A_number_is_written_as_PostgreSQL_writes_it_however_often(double number, string expected)
    {
        // The runtime compiles its own formatting anew after many calls, and has then changed its mind.
        for (var i = 0; i < 100_000; i++)
        {
            Assert.Equal(expected, CopyText.Real(number));
        }

        Assert.Equal(number, double.Parse(expected, System.Globalization.CultureInfo.InvariantCulture));
    }

    private const string Awkward = "tab\there, line\nbreak, back\\slash, \\N, quote ' and \", bell \a, \u001f, ü, 船台 🚢";

    private static async Task<string> FillAsync(StorageOptions options)
    {
        await using var services = Services(options);
        var database = services.GetRequiredService<Database>();
        var experiments = services.GetRequiredService<ExperimentStore>();
        var experiment = await experiments.CreateAsync("first", new Dictionary<string, string> { ["note"] = Awkward }, Ada, default);
        await experiments.CreateAsync("second", null, Ada, default);
        var runs = services.GetRequiredService<RunStore>();
        var run = (await runs.CreateRunAsync(experiment, null, new Dictionary<string, string> { ["awkward"] = Awkward, ["empty"] = "" }, Ada, default)).RunId;
        double[] values = [0, -0.0, 0.1, 1.0 / 3, 1e15, 1e-5, 123456789.125, 1e300, double.MaxValue, double.Epsilon, double.NaN, -1e21, 100000];
        await runs.LogBatchAsync(run, [.. values.Select((value, step) => new MetricPoint("loss", value, 1_700_000_000_000 + step, step))], [new("p", "1")], [], Ada, default);
        await database.WriteAsync(transaction => transaction.Publish("notes", new { n = 1 }), default);
        await database.WriteAsync(transaction => transaction.Publish("notes", new { n = 2 }), default);
        await database.WriteAsync(transaction => { transaction.Connection.Execute("DELETE FROM outbox WHERE seq = 2"); }, default);
        return run;
    }

    private void Damage(string entry, string damage)
    {
        using var archive = ZipFile.Open(File("backup.zip"), ZipArchiveMode.Update);
        string text;
        using (var reader = new StreamReader(archive.GetEntry(entry)!.Open()))
        {
            text = reader.ReadToEnd();
        }

        archive.GetEntry(entry)!.Delete();
        if (damage == "it is gone")
        {
            return;
        }

        using var writer = new StreamWriter(archive.CreateEntry(entry).Open(), new UTF8Encoding(false));
        writer.Write(damage switch
        {
            "a row is added" => text + "1\tmore\tvalue\n",
            "a row is cut" => text[..(text.TrimEnd('\n').LastIndexOf('\n') + 1)],
            "a letter is changed" => text.Replace("loss", "gain", StringComparison.Ordinal),
            _ => text.Replace("\"number\": 1,", "\"number\": 9999,", StringComparison.Ordinal),
        });
    }

    private Dictionary<string, string> Digests(string file)
    {
        using var archive = ZipFile.OpenRead(File(file));
        using var manifest = JsonDocument.Parse(archive.GetEntry("manifest.json")!.Open());
        // When a migration was applied differs, and with it that one table.
        return manifest.RootElement.GetProperty("tables").EnumerateArray()
            .ToDictionary(table => table.GetProperty("name").GetString()!, table => table.GetProperty("sha256").GetString()!);
    }

    private string Content(string file, string table)
    {
        using var archive = ZipFile.OpenRead(File(file));
        using var reader = new StreamReader(archive.GetEntry($"tables/{table}.copy")!.Open());
        return reader.ReadToEnd();
    }

    private static ExperimentRecord? Find(StorageOptions options, string name)
    {
        var database = Open(options);
        try
        {
            return new ExperimentStore(database, options).FindByName(name);
        }
        finally
        {
            database.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private string Folder(string name) => Path.Combine(_folder, name);

    private string File(string name) => Path.Combine(_folder, name);

    private static DatabaseMaintenance Maintenance(StorageOptions options) => new(options, Areas, TimeProvider.System);

    private static ServiceProvider Services(StorageOptions options)
    {
        var services = new ServiceCollection();
        services.AddSingleton(typeof(ILogger<>), typeof(NullLogger<>));
        services.AddSlipwayStorage(options);
        services.AddSlipwayTracking();
        return services.BuildServiceProvider();
    }

    private static Database Open(StorageOptions options) => Database.Open(options, Areas, TimeProvider.System, NullLogger<Database>.Instance);
}
