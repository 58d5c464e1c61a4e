using Slipway.Contracts;
using Slipway.Web.Http.Access;

namespace Slipway.Web.Http;

/// <summary>
/// Refuses requests that a browser was tricked into sending: a Host header that is not ours (DNS rebinding), a change asked for by
/// another site's page, or one in a content type that any page may send without asking (cross-site request forgery).
/// </summary>
internal sealed class HostCheckMiddleware(RequestDelegate next, ServerOptions options)
{
    private readonly HashSet<string> _hosts = new(
        ["127.0.0.1", "localhost", "[::1]", options.Host, .. options.AllowedHosts, .. options.PublicUrl is { } address ? (string[])[address.Host] : []], StringComparer.OrdinalIgnoreCase);

    // The header accepted last. Nearly all requests carry the same one, and taking the port off makes a string each time.
    private string _accepted = "127.0.0.1";

    public Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (request.Host.Value != _accepted)
        {
            if (_hosts.Contains(request.Host.Host))
            {
                _accepted = request.Host.Value!;
            }
            else if (!IsOpen(request.Path))
            {
                return ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied,
                    $"Invalid Host header '{request.Host.Host}'; if this name is meant to reach the server, start it with --allowed-host {request.Host.Host}.");
            }
        }

        if (HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method))
        {
            return next(context);
        }

        return !RequestOrigin.Matches(request, options)
            ? ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied, $"Requests from pages of '{request.Headers.Origin}' are not accepted.")
            : next(context);
    }

    // Load balancers probe these by address.
    private static bool IsOpen(PathString path) => path == "/health" || path == "/ready" || path == "/ping" || path == "/version";
}
