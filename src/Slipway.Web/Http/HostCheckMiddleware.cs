using Slipway.Contracts;

namespace Slipway.Web.Http;

/// <summary>
/// Refuses requests that a browser was tricked into sending: a Host header that is not ours (DNS rebinding), or a change asked
/// for by another site's page (cross-site request forgery).
/// </summary>
internal sealed class HostCheckMiddleware(RequestDelegate next, ServerOptions options)
{
    private readonly HashSet<string> _hosts = new(["127.0.0.1", "localhost", "[::1]", options.Host, .. options.AllowedHosts], StringComparer.OrdinalIgnoreCase);

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

        if (request.Headers.Origin.Count > 0 && !HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method)
            && !(Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out var origin) && _hosts.Contains(origin.HostNameType is UriHostNameType.IPv6 ? $"[{origin.Host.Trim('[', ']')}]" : origin.Host)))
        {
            return ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied, $"Requests from pages of '{request.Headers.Origin}' are not accepted.");
        }

        return next(context);
    }

    // Load balancers probe these by address.
    private static bool IsOpen(PathString path) => path == "/health" || path == "/ready" || path == "/version";
}
