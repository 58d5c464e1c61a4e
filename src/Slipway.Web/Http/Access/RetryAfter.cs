using System.Globalization;

namespace Slipway.Web.Http.Access;

/// <summary>The header that says when trying again makes sense.</summary>
internal static class RetryAfter
{
    /// <summary>Sets it on the answer, whoever writes that.</summary>
    public static void Set(HttpResponse response, TimeSpan wait)
    {
        var seconds = Math.Max(1, Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        response.OnStarting(() =>
        {
            response.Headers.RetryAfter = seconds;
            return Task.CompletedTask;
        });
    }
}
