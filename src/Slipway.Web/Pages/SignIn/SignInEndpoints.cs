using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Contracts;
using Slipway.Identity;
using Slipway.Web.Http;

namespace Slipway.Web.Pages.SignIn;

/// <summary>Turns a user's token into a session cookie, so that a browser can reach a server that is not on its own machine.</summary>
internal static class SignInEndpoints
{
    public static void MapSignIn(this IEndpointRouteBuilder app)
    {
        var open = app.MapGroup("/sign-in").WithMetadata(new RequiredAccess(Permission.None), PageRoute.Instance).ExcludeFromDescription();
        open.MapGet("", (HttpContext context, string? back) => Show(context, back, null));
        open.MapPost("", SignInAsync);
    }

    private static async Task<IResult> SignInAsync(HttpContext context, UserStore users, CancellationToken ct)
    {
        var form = await ReadFormAsync(context.Request, ct);
        var token = form["token"].ToString().Trim();
        var back = form["back"].ToString();
        if (users.FindByToken(token) is null)
        {
            return Show(context, back, "That token is not valid; an administrator makes one with: slipway user add NAME.");
        }

        context.Response.Cookies.Append(AccessMiddleware.SessionCookie, token, new CookieOptions
        {
            HttpOnly = true,
            SameSite = SameSiteMode.Strict,
            Secure = context.Request.IsHttps,
            MaxAge = TimeSpan.FromDays(7),
        });
        return Results.LocalRedirect(Local(back));
    }

    private static async Task<IFormCollection> ReadFormAsync(HttpRequest request, CancellationToken ct)
    {
        try
        {
            return request.HasFormContentType
                ? await request.ReadFormAsync(ct)
                : throw new SlipwayException(ErrorCode.InvalidArgument, "Signing in takes a form with the field 'token'; programs send the token as 'Authorization: Bearer …' instead.");
        }
        catch (Exception e) when (e is InvalidDataException or (IOException and not BadHttpRequestException)) // Too many fields; ends in the middle.
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The form is cut off or too big; send the fields 'token' and 'back' only.", e);
        }
    }

    private static RazorComponentResult Show(HttpContext context, string? back, string? fault)
    {
        PageRoute.SetHeaders(context.Response);
        return PageRoute.Of<SignInPage>(new { Back = Local(back), Fault = fault });
    }

    // Only to a page of ours: '//host' and '/\host' lead elsewhere.
    private static string Local(string? back) =>
        back is { Length: > 0 } && back[0] == '/' && (back.Length == 1 || back[1] is not ('/' or '\\')) && !back.Any(char.IsControl) ? back : "/";
}
