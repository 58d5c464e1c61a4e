using Slipway.Contracts.Governance;

namespace Slipway.Governance.Documents;

/// <summary>Composes a draft of any type.</summary>
internal sealed class DocumentComposer(ModelCard cards, Strategy strategies, MaturityPaper maturity)
{
    public Task<DocumentDraft> ComposeAsync(DocumentType type, string? model, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken) => type switch
    {
        DocumentType.ModelCard => cards.ComposeAsync(model, supplied, cancellationToken),
        DocumentType.Strategy => strategies.ComposeAsync(model, supplied, cancellationToken),
        _ => maturity.ComposeAsync(model, supplied, cancellationToken),
    };
}
