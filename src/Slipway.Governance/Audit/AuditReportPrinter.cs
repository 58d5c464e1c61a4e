using System.Globalization;
using System.Text;
using Slipway.Contracts.Audit;

namespace Slipway.Governance.Audit;

/// <summary>An audit report for people.</summary>
internal static class AuditReportPrinter
{
    public static string Markdown(AuditReport report)
    {
        var print = new StringBuilder();
        print.Append(CultureInfo.InvariantCulture, $"# Audit report: {Text(report.Model)}\n\n");
        print.Append(CultureInfo.InvariantCulture, $"From {(report.From is { } from ? Instant(from) : "the beginning")} until {(report.To is { } to ? Instant(to) : $"row {report.Trail.Seq} of the audit trail")}.\n\n");
        print.Append(report.Trail.Holds
            ? string.Create(CultureInfo.InvariantCulture, $"The audit trail holds up to row {report.Trail.Seq} (`{report.Trail.Hash}`)")
            : string.Create(CultureInfo.InvariantCulture, $"**The audit trail does not hold**: {Text(report.Trail.Fault ?? "")}. Rows up to {report.Trail.Seq} (`{report.Trail.Hash}`) do"));
        print.Append(report.Trail.LastCheckpointSeq is { } signed ? string.Create(CultureInfo.InvariantCulture, $"; signed checkpoints cover it up to row {signed}.\n\n") : "; no signed checkpoint covers it.\n\n");

        Section(print, "Versions deployed", ["Version", "Role", "From", "Until", "Ended because", "Reason"], report.Deployments.Select(row => new[]
        {
            row.Version, row.Arm, Instant(row.StartedAt), row.EndedAt is { } ended ? Instant(ended) : "still running", row.Outcome ?? "", Text(row.Reason),
        }), "No version was deployed.");
        Section(print, "Versions", ["Version", "Stage when reported", "Registered", "By", "Owner", "Run", "Commit", "Test set", "Metrics"], report.Versions.Select(row => new[]
        {
            row.Version, row.Stage, Instant(row.RegisteredAt), Text(row.RegisteredBy), Text(row.Owner), Text(row.RunId ?? "none known"), Text(row.Commit ?? "unknown"), Short(row.TestSetSha256),
            row.EvaluationFault is { } fault ? $"cannot be read: {Text(fault)}" : string.Join(", ", row.Metrics.Select(metric => $"{Text(metric.Key)} {Number(metric.Value)}")),
        }), "No version was registered, moved or deployed.");
        Promotions(print, report);
        Section(print, "Stage changes", ["When", "Version", "From", "To", "Cause", "By", "Reason"], report.StageChanges.Select(row => new[]
        {
            Instant(row.At), row.Version, row.From?.ToString().ToLowerInvariant() ?? "", row.To.ToString().ToLowerInvariant(), row.Cause, Text(row.By), Text(row.Reason),
        }), "No version changed its stage.");
        Section(print, "Rollbacks", ["When", "Back to", "By", "Reason"], report.Rollbacks.Select(row => new[] { Instant(row.At), row.Version, Text(row.By), Text(row.Reason) }), "Nothing was rolled back.");
        Section(print, "Deprecations and retirements", ["Row", "When", "Who", "Did", "To", "Reason"], report.Deprecations.Select(Row), "Nothing was deprecated or retired.");
        Section(print, "Approvers", ["Name", "Role", "Approved", "Rejected"], report.Approvers.Select(row => new[]
        {
            Text(row.Name), string.Join(", ", row.Roles), $"{row.Approved}", $"{row.Rejected}",
        }), "Nobody decided on a promotion.");
        Section(print, "Data sources", ["Dataset", "SHA-256", "Rows", "Source", "Owner", "Licence", "Personal data", "Validation", "Used by"], report.DataSources.Select(row => new[]
        {
            $"{Text(row.Dataset)}@{row.Version}", $"`{row.Sha256}`", row.Rows is { } rows ? rows.ToString(CultureInfo.InvariantCulture) : "not on record", Text(row.Source ?? "not declared"),
            Text(row.Owner ?? "not declared"), Text(row.Licence ?? "not declared"), row.PersonalData switch { true => "yes", false => "no", null => "not declared" },
            Text(row.Validation ?? "never validated"), string.Join(", ", row.UsedBy),
        }), "The versions name no dataset.");
        Section(print, "Metrics over time", ["Window ends (event time)", "Monitor", "Metric", "Of", "Value", "Band", "Rows"], report.MetricsOverTime.Select(row => new[]
        {
            Instant(row.WindowEnd), Text(row.Monitor), Text(row.Metric), Text(row.Subject), Number(row.Value), row.Band, row.N.ToString(CultureInfo.InvariantCulture),
        }), "No monitor has read anything of the model.");
        Section(print, "Events", ["Row", "When", "Who", "Did", "To", "Reason"], report.Events.Select(Row), "Nothing is recorded.");
        Section(print, "Retention", ["Class", "Kept", "Rows here"], report.Retention.Select(row => new[] { row.Class, row.Kept, $"{row.Events}" }), "");
        return print.ToString();
    }

