using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Governance.Verification;

namespace Slipway.Governance;

/// <summary>Maps verification and documents.</summary>
public static class GovernanceEndpoints
{
    /// <summary>Maps <c>/verify</c>.</summary>
    public static void MapSlipwayGovernance(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1").WithMetadata(new RequiredAccess(Permission.Read));
        read.MapGet("/verify", Verify).WithSummary("Recount the records: audit chain, blobs, lineage of production versions");
    }

    private static async Task<Ok<VerificationReport>> Verify(Verifier verifier, CancellationToken ct) => TypedResults.Ok(await verifier.VerifyAsync(ct));
}
