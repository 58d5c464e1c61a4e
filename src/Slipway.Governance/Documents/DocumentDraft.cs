using Slipway.Contracts.Governance;

namespace Slipway.Governance.Documents;

/// <summary>A document before publication: everything but control block, revision history, evidence table and footer.</summary>
/// <param name="Type">Which document.</param>
/// <param name="Project">Middle part of the id, upper case.</param>
/// <param name="Title">First heading.</param>
/// <param name="Model">Its model; null when it covers all.</param>
/// <param name="ModelVersion">The version a model card describes.</param>
/// <param name="Owner">Who answers for it.</param>
/// <param name="ReviewedBy">Evidence of review; says so when there is none.</param>
/// <param name="ApprovedBy">Evidence of approval; says so when there is none.</param>
/// <param name="Writer">Body and evidence.</param>
/// <param name="Warnings">Inputs that were missing.</param>
/// <param name="Validation">Points to settle after generation.</param>
internal sealed record DocumentDraft(
    DocumentType Type, string Project, string Title, string? Model, string? ModelVersion, string Owner, string ReviewedBy, string ApprovedBy, DocumentWriter Writer,
    IReadOnlyList<string> Warnings, IReadOnlyList<DocumentCheck> Validation)
{
    public string Series => $"ARC-{Project}-{TypeCode(Type)}";

    public static string TypeCode(DocumentType type) => type switch
    {
        DocumentType.ModelCard => "MCARD",
        DocumentType.Strategy => "MLOPS",
        _ => "MATUR",
    };

    /// <summary>A model's name as part of an id: capitals and digits, other signs as single dashes.</summary>
    public static string ProjectOf(string? model)
    {
        var words = (model ?? "platform").Split([.. (model ?? "").Where(character => !char.IsAsciiLetterOrDigit(character))], StringSplitOptions.RemoveEmptyEntries);
        return words.Length == 0 ? "MODEL" : string.Join('-', words).ToUpperInvariant();
    }
}
