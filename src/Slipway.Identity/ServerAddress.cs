using System.Net;
using Microsoft.AspNetCore.Http;

namespace Slipway.Identity;

/// <summary>How users reach this server, perhaps through a proxy.</summary>
/// <param name="Public">The proxy's address; null when there is none.</param>
public sealed record ServerAddress(Uri? Public)
{
    /// <summary>The server's address as the caller knows it, without a path.</summary>
    public string Base(HttpRequest request) => Public?.GetLeftPart(UriPartial.Authority) ?? $"{request.Scheme}://{request.Host}";

    /// <summary>
    /// Whose wrong passwords are counted together: where the request comes from, and behind a proxy what the proxy added last. Decides on
    /// nothing else, since whoever reaches the server without its proxy can make the header up.
    /// </summary>
    public IPAddress? Client(HttpContext context) =>
        Public is not null && context.Request.Headers["X-Forwarded-For"].LastOrDefault()?.Split(',')[^1].Trim() is { } last && IPAddress.TryParse(last, out var address)
            ? address
            : context.Connection.RemoteIpAddress;
}
