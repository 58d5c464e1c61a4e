using System.Data.Common;
using Dapper;
using Slipway.Contracts.Audit;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Storage;

public sealed class AuditTrailTests : IAsyncLifetime
{
    private readonly TestStores _stores = new();

    private AuditTrail Audit => _stores.Get<AuditTrail>();

    public async ValueTask InitializeAsync()
    {
        for (var n = 1; n <= 20; n++)
        {
            await _stores.Database.WriteAsync(transaction =>
                transaction.Audit(new Caller($"user-{n % 3}", n % 2 == 0 ? null : $"request-{n}"), "model_version.promoted", new NodeRef(NodeKinds.ModelVersion, $"flights@{n}"), "why", new { stage = "staging" }, new { stage = "production", n }), default);
        }
    }

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Fact]
    [Trait("capability", "GOV-01")]
    public void An_untouched_trail_holds_and_lists_the_newest_first()
    {
        Assert.Equal(new AuditVerification(20, null, null), Audit.Verify());
        Assert.Equal([20, 19, 18], Audit.List(limit: 3).Select(row => row.Seq));
        Assert.Equal([2, 1], Audit.List(new AuditFilter { BeforeSeq = 3 }).Select(row => row.Seq));
        var seventh = Assert.Single(Audit.List(new NodeRef(NodeKinds.ModelVersion, "flights@7")));
        Assert.Equal(("""{"stage":"staging"}""", """{"stage":"production","n":7}""", "user-1", "request-7", "why"), (seventh.BeforeJson, seventh.AfterJson, seventh.Actor, seventh.RequestId, seventh.Reason));
        Assert.Equal([19, 20], Audit.After(18).Select(row => row.Seq));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Every_filter_narrows_the_list_and_all_of_them_together()
    {
        var later = await _stores.Database.WriteAsync(transaction =>
        {
            transaction.Audit(new Caller("grace", null), "promotion.approved", new NodeRef(NodeKinds.Model, "flights"));
            transaction.Audit(new Caller("grace", null), "promotion.rejected", new NodeRef(NodeKinds.ModelVersion, "flights-of-fancy@1.0.0"));
            transaction.Audit(new Caller("ada", null), "promotions.counted", new NodeRef(NodeKinds.Definition, "policy/flights@2"));
            return transaction.Now;
        }, default);
        IEnumerable<long> Of(AuditFilter filter) => Audit.List(filter).Select(row => row.Seq);

        Assert.Equal([22, 21], Of(new AuditFilter { Actor = "grace" }));
        Assert.Equal([21], Of(new AuditFilter { Action = "promotion.approved" }));
        Assert.Equal([22, 21], Of(new AuditFilter { Action = "promotion." }));
        Assert.Equal([23, 21, 20], Audit.List(new AuditFilter { Model = "flights" }, 3).Select(row => row.Seq));
        Assert.Equal([22], Of(new AuditFilter { Model = "flights-of-fancy" }));
        Assert.Equal([23, 22, 21], Of(new AuditFilter { From = later }).Where(seq => seq > 20));
        Assert.Empty(Of(new AuditFilter { To = DateTimeOffset.UnixEpoch }));
        Assert.Equal([21], Of(new AuditFilter { Actor = "grace", Model = "flights", Action = "promotion.", From = later, To = later.AddHours(1), BeforeSeq = 23 }));
        Assert.Empty(Of(new AuditFilter { Actor = "grace", Model = "flights", Action = "promotion.", BeforeSeq = 21 }));
    }

    [Theory]
    [Trait("capability", "GOV-01")]
    [InlineData("UPDATE audit_events SET actor = 'nobody' WHERE seq = 7", 7)]
    [InlineData("UPDATE audit_events SET reason = NULL WHERE seq = 7", 7)]
    [InlineData("UPDATE audit_events SET request_id = '' WHERE seq = 8", 8)]
    [InlineData("UPDATE audit_events SET at_ms = at_ms + 1 WHERE seq = 1", 1)]
    [InlineData("UPDATE audit_events SET after_json = '{}' WHERE seq = 20", 20)]
    [InlineData("UPDATE audit_events SET actor = action, action = actor WHERE seq = 7", 7)]
    [InlineData("DELETE FROM audit_events WHERE seq = 7", 7)]
    [InlineData("DELETE FROM audit_events WHERE seq = 1", 1)]
    [InlineData("DELETE FROM audit_events WHERE seq = 20", 20)]
    [InlineData("DELETE FROM audit_events WHERE seq > 11", 12)]
    [InlineData("DELETE FROM audit_events", 1)]
    [InlineData("DELETE FROM audit_events WHERE seq = 7; UPDATE audit_events SET seq = seq - 1 WHERE seq > 7", 7)]
    [InlineData("UPDATE audit_events SET seq = 100 WHERE seq = 7; UPDATE audit_events SET seq = 7 WHERE seq = 8; UPDATE audit_events SET seq = 8 WHERE seq = 100", 7)]
    [InlineData("UPDATE audit_events SET seq = -3 WHERE seq = 20", -3)]
    public async Task An_edited_removed_or_reordered_row_is_found(string tampering, long seq)
    {
        Assert.Null(Audit.VerifyNew().Result.BrokenAtSeq);
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await _stores.Database.WriteAsync(transaction => { transaction.Connection.Execute(tampering); }, default);

        var verification = Audit.Verify();

        Assert.Equal(seq, verification.BrokenAtSeq);
        Assert.NotNull(verification.Reason);
        Assert.False(verification.Passed);
        Assert.Equal(seq, new AuditTrail(_stores.Database).VerifyNew().Result.BrokenAtSeq);
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task An_edit_with_its_own_hash_made_good_breaks_at_the_next_row()
    {
        await TestDatabase.AllowTamperingAsync(_stores.Database);
        var row = Audit.Find(7)! with { Actor = "nobody" };
        await _stores.Database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute("UPDATE audit_events SET actor = @Actor, hash = @Hash WHERE seq = @Seq", new { row.Actor, Hash = AuditHash.Of(row), row.Seq });
        }, default);

        Assert.Equal(8, Audit.Verify().BrokenAtSeq);
    }

    // A key keeps rows apart only as long as nobody makes the table anew without it.
    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task A_second_row_of_the_same_number_is_found_wherever_a_page_of_reading_ends()
    {
        await _stores.Database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute("ALTER TABLE audit_events RENAME TO kept; CREATE TABLE audit_events AS SELECT * FROM kept");
            transaction.Connection.Execute("INSERT INTO audit_events SELECT * FROM kept WHERE seq = 10");
        }, default);

        for (var pageRows = 2; pageRows <= 22; pageRows++)
        {
            var found = new AuditVerifier(new DatabaseAuditSource(_stores.Database.Read, pageRows: pageRows)).Run((_, _) => { }, default);
            Assert.Equal((10, 9), (found.BrokenAtSeq, found.Events));
        }
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task Looking_at_what_is_new_reads_each_row_once_and_finds_a_trail_that_was_cut()
    {
        Assert.Equal((20L, 20L), (Audit.VerifyNew().LookedAt, Audit.VerifyNew().Result.Events));
        Assert.Equal(0, Audit.VerifyNew().LookedAt);
        await _stores.Database.WriteAsync(transaction => transaction.Audit(TestStores.Caller, "model.created", new NodeRef(NodeKinds.Model, "x")), default);
        Assert.Equal(1, Audit.VerifyNew().LookedAt);

        await TestDatabase.AllowTamperingAsync(_stores.Database);
        await _stores.Database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute("DELETE FROM audit_events WHERE seq > 15; UPDATE audit_head SET seq = 15, hash = (SELECT hash FROM audit_events WHERE seq = 15)");
        }, default);

        Assert.Equal(16, Audit.VerifyNew().Result.BrokenAtSeq);
    }

    [Fact]
    public async Task A_change_that_fails_leaves_no_audit_row()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(() => _stores.Database.WriteAsync(transaction =>
        {
            transaction.Audit(TestStores.Caller, "model.created", new NodeRef(NodeKinds.Model, "x"));
            throw new InvalidOperationException();
        }, default));

        Assert.Equal(20, Audit.Count());
    }

    public static TheoryData<string> Changes() =>
    [
        "UPDATE audit_events SET reason = 'another' WHERE seq = 7", "UPDATE audit_events SET reason = reason", "DELETE FROM audit_events WHERE seq = 20", "DELETE FROM audit_events",
        "UPDATE audit_checkpoints SET hash = ''", "DELETE FROM audit_keys",
        .. TestDatabase.IsPostgres
            ? (IEnumerable<TheoryDataRow<string>>)["TRUNCATE audit_events", "SET LOCAL session_replication_role = replica; DELETE FROM audit_events"]
            : ["INSERT OR REPLACE INTO audit_events SELECT seq, at_ms, 'nobody', action, subject_kind, subject_id, reason, before_json, after_json, request_id, previous_hash, hash FROM audit_events WHERE seq = 7"],
    ];

    [Theory, MemberData(nameof(Changes))]
    [Trait("capability", "GOV-01")]
    public async Task The_database_itself_refuses_to_change_or_remove_what_is_only_ever_added_to(string statement)
    {
        await _stores.Get<AuditCheckpoints>().WriteAsync(default);

        var error = await Assert.ThrowsAnyAsync<DbException>(() => _stores.Database.WriteAsync(transaction => { transaction.Connection.Execute(statement); }, default));

        Assert.Contains("append-only", error.Message, StringComparison.Ordinal);
        Assert.Equal((20, null), (Audit.Verify().Events, Audit.Verify().BrokenAtSeq));
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task The_guard_is_put_back_when_the_database_is_opened_again()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using (var first = new TestStores(folder: folder))
            {
                await first.Database.WriteAsync(transaction => transaction.Audit(TestStores.Caller, "model.created", new NodeRef(NodeKinds.Model, "x")), default);
                await TestDatabase.AllowTamperingAsync(first.Database);
            }

            await using var second = new TestStores(folder: folder);
            await Assert.ThrowsAnyAsync<DbException>(() => second.Database.WriteAsync(transaction => { transaction.Connection.Execute("DELETE FROM audit_events"); }, default));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
