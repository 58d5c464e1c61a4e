using Slipway.Contracts;
using Slipway.Contracts.Identity;

namespace Slipway.Web.Http;

/// <summary>
/// The gRPC port speaks the protocol and says plainly that its services are not built: UNIMPLEMENTED (12), not a closed door. A stranger
/// is told UNAUTHENTICATED (16), whatever it asks for.
/// </summary>
internal static class GrpcPlaceholder
{
    public static async Task AnswerAsync(HttpContext context, AccessMiddleware access)
    {
        var caller = await access.AuthenticateAsync(context);
        var (status, message) = caller.Principal is null ? ("16", caller.Fault ?? "This server wants a token: send the metadata 'authorization: Bearer ...'.")
            : !CallerIdentity.Of(caller.Principal)!.Access.May(Permission.Predict) ? ("7", "This needs the permission 'predict'.")
            : ("12", "The Open Inference gRPC service is not built in this version; use REST at /v2 on the HTTP port.");
        var response = context.Response;
        response.StatusCode = StatusCodes.Status200OK;
        response.ContentType = "application/grpc";
        // Trailers-Only: with no message, status and text may travel as headers.
        response.Headers["grpc-status"] = status;
        response.Headers["grpc-message"] = message;
    }
}
