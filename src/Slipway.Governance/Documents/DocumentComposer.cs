using Slipway.Contracts.Governance;

namespace Slipway.Governance.Documents;

/// <summary>Composes a draft of any type.</summary>
internal sealed class DocumentComposer(ModelCard cards, Strategy strategies, MaturityPaper maturity)
{
    /// <param name="type">Which document.</param>
    /// <param name="model">Its model; null for all.</param>
    /// <param name="supplied">Text that only people can supply.</param>
    /// <param name="cancellationToken">Interrupts it.</param>
    /// <param name="version">The version that a model card describes; null takes the one in production, else the newest.</param>
    public Task<DocumentDraft> ComposeAsync(
        DocumentType type, string? model, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken, string? version = null) => type switch
        {
            DocumentType.ModelCard => cards.ComposeAsync(model, version, supplied, cancellationToken),
            DocumentType.Strategy => strategies.ComposeAsync(model, supplied, cancellationToken),
            _ => maturity.ComposeAsync(model, supplied, cancellationToken),
        };
}
