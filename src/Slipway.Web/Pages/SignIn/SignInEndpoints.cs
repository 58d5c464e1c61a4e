using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Identity.OpenId;
using Slipway.Identity.Sessions;
using Slipway.Storage;
using Slipway.Web.Http.Access;

namespace Slipway.Web.Pages.SignIn;

/// <summary>Signs browsers in by password, token, link or OpenID provider, and out again.</summary>
internal static class SignInEndpoints
{
    public static void MapSignIn(this IEndpointRouteBuilder app)
    {
        var open = app.MapGroup("").WithMetadata(new RequiredAccess(Permission.None), PageRoute.Instance).ExcludeFromDescription();
        open.MapGet("/sign-in", (HttpContext context, OpenIdProvider openId, string? back) => Show(context, openId, Local(back), null));
        open.MapPost("/sign-in", SignInAsync);
        open.MapGet("/sign-in/link", (HttpContext context, SignInLinkStore links, string? code) => ShowLink(context, links.FindUser(code ?? ""), code, null));
        open.MapPost("/sign-in/link", UseLinkAsync);
        open.MapGet("/sign-in/openid", AskProviderAsync);
        open.MapGet("/sign-in/openid/callback", AnswerProviderAsync);
        open.MapPost("/sign-out", SignOutAsync);
    }

    private static async Task<IResult> SignInAsync(
        HttpContext context, Authenticator authenticator, OpenIdProvider openId, SessionStore sessions, ServerOptions options, ServerAddress address, Caller by, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, "'user' and 'password', or 'token'", ct);
        var (token, user, password, back) = (form["token"].ToString().Trim(), form["user"].ToString().Trim(), form["password"].ToString(), Local(form["back"]));
        var byToken = token.Length > 0;
        var result = byToken ? await authenticator.AuthenticateAsync($"Bearer {token}", null, address.Client(context), ct)
            : user.Length > 0 ? await authenticator.ByPasswordAsync(user, password, address.Client(context), ct)
            : new Authentication(null, Fault: "Give your name and password, or a token.");
        if (result.Principal is not { } principal)
        {
            if (result.Wait is { } wait)
            {
                RetryAfter.Set(context.Response, wait);
            }

            var status = result.Wait is null ? StatusCodes.Status401Unauthorized : StatusCodes.Status429TooManyRequests;
            return Show(context, openId, back, byToken ? Authenticator.Wrong : result.Fault == Authenticator.Wrong ? "That name and password do not go together." : result.Fault, status);
        }

        // A browser acts with all of its user's rights; a key that has fewer stays with programs.
        if (CallerIdentity.Of(principal)!.Access.Limits != KeyLimits.None)
        {
            return Show(context, openId, back, "That token is limited to certain things, so it is for programs only; sign in with your password, or with a token for everything.", StatusCodes.Status403Forbidden);
        }

