using System.Globalization;
using System.Text;
using System.Text.Json;
using Slipway.Contracts.Registry;

namespace Slipway.Governance.ModelPages;

/// <summary>The commands on a model's page. Each runs as it stands, in any directory, with nothing set but <c>SLIPWAY_TOKEN</c> where the server wants one.</summary>
internal sealed class Runbook(StringBuilder page, string model, string address)
{
    public void Write(IReadOnlyList<ModelVersionRecord> versions, ModelVersionRecord? production, string? back, IReadOnlyList<PromotionRecord> open)
    {
        page.Append("## Runbook\n\nThe commands run as they stand. Where the server wants to know who you are, put your token into `SLIPWAY_TOKEN` first.\n\n");
        Section("Verify", "Recounts the audit trail, the SHA-256 of every stored file and the lineage of the versions in production.",
            $"slipway --server {address} verify", "a line for each check; exit code 0 when all pass, 1 when one fails");
        if (production is { ServedPath: not null, Signature.Inputs.Count: > 0 })
        {
            Section("Smoke prediction", $"One request to {production.Version}, all inputs zero or empty.", Smoke(production.Signature), "HTTP 200 and the outputs of the signature above; the figures mean nothing");
        }

        if (back is not null)
        {
            Section("Roll back", $"Takes {back} back into production and archives {production!.Version}; name another version that was there with `--to`.",
                $"slipway --server {address} registry rollback {Quoted(model)} --reason 'Rolled back by the runbook'", $"\"{model} {back} is in Production again.\"");
        }

        foreach (var (from, to) in new[] { (Stage.Staging, Stage.Production), (Stage.Development, Stage.Staging) })
        {
            if (versions.FirstOrDefault(version => version.Stage == from) is { } candidate)
            {
                Promote(candidate, to, open.FirstOrDefault(promotion => promotion.Version == candidate.Version && promotion.To == to));
            }
        }
    }

    private void Promote(ModelVersionRecord version, Stage to, PromotionRecord? open)
    {
        var stage = to.ToString().ToLowerInvariant();
        var (name, check) = (Quoted(model), $"slipway --server {address} registry check {Quoted(model)} {version.Version} --to {stage}");
        var promote = $"slipway --server {address} registry promote {name} {version.Version} --to {stage} --reason 'Promoted by the runbook'";
        Section($"Promote {version.Version} to {stage}: what is missing", "Asks the gate, and changes nothing.", check, "a line for each requirement; exit code 0 when all are met, 1 when one is not");
        if (open is null)
        {
            Section($"Promote {version.Version} to {stage}: ask", "Opens a promotion; this page then shows how to approve and carry it out.", promote, "the id of the promotion");
            return;
        }

        if (open.Status is PromotionStatus.Pending)
        {
            Section($"Promote {version.Version} to {stage}: approve", $"As a user who may approve, and who neither asked for it ({open.RequestedBy}) nor registered it ({version.CreatedBy}).",
                $"slipway --server {address} registry approve {open.Id} --comment 'Approved by the runbook'", "the promotion is Approved, or waits for further approvals");
        }

        Section($"Promote {version.Version} to {stage}: carry out", "Checks the gate again and moves the version, or says what is missing.", promote + " --execute", $"\"{model} {version.Version} is now in {to}.\"");
    }

    private string Smoke(ModelSignature signature)
    {
        var body = JsonSerializer.Serialize(new
        {
            inputs = signature.Inputs.Where(input => !input.Optional).Select(input =>
            {
                var shape = input.Shape.Select(size => Math.Max(size, 1)).ToArray();
                return new { name = input.Name, shape, datatype = input.Type, data = Enumerable.Repeat(Zero(input.Type), (int)Math.Min(shape.Aggregate(1L, (all, size) => all * size), 100_000)) };
            }),
        });
        return $"curl --silent --show-error --fail-with-body ${{SLIPWAY_TOKEN:+-H \"Authorization: Bearer $SLIPWAY_TOKEN\"}} -H 'Content-Type: application/json' "
            + $"-d {Quoted(body, always: true)} {address}/v2/models/{Uri.EscapeDataString(model)}/infer";
    }

    private static object Zero(string type) => type switch { "BYTES" => "", "BOOL" => false, _ => 0 };

    private void Section(string title, string what, string command, string expected) =>
        page.Append(CultureInfo.InvariantCulture, $"### {Documents.Markdown.Text(title)}\n\n{Documents.Markdown.Text(what)}\n\n```sh\n{command}\n```\n\nExpected: {Documents.Markdown.Text(expected)}.\n\n");

    // A word for the shell: nothing in it is expanded.
    private static string Quoted(string word, bool always = false) =>
        !always && word.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-') ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
