using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Http.HttpResults;
using Slipway.Web.Http.Access;

namespace Slipway.Web.Pages;

/// <summary>Endpoint metadata: a person looks at the answer, so that failures are pages too.</summary>
internal sealed record PageRoute
{
    public static readonly PageRoute Instance = new();

    /// <summary>Nothing from another host, nothing inline: text that found its way into a name cannot run.</summary>
    private const string ContentSecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

    public static void SetHeaders(HttpResponse response)
    {
        var headers = response.Headers;
        headers.ContentSecurityPolicy = ContentSecurityPolicy;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "same-origin";
        headers.CacheControl = "no-cache";
    }

    /// <summary>Whether a person waits for the answer: a page's route, or a browser at an address where nothing is.</summary>
    public static bool IsPage(HttpContext context) =>
        context.GetEndpoint() is { } endpoint && endpoint.Metadata.GetMetadata<PageRoute>() is not null
        || (HttpMethods.IsGet(context.Request.Method)
            && context.Request.Headers.Accept.ToString().Contains("text/html", StringComparison.OrdinalIgnoreCase)
            && !context.Request.Path.StartsWithSegments("/api") && !context.Request.Path.StartsWithSegments("/ajax-api") && !context.Request.Path.StartsWithSegments("/v2"));

    /// <summary>Says what failed, why, and what to do.</summary>
    public static Task WriteErrorAsync(HttpContext context, int status, string title, string message)
    {
        SetHeaders(context.Response);
        if (status == StatusCodes.Status401Unauthorized)
        {
            // A token that is no longer valid must not stand in the way of the next one.
            SessionCookie.Clear(context);
            context.Response.Redirect($"/sign-in?back={Uri.EscapeDataString(context.Request.Path + context.Request.QueryString)}");
            return Task.CompletedTask;
        }

        return new RazorComponentResult<Shared.ErrorPage>(new { Status = status, Title = title, Message = message, RequestId = context.TraceIdentifier }) { StatusCode = status }
            .ExecuteAsync(context);
    }

    public static RazorComponentResult Of<TPage>(object? parameters = null, int status = StatusCodes.Status200OK)
        where TPage : IComponent => new RazorComponentResult<TPage>(parameters ?? new { }) { StatusCode = status };
}
