using System.Collections.Concurrent;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Metadata;
using Slipway.Contracts;

namespace Slipway.Web.Http;

/// <summary>
/// Where requests for predictions go, by their path. Routing takes each path apart, and makes a string and two objects of it; the few paths that a server
/// is asked again and again are looked up instead.
/// </summary>
internal sealed class KnownRoutes
{
    private const int Max = 1024;
    private const int LengthMax = 512;

    private readonly ConcurrentDictionary<string, KnownRoute> _byPath = new(StringComparer.Ordinal);

    /// <summary>Routes, in place of <c>UseRouting</c>.</summary>
    public static void Use(IApplicationBuilder app)
    {
        var known = new KnownRoutes();
        RequestDelegate routed = null!;
        app.Use(next => context => known.Recall(context) ? routed(context) : next(context));
        app.UseRouting();
        app.Use(next =>
        {
            routed = next;
            return context =>
            {
                known.Keep(context);
                return next(context);
            };
        });
    }

    private bool Recall(HttpContext context)
    {
        if (!HttpMethods.IsPost(context.Request.Method) || !_byPath.TryGetValue(context.Request.Path.Value ?? "", out var route))
        {
            return false;
        }

        context.Features.Set<IRouteValuesFeature>(route); // Kestrel empties the dictionary of its own after each request.
        context.SetEndpoint(route.Endpoint);
        return true;
    }

    // Only where the path alone decides, and where routing does nothing but choose.
    private void Keep(HttpContext context)
    {
        if (!HttpMethods.IsPost(context.Request.Method) || context.GetEndpoint() is not { } endpoint || endpoint.Metadata.GetMetadata<RequiredAccess>() is not { Permission: Permission.Predict }
            || endpoint.Metadata.GetMetadata<IAcceptsMetadata>() is not null || endpoint.Metadata.GetMetadata<IRequestSizeLimitMetadata>() is not null
            || context.Request.Path.Value is not { Length: <= LengthMax } path)
        {
            return;
        }

        if (_byPath.Count >= Max)
        {
            _byPath.Clear();
        }

        _byPath[path] = new KnownRoute(endpoint, new RouteValueDictionary(context.Request.RouteValues));
    }

    /// <summary>Shared by requests: its values are only read.</summary>
    private sealed class KnownRoute(Endpoint endpoint, RouteValueDictionary values) : IRouteValuesFeature
    {
        public Endpoint Endpoint => endpoint;

        public RouteValueDictionary RouteValues { get => values; set => throw new NotSupportedException("The values of a route that is known are other requests' too."); }
    }
}
