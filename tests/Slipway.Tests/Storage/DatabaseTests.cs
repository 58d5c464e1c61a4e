using System.Data.Common;
using System.Runtime.Versioning;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Native.Sqlite;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class DatabaseTests : IDisposable
{
    private static readonly Caller Ada = new("ada", "request-1");
    private static readonly NodeRef Subject = new(NodeKinds.Model, "flights");

    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;

    public void Dispose() => Directory.Delete(_data, recursive: true);

    [Fact]
    public async Task Sixty_four_writers_are_all_acknowledged_and_found_after_reopening()
    {
        await using (var database = Open())
        {
            await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (writer BIGINT, n BIGINT)"); }, default);
            var counts = await Task.WhenAll(Enumerable.Range(0, 64).Select(writer => Task.Run(async () =>
            {
                var acknowledged = 0;
                for (var n = 0; n < 10; n++)
                {
                    acknowledged += await database.WriteAsync(transaction => transaction.Connection.Execute("INSERT INTO notes VALUES (@writer, @n)", new { writer, n }), default);
                }

                return acknowledged;
            })));
            Assert.All(counts, count => Assert.Equal(10, count));

            // What was acknowledged is in the database already: another server sees it with the writer still open.
            await using var other = Open();
            Assert.Equal(640L, other.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
        }

        await using var reopened = Open();
        Assert.Equal(640L, reopened.Read(connection => connection.ExecuteScalar<long>("SELECT count(DISTINCT writer * 100 + n) FROM notes")));
        if (!TestDatabase.IsPostgres)
        {
            Assert.Equal("ok", reopened.Read(connection => connection.ExecuteScalar<string>("PRAGMA integrity_check")));
        }
    }

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public async Task Only_their_owner_may_read_the_folder_and_the_files_also_those_of_an_earlier_build()
    {
        Assert.SkipWhen(TestDatabase.IsPostgres || OperatingSystem.IsWindows(), TestDatabase.SqliteOnly);
        var folder = Path.Combine(_data, "made", "here");
        var file = Path.Combine(folder, "slipway.db");
        string[] files = [file, file + "-wal", file + "-shm"];
        await using (var database = Open(folder))
        {
            await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT)"); }, default);
            Assert.Equal("700", Mode(folder));
            Assert.All(files, each => Assert.Equal("600", Mode(each)));
            File.SetUnixFileMode(file, (UnixFileMode)Convert.ToInt32("644", 8));
            File.SetUnixFileMode(file + "-wal", (UnixFileMode)Convert.ToInt32("644", 8));
            File.SetUnixFileMode(file + "-shm", (UnixFileMode)Convert.ToInt32("644", 8));

            await using var other = Open(folder);
            await database.WriteAsync(transaction => { transaction.Connection.Execute("INSERT INTO notes VALUES (1)"); }, default);
            Assert.Equal(1L, other.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
            Assert.All(files, each => Assert.Equal("600", Mode(each)));
        }

        Assert.Equal("600", Mode(file));

        static string Mode(string path) => Convert.ToString((int)File.GetUnixFileMode(path), 8);
    }

    [Fact]
    public async Task What_was_replaced_or_deleted_is_not_left_in_the_file()
    {
        Assert.SkipWhen(TestDatabase.IsPostgres, TestDatabase.SqliteOnly);
        await using (var database = Open())
        {
            await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT, text TEXT); INSERT INTO notes VALUES (1, 'first secret'), (2, 'second secret'), (3, 'kept')"); }, default);
            await database.WriteAsync(transaction => { transaction.Connection.Execute("UPDATE notes SET text = NULL WHERE n = 1; DELETE FROM notes WHERE n = 2"); }, default);
        }

        var bytes = System.Text.Encoding.Latin1.GetString(await File.ReadAllBytesAsync(Path.Combine(_data, "slipway.db")));
        Assert.Contains("kept", bytes, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", bytes, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_copy_of_the_files_taken_after_an_acknowledgement_holds_the_write()
    {
        Assert.SkipWhen(TestDatabase.IsPostgres, TestDatabase.SqliteOnly);
        await using var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT); INSERT INTO notes VALUES (1)"); }, default);

        // The state of the disk at a kill: nothing was closed or checkpointed.
        var copy = Path.Combine(_data, "copy.db");
        File.Copy(database.Location, copy);
        File.Copy(database.Location + "-wal", copy + "-wal");

        using var connection = new SqliteConnection($"Data Source={copy};Pooling=False");
        connection.Open();
        Assert.Equal(1L, connection.ExecuteScalar<long>("SELECT n FROM notes"));
    }

    [Fact]
    public async Task One_caller_s_failure_undoes_only_its_own_rows()
    {
        await using var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT PRIMARY KEY)"); }, default);

        // The first write holds the writer up, so that the others share one group.
        using var gate = new ManualResetEventSlim();
        var first = database.WriteAsync(transaction => { gate.Wait(); transaction.Connection.Execute("INSERT INTO notes VALUES (0)"); }, default);
        var writes = Enumerable.Range(1, 20).Select(n => database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute("INSERT INTO notes VALUES (@n)", new { n });
            transaction.Audit(Ada, "note.written", Subject, after: new { n });
            transaction.Publish("notes", new { n });
            if (n % 5 == 0)
            {
                throw new InvalidOperationException($"no {n}");
            }

            if (n % 7 == 0)
            {
                transaction.Connection.Execute("INSERT INTO notes VALUES (0)"); // Breaks the key.
            }
        }, default)).ToList();
        gate.Set();
        await first;

        var outcomes = await Task.WhenAll(writes.Select(async write =>
        {
            try
            {
                await write;
                return null;
            }
            catch (Exception e)
            {
                return e;
            }
        }));

        for (var n = 1; n <= 20; n++)
        {
            Assert.Equal(n % 5 == 0 ? typeof(InvalidOperationException) : n % 7 == 0 ? database.Dialect == SqlDialect.Postgres ? typeof(Npgsql.PostgresException) : typeof(SqliteException) : null, outcomes[n - 1]?.GetType());
        }

        long[] kept = [0, .. Enumerable.Range(1, 20).Where(n => n % 5 != 0 && n % 7 != 0)];
        Assert.Equal(kept, database.Read(connection => connection.Query<long>("SELECT n FROM notes ORDER BY n")));
        Assert.Equal(kept.Length - 1, new AuditTrail(database).Count());
        Assert.Null(new AuditTrail(database).Verify().BrokenAtSeq);
        Assert.Equal(kept.Length - 1, database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM outbox")));
    }

    [Fact]
    public async Task A_query_of_several_statements_sees_one_state()
    {
        await using var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT)"); }, default);

        var (before, after) = database.Read(connection =>
        {
            var first = connection.ExecuteScalar<long>("SELECT count(*) FROM notes");
            var write = database.WriteAsync(transaction => { transaction.Connection.Execute("INSERT INTO notes VALUES (1)"); }, default);
            Assert.True(SpinWait.SpinUntil(() => write.IsCompleted, TimeSpan.FromMinutes(1)));
            return (first, connection.ExecuteScalar<long>("SELECT count(*) FROM notes"));
        });

        Assert.Equal((0L, 0L), (before, after));
        Assert.Equal(1L, database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
    }

    [Fact]
    public async Task A_query_that_throws_leaves_no_open_snapshot_behind()
    {
        await using var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT)"); }, default);
        Assert.Throws<SlipwayException>(() => database.Read<long>(connection =>
        {
            connection.ExecuteScalar<long>("SELECT count(*) FROM notes");
            throw new SlipwayException(ErrorCode.NotFound, "There is none.");
        }));
        Assert.Throws<InvalidOperationException>(() => database.Read<long>(_ => throw new InvalidOperationException()));
        await database.WriteAsync(transaction => { transaction.Connection.Execute("INSERT INTO notes VALUES (1)"); }, default);

        Assert.Equal(1L, database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
    }

    [Fact]
    public async Task A_failing_listener_does_not_stop_later_writes()
    {
        await using var database = Open();
        database.EventsCommitted += () => throw new InvalidOperationException("A listener's own fault.");

        await database.WriteAsync(transaction => transaction.Publish("notes", new { n = 1 }), default);
        await database.WriteAsync(transaction => transaction.Publish("notes", new { n = 2 }), default).WaitAsync(TimeSpan.FromMinutes(1));

        Assert.Equal(2L, database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM outbox")));
    }

    [Fact]
    public async Task A_write_cancelled_while_it_waits_is_not_done()
    {
        await using var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT)"); }, default);
        using var gate = new ManualResetEventSlim();
        using var cancel = new CancellationTokenSource();
        var first = database.WriteAsync(_ => gate.Wait(), default);
        var second = database.WriteAsync(transaction => { transaction.Connection.Execute("INSERT INTO notes VALUES (1)"); }, cancel.Token);
        await cancel.CancelAsync();
        gate.Set();

        await first;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        Assert.Equal(0L, database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
    }

    [Fact]
    public async Task Writes_under_way_at_closing_are_finished()
    {
        var database = Open();
        await database.WriteAsync(transaction => { transaction.Connection.Execute("CREATE TABLE notes (n BIGINT)"); }, default);
        var writes = Enumerable.Range(0, 100).Select(n => database.WriteAsync(transaction => { transaction.Connection.Execute("INSERT INTO notes VALUES (@n)", new { n }); }, default)).ToList();

        await database.DisposeAsync();

        await Task.WhenAll(writes);
        await using var reopened = Open();
        Assert.Equal(100L, reopened.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM notes")));
    }

    [Fact]
    public async Task A_write_after_closing_and_a_write_by_a_reader_are_refused()
    {
        var database = Open();
        Assert.ThrowsAny<DbException>(() => database.Read(connection => connection.Execute("CREATE TABLE sneaky (n BIGINT)")));

        await database.DisposeAsync();

        await Assert.ThrowsAnyAsync<Exception>(() => database.WriteAsync(_ => { }, default));
        Assert.Throws<ObjectDisposedException>(() => database.Read(connection => 1));
    }

    [Fact]
    public async Task Migrations_run_once_and_a_newer_database_is_refused()
    {
        await using (var database = Open())
        {
            var applied = database.Read(connection => connection.ExecuteScalar<long>("SELECT count(*) FROM schema_migrations"));
            await database.WriteAsync(transaction =>
            {
                transaction.Connection.Execute("INSERT INTO schema_migrations (area, number, name, sha256, applied_at_ms) VALUES ('storage', @number, 'later.sql', '', 0)", new { number = applied + 1000 });
            }, default);
        }

        var error = Assert.Throws<SlipwayException>(Open);

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains("start the newer build again", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Opening_again_changes_no_schema()
    {
        Assert.SkipWhen(TestDatabase.IsPostgres, TestDatabase.SqliteOnly);
        static string Schema(Database database) => string.Join(';', database.Read(connection => connection.Query<string>("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")));

        await using var first = Open();
        var before = Schema(first);
        await using var second = Open();

        Assert.Equal(before, Schema(second));
        Assert.Contains("STRICT", before, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_database_is_left_alone_and_named()
    {
        Assert.SkipWhen(TestDatabase.IsPostgres, TestDatabase.SqliteOnly);
        var path = Path.Combine(_data, "slipway.db");
        File.WriteAllText(path, new string('x', 4096));

        var error = Assert.Throws<SlipwayException>(Open);

        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Equal(new string('x', 4096), File.ReadAllText(path));
    }

    [Theory]
    [InlineData("mysql://host/db", ErrorCode.NotImplemented)]
    [InlineData("postgres:///", ErrorCode.InvalidArgument)]
    [InlineData("postgresql://ada:secret@host:port/db", ErrorCode.InvalidArgument)]
    [InlineData("postgresql://ada:secret@host/db?colour=red", ErrorCode.InvalidArgument)]
    [InlineData("Host=db;Password=secret;Colour=red", ErrorCode.InvalidArgument)]
    public void An_address_that_cannot_be_used_is_refused_without_repeating_the_password(string url, ErrorCode code)
    {
        var error = Assert.Throws<SlipwayException>(() => StorageOptions.Resolve(_data, url));

        Assert.Equal(code, error.Code);
        Assert.DoesNotContain("secret", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_path_or_an_sqlite_address_names_a_file() =>
        Assert.Equal("/tmp/x.db", StorageOptions.Resolve(_data, "sqlite:///tmp/x.db").DatabasePath);

    [Fact]
    public void The_library_has_strict_tables()
    {
        SqliteLibrary.Initialize();
        var version = Version.Parse(SqliteLibrary.Description.Split(' ')[1]);

        Assert.True(version >= new Version(3, 37), SqliteLibrary.Description);
    }

    private Database Open() => Open(_data);

    private static Database Open(string data) =>
        Database.Open(TestDatabase.Options(data), [MigrationSet.Of<Database>("storage")], TimeProvider.System, NullLogger<Database>.Instance);
}
