using System.Net;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Web;

namespace Slipway.Tests.Hosting;

/// <summary>Nothing is open by accident: every route of the whole server says who may call it, and strangers reach only those that say anyone may.</summary>
public sealed class AccessOfRoutesTests
{
    private static readonly string[] Open = ["/health", "/ready", "/version", "/v2/health/live", "/v2/health/ready", "/assets/{digest}/{name}", "/sign-in/"];

    [Fact, Trait("capability", "GOV-01")]
    public async Task Every_route_declares_its_access_and_strangers_get_401_from_all_but_the_open_ones()
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Host = "0.0.0.0", Port = 0, GrpcPort = 0 });
            await app.StartAsync(TestContext.Current.CancellationToken);
            using var client = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false }) { BaseAddress = new Uri(app.Urls.Single().Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)) };
            var routes = app.Services.GetRequiredService<EndpointDataSource>().Endpoints.Cast<RouteEndpoint>().ToList();
            Assert.True(routes.Count > 100, $"Only {routes.Count} routes: the server is not whole.");
            Assert.All(routes, route => Assert.True(route.Metadata.GetMetadata<RequiredAccess>() is not null, $"{route.RoutePattern.RawText} does not say who may call it."));
            Assert.Equal(Open.Order(), routes.Where(route => route.Metadata.GetMetadata<RequiredAccess>()!.Permission is Permission.None).Select(route => route.RoutePattern.RawText).Distinct().Order());

            foreach (var route in routes)
            {
                var path = "/" + string.Join('/', route.RoutePattern.PathSegments.Select(segment => string.Concat(segment.Parts.Select(part => part is Microsoft.AspNetCore.Routing.Patterns.RoutePatternLiteralPart literal ? literal.Content : "1"))));
                foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
                {
                    using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = method is "GET" ? null : new StringContent("{}", System.Text.Encoding.UTF8, "application/json") };
                    using var answer = await client.SendAsync(request, TestContext.Current.CancellationToken);
                    if (Open.Contains(route.RoutePattern.RawText))
                    {
                        Assert.False(answer.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.InternalServerError, $"{method} {path} is open, but answered {answer.StatusCode}.");
                    }
                    else
                    {
                        // A page sends its visitor to the sign-in page instead.
                        var refused = answer.StatusCode is HttpStatusCode.Unauthorized
                            || (answer.StatusCode is HttpStatusCode.Redirect && answer.Headers.Location!.OriginalString.StartsWith("/sign-in?", StringComparison.Ordinal));
                        Assert.True(refused, $"{method} {path} answered {answer.StatusCode} to a stranger.");
                    }
                }
            }
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }
}
