using System.Net;
using System.Security.Claims;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;

namespace Slipway.Web.Http;

/// <summary>
/// Who is calling, and may they: every route declares a <see cref="RequiredAccess"/>; one that declares none answers 403.
/// </summary>
internal sealed class AccessMiddleware(RequestDelegate next, ServerOptions options, UserStore users)
{
    /// <summary>
    /// A request without credentials from this very machine, to a server that only this machine reaches, acts as an engineer:
    /// MLflow clients then work with nothing but a URL. It can never approve, nor manage users.
    /// </summary>
    private static readonly ClaimsPrincipal Local = Roles.Principal(UserStore.LocalUser, Role.Engineer);

    public Task InvokeAsync(HttpContext context)
    {
        // Nothing there, or routing's own refusal of the verb or content type: neither reaches any of our code.
        if (context.GetEndpoint() is not RouteEndpoint endpoint)
        {
            return next(context);
        }

        if (endpoint.Metadata.GetMetadata<RequiredAccess>() is not { } required)
        {
            return ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied, "This route does not say who may call it, so nobody may.");
        }

        Role role;
        var headers = context.Request.Headers;
        // Asking for a cookie makes a collection of them; most callers send none.
        if ((Credentials.Token(headers.Authorization) ?? (headers.Cookie.Count > 0 ? context.Request.Cookies[SessionCookie] : null)) is { } token)
        {
            if (users.FindByToken(token) is not { } user)
            {
                return ErrorMiddleware.WriteAsync(context, ErrorCode.Unauthenticated, "The token is not valid; ask an administrator for one (slipway user add NAME).");
            }

            context.User = Roles.Principal(user.Name, user.Role);
            role = user.Role;
        }
        else if (options.IsLoopback && context.Connection.RemoteIpAddress is { } address && IPAddress.IsLoopback(address))
        {
            context.User = Local;
            role = Role.Engineer;
        }
        else if (required.Permission is Permission.None)
        {
            return next(context);
        }
        else
        {
            return ErrorMiddleware.WriteAsync(context, ErrorCode.Unauthenticated, "This server wants a token: send 'Authorization: Bearer …'.");
        }

        return required.Permission is Permission.None || Roles.Allows(role, required.Permission)
            ? next(context)
            : ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied,
                $"'{context.User.Identity!.Name}' has the role {role.ToString().ToLowerInvariant()}, which does not include the permission '{required.Permission.ToString().ToLowerInvariant()}'.");
    }

    /// <summary>Set by the sign-in page; holds the same token, HttpOnly and SameSite=Strict.</summary>
    internal const string SessionCookie = "slipway_token";
}
