using System.Net;
using Microsoft.AspNetCore.Http.Features.Authentication;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Web.Http.Access;
using Slipway.Web.Pages;

namespace Slipway.Web.Http;

/// <summary>
/// Who is calling, and may they: every route declares a <see cref="RequiredAccess"/>; one that declares none answers 403. Callers with
/// grants or limited keys are judged by what the request is about as well (<see cref="RouteTargets"/>).
/// </summary>
internal sealed class AccessMiddleware(RequestDelegate next, ServerOptions options, ServerAddress address, Authenticator authenticator, IServiceProvider services)
{
    private readonly bool _hasLocalAdministrator = options.HasLocalAdministrator;

    // Made when the first caller comes for whom it matters: it needs the stores of every area.
    private readonly Lazy<RouteTargets> _targets = new(services.GetRequiredService<RouteTargets>);

    /// <summary>
    /// A request without credentials from this very machine, to a server that only this machine reaches, acts as an administrator:
    /// MLflow clients then work with nothing but a URL. It can never approve, since no stored user is behind it.
    /// </summary>
    private static readonly CallerPrincipal Local = Roles.Principal(UserStore.LocalUser, Role.Administrator);

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

        var pending = AuthenticateAsync(context);
        return pending.IsCompletedSuccessfully ? GoOnAsync(context, endpoint, required.Permission, pending.Result) : WaitAsync(context, endpoint, required.Permission, pending);
    }

    /// <summary>Looks at the request's credentials, on any port.</summary>
    public ValueTask<Authentication> AuthenticateAsync(HttpContext context)
    {
        var headers = context.Request.Headers;
        // Asking for a cookie makes a collection of them; most callers send none.
        var session = headers.Cookie.Count > 0 ? SessionCookie.Read(context, options) : null;
        string? authorization = headers.Authorization;
        if (authorization is null && session is null)
        {
            return new(IsLocal(context) ? new Authentication(Local) : default);
        }

        return authenticator.AuthenticateAsync(authorization, session, address.Client(context), context.RequestAborted);
    }

    private async Task WaitAsync(HttpContext context, RouteEndpoint endpoint, Permission permission, ValueTask<Authentication> pending) =>
        await GoOnAsync(context, endpoint, permission, await pending);

    private Task GoOnAsync(HttpContext context, RouteEndpoint endpoint, Permission permission, Authentication caller)
    {
        if (caller.Principal is { } principal)
        {
            context.Features.Set<IHttpAuthenticationFeature>(principal);
        }

        if (permission is Permission.None)
        {
            return next(context);
        }

        if (caller.Principal is null)
        {
            return RefuseAsync(context, caller);
        }

        if (Forged(context, endpoint, permission, caller) is { } fault)
        {
            return fault;
        }

        var access = CallerIdentity.Of(caller.Principal)!.Access;
        return access.DependsOnResource && _targets.Value.Of(endpoint) is { } target ? JudgeAsync(context, access, permission, target)
            : access.May(permission) ? next(context)
            : DenyAsync(context, access, permission, null);
    }

    // A page of another site can make a browser send its cookies along, or ask from this very machine, but not hide where the request
    // comes from; nor can it send JSON as such without asking first.
    private Task? Forged(HttpContext context, RouteEndpoint endpoint, Permission permission, Authentication caller)
    {
        var request = context.Request;
        if (HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || (!caller.BySession && caller.Principal != Local) || RequestOrigin.IsOurs(request, options))
        {
            return null;
        }

        if (caller.BySession)
        {
            return ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied,
                "A change by a signed-in browser has to come from this server's own pages; programs send 'Authorization: Bearer …' instead.");
        }

        // Of the verbs that change something, a page may send only POST without asking first.
        return HttpMethods.IsPost(request.Method) && permission is not Permission.Predict && endpoint.Metadata.GetMetadata<PageRoute>() is null && IsAnyPagesContentType(request.ContentType)
            ? ErrorMiddleware.WriteAsync(context, ErrorCode.InvalidArgument, $"Content-Type must be application/json, or another that no page of another site may send, not '{request.ContentType}'.")
            : null;
    }

    private static bool IsAnyPagesContentType(string? type) => type is not null
        && (type.StartsWith("text/plain", StringComparison.OrdinalIgnoreCase) || type.StartsWith("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase)
            || type.StartsWith("multipart/form-data", StringComparison.OrdinalIgnoreCase));

    private async Task JudgeAsync(HttpContext context, CallerAccess access, Permission permission, RouteTarget target)
    {
        switch (target)
        {
            case RouteTarget.Named named:
                var fields = await RequestFields.ReadAsync(context, named.InBody);
                var about = named.Read(fields).Distinct().ToList();
                if (about.FindIndex(resource => !access.May(permission, resource, named.Removes)) is >= 0 and var index)
                {
                    await DenyAsync(context, access, permission, about[index]);
                    return;
                }

                if (named.Sources?.Invoke(fields).Cast<Resource?>().FirstOrDefault(source => !access.May(Permission.Read, source)) is { } hidden)
                {
                    await DenyAsync(context, access, Permission.Read, hidden);
                    return;
                }

                // About nothing that exists, as far as it says: the handler tells what is wrong with it, to those who may call the route at all.
                await (about.Count > 0 ? next(context)
                    : named.NoneIsAll is { } all && access.Filter(all) is not null ? RefuseWholeAsync(context)
                    : access.May(permission) ? next(context)
                    : DenyAsync(context, access, permission, null));
                break;
            case RouteTarget.InMessages:
                await next(context);
                break;
            case RouteTarget.Whole whole when whole.Kinds.Any(kind => access.Filter(kind) is not null):
                await RefuseWholeAsync(context);
                break;
            default:
                await (access.May(permission) ? next(context) : DenyAsync(context, access, permission, null));
                break;
        }
    }

    private static Task RefuseWholeAsync(HttpContext context) => ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied,
        "This shows everything, and some of it is not for you; ask for single models and experiments, or for the lists of them.");

    // Only this machine, and nobody for whom a proxy on it speaks.
    private bool IsLocal(HttpContext context)
    {
        var headers = context.Request.Headers;
        return _hasLocalAdministrator && context.Connection.RemoteIpAddress is { } from && IPAddress.IsLoopback(from)
            && !headers.ContainsKey("X-Forwarded-For") && !headers.ContainsKey("Forwarded") && !headers.ContainsKey("X-Real-IP");
    }

    private static Task RefuseAsync(HttpContext context, Authentication caller)
    {
        if (caller.Wait is { } wait)
        {
            RetryAfter.Set(context.Response, wait);
            return ErrorMiddleware.WriteAsync(context, ErrorCode.ResourceExhausted, caller.Fault!);
        }

        return ErrorMiddleware.WriteAsync(context, ErrorCode.Unauthenticated, caller.Fault ?? "This server wants a token: send 'Authorization: Bearer …', or a name and password as HTTP Basic.");
    }

    private static Task DenyAsync(HttpContext context, CallerAccess access, Permission permission, Resource? resource)
    {
        var needed = permission.ToString().ToLowerInvariant();
        var name = context.User.Identity!.Name;
        return ErrorMiddleware.WriteAsync(context, ErrorCode.PermissionDenied,
            resource is { } about ? $"'{name}' does not have the permission '{needed}' on {about}; an administrator can grant it."
            : access.Limits.Permissions is not null || access.IsLimited ? $"The key of '{name}' that was used does not include the permission '{needed}' here."
            : $"'{name}' has the role {Roles.Name(access.Role)}, which does not include the permission '{needed}'.");
    }
}