    private static void Promotions(StringBuilder print, AuditReport report)
    {
        print.Append("## Promotions\n\n");
        if (report.Promotions.Count == 0)
        {
            print.Append("No promotion was asked for or closed.\n\n");
        }

        foreach (var promotion in report.Promotions)
        {
            print.Append(CultureInfo.InvariantCulture, $"### {promotion.Id}: {promotion.Version} from {promotion.From} to {promotion.To}, {promotion.Status}\n\n");
            print.Append(CultureInfo.InvariantCulture, $"Asked for by {Text(promotion.RequestedBy)} on {Instant(promotion.RequestedAt)}: {Text(promotion.Reason)}.");
            print.Append(promotion is { ClosedBy: { } by, ClosedAt: { } at } ? string.Create(CultureInfo.InvariantCulture, $" Closed by {Text(by)} on {Instant(at)}.\n\n") : " Open.\n\n");
            Table(print, ["Decision", "By", "Role", "When", "Comment"], promotion.Decisions.Select(row => new[]
            {
                row.Approved ? "approved" : "rejected", Text(row.By), row.Role, Instant(row.At), Text(row.Comment),
            }));
            Table(print, ["Compliance checkpoint", "Outcome", "Found", "Evidence"], promotion.Compliance.Select(row => new[]
            {
                row.Name, row.Outcome switch { ComplianceOutcome.Passed => "pass", ComplianceOutcome.Failed => "FAIL", _ => "not checked" }, Text(row.Detail), Text(string.Join(", ", row.Evidence)),
            }));
            Table(print, [$"Gate ({promotion.Policy})", "Met", "Found", "Evidence"], promotion.Gate.Select(row => new[]
            {
                Text(row.Name), row.Passed ? "yes" : "NO", Text(row.Detail), Text(string.Join(", ", row.Evidence)),
            }));
        }
    }

    private static string[] Row(ReportedEvent row) =>
        [row.Seq.ToString(CultureInfo.InvariantCulture), Instant(row.At), Text(row.Actor), Text(row.Action), Text(row.Subject), Text(row.Reason ?? "")];

    private static void Section(StringBuilder print, string title, string[] header, IEnumerable<string[]> rows, string none)
    {
        print.Append(CultureInfo.InvariantCulture, $"## {title}\n\n");
        if (!Table(print, header, rows))
        {
            print.Append(none).Append("\n\n");
        }
    }

    private static bool Table(StringBuilder print, string[] header, IEnumerable<string[]> rows)
    {
        var list = rows.ToList();
        if (list.Count == 0)
        {
            return false;
        }

        foreach (var row in list.Prepend([.. header.Select(_ => "---")]).Prepend(header))
        {
            print.Append("| ").AppendJoin(" | ", row).Append(" |\n");
        }

        print.Append('\n');
        return true;
    }

    private static string Text(string value) => Documents.Markdown.Text(value);

    private static string Number(double value) => value.ToString("0.######", CultureInfo.InvariantCulture);

    private static string Short(string? sha256) => sha256 is null ? "none" : $"`{Text(sha256)}`";

    private static string Instant(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
