using System.CommandLine;
using Slipway.Cli;
using Slipway.Cli.Commands;
using Slipway.Contracts.Governance;
using Slipway.Datasets;
using Slipway.Serving.Deployments;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Governance;

[Trait("capability", "CIC-07")]
public sealed class VerificationTests
{
    [Fact]
    public async Task An_empty_server_verifies()
    {
        await using var server = await GovernedServer.StartAsync();

        var report = await VerifyAsync(server);

        Assert.True(report.Passed);
        Assert.Equal("audit_chain", Assert.Single(report.Checks).Name);
    }

    [Fact, Trait("capability", "LIN-01")]
    public async Task Every_record_with_blobs_has_a_line_and_the_production_version_names_each_hop_of_its_path()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var version = server.Registry.Get(GovernedServer.Model, "production");

        var report = await VerifyAsync(server);

        Assert.True(report.Passed, string.Join('\n', report.Checks.Where(check => !check.Passed)));
        string[] subjects =
        [
            "dataset_version:rides@1", "feature_view:driver_fares@1", $"model_version:{version.Model}@{version.Version}", $"run:{version.RunId}", $"training_set:{version.TrainingSetSha256}",
        ];
        Assert.Equal(subjects, report.Checks.Where(check => check.Name == "blobs").Select(check => check.Subject));
        var deployment = server.Get<DeploymentStore>().ListOpen().Single();
        Assert.Equal(
            $"data rides@1 -> features driver_fares@1 -> run {version.RunId} -> version tips@1.0.0 -> deployment {deployment.Id}.",
            report.Checks.Single(check => check.Name == "lineage").Detail);
        Assert.True(report is { BlobsChecked: >= 8, BytesChecked: > 1000 });
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task One_flipped_bit_in_any_stored_file_fails_the_line_of_every_record_that_rests_on_it()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var references = References(server);
        string[] parts = ["model.onnx", "baseline", "evaluation report", "environment", "content", "profile", "values over rides@1", "rows"];
        Assert.Equal(parts.Order(), references.Select(reference => reference.Part).Distinct().Order());
        foreach (var file in references.GroupBy(reference => reference.Sha256))
        {
            server.Damage(file.Key);
            var report = await VerifyAsync(server);
            server.Damage(file.Key);

            Assert.False(report.Passed);
            var failed = report.Checks.Where(check => !check.Passed).ToList();
            Assert.Equal(file.Select(reference => reference.Subject).Distinct().Order(), failed.Select(check => check.Subject).Order());
            Assert.All(file, reference => Assert.Contains(
                failed, check => check.Subject == reference.Subject && check.Detail.Contains($"'{reference.Part}' ({file.Key}) was changed on disk", StringComparison.Ordinal)));
        }

