using System.Buffers.Text;
using System.Text.Json;
using Slipway.Contracts;
using Slipway.Identity.OpenId;
using Slipway.Web.Http.Access;

namespace Slipway.Web.Pages.SignIn;

/// <summary>
/// What a browser keeps while its user is at the OpenID provider. Only this browser and this server see it, and it is worth nothing
/// without the code that the provider sends to the same browser; so that any server of several can go on with it, none keeps it.
/// </summary>
internal static class OpenIdCookie
{
    private static readonly TimeSpan Life = TimeSpan.FromMinutes(10);

    public static void Set(HttpContext context, ServerOptions options, OpenIdQuestion question)
    {
        var secure = RequestOrigin.IsHttps(context.Request, options);
        context.Response.Cookies.Append(Name(secure), Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(question, JsonDefaults.Options)), Attributes(secure));
    }

    /// <summary>Reads it and takes it away: one question has one answer.</summary>
    public static OpenIdQuestion? Take(HttpContext context, ServerOptions options)
    {
        var secure = RequestOrigin.IsHttps(context.Request, options);
        if (context.Request.Cookies[Name(secure)] is not { Length: > 0 and < 4096 } text)
        {
            return null;
        }

        context.Response.Cookies.Delete(Name(secure), Attributes(secure));
        try
        {
            return JsonSerializer.Deserialize<OpenIdQuestion>(Base64Url.DecodeFromChars(text), JsonDefaults.Options) is { State: not null, Nonce: not null, Verifier: not null } question ? question : null;
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            return null;
        }
    }

    private static string Name(bool secure) => secure ? "__Host-slipway_openid" : "slipway_openid";

    private static CookieOptions Attributes(bool secure) => new() { HttpOnly = true, SameSite = SameSiteMode.Lax, Secure = secure, Path = "/", MaxAge = Life };
}
