using System.Text.Json;
using Slipway.Cli;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Host;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Governance.Audit;
using Slipway.Governance.Documents;
using Slipway.Identity;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Governance;

[Trait("capability", "GOV-02")]
[Collection("The console shows one progress bar at a time")]
public sealed class AuditReportTests
{
    [Fact, Trait("capability", "GOV-23")]
    public async Task A_report_holds_what_was_deployed_who_approved_the_gate_the_data_and_the_checkpoints_by_name()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var report = await ReportAsync(server);

        Assert.Equal((GovernedServer.Model, "slipway-audit-report-1", true), (report.Model, report.Format, report.Trail.Holds));
        Assert.Equal(("1.0.0", "stable"), (Assert.Single(report.Deployments).Version, report.Deployments[0].Arm));
        var version = Assert.Single(report.Versions);
        Assert.Equal(("production", "ada", "3f2a9c", "t1", 0.6612), (version.Stage, version.RegisteredBy, version.Commit, version.TestSetSha256, version.Metrics["auc"]));
        Assert.Equal(["staging", "production"], report.Promotions.Select(promotion => promotion.To));
        Assert.Equal(["development", "staging", "production"], report.StageChanges.Select(change => change.To.ToString().ToLowerInvariant()));
        Assert.Equal(("grace", 2, 0), (Assert.Single(report.Approvers).Name, report.Approvers[0].Approved, report.Approvers[0].Rejected));
        var data = Assert.Single(report.DataSources);
        Assert.Equal(("rides", 1, 600L, "file", "transport team", false), (data.Dataset, data.Version, data.Rows!.Value, data.Source, data.Owner, data.PersonalData!.Value));
        Assert.Equal(["1.0.0"], data.UsedBy);
        var production = report.Promotions[1];
        Assert.Equal("read the report", Assert.Single(production.Decisions).Comment);
        Assert.Contains(production.Gate, item => item is { Name: "integrity", Passed: true } && item.Evidence.Count > 0);
        Assert.Equal(
            [
                ("files_as_registered", ComplianceOutcome.Passed), ("lineage_complete", ComplianceOutcome.Passed), ("approved_by_another", ComplianceOutcome.Passed),
                ("rollback_plan", ComplianceOutcome.Passed), ("evaluated_on_test_set", ComplianceOutcome.Passed), ("fairness_checked", ComplianceOutcome.NotChecked),
                ("model_card_present", ComplianceOutcome.Failed),
            ],
            production.Compliance.Select(checkpoint => (checkpoint.Name, checkpoint.Outcome)));
        Assert.All(production.Compliance, checkpoint => Assert.NotEmpty(checkpoint.Evidence));
        Assert.Contains(report.Events, row => row.Action == "model_version.promoted" && row.Actor == "ada");
        Assert.Contains(report.Events, row => row.Action == "deployment.started");
        Assert.Equal(report.Events.Select(row => row.Seq).Order(), report.Events.Select(row => row.Seq));
    }

    [Fact, Trait("capability", "GOV-23")]
    public async Task A_card_published_before_the_promotion_meets_its_checkpoint_and_one_published_after_does_not()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.Get<DocumentStore>().GenerateAsync(new GenerateDocument(DocumentType.ModelCard, GovernedServer.Model, null), GovernedServer.Ada, GovernedServer.Cancel);

        var promotion = (await ReportAsync(server)).Promotions[1];

        Assert.Equal(ComplianceOutcome.Failed, promotion.Compliance.Single(checkpoint => checkpoint.Name == "model_card_present").Outcome);
        var later = promotion with { ClosedAt = TimeProvider.System.GetUtcNow().AddHours(1) };
        var record = server.Registry.ListPromotions(GovernedServer.Model)[0] with { ClosedAt = later.ClosedAt };
        var cards = server.Get<DocumentStore>().CardsOf(GovernedServer.Model);
        var met = ComplianceCheckpoints.Of(record, server.Registry.Get(GovernedServer.Model, "1.0.0"), null, cards).Single(checkpoint => checkpoint.Name == "model_card_present");
        Assert.Equal((ComplianceOutcome.Passed, Assert.Single(cards).Node.ToString()), (met.Outcome, Assert.Single(met.Evidence)));
    }

    [Fact]
    public async Task Rollbacks_and_the_time_asked_for_are_kept_apart()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.DeployAsync(await server.RegisterAsync(0.7, 0.1));
        var before = TimeProvider.System.GetUtcNow();
        await server.Registry.RollbackAsync(GovernedServer.Model, null, "complaints", GovernedServer.Grace, GovernedServer.Cancel);

        var whole = await ReportAsync(server);
        var late = await ReportAsync(server, before);
        var early = await ReportAsync(server, null, before);

        Assert.Equal(("1.0.0", "complaints", "grace"), (Assert.Single(whole.Rollbacks).Version, whole.Rollbacks[0].Reason, whole.Rollbacks[0].By));
        Assert.Equal(4, whole.Promotions.Count);
        Assert.Empty(late.Promotions);
        Assert.Equal(2, late.StageChanges.Count);
        Assert.Equal(["model_version.rolled_back"], late.Events.Where(row => row.Subject.StartsWith("model_version:", StringComparison.Ordinal)).Select(row => row.Action));
        Assert.Empty(early.Rollbacks);
        Assert.Equal(4, early.Promotions.Count);
        Assert.Contains("'from'", (await Assert.ThrowsAsync<SlipwayException>(() => ReportAsync(server, before, before))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_same_records_give_the_same_bytes_and_the_seal_finds_one_changed_letter()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.Get<AuditCheckpoints>().WriteAsync(GovernedServer.Cancel);
        var keys = (await server.Client.GetAsync<AuditKeyList>("audit/key", GovernedServer.Cancel)).Keys.Select(key => key.PublicKey).ToList();
        foreach (var format in new[] { "json", "markdown" })
        {
            var path = $"audit/report?model={GovernedServer.Model}&format={format}";
            var text = await server.Client.GetTextAsync(path, GovernedServer.Cancel);

            Assert.Equal(text, await server.Client.GetTextAsync(path, GovernedServer.Cancel));
            var (seal, fault) = SealedReport.Check(text, keys);
            Assert.Null(fault);
            Assert.Equal(server.Get<AuditTrail>().Find(seal.Seq)!.Hash, seal.Hash);
            Assert.Equal("its body was changed: the SHA-256 is another", SealedReport.Check(text.Replace("read the report", "read the repost", StringComparison.Ordinal), keys).Fault);
            Assert.Equal("its signature does not hold", SealedReport.Check(text.Replace(seal.Hash, new string('0', 64), StringComparison.Ordinal).Replace(seal.Sha256, Redigest(text, seal), StringComparison.Ordinal), keys).Fault);
            Assert.Contains("which was not named", SealedReport.Check(text, [AuditSigningKey.Make().PublicKey]).Fault, StringComparison.Ordinal);
        }

        Assert.Equal(ErrorCode.InvalidArgument, Assert.Throws<SlipwayException>(() => SealedReport.Check("# Something else\n", keys)).Code);

        // The digest that a forger would put there after changing the hash inside the body as well.
        static string Redigest(string text, AuditReportSeal seal)
        {
            var forged = text.Replace(seal.Hash, new string('0', 64), StringComparison.Ordinal);
            var body = forged.StartsWith('{') ? JsonDocument.Parse(forged).RootElement.GetProperty("report").GetRawText() : forged[..(forged.LastIndexOf("\n## Seal\n", StringComparison.Ordinal) + 1)];
            return Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(body)));
        }
    }

    [Fact]
    public async Task The_Markdown_says_the_same_and_text_from_users_stays_text()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.Registry.RequestPromotionAsync(GovernedServer.Model, (await server.RegisterAsync(0.7)).Version, Stage.Staging, "a | b <script> [x](y)", GovernedServer.Ada, GovernedServer.Cancel);

        var text = await server.Client.GetTextAsync($"audit/report?model={GovernedServer.Model}&format=markdown", GovernedServer.Cancel);

        foreach (var heading in new[] { "Versions deployed", "Versions", "Promotions", "Stage changes", "Rollbacks", "Deprecations and retirements", "Approvers", "Data sources", "Metrics over time", "Events", "Retention", "Seal" })
        {
            Assert.Contains($"\n## {heading}\n", text, StringComparison.Ordinal);
        }

        Assert.Contains("| approved_by_another | pass |", text, StringComparison.Ordinal);
        Assert.DoesNotContain("<script>", text, StringComparison.Ordinal);
        Assert.Contains("a \\| b &lt;script&gt; \\[x\\](y)", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "'model' is missing")]
    [InlineData("?model=tips&format=pdf", "'format' must be json or markdown, not 'pdf'")]
    [InlineData("?model=tips&from=yesterday", "'from' must be a date or an instant")]
    [InlineData("?model=none", "There is no model 'none'")]
    public async Task A_report_that_cannot_be_made_says_why(string query, string expected)
    {
        await using var server = await GovernedServer.StartAsync();

        var error = await Assert.ThrowsAsync<SlipwayException>(() => server.Client.GetTextAsync($"audit/report{query}", GovernedServer.Cancel));

        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task The_commands_verify_list_and_report_and_end_with_1_when_the_trail_does_not_hold()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await server.Get<AuditCheckpoints>().WriteAsync(GovernedServer.Cancel);
        var (held, lines) = await CommandLine.RunAsync(server, "audit", "verify");
        var (_, pem) = await CommandLine.RunAsync(server, "audit", "key");
        var (named, _) = await CommandLine.RunAsync(server, "audit", "verify", "--public-key", pem);
        var (listed, list) = await CommandLine.RunAsync(server, "audit", "list", "--json", "--model", GovernedServer.Model, "--action", "promotion.", "--limit", "2");
        var file = Path.Combine(server.Data, "report.md");
        var (reported, _) = await CommandLine.RunAsync(server, "audit", "report", "--model", GovernedServer.Model, "--out", file);
        var (checkedSeal, seal) = await CommandLine.RunAsync(server, "audit", "verify", "--report", file);
        await File.WriteAllTextAsync(file, (await File.ReadAllTextAsync(file, GovernedServer.Cancel)).Replace("ada", "bob", StringComparison.Ordinal), GovernedServer.Cancel);
        var (broken, _) = await CommandLine.RunAsync(server, "audit", "verify", "--report", file);

        Assert.Equal((ExitCode.Ok, ExitCode.Ok, ExitCode.Ok, ExitCode.Ok, ExitCode.Ok, ExitCode.FailedCheck), (held, named, listed, reported, checkedSeal, broken));
        Assert.Contains("rows form one chain", lines, StringComparison.Ordinal);
        Assert.Contains("1 signed checkpoints agree", lines, StringComparison.Ordinal);
        Assert.StartsWith("-----BEGIN PUBLIC KEY-----", pem, StringComparison.Ordinal);
        Assert.StartsWith("pass  the report is as it was signed", seal, StringComparison.Ordinal);
        var page = JsonSerializer.Deserialize<Page<AuditEventResponse>>(list, JsonDefaults.Options)!;
        Assert.Equal(["promotion.approved", "promotion.requested"], page.Items.Select(row => row.Action));
        Assert.Equal(page.Items[1].Seq.ToString(System.Globalization.CultureInfo.InvariantCulture), page.NextCursor);

        await TestDatabase.AllowTamperingAsync(server.Get<Database>());
        await server.SqlAsync("UPDATE audit_events SET reason = 'because' WHERE seq = 4");
        var (bad, said) = await CommandLine.RunAsync(server, "audit", "verify");
        var (other, _) = await CommandLine.RunAsync(server, "audit", "verify", "--public-key", AuditSigningKey.Make().PublicKey);

        Assert.Equal((ExitCode.FailedCheck, ExitCode.FailedCheck), (bad, other));
        Assert.StartsWith("FAIL  row 4: its content does not match its hash", said, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task Only_an_administrator_signs_on_demand_and_replaces_the_key()
    {
        await using var server = await GovernedServer.StartAsync();
        var engineer = (await server.Get<UserStore>().CreateAsync("edna", Role.MlEngineer, Caller.System("test"), GovernedServer.Cancel)).Token;
        var admin = (await server.Get<UserStore>().CreateAsync("root", Role.Administrator, Caller.System("test"), GovernedServer.Cancel)).Token;
        using var asEngineer = new Slipway.Client.SlipwayClient(server.Address, engineer);
        using var asAdmin = new Slipway.Client.SlipwayClient(server.Address, admin);
        var rows = server.Get<AuditTrail>().Count();

        foreach (var (path, body) in new (string, object?)[] { ("audit/checkpoints", null), ("audit/key/rotate", new RotateAuditKey("why not")), ("audit/findings", null) })
        {
            Assert.Equal(ErrorCode.PermissionDenied, (await Assert.ThrowsAsync<SlipwayException>(() => asEngineer.PostAsync<object>(path, body, GovernedServer.Cancel))).Code);
        }

        Assert.Equal(rows, server.Get<AuditTrail>().Count());
        Assert.Empty(server.Get<AuditCheckpoints>().List());
        var signed = await asAdmin.PostAsync<AuditCheckpoint>("audit/checkpoints", null, GovernedServer.Cancel);
        var key = await asAdmin.PostAsync<AuditPublicKey>("audit/key/rotate", new RotateAuditKey("the disk was lent out"), GovernedServer.Cancel);
        Assert.Equal((rows, signed.KeyId), (signed.Seq, key.EndorsedBy));
        Assert.Equal(("audit_key.rotated", "root"), (server.Get<AuditTrail>().List()[0].Action, server.Get<AuditTrail>().List()[0].Actor));
        Assert.Contains("'reason'", (await Assert.ThrowsAsync<SlipwayException>(() => asAdmin.PostAsync<object>("audit/key/rotate", new RotateAuditKey(" "), GovernedServer.Cancel))).Message, StringComparison.Ordinal);
    }

    private static Task<AuditReport> ReportAsync(GovernedServer server, DateTimeOffset? from = null, DateTimeOffset? to = null) =>
        server.Get<AuditReporter>().MakeAsync(GovernedServer.Model, from, to, GovernedServer.Cancel);
}
