using System.Globalization;
using Slipway.Contracts.Governance;
using Slipway.Governance.Evidence;
using Slipway.Governance.Maturity;

namespace Slipway.Governance.Documents;

/// <summary>The maturity assessment as a document: every level claim with the checks behind it.</summary>
internal sealed class MaturityPaper(MaturityAssessor assessor, EvidenceResolver resolver)
{
    public async Task<DocumentDraft> ComposeAsync(string? model, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken)
    {
        var report = await assessor.AssessAsync(model, cancellationToken);
        var writer = new DocumentWriter(resolver, supplied, cancellationToken);
        writer.Heading(2, "1 Result");
        writer.Facts(
            ("Score now", $"{report.Score} of 100 {writer.Cite("maturity.assessment", report.Scope)}"), ("Level now", $"{report.Level} of 4 (the lowest dimension's)"),
            ("Target", $"{report.Target} of 100, when every dimension has reached its next level"), ("By when", writer.Human("target_date", "the date of the target")),
            ("Scope", report.Scope.Count == 0 ? "no version in production has served yet, so nothing is shown" : Markdown.Text(string.Join(", ", report.Scope))),
            ("Models", await writer.FactAsync("platform.models", "register a model")), ("Users", await writer.FactAsync("platform.users", "add users")));
        writer.Paragraph("Level: the highest whose checks, and those of all levels below, pass. Score: 20 × level + 20 × share of the next level's checks that pass; overall the mean, rounded down. A check that this version cannot make does not pass.");
        writer.Table(["Dimension", "Level", "Name", "Score"], report.Dimensions.Select(dimension => (IReadOnlyList<string>)
            [Title(dimension.Name), dimension.Level.ToString(CultureInfo.InvariantCulture), dimension.LevelName, Figures.Of(dimension.Score)]));

        writer.Heading(2, "2 Evidence and gaps");
        foreach (var dimension in report.Dimensions)
        {
            writer.Heading(3, Title(dimension.Name));
            writer.Table(["Level", "Check", "Result", "Found", "Offending", "What to do"], dimension.Items.Select(item => (IReadOnlyList<string>)
            [
                item.Level.ToString(CultureInfo.InvariantCulture), Markdown.Text(item.Check), item.Passed ? "pass" : "fail", $"{item.Met} of {item.Of}",
                item.Offending.Count == 0 ? "none" : Markdown.Text(string.Join(", ", item.Offending.Take(5))), item.Gap is { } gap ? Markdown.Text(gap) : "nothing",
            ]));
        }

        writer.Heading(2, "3 Next steps");
        if (report.NextSteps.Count == 0)
        {
            writer.Paragraph("Every dimension is at the highest level.");
        }
        else
        {
            writer.Table(["Priority", "Action", "Rationale", "Effort"], report.NextSteps.Select(step => (IReadOnlyList<string>)
                [step.Priority, Markdown.Text(step.Action), Markdown.Text(step.Rationale), step.EstimatedEffort]));
        }

        return new DocumentDraft(
            DocumentType.Maturity, DocumentDraft.ProjectOf(model), $"Maturity assessment{(model is null ? "" : $": {Markdown.Text(model)}")}", model, null, writer.Human("owner", "who answers for this assessment"),
            "not recorded: have a person review it", "not recorded: have a person approve it", writer,
            report.Scope.Count == 0 ? ["SCOPE EMPTY: no version in production has served a request, so no level can be shown."] : [], []);
    }

    private static string Title(string dimension) => $"{char.ToUpperInvariant(dimension[0])}{dimension[1..]}";
}
