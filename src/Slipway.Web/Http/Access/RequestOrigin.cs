namespace Slipway.Web.Http.Access;

/// <summary>Which page a browser's request comes from, as the browser itself says: no page can change these headers.</summary>
internal static class RequestOrigin
{
    /// <summary>Whether the request comes from one of our own pages. False when the browser does not say.</summary>
    public static bool IsOurs(HttpRequest request, ServerOptions options)
    {
        string? site = request.Headers["Sec-Fetch-Site"];
        return site is null ? request.Headers.Origin.Count > 0 && Matches(request, options)
            : site == "same-origin" && (request.Headers.Origin.Count == 0 || Matches(request, options));
    }

    /// <summary>Whether the Origin header, where there is one, names the host that the request was sent to: its port as well, since another program of the same machine is another site.</summary>
    public static bool Matches(HttpRequest request, ServerOptions options)
    {
        if (request.Headers.Origin.Count == 0)
        {
            return true;
        }

        if (request.Headers.Origin.Count > 1 || !Uri.TryCreate(request.Headers.Origin, UriKind.Absolute, out var origin) || origin.Scheme is not ("http" or "https"))
        {
            return false;
        }

        return origin.Authority.Equals(request.Host.Value, StringComparison.OrdinalIgnoreCase)
            || options.AllowedHosts.Contains(origin.Host, StringComparer.OrdinalIgnoreCase)
            || (options.PublicUrl is { } address && address.Authority.Equals(origin.Authority, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>Whether the browser speaks https, to us or to a proxy before us.</summary>
    public static bool IsHttps(HttpRequest request, ServerOptions options) => request.IsHttps || options.PublicUrl is { Scheme: "https" };
}
