namespace Slipway.Web.Http.Access;

/// <summary>The cookie that holds a session's id. Scripts cannot read it, and other sites' pages cannot make a change with it.</summary>
internal static class SessionCookie
{
    private const string Name = "slipway_session";

    // Over https a name that no other host of the domain, and no page without https, can set.
    private const string SecureName = "__Host-slipway_session";

    // Over https only the name that no other host can set counts: a session of the attacker's own would otherwise be slipped in under the other.
    public static string? Read(HttpContext context, ServerOptions options) =>
        context.Request.Cookies[RequestOrigin.IsHttps(context.Request, options) ? SecureName : Name] is { Length: > 0 } id ? id : null;

    public static void Set(HttpContext context, ServerOptions options, string id)
    {
        var secure = RequestOrigin.IsHttps(context.Request, options);
        context.Response.Cookies.Append(secure ? SecureName : Name, id, Attributes(secure));
    }

    public static void Clear(HttpContext context)
    {
        foreach (var (name, secure) in new[] { (SecureName, true), (Name, false) })
        {
            if (context.Request.Cookies.ContainsKey(name))
            {
                context.Response.Cookies.Delete(name, Attributes(secure));
            }
        }
    }

    // Lax, not Strict: coming back from an OpenID provider is a navigation by another site. Changes are guarded by their origin.
    private static CookieOptions Attributes(bool secure) => new() { HttpOnly = true, SameSite = SameSiteMode.Lax, Secure = secure, Path = "/" };
}
