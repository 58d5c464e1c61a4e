using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Governance.Documents;
using Slipway.Registry;

namespace Slipway.Governance.ModelPages;

/// <summary>Writes a page per model from the registry of now: where its versions are, how it got there, how to get back, and the commands for it.</summary>
/// <remarks>No page names the time it was written: a page differs from the one before only when the registry does.</remarks>
public sealed class ModelPageComposer(ModelRegistry registry, GovernanceOptions options, IServiceProvider services)
{
    private const int HistoryRows = 100;

    /// <summary>The address at which users reach this server.</summary>
    public string Address => options.PublicAddress?.TrimEnd('/') ?? ListeningAddress();

    /// <summary>The models that have a page, by name: those with a version.</summary>
    public IReadOnlyList<string> Models() => [.. registry.ListModels().Where(model => model.Versions > 0).Select(model => model.Name).Order(StringComparer.Ordinal)];

    /// <summary>The page that lists the others.</summary>
    /// <param name="address">The server, as the links name it.</param>
    public string Index(string address)
    {
        var page = Begin("Models");
        page.Append(CultureInfo.InvariantCulture, $"Written by the registry at <{address}>; changes are overwritten.\n\n");
        Table(page, ["Model", "In production", "In staging", "Newest", "Versions", "Owner"], registry.ListModels().Where(model => model.Versions > 0).OrderBy(model => model.Name, StringComparer.Ordinal).Select(model => new[]
        {
            $"[{Text(model.Name)}]({PageFolder.FileOf(model.Name).Replace("%", "%25", StringComparison.Ordinal)})", model.ProductionVersion ?? "none",
            model.StagingVersions.Count == 0 ? "none" : string.Join(", ", model.StagingVersions), model.NewestVersion ?? "none", $"{model.Versions}", Text(model.Owner),
        }), "No model is registered.");
        return page.ToString();
    }

    /// <summary>A model's page.</summary>
    /// <param name="model">The model.</param>
    /// <param name="address">The server, as links and commands name it.</param>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public string Page(string model, string address)
    {
        var versions = registry.ListVersions(model);
        if (versions.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}' with a version; GET /api/slipway/v1/models lists models.");
        }

        var history = registry.History(model);
        var production = versions.FirstOrDefault(version => version.Stage is Stage.Production);
        var shown = production ?? versions[0];
        var open = registry.ListPromotions(model).Where(promotion => promotion.Status is PromotionStatus.Pending or PromotionStatus.Approved).ToList();
        var back = RollbackTarget(history, production);
        var page = Begin(model);
        if (shown.Description.Length > 0)
        {
            page.Append(Text(shown.Description)).Append("\n\n");
        }