        Assert.True((await VerifyAsync(server)).Passed);
    }

    [Fact]
    public async Task A_file_that_is_gone_fails_its_line()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        File.Delete(server.Blobs.PathOf(server.Registry.Get(GovernedServer.Model, "production").BaselineSha256!));

        var failed = Assert.Single((await VerifyAsync(server)).Checks, check => !check.Passed);

        Assert.Equal("model_version:tips@1.0.0", failed.Subject);
        Assert.Contains("'baseline'", failed.Detail, StringComparison.Ordinal);
        Assert.Contains("is gone", failed.Detail, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task A_changed_or_missing_audit_row_fails_the_chain_and_is_named()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        await TestDatabase.AllowTamperingAsync(server.Get<Database>());
        await server.SqlAsync("CREATE TABLE kept AS SELECT * FROM audit_events");
        foreach (var tampering in new[]
        {
            "UPDATE audit_events SET reason = 'better than befose' WHERE seq = (SELECT max(seq) FROM audit_events WHERE reason = 'better than before')",
            "UPDATE audit_events SET at_ms = at_ms + 1 WHERE seq = 5",
            "UPDATE audit_events SET actor = 'bda' WHERE seq = 5",
            "UPDATE audit_events SET after_json = replace(after_json, '0', '1') WHERE seq = (SELECT max(seq) FROM audit_events WHERE after_json LIKE '%0%')",
            "DELETE FROM audit_events WHERE seq = 5",
            "DELETE FROM audit_events WHERE seq = (SELECT max(seq) FROM audit_events)",
        })
        {
            await server.SqlAsync(tampering);
            var report = await VerifyAsync(server);
            await server.SqlAsync("DELETE FROM audit_events; INSERT INTO audit_events SELECT * FROM kept");

            Assert.False(report.Passed, tampering);
            var failed = Assert.Single(report.Checks, check => !check.Passed);
            Assert.Equal("audit_chain", failed.Name);
            Assert.Matches("^audit_event:[0-9]+$", failed.Subject);
        }

        var whole = await VerifyAsync(server);
        Assert.True(whole.Passed, string.Join('\n', whole.Checks.Where(check => !check.Passed)));
    }

    [Fact, Trait("capability", "LIN-01")]
    public async Task A_broken_hop_fails_the_lineage_line_and_is_named()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var run = server.Registry.Get(GovernedServer.Model, "production").RunId;
        await TestDatabase.AllowTamperingAsync(server.Get<Database>());
        await server.SqlAsync("CREATE TABLE kept AS SELECT * FROM lineage_edges");
        const string Relink = "INSERT INTO lineage_edges SELECT * FROM kept WHERE true ON CONFLICT DO NOTHING";
        foreach (var (tampering, repair, expected) in new[]
        {
            ("DELETE FROM lineage_edges WHERE from_node IN (SELECT id FROM lineage_nodes WHERE kind = 'dataset_version')", Relink, "Broken at data -> features"),
            ("DELETE FROM lineage_edges WHERE from_node IN (SELECT id FROM lineage_nodes WHERE kind = 'feature_view')", Relink, "Broken at features -> run"),
            ("DELETE FROM lineage_edges WHERE from_node IN (SELECT id FROM lineage_nodes WHERE kind = 'training_set')", Relink, "Broken at features -> run"),
            ("DELETE FROM lineage_edges WHERE from_node IN (SELECT id FROM lineage_nodes WHERE kind = 'run')", Relink, "Broken at run -> version"),
            ("DELETE FROM lineage_edges WHERE to_node IN (SELECT id FROM lineage_nodes WHERE kind = 'deployment')", Relink, "Broken at version -> deployment"),
            ("UPDATE deployments SET ended_at_ms = 1", "UPDATE deployments SET ended_at_ms = NULL", "Broken at version -> deployment"),
            ("UPDATE runs SET run_id = 'ffffffffffffffffffffffffffffffff'", $"UPDATE runs SET run_id = '{run}'", "Broken at run"),
            ("UPDATE model_versions SET feature_schema = replace(feature_schema, 'driver_fares@1', 'driver_fares@9')", "UPDATE model_versions SET feature_schema = replace(feature_schema, 'driver_fares@9', 'driver_fares@1')", "Broken at features"),
        })
        {
            await server.SqlAsync(tampering);
            var report = await VerifyAsync(server);
            await server.SqlAsync(repair);

            var failed = Assert.Single(report.Checks, check => !check.Passed);
            Assert.Equal(("lineage", "model_version:tips@1.0.0"), (failed.Name, failed.Subject));
            Assert.StartsWith(expected, failed.Detail, StringComparison.Ordinal);
        }

        Assert.True((await VerifyAsync(server)).Passed);
    }

    [Fact]
    public async Task The_command_prints_a_line_per_check_and_ends_with_1_naming_the_failing_one()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var (good, lines, _) = await CommandAsync(server);
        server.Damage(server.Registry.Get(GovernedServer.Model, "production").BaselineSha256!);
        var (bad, _, error) = await CommandAsync(server);

        Assert.Equal(ExitCode.Ok, good);
        Assert.Contains("pass  lineage  model_version:tips@1.0.0  data rides@1 ->", lines, StringComparison.Ordinal);
        Assert.DoesNotContain("FAIL", lines, StringComparison.Ordinal);
        Assert.Equal(ExitCode.FailedCheck, bad);
        Assert.StartsWith("Failed: blobs model_version:tips@1.0.0: 'baseline'", error, StringComparison.Ordinal);
    }

    private static Task<VerificationReport> VerifyAsync(GovernedServer server) => server.Client.GetAsync<VerificationReport>("verify", GovernedServer.Cancel);

    private static IReadOnlyList<(string Subject, string Part, string Sha256)> References(GovernedServer server) =>
        [.. server.Get<DatasetStore>().ReferencedBlobs().Concat(server.Get<Slipway.FeatureStore.OfflineStore>().ReferencedBlobs())
            .Concat(server.Get<RunStore>().ReferencedBlobs()).Concat(server.Registry.ReferencedBlobs())
            .Select(reference => (reference.Subject.ToString(), reference.Part, reference.Sha256))];

    private static async Task<(int Code, string Output, string Error)> CommandAsync(GovernedServer server)
    {
        var root = new RootCommand();
        var connection = new ConnectionOptions();
        connection.AddTo(root);
        root.Add(VerifyCommand.Create(connection));
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = await root.Parse(["verify", "--server", server.Address.ToString()])
            .InvokeAsync(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false }, GovernedServer.Cancel);
        return (code, output.ToString(), error.ToString());
    }
}
