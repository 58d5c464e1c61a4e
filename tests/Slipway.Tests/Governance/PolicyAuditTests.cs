using Slipway.Cli;
using Slipway.Contracts.Governance;
using Slipway.Governance.Audit;
using Slipway.Governance.Documents;
using Slipway.Registry;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Governance;

[Trait("capability", "GOV-08")]
public sealed class PolicyAuditTests
{
    private const string Policy =
        """
        kind: policy
        name: tips
        model: tips
        production:
          approvals: 1
          metrics:
            - { metric: auc, minimum: 0.9 }
        """;

    [Fact]
    public async Task A_version_in_production_that_is_as_it_was_and_has_its_card_leaves_no_finding_and_no_row()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await CardAsync(server);
        var rows = server.Get<AuditTrail>().Count();

        Assert.True(await server.Get<PolicyAudit>().RunAsync(GovernedServer.Cancel));

        Assert.Empty(server.Get<PolicyAudit>().Findings());
        Assert.Equal(rows, server.Get<AuditTrail>().Count());
    }

    [Fact]
    public async Task What_is_wrong_is_found_once_stays_until_it_is_gone_and_both_are_audited()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var version = server.Registry.Get(GovernedServer.Model, "production");
        await CardAsync(server);
        await server.ApplyAsync(Policy);
        await server.SqlAsync("UPDATE deployments SET ended_at_ms = 1");

        var subject = version.Node.ToString();
        // The card tells of the deployment, too.
        Assert.Equal([("lineage", subject), ("model_card", subject), ("policy:metric:auc", subject)], await LookAsync(server));
        Assert.Equal(3, (await LookAsync(server)).Count);
        Assert.Equal(3, Count(server, "audit_finding.opened"));

        await server.SqlAsync("UPDATE deployments SET ended_at_ms = NULL");
        Assert.Equal([("policy:metric:auc", subject)], await LookAsync(server));

        Assert.Equal((3, 2), (Count(server, "audit_finding.opened"), Count(server, "audit_finding.closed")));
        Assert.Equal(["lineage", "model_card"], server.Get<PolicyAudit>().Findings().Where(finding => finding.ClosedAt is not null).Select(finding => finding.Check).Order());
        Assert.Equal("system:audit", server.Get<AuditTrail>().List(new AuditFilter { Action = "audit_finding.closed" })[0].Actor);
        Assert.Equal(ExitCode.FailedCheck, (await CommandLine.RunAsync(server, "audit", "findings", "--json")).Code);

        server.Damage(version.BaselineSha256!);
        Assert.Equal(["files", "model_card"], (await LookAsync(server)).Select(finding => finding.Check));
    }

    [Fact]
    public async Task A_missing_card_approvals_that_the_records_do_not_show_and_a_broken_trail_are_findings()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.SqlAsync("UPDATE promotion_decisions SET decided_by = 'ada'");
        await TestDatabase.AllowTamperingAsync(server.Get<Database>());
        await server.SqlAsync("UPDATE audit_events SET actor = 'nobody' WHERE seq = 3");

        var found = await LookAsync(server);

        Assert.Equal(["approvals", "audit_trail", "model_card"], found.Select(finding => finding.Check).Order());
        Assert.Contains("row 3", server.Get<PolicyAudit>().Findings().Single(finding => finding.Check == "audit_trail").Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_of_the_servers_that_share_a_database_looks_at_a_time()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var elsewhere = new Leases(server.Get<Database>());
        var lease = await elsewhere.TryAcquireAsync("policy-audit", TimeSpan.FromMinutes(1), GovernedServer.Cancel);

        Assert.False(await server.Get<PolicyAudit>().RunAsync(GovernedServer.Cancel));
        Assert.Empty(server.Get<PolicyAudit>().Findings());
        await elsewhere.ReleaseAsync(lease!, GovernedServer.Cancel);
        Assert.True(await server.Get<PolicyAudit>().RunAsync(GovernedServer.Cancel));
    }

    private static Task<GeneratedDocument> CardAsync(GovernedServer server) => server.Get<DocumentStore>().GenerateAsync(
        new GenerateDocument(DocumentType.ModelCard, GovernedServer.Model, null), GovernedServer.Ada, GovernedServer.Cancel);

    private static async Task<List<(string Check, string Subject)>> LookAsync(GovernedServer server)
    {
        Assert.True(await server.Get<PolicyAudit>().RunAsync(GovernedServer.Cancel));
        return [.. server.Get<PolicyAudit>().Findings().Where(finding => finding.ClosedAt is null).Select(finding => (finding.Check, finding.Subject)).Order()];
    }

    private static int Count(GovernedServer server, string action) => server.Get<AuditTrail>().List(new AuditFilter { Action = action }).Count;
}