        Facts(page, model, address, versions, history, production);
        Table(page, "Versions", ["Version", "Number", "Stage", "Aliases", "Registered", "By", "Owner", "Run", "Why this number"], versions.Select(version => new[]
        {
            version.Version, $"{version.Number}", Name(version.Stage), string.Join(", ", version.Aliases.Order(StringComparer.Ordinal).Select(alias => $"@{Text(alias)}")), Instant(version.CreatedAt),
            Text(version.CreatedBy), Text(version.Owner), version.RunId is { } run ? $"[{Text(run[..Math.Min(8, run.Length)])}]({address}/runs/{Uri.EscapeDataString(run)})" : "none known", Text(version.BumpReason),
        }), "");
        Table(page, "Open promotions", ["Promotion", "Version", "To", "Asked for by", "When", "Status", "Decisions", "Reason"], open.Select(promotion => new[]
        {
            promotion.Id, promotion.Version, Name(promotion.To), Text(promotion.RequestedBy), Instant(promotion.RequestedAt), promotion.Status.ToString().ToLowerInvariant(),
            string.Join(", ", promotion.Decisions.Select(decision => $"{Text(decision.By)} {(decision.Approved ? "approved" : "rejected")}")), Text(promotion.Reason),
        }), "None waits.");
        page.Append("## Rollback plan\n\n").Append(
            production is null ? "No version is in production.\n\n"
            : back is null ? $"{production.Version} is the first version in production: there is none to go back to.\n\n"
            : $"If {production.Version} fails, {back} takes over again: it was in production before. Serving follows within a second.\n\n");
        Signature(page, shown);
        new Runbook(page, model, address).Write(versions, production, back, open);
        History(page, model, address, history);
        return page.ToString();
    }

    private static void Facts(StringBuilder page, string model, string address, IReadOnlyList<ModelVersionRecord> versions, IReadOnlyList<StageChange> history, ModelVersionRecord? production)
    {
        var since = history.LastOrDefault(change => change.To is Stage.Production && change.Version == production?.Version);
        var link = Uri.EscapeDataString(model);
        Table(page, ["", ""],
        [
            ["In production", production is null ? "none" : $"**{production.Version}** since {Instant(since?.At ?? production.CreatedAt)}, {Text(since?.Cause.Replace('_', ' ') ?? "")} by {Text(since?.By ?? production.CreatedBy)}: {Text(since?.Reason ?? "")}"],
            ["In staging", versions.Any(version => version.Stage is Stage.Staging) ? string.Join(", ", versions.Where(version => version.Stage is Stage.Staging).Select(version => version.Version)) : "none"],
            ["Newest", versions[0].Version],
            ["Owners", string.Join(", ", versions.Select(version => version.Owner).Distinct(StringComparer.Ordinal).Select(Text))],
            ["See", $"[versions]({address}/models/{link}) · [deployment]({address}/deployments/{link}) · [who did what]({address}/governance/audit?model={link})"],
        ], "");
    }

    private static void Signature(StringBuilder page, ModelVersionRecord version)
    {
        string[] Row(string kind, SignatureField field) => [kind, Text(field.Name), Text(field.Type), string.Join(" × ", field.Shape.Select(size => size < 0 ? "rows" : $"{size}")), field.Optional ? "yes" : ""];
        Table(page, $"Signature of {version.Version}", ["", "Name", "Type", "Shape", "Optional"],
            version.Signature.Inputs.Select(field => Row("input", field)).Concat(version.Signature.Outputs.Select(field => Row("output", field))), "None was declared.");
        if (version.FeatureSchema.Features.Count > 0)
        {
            page.Append(CultureInfo.InvariantCulture, $"Features, in the order of the vector: {string.Join(", ", version.FeatureSchema.Features.Select(feature => Text(feature.Name)))}.\n\n");
        }
    }

    private static void History(StringBuilder page, string model, string address, IReadOnlyList<StageChange> history)
    {
        Table(page, "History", ["When", "Version", "From", "To", "Cause", "By", "Reason"], history.Reverse().Take(HistoryRows).Select(change => new[]
        {
            Instant(change.At), change.Version, change.From is { } from ? Name(from) : "", Name(change.To), Text(change.Cause.Replace('_', ' ')), Text(change.By), Text(change.Reason),
        }), "");
        if (history.Count > HistoryRows)
        {
            page.Append(CultureInfo.InvariantCulture, $"{history.Count - HistoryRows} older changes are [in the audit trail]({address}/governance/audit?model={Uri.EscapeDataString(model)}).\n");
        }
    }

    // The same choice as the registry's: the last that left production without a rollback.
    private static string? RollbackTarget(IReadOnlyList<StageChange> history, ModelVersionRecord? production) =>
        history.LastOrDefault(change => change.From is Stage.Production && change.Cause != "rolled_back" && change.Version != production?.Version)?.Version;

    private string ListeningAddress()
    {
        var address = services.GetService<IServer>()?.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault() ?? "http://127.0.0.1:5000";
        return address.Replace("//0.0.0.0:", $"//{Environment.MachineName}:", StringComparison.Ordinal).Replace("//[::]:", $"//{Environment.MachineName}:", StringComparison.Ordinal).TrimEnd('/');
    }

    private static StringBuilder Begin(string title) => new StringBuilder().Append(PageFolder.Mark).Append("\n# ").Append(Text(title)).Append("\n\n");

    private static void Table(StringBuilder page, string title, string[] header, IEnumerable<string[]> rows, string none)
    {
        page.Append(CultureInfo.InvariantCulture, $"## {title}\n\n");
        Table(page, header, rows, none);
    }

    private static void Table(StringBuilder page, string[] header, IEnumerable<string[]> rows, string none)
    {
        var list = rows.ToList();
        if (list.Count == 0)
        {
            page.Append(none).Append("\n\n");
            return;
        }

        foreach (var row in list.Prepend([.. header.Select(_ => "---")]).Prepend(header))
        {
            page.Append("| ").AppendJoin(" | ", row).Append(" |\n");
        }

        page.Append('\n');
    }

    private static string Text(string value) => Markdown.Text(value);

    private static string Name(Stage stage) => stage.ToString().ToLowerInvariant();

    private static string Instant(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
