namespace Slipway.Web.Http;

/// <summary>The gRPC port speaks the protocol and says plainly that its services are not built: UNIMPLEMENTED (12), not a closed door.</summary>
internal static class GrpcPlaceholder
{
    public static Task AnswerAsync(HttpContext context)
    {
        var response = context.Response;
        response.StatusCode = StatusCodes.Status200OK;
        response.ContentType = "application/grpc";
        // Trailers-Only: with no message, status and text may travel as headers.
        response.Headers["grpc-status"] = "12";
        response.Headers["grpc-message"] = "The Open Inference gRPC service is not built in this version; use REST at /v2 on the HTTP port.";
        return Task.CompletedTask;
    }
}
