using System.Globalization;
using Slipway.Cli.Commands;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Governance;
using Slipway.Contracts.Host;
using Slipway.Contracts.Monitoring;
using Slipway.Contracts.Registry;
using Slipway.Contracts.Serving;
using Spectre.Console;

namespace Slipway.Cli.Demo;

/// <summary>What happened, read back from the server's records; nothing here is remembered from the run.</summary>
internal sealed class DemoSummary(SlipwayClient client, IAnsiConsole console)
{
    /// <summary>Model card, strategy and maturity report; nothing new is written while no fact has changed.</summary>
    public async Task WriteDocumentsAsync(string examples, CancellationToken ct)
    {
        var requirements = new Dictionary<string, string>(StringComparer.Ordinal) { ["requirements"] = await File.ReadAllTextAsync(Path.Combine(examples, "requirements.txt"), ct) };
        foreach (var request in (GenerateDocument[])
            [new(DocumentType.ModelCard, DemoRun.Model), new(DocumentType.Strategy, null, requirements), new(DocumentType.Maturity)])
        {
            var written = await client.PostAsync<GeneratedDocument>("documents", request, ct);
            console.MarkupLineInterpolated($"  {written.Document.Id}: {written.Document.Title} ({written.Document.File}{(written.Created ? "" : ", unchanged")})");
        }
    }

    public async Task<int> PrintAsync(DatasetVersion dataset, DemoServer server, TimeSpan elapsed, CancellationToken ct)
    {
        var table = new Table().Border(TableBorder.Rounded).HideHeaders().AddColumn("what").AddColumn("found");
        void Row(string what, string found) => table.AddRow($"[bold]{Markup.Escape(what)}[/]", Markup.Escape(found));

        Row("Dataset", $"{dataset.Name}@{dataset.Version}, {dataset.Rows:N0} rows, sha256 {dataset.Sha256}");
        var versions = (await client.GetAsync<ModelVersionList>($"models/{DemoRun.Model}/versions", ct)).Versions.OrderBy(version => version.Number).ToList();
        foreach (var version in versions)
        {
            var report = await client.GetAsync<EvaluationReport>($"models/{DemoRun.Model}/versions/{version.Version}/evaluation", ct);
            var rivals = string.Join(", ", report.Baselines.Select(baseline => $"{baseline.Name} {Auc(baseline.Metrics)}"));
            var test = report.Splits.First(split => split.Name == "test");
            Row($"{DemoRun.Model} {version.Version}", $"{version.Stage}; test AUC {Auc(report.Metrics)} against {rivals}; test set {test.Rows:N0} rows, {report.TestSetSha256[..12]}…");
        }

        var served = (await client.GetAsync<IReadOnlyList<LoggedPredictionCount>>($"deployments/{DemoRun.Model}/predictions", ct)).Where(count => count.Arm is "stable" or "candidate").ToList();
        Row("Requests served", $"{served.Sum(count => count.Predictions):N0}, {served.Sum(count => count.Failed):N0} failed: " +
            string.Join(", ", served.Select(count => $"{count.Predictions:N0} by {count.Version} ({count.Arm})")));
        var rollouts = (await client.GetAsync<RolloutListResponse>($"rollouts?model={DemoRun.Model}", ct)).Rollouts;
        foreach (var rollout in rollouts.OrderBy(rollout => rollout.StartedAt))
        {
            Row($"Rollout of {rollout.Version}", $"{rollout.Status}: {rollout.EndReason}{(rollout.RestoreMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $" Traffic restored in {ms:0.0} ms.") : "")}");
        }

        var monitor = await client.GetAsync<MonitorStatus>($"monitors/{DemoRun.Model}", ct);
        foreach (var action in monitor.Actions)
        {
            Row("Retraining", $"{action.Trigger}: {action.Reason}");
        }

        foreach (var result in monitor.Results.Where(result => result.Subject == "performance" && result.Metric is "auc" or "ece" or "label_coverage"))
        {
            Row($"Rolling {result.Metric}", string.Create(CultureInfo.InvariantCulture, $"{result.Value:0.0000} over the last window, n = {result.N:N0} ({result.Band})"));
        }

        var audit = await client.GetAsync<Page<AuditEventResponse>>("audit?limit=1", ct);
        Row("Audit events", audit.Items.Count == 0 ? "none" : audit.Items[0].Seq.ToString("N0", CultureInfo.InvariantCulture));
        var maturity = await client.GetAsync<MaturityReport>("maturity", ct);
        Row("Maturity", string.Create(CultureInfo.InvariantCulture, $"{maturity.Score:0} of 100: ") + string.Join(", ", maturity.Dimensions.Select(dimension => $"{dimension.Name} level {dimension.Level}")));
        var documents = (await client.GetAsync<DocumentList>("documents", ct)).Documents.Where(document => document.Newest).ToList();
        Row("Documents", string.Join(", ", documents.Select(document => document.Id)));
        var proof = await client.GetAsync<VerificationReport>("verify", ct);
        var failed = proof.Checks.Where(check => !check.Passed).ToList();
        Row("Verify", failed.Count == 0
            ? $"all {proof.Checks.Count} checks passed: audit chain, {proof.BlobsChecked:N0} stored files ({proof.BytesChecked / 1048576.0:N0} MiB) re-hashed, lineage of production"
            : $"{failed.Count} of {proof.Checks.Count} checks failed: {string.Join("; ", failed.Select(check => $"{check.Name} {check.Subject}: {check.Detail}"))}");
        Row("Time and memory", string.Create(CultureInfo.InvariantCulture, $"{elapsed.TotalSeconds:0} s; server {server.MemoryBytes / 1048576.0:0} MiB now, {server.MemoryPeakBytes / 1048576.0:0} MiB at most"));
        console.Write(table);
        console.Write(MonitorCommand.DriftTable(await client.GetAsync<IReadOnlyList<DriftByMonth>>($"monitors/{DemoRun.Model}/drift?by=month", ct)));
        console.MarkupLineInterpolated($"Pages: [link]{server.Address}[/]");
        return proof.Passed ? ExitCode.Ok : ExitCode.FailedCheck;
    }

    private static string Auc(IReadOnlyDictionary<string, double> metrics) => metrics.TryGetValue("auc", out var auc) ? auc.ToString("0.0000", CultureInfo.InvariantCulture) : "-";
}
