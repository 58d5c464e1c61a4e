using Microsoft.Extensions.DependencyInjection;
using Slipway.Governance.Verification;

namespace Slipway.Governance;

/// <summary>Registers evidence, documents, maturity and verification.</summary>
public static class GovernanceServices
{
    /// <summary>Adds the verifier.</summary>
    public static IServiceCollection AddSlipwayGovernance(this IServiceCollection services)
    {
        services.AddSingleton<Verifier>();
        return services;
    }
}