        await StartAsync(context, sessions, options, principal.Identity!.Name!, byToken ? "key" : "password", by, ct);
        return Results.LocalRedirect(back);
    }

    private static async Task<IResult> UseLinkAsync(HttpContext context, SignInLinkStore links, SessionStore sessions, ServerOptions options, Caller by, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, "'code' and 'password'", ct);
        var (code, password) = (form["code"].ToString(), form["password"].ToString());
        try
        {
            var user = await links.UseAsync(code, password, by, ct);
            await StartAsync(context, sessions, options, user, "link", by, ct);
            return Results.LocalRedirect("/");
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.InvalidArgument or ErrorCode.NotFound)
        {
            return ShowLink(context, links.FindUser(code), code, e.Message);
        }
    }

    private static async Task<IResult> AskProviderAsync(HttpContext context, OpenIdProvider openId, ServerOptions options, ServerAddress server, string? back, CancellationToken ct)
    {
        if (!openId.IsOn)
        {
            throw new SlipwayException(ErrorCode.NotFound, "No OpenID provider is set up on this server (--oidc-issuer).");
        }

        var (address, question) = await openId.AskAsync(Callback(context, server), Local(back), ct);
        OpenIdCookie.Set(context, options, question);
        context.Response.Headers.CacheControl = "no-store";
        return Results.Redirect(address.AbsoluteUri);
    }

    private static async Task<IResult> AnswerProviderAsync(
        HttpContext context, OpenIdProvider openId, SessionStore sessions, ServerOptions options, ServerAddress server, Caller by, string? code, string? state, string? error, CancellationToken ct)
    {
        var question = OpenIdCookie.Take(context, options);
        try
        {
            if (!openId.IsOn || question is null || state is null || !question.Belongs(state))
            {
                throw new SlipwayException(ErrorCode.Unauthenticated, "This sign-in was not begun in this browser, or too long ago; try again.");
            }

            if (error is not null || code is null)
            {
                throw new SlipwayException(ErrorCode.Unauthenticated, $"The OpenID provider did not sign you in{(error is { Length: < 64 } && error.All(c => char.IsAsciiLetterOrDigit(c) || c == '_') ? $" ({error})" : "")}; try again.");
            }

            var user = await openId.AnswerAsync(question, code, Callback(context, server), ct);
            await StartAsync(context, sessions, options, user.Name, "openid", by, ct);
            return Results.LocalRedirect(Local(question.Back));
        }
        catch (SlipwayException e)
        {
            var status = e.Code is ErrorCode.PermissionDenied or ErrorCode.AlreadyExists ? StatusCodes.Status403Forbidden
                : e.Code is ErrorCode.Unavailable ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status401Unauthorized;
            return Show(context, openId, Local(question?.Back), e.Message, status);
        }
    }

    private static async Task<IResult> SignOutAsync(HttpContext context, SessionStore sessions, ServerOptions options, Caller by, CancellationToken ct)
    {
        if (SessionCookie.Read(context, options) is { } id)
        {
            await sessions.EndAsync(id, by, ct);
        }

        SessionCookie.Clear(context);
        // What the browser kept of the pages goes with the session.
        context.Response.Headers["Clear-Site-Data"] = "\"cache\"";
        return Results.LocalRedirect("/sign-in");
    }

    // A new id for each sign-in: one that somebody slipped into the browser before is worth nothing.
    private static async Task StartAsync(HttpContext context, SessionStore sessions, ServerOptions options, string user, string method, Caller by, CancellationToken ct)
    {
        if (SessionCookie.Read(context, options) is { } former)
        {
            await sessions.EndAsync(former, by, ct);
        }

        SessionCookie.Set(context, options, await sessions.StartAsync(user, method, by, ct));
        context.Response.Headers.CacheControl = "no-store";
    }

    private static async Task<IFormCollection> ReadFormAsync(HttpRequest request, string fields, CancellationToken ct)
    {
        try
        {
            return request.HasFormContentType
                ? await request.ReadFormAsync(ct)
                : throw new SlipwayException(ErrorCode.InvalidArgument, $"Signing in takes a form with the fields {fields}; programs send 'Authorization: Bearer …' instead.");
        }
        catch (Exception e) when (e is InvalidDataException or (IOException and not BadHttpRequestException)) // Too many fields; ends in the middle.
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"The form is cut off or too big; send the fields {fields} only.", e);
        }
    }

    private static RazorComponentResult Show(HttpContext context, OpenIdProvider openId, string back, string? fault, int status = StatusCodes.Status200OK)
    {
        PageRoute.SetHeaders(context.Response);
        return PageRoute.Of<SignInPage>(new { Back = back, Fault = fault, OpenId = openId.IsOn }, status);
    }

    private static RazorComponentResult ShowLink(HttpContext context, string? user, string? code, string? fault)
    {
        PageRoute.SetHeaders(context.Response);
        context.Response.Headers["Referrer-Policy"] = "no-referrer";
        context.Response.Headers.CacheControl = "no-store";
        return PageRoute.Of<SignInLinkPage>(
            new { User = user, Code = code ?? "", Fault = fault }, user is null ? StatusCodes.Status404NotFound : fault is null ? StatusCodes.Status200OK : StatusCodes.Status400BadRequest);
    }

    private static Uri Callback(HttpContext context, ServerAddress server) => new($"{server.Base(context.Request)}/sign-in/openid/callback");

    // Only to a page of ours: '//host' and '/\host' lead elsewhere.
    private static string Local(string? back) =>
        back is { Length: > 0 } && back[0] == '/' && (back.Length == 1 || back[1] is not ('/' or '\\')) && !back.Any(char.IsControl) ? back : "/";
}
