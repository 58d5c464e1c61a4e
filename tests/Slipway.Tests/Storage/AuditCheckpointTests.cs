using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Dapper;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Backups;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

[Trait("capability", "GOV-01")]
public sealed class AuditCheckpointTests : IAsyncDisposable
{
    private readonly TestStores _stores = new();

    private AuditTrail Audit => _stores.Get<AuditTrail>();

    private AuditCheckpoints Checkpoints => _stores.Get<AuditCheckpoints>();

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    // RFC 8032, section 7.1, tests 1 to 3: key, message, public key, signature.
    [Theory]
    [InlineData(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")]
    [InlineData(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")]
    public void Signatures_are_those_of_the_standard(string seed, string message, string publicKey, string signature)
    {
        var key = new AuditSigningKey(Convert.FromHexString(seed));
        var text = Encoding.UTF8.GetString(Convert.FromHexString(message));

        Assert.Equal(AuditSigningKey.ReadPublicKey(Convert.ToBase64String(Convert.FromHexString(publicKey))), key.PublicKey);
        Assert.Equal(signature, Convert.ToHexStringLower(Convert.FromBase64String(key.Sign(text))));
        Assert.True(AuditSigningKey.Verify(key.PublicKey, text, key.Sign(text)));
        Assert.False(AuditSigningKey.Verify(key.PublicKey, text + " ", key.Sign(text)));
    }

    [Fact]
    public async Task OpenSSL_reads_the_keys_and_agrees_with_the_signature_of_a_line_of_the_file()
    {
        await AddAsync(3);
        await Checkpoints.WriteAsync(default);
        var folder = _stores.Options.DataDirectory;
        var line = Lines().Select(line => JsonDocument.Parse(line).RootElement).Single(line => line.TryGetProperty("seq", out _));
        // The text as docs/reference/audit.md gives it, put together from the line alone.
        await File.WriteAllTextAsync(Path.Combine(folder, "text"),
            $"slipway-audit-checkpoint-v1\nseq={line.GetProperty("seq")}\nhash={line.GetProperty("hash")}\ncount={line.GetProperty("count")}\n"
            + $"time={line.GetProperty("time").GetDateTimeOffset().UtcDateTime:yyyy-MM-ddTHH:mm:ss.fff}Z\nkey={line.GetProperty("key_id")}\n", TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(Path.Combine(folder, "signature"), line.GetProperty("signature").GetBytesFromBase64(), TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Path.Combine(folder, "public.pem"), AuditSigningKey.Pem((await Checkpoints.KeyAsync(default)).PublicKey), TestContext.Current.CancellationToken);

        Assert.Equal("Signature Verified Successfully", OpenSsl("pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin", "-in", "text", "-sigfile", "signature"));
        Assert.Equal(await File.ReadAllTextAsync(Path.Combine(folder, "public.pem"), TestContext.Current.CancellationToken), OpenSsl("pkey", "-in", "audit-signing.key", "-pubout"));

        string OpenSsl(params string[] arguments)
        {
            using var process = Process.Start(new ProcessStartInfo("openssl", arguments) { WorkingDirectory = folder, RedirectStandardOutput = true })!;
            var output = process.StandardOutput.ReadToEnd().Trim();
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
            return output;
        }
    }

    [Fact]
    public async Task A_checkpoint_stands_in_the_table_and_in_the_file_and_is_not_signed_twice()
    {
        Assert.Null(await Checkpoints.WriteAsync(default));
        await AddAsync(3);

        var first = await Checkpoints.WriteAsync(default);
        var again = await Checkpoints.WriteAsync(default);
        await AddAsync(2);
        var second = await Checkpoints.WriteAsync(default);

        Assert.Equal((3, 3, Audit.Find(3)!.Hash), (first!.Seq, first.Count, first.Hash));
        Assert.Equal(first, again);
        Assert.Equal((5, 5), (second!.Seq, second.Count));
        Assert.Equal([second, first], Checkpoints.List());
        Assert.Equal([5, 3], Checkpoints.List().Select(checkpoint => checkpoint.Seq));
        Assert.Equal([first, second], AuditSeal.Read(Lines()).Checkpoints);
        Assert.Equal(5, Audit.Count()); // A checkpoint is about the trail and not in it: else each would call for the next.
        Assert.Equal((2, true, 0L), (Verify().CheckpointsHeld, Verify().Passed, Verify().EventsAfterCheckpoint));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Checkpoints.KeyPath));
        }
    }

    [Fact]
    public async Task The_same_key_signs_after_a_restart_and_a_broken_key_file_is_not_replaced()
    {
        await AddAsync(1);
        await Checkpoints.WriteAsync(default);
        var key = await Checkpoints.KeyAsync(default);
        using (var restarted = Fresh())
        {
            Assert.Equal(key.KeyId, (await restarted.KeyAsync(default)).KeyId);
        }

        await File.WriteAllTextAsync(Checkpoints.KeyPath, "not a key", TestContext.Current.CancellationToken);
        using var broken = Fresh();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => broken.KeyAsync(default));

        Assert.Contains("holds no Ed25519 private key", error.Message, StringComparison.Ordinal);
        Assert.Equal("not a key", await File.ReadAllTextAsync(Checkpoints.KeyPath, TestContext.Current.CancellationToken));
        Assert.Single(Checkpoints.Keys());
    }

    [Fact]
    public async Task A_trail_that_does_not_hold_is_never_signed()
    {
        await AddAsync(5);
        await Checkpoints.WriteAsync(default);
        await AddAsync(5);
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await ExecuteAsync("UPDATE audit_events SET actor = 'nobody' WHERE seq = 8");

        var error = await Assert.ThrowsAsync<SlipwayException>(() => Checkpoints.WriteAsync(default));

        Assert.Contains("row 8", error.Message, StringComparison.Ordinal);
        Assert.Equal(5, Checkpoints.Newest()!.Seq);
        Assert.Equal(2, Lines().Count);
    }

    [Fact]
    public async Task Rows_cut_off_together_with_the_kept_head_and_the_stored_checkpoints_are_shown_by_the_file()
    {
        await AddAsync(6);
        await Checkpoints.WriteAsync(default);
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await ExecuteAsync("DELETE FROM audit_events WHERE seq > 4; UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_events WHERE seq = 4); DELETE FROM audit_checkpoints");

        Assert.True(Audit.Verify().Passed); // The database alone tells a tale that holds together.
        var found = Verify();

        Assert.Equal((5L, 4L), (found.BrokenAtSeq, found.Events));
        Assert.StartsWith("rows 5 to 6 are missing: row 6 was there when it was signed", found.Reason, StringComparison.Ordinal);
        Assert.Contains("the checkpoint of row 6 stands in the file, but was removed from the database", found.CheckpointFaults);
    }

    [Fact]
    public async Task Everything_written_anew_is_shown_by_the_file_alone_and_by_a_copy_that_the_caller_kept()
    {
        await AddAsync(6);
        await Checkpoints.WriteAsync(default);
        var copy = Lines();
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await RewriteAsync(3, row => row with { Actor = "nobody" });
        await ExecuteAsync("DELETE FROM audit_checkpoints");

        Assert.True(Audit.Verify().Passed);
        Assert.Equal(1, Verify().BrokenAtSeq);
        File.Delete(Checkpoints.FilePath);
        Assert.True(Verify().Passed);
        Assert.Equal(1, Verify(new VerifyAudit(copy)).BrokenAtSeq);
        Assert.Contains("rows 1 to 6 are not those that were signed", Verify(new VerifyAudit(copy)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_that_was_away_is_caught_up_and_half_a_line_after_a_power_cut_is_dropped()
    {
        await AddAsync(2);
        await Checkpoints.WriteAsync(default);
        var whole = Lines();
        await File.WriteAllTextAsync(Checkpoints.FilePath, whole[0] + "\n" + whole[1][..20], TestContext.Current.CancellationToken);
        await AddAsync(2);
        await Checkpoints.WriteAsync(default);

        Assert.Equal(whole, Lines().Take(2));
        Assert.Equal([2, 4], AuditSeal.Read(Lines()).Checkpoints.Select(checkpoint => checkpoint.Seq));
        Assert.True(Verify().Passed);

        File.Delete(Checkpoints.FilePath);
        await AddAsync(1);
        await Checkpoints.WriteAsync(default);

        Assert.Equal([2, 4, 5], AuditSeal.Read(Lines()).Checkpoints.Select(checkpoint => checkpoint.Seq));
    }

    [Fact]
    public async Task A_new_key_is_vouched_for_by_the_old_one_so_that_the_first_public_key_still_verifies_everything()
    {
        await AddAsync(2);
        await Checkpoints.WriteAsync(default);
        var first = await Checkpoints.KeyAsync(default);
        await AddAsync(1);

        var second = await Checkpoints.RotateAsync("the disk was lent out", TestStores.Caller, default);
        await AddAsync(1);
        await Checkpoints.WriteAsync(default);

        Assert.NotEqual(first.KeyId, second.KeyId);
        Assert.Equal([(5, second.KeyId), (3, first.KeyId), (2, first.KeyId)], Checkpoints.List().Select(checkpoint => (checkpoint.Seq, checkpoint.KeyId)));
        var row = Audit.Find(4)!;
        Assert.Equal(("audit_key.rotated", "ada", "the disk was lent out"), (row.Action, row.Actor, row.Reason));
        var found = Verify(new VerifyAudit(PublicKeys: [first.PublicKey]));
        Assert.Equal((3, 0, true), (found.CheckpointsHeld, found.CheckpointsOfOtherKeys, found.Passed));
        Assert.Equal((1, 2), (Verify(new VerifyAudit(PublicKeys: [second.PublicKey])).CheckpointsHeld, Verify(new VerifyAudit(PublicKeys: [second.PublicKey])).CheckpointsOfOtherKeys));
        Assert.Equal(second.KeyId, AuditSigningKey.Read(Checkpoints.KeyPath).KeyId);
        Assert.DoesNotContain(first.Sign("x"), AuditSigningKey.Read(Checkpoints.KeyPath).Sign("x"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_new_key_that_nobody_vouches_for_is_not_taken_on_trust()
    {
        await AddAsync(2);
        await Checkpoints.WriteAsync(default);
        var first = await Checkpoints.KeyAsync(default);
        File.Delete(Checkpoints.KeyPath);
        await AddAsync(1);
        using var other = Fresh();
        await other.WriteAsync(default);

        var found = Verify(new VerifyAudit(PublicKeys: [AuditSigningKey.Pem(first.PublicKey)]));

        Assert.Equal((1, 1, true), (found.CheckpointsHeld, found.CheckpointsOfOtherKeys, found.Passed));
        Assert.Equal(2, Verify().CheckpointsHeld);
    }

    [Fact]
    public async Task A_backup_is_verified_without_a_database_and_a_changed_row_in_it_is_named()
    {
        await AddAsync(5);
        await Checkpoints.WriteAsync(default);
        await AddAsync(1);
        var file = Path.Combine(_stores.Options.DataDirectory, "backup.zip");
        new DatabaseMaintenance(_stores.Options, [MigrationSet.Of<Database>("storage")], TimeProvider.System).Backup(file, (_, _) => { });
        var public1 = (await Checkpoints.KeyAsync(default)).PublicKey;

        var found = AuditArchive.Verify(AuditArchive.Of(file), Lines(), [public1], (_, _) => { }, default);
        Assert.Equal((6, true, 1), (found.Events, found.Passed, found.CheckpointsHeld));

        using (var archive = System.IO.Compression.ZipFile.Open(file, System.IO.Compression.ZipArchiveMode.Update))
        {
            var entry = archive.GetEntry("tables/audit_events.copy")!;
            string text;
            using (var reader = new StreamReader(entry.Open()))
            {
                text = await reader.ReadToEndAsync(TestContext.Current.CancellationToken);
            }

            entry.Delete();
            await using var writer = new StreamWriter(archive.CreateEntry("tables/audit_events.copy").Open());
            await writer.WriteAsync(text.Replace("flights@4", "flights@9", StringComparison.Ordinal));
        }

        Assert.Equal(4, AuditArchive.Verify(AuditArchive.Of(file), [], null, (_, _) => { }, default).BrokenAtSeq);
    }

    [Fact]
    public async Task A_database_that_no_server_runs_on_is_verified_without_changing_a_byte_of_it()
    {
        await AddAsync(4);
        await Checkpoints.WriteAsync(default);
        Assert.SkipWhen(TestDatabase.IsPostgres, TestDatabase.SqliteOnly);
        var copy = Path.Combine(_stores.Options.DataDirectory, "copy");
        Directory.CreateDirectory(copy);
        await ExecuteAsync("PRAGMA wal_checkpoint(TRUNCATE)", inTransaction: false);
        File.Copy(_stores.Options.DatabasePath, Path.Combine(copy, "slipway.db"));
        var before = await File.ReadAllBytesAsync(Path.Combine(copy, "slipway.db"), TestContext.Current.CancellationToken);

        var found = AuditArchive.Verify(AuditArchive.Of(StorageOptions.Resolve(copy)), [], null, (_, _) => { }, default);

        Assert.Equal((4, 1, true), (found.Events, found.CheckpointsHeld, found.Passed));
        Assert.Equal(before, await File.ReadAllBytesAsync(Path.Combine(copy, "slipway.db"), TestContext.Current.CancellationToken));
        Assert.Equal(["slipway.db"], Directory.EnumerateFiles(copy).Select(Path.GetFileName));
    }

    [Fact]
    public async Task The_database_under_a_running_server_is_verified_by_another_process_too()
    {
        await AddAsync(4);

        var found = AuditArchive.Verify(AuditArchive.Of(_stores.Options), [], null, (_, _) => { }, default);

        Assert.Equal((4, true), (found.Events, found.Passed));
    }

    [Fact]
    public async Task A_long_trail_is_first_looked_at_from_its_last_checkpoint_on_and_a_short_one_whole()
    {
        await AddAsync(3);
        await _stores.Database.WriteAsync(transaction =>
        {
            for (var n = 0; n < 20_000; n++)
            {
                transaction.Audit(TestStores.Caller, "run.created", new NodeRef(NodeKinds.Run, $"r{n}"));
            }
        }, default);
        var without = new AuditTrail(_stores.Database).VerifyNew();
        var signed = await Checkpoints.WriteAsync(default);
        await AddAsync(2);

        var from = new AuditTrail(_stores.Database).VerifyNew();

        Assert.Equal((20_003L, 20_003L, 20_003L), (without.LookedAt, without.Result.Events, signed!.Seq));
        Assert.Equal((2L, 20_005L), (from.LookedAt, from.Result.Events));
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await ExecuteAsync("UPDATE audit_checkpoints SET signature = 'AAAA'");
        Assert.Equal(20_005, new AuditTrail(_stores.Database).VerifyNew().LookedAt); // What nobody signed covers nothing.
    }

    [Theory]
    [InlineData("seq")]
    [InlineData("a long text that is not a key")]
    [InlineData("AAAA")]
    public void What_is_no_public_key_is_said_to_be_none(string text)
    {
        var error = Assert.Throws<SlipwayException>(() => AuditSigningKey.ReadPublicKey(text));
        Assert.Equal(ErrorCode.InvalidArgument, error.Code);
    }

    private AuditVerification Verify(VerifyAudit? request = null) => Audit.Verify(Checkpoints, request ?? new VerifyAudit(), (_, _) => { }, default);

    private AuditCheckpoints Fresh() => new(_stores.Database, _stores.Options, Microsoft.Extensions.Logging.Abstractions.NullLogger<AuditCheckpoints>.Instance);

    private List<string> Lines() => [.. File.ReadAllLines(Checkpoints.FilePath)];

    private async Task AddAsync(int rows)
    {
        for (var i = 0; i < rows; i++)
        {
            var n = Audit.Count() + 1;
            await _stores.Database.WriteAsync(transaction => transaction.Audit(TestStores.Caller, "model_version.promoted", new NodeRef(NodeKinds.ModelVersion, $"flights@{n}"), "why", null, new { n }), default);
        }
    }

    private async Task ExecuteAsync(string sql, bool inTransaction = true)
    {
        if (inTransaction)
        {
            await _stores.Database.WriteAsync(transaction => { transaction.Connection.Execute(sql); }, default);
            return;
        }

        await using var connection = new Microsoft.Data.Sqlite.SqliteConnection($"Data Source={_stores.Options.DatabasePath};Pooling=False");
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await connection.ExecuteAsync(sql);
    }

    // What someone with the database in hand would do: change a row and make every hash after it fit.
    private Task RewriteAsync(long from, Func<AuditEvent, AuditEvent> change) => _stores.Database.WriteAsync(transaction =>
    {
        var rows = Audit.After(from - 2).ToList();
        for (var i = 1; i < rows.Count; i++)
        {
            var row = (i == 1 ? change(rows[i]) : rows[i]) with { PreviousHash = rows[i - 1].Hash };
            rows[i] = row with { Hash = AuditHash.Of(row) };
            transaction.Connection.Execute(
                "UPDATE audit_events SET actor = @Actor, previous_hash = @PreviousHash, hash = @Hash WHERE seq = @Seq",
                new { rows[i].Actor, rows[i].PreviousHash, rows[i].Hash, rows[i].Seq });
        }

        transaction.Connection.Execute("UPDATE audit_head SET hash = @Hash", new { rows[^1].Hash });
    }, default);
}
