using Microsoft.Extensions.DependencyInjection;
using Slipway.Governance.Documents;
using Slipway.Governance.Evidence;
using Slipway.Governance.Maturity;
using Slipway.Governance.Verification;
using Slipway.Storage;
using Slipway.Storage.Blobs;

namespace Slipway.Governance;

/// <summary>Registers evidence, documents, maturity and verification.</summary>
public static class GovernanceServices
{
    /// <summary>Adds the evidence resolver, the document store, the maturity assessor and the verifier. Needs every area below.</summary>
    public static IServiceCollection AddSlipwayGovernance(this IServiceCollection services)
    {
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
        services.AddSingleton<Verifier>();
        return services;
    }
}
