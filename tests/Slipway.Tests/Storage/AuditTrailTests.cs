using Dapper;
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
        Assert.Equal([2, 1], Audit.List(beforeSeq: 3).Select(row => row.Seq));
        Assert.Equal("""{"stage":"production","n":7}""", Assert.Single(Audit.List(new NodeRef(NodeKinds.ModelVersion, "flights@7"))).AfterJson);
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
    public async Task An_edited_removed_or_reordered_row_is_found(string tampering, long seq)
    {
        await _stores.Database.WriteAsync(transaction => { transaction.Connection.Execute(tampering); }, default);

        var verification = Audit.Verify();

        Assert.Equal(seq, verification.BrokenAtSeq);
        Assert.NotNull(verification.Reason);
    }

    [Fact]
    [Trait("capability", "GOV-01")]
    public async Task An_edit_with_its_own_hash_made_good_breaks_at_the_next_row()
    {
        var row = Audit.List(beforeSeq: 8, limit: 1)[0] with { Actor = "nobody" };
        await _stores.Database.WriteAsync(transaction =>
        {
            transaction.Connection.Execute("UPDATE audit_events SET actor = @Actor, hash = @Hash WHERE seq = @Seq", row with { Hash = AuditTrail.ComputeHash(row) });
        }, default);

        Assert.Equal(8, Audit.Verify().BrokenAtSeq);
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
}
