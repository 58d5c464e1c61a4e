using Slipway.Contracts.Registry;
using Slipway.Registry.Stages;

namespace Slipway.Governance.Documents;

/// <summary>Tells promotion gates which documents there are.</summary>
internal sealed class DocumentGateEvidence(DocumentStore documents) : IGateEvidenceSource
{
    public string Topic => IGateEvidenceSource.Documents;

    public Task<GateFact?> FindAsync(ModelVersionRecord version, string question, CancellationToken cancellationToken) =>
        documents.FindForGateAsync(version.Model, version.Version, question, cancellationToken);
}
