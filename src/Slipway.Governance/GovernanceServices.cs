using Microsoft.Extensions.DependencyInjection;
using Slipway.Governance.Audit;
using Slipway.Governance.Documents;
using Slipway.Governance.Evidence;
using Slipway.Governance.Maturity;
using Slipway.Governance.ModelPages;
using Slipway.Governance.Verification;
using Slipway.Registry;
using Slipway.Registry.Stages;
using Slipway.Storage;
using Slipway.Storage.Audit;
using Slipway.Storage.Blobs;

namespace Slipway.Governance;

/// <summary>Registers evidence, documents, maturity and verification.</summary>
public static class GovernanceServices
{
    /// <summary>Adds the evidence resolver, the document store, the maturity assessor, the verifier, audit reports, the scheduled audit and model pages. Needs every area below.</summary>
    public static IServiceCollection AddSlipwayGovernance(this IServiceCollection services, GovernanceOptions? options = null)
    {
        services.AddSingleton(options ?? new GovernanceOptions());
        services.AddSingleton(MigrationSet.Of<DocumentStore>("governance"));
        services.AddSingleton<EvidenceResolver>();
        services.AddSingleton<MaturityAssessor>();
        services.AddSingleton<ModelCard>();
        services.AddSingleton<Strategy>();
        services.AddSingleton<MaturityPaper>();
        services.AddSingleton<DocumentComposer>();
        services.AddSingleton(provider => new DocumentStore(
            provider.GetRequiredService<Database>(), provider.GetRequiredService<BlobStore>(), provider.GetRequiredService<StorageOptions>(),
            provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<DocumentComposer>()));
        services.AddSingleton<INodeDescriber, DocumentNodes>();
        services.AddSingleton<LineageCheck>();
        services.AddSingleton<IGateEvidenceSource, DocumentGateEvidence>();
        services.AddSingleton<Verifier>();
        services.AddSingleton<AuditReporter>();
        services.AddSingleton(provider => new PolicyAudit(
            provider.GetRequiredService<Database>(), provider.GetRequiredService<Leases>(), provider.GetRequiredService<ModelRegistry>(), provider.GetRequiredService<BlobStore>(),
            provider.GetRequiredService<DocumentStore>(), provider.GetRequiredService<AuditTrail>(), provider.GetRequiredService<AuditCheckpoints>(), provider.GetRequiredService<LineageCheck>()));
        services.AddHostedService<PolicyAuditor>();
        services.AddSingleton<ModelPageComposer>();
        services.AddHostedService<ModelPagePublisher>();
        return services;
    }
}
