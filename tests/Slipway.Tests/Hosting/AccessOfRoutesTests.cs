using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts;
using Slipway.Identity;
using Slipway.Serving.Grpc;
using Slipway.Web;
using Slipway.Web.Http.Access;

namespace Slipway.Tests.Hosting;

/// <summary>Nothing is open by accident: every route of the whole server says who may call it, and strangers reach only those that say anyone may.</summary>
public sealed class AccessOfRoutesTests
{
    private static readonly string[] Open =
    [
        "/health", "/ready", "/ping", "/version", "/v2/health/live", "/v2/health/ready", "/assets/{digest}/{name}",
        "/sign-in", "/sign-in/link", "/sign-in/openid", "/sign-in/openid/callback", "/sign-out",
        // The parts of an upload, each at an address that only the upload's own answer names and that holds its signature.
        "/api/2.0/mlflow-artifacts/mpu/parts/{upload}/{part}", "/ajax-api/2.0/mlflow-artifacts/mpu/parts/{upload}/{part}",
    ];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // The compiler takes a parameter such as string[] for a body, and the router then passes the route by; StringValues is a query's.
    [Fact]
    public void No_route_that_only_reads_waits_for_a_body()
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Port = 0, GrpcPort = 0 });

            var reading = ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
                .Where(route => route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods is ["GET"]).ToList();

            Assert.True(reading.Count > 50);
            Assert.All(reading, route => Assert.True(route.Metadata.GetMetadata<Microsoft.AspNetCore.Http.Metadata.IAcceptsMetadata>() is null, $"{route.RoutePattern.RawText} waits for a body."));
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    [Fact, Trait("capability", "GOV-01"), Trait("capability", "GOV-07"), Trait("capability", "OPS-02")]
    public async Task Every_route_declares_its_access_and_strangers_get_401_from_all_but_the_open_ones_however_they_are_spelt()
    {
        await RunAsync(0, async (app, client) =>
        {
            var routes = app.Services.GetRequiredService<EndpointDataSource>().Endpoints.Cast<RouteEndpoint>().ToList();
            Assert.True(routes.Count > 200, $"Only {routes.Count} routes: the server is not whole.");
            Assert.All(routes, route => Assert.True(route.Metadata.GetMetadata<RequiredAccess>() is not null, $"{route.RoutePattern.RawText} does not say who may call it."));
            Assert.Equal(Open.Order(), routes.Where(route => route.Metadata.GetMetadata<RequiredAccess>()!.Permission is Permission.None).Select(route => route.RoutePattern.RawText).Distinct().Order());

            foreach (var route in routes)
            {
                var path = Filled(route);
                var open = Open.Contains(route.RoutePattern.RawText);
                foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
                {
                    var plain = await SendAsync(client, method, path);
                    Assert.True(open ? plain is not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.InternalServerError) || path == "/sign-in/openid/callback" : IsRefusal(plain),
                        $"{method} {path} answered {plain} to a stranger.");
                    if (open)
                    {
                        continue;
                    }

                    // CVE-2023-6014: a door is closed under all its names, or the name leads nowhere.
                    foreach (var spelling in Spellings(path))
                    {
                        var answer = await SendAsync(client, method, spelling);
                        Assert.True(IsRefusal(answer) || answer is HttpStatusCode.NotFound or HttpStatusCode.BadRequest or HttpStatusCode.MethodNotAllowed, $"{method} {spelling} answered {answer} to a stranger.");
                    }
                }
            }
        });
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task A_wrong_token_opens_no_route_either()
    {
        await RunAsync(0, async (app, client) =>
        {
            client.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", "Bearer slw_0000000000000000000000000000000000000000000");
            foreach (var route in app.Services.GetRequiredService<EndpointDataSource>().Endpoints.Cast<RouteEndpoint>().Where(route => !Open.Contains(route.RoutePattern.RawText)))
            {
                foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
                {
                    Assert.True(IsRefusal(await SendAsync(client, method, Filled(route))), $"{method} {Filled(route)} let a wrong token in.");
                }
            }
        });
    }

    [Fact, Trait("capability", "GOV-01")]
    public async Task The_grpc_port_tells_a_stranger_that_it_is_not_known_whatever_it_asks_for()
    {
        var port = FreePort.Next();
        await RunAsync(port, async (app, _) =>
        {
            var token = (await app.Services.GetRequiredService<UserStore>().CreateAsync("ada", Slipway.Contracts.Identity.Role.Service, Slipway.Storage.Caller.System("test"), Cancel)).Token;
            using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
            var calls = app.Services.GetRequiredService<GrpcRoutes>().Endpoints;
            Assert.Equal(12, calls.Count);
            Assert.All(calls, call => Assert.True(call.Metadata.GetMetadata<RequiredAccess>() is { Permission: not Permission.None }, $"{call.RoutePattern.RawText} does not say who may call it."));
            Assert.All(calls, call => Assert.Equal(ErrorEnvelope.Grpc, call.Metadata.GetMetadata<ErrorShape>()!.Envelope));
            foreach (var path in calls.Select(call => call.RoutePattern.RawText!))
            {
                Assert.Equal("16", await GrpcStatusAsync(client, path, null));
                Assert.Equal("16", await GrpcStatusAsync(client, path, "slw_wrong"));
                Assert.NotEqual("16", await GrpcStatusAsync(client, path, token));
            }

            foreach (var path in (string[])
            [
                "/inference.GRPCInferenceService/CudaSharedMemoryRegister", "/inference.GRPCInferenceService/SystemSharedMemoryRegister", "/inference.GRPCInferenceService/TraceSetting",
                "/inference.GRPCInferenceService/serverlive", "/inference.GRPCInferenceService/ServerLive/", "/inference.GRPCInferenceService/ServerLive;x=1",
                "/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/", "/api/slipway/v1/users", "/health",
            ])
            {
                Assert.Equal("16", await GrpcStatusAsync(client, path, null));
                Assert.Equal("16", await GrpcStatusAsync(client, path, "slw_wrong"));
                Assert.Equal("12", await GrpcStatusAsync(client, path, token));
            }
        });
    }

    [Fact, Trait("capability", "GOV-07")]
    public async Task The_reference_page_of_access_is_written_from_roles_and_routes()
    {
        await RunAsync(0, async (app, _) =>
        {
            var page = AccessPage.Write([.. app.Services.GetRequiredService<EndpointDataSource>().Endpoints, .. app.Services.GetRequiredService<GrpcRoutes>().Endpoints], app.Services.GetRequiredService<RouteTargets>());
            var file = Path.Combine(Repository.Root, "docs", "reference", "access.md");
            if (Environment.GetEnvironmentVariable("SLIPWAY_WRITE_DOCS") == "1")
            {
                await File.WriteAllTextAsync(file, page, Cancel);
            }

            Assert.Equal(await File.ReadAllTextAsync(file, Cancel), page);
        });
    }

    private static async Task RunAsync(int grpcPort, Func<WebApplication, HttpClient, Task> use)
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Database = TestDatabase.Address(data), Host = "0.0.0.0", Port = 0, GrpcPort = grpcPort });
            await app.StartAsync(Cancel);
            using var client = new HttpClient(new HttpClientHandler { AllowAutoRedirect = false, UseCookies = false })
            {
                BaseAddress = new Uri(app.Urls.First(url => !url.EndsWith($":{grpcPort}", StringComparison.Ordinal)).Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)),
            };
            await use(app, client);
            await app.StopAsync(CancellationToken.None);
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }

    private static string Filled(RouteEndpoint route) =>
        "/" + string.Join('/', route.RoutePattern.PathSegments.Select(segment => string.Concat(segment.Parts.Select(part => part is Microsoft.AspNetCore.Routing.Patterns.RoutePatternLiteralPart literal ? literal.Content : "1"))));

    private static IEnumerable<string> Spellings(string path) =>
    [
        "/" + path, path + "/", path.ToUpperInvariant(), path.Replace("/api/", "/api/./", StringComparison.Ordinal), path.Replace("/api/", "/%61pi/", StringComparison.Ordinal),
        path.Replace("/api/", "/x/%2e%2e/api/", StringComparison.Ordinal), path.Replace("/api/", "/ajax-api/", StringComparison.Ordinal), path + ";x=1", path + "%00",
    ];

    // A page sends its visitor to the sign-in page instead.
    private static bool IsRefusal(HttpStatusCode? status) => status is HttpStatusCode.Unauthorized or HttpStatusCode.Redirect;

    private static async Task<HttpStatusCode> SendAsync(HttpClient client, string method, string path)
    {
        var target = new Uri(client.BaseAddress!.GetLeftPart(UriPartial.Authority) + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        using var request = new HttpRequestMessage(new HttpMethod(method), target) { Content = method is "GET" ? null : new StringContent("{}", System.Text.Encoding.UTF8, "application/json") };
        using var answer = await client.SendAsync(request, Cancel);
        Assert.True(answer.StatusCode is not HttpStatusCode.Redirect || answer.Headers.Location!.OriginalString is "/" or "/sign-in" || answer.Headers.Location!.OriginalString.StartsWith("/sign-in?", StringComparison.Ordinal),
            $"{method} {path} leads to {answer.Headers.Location}.");
        return answer.StatusCode;
    }

    private static async Task<string> GrpcStatusAsync(HttpClient client, string path, string? token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact, Content = new ByteArrayContent(new byte[5]) };
        request.Content.Headers.ContentType = new("application/grpc");
        if (token is not null)
        {
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        }

        using var answer = await client.SendAsync(request, Cancel);
        await answer.Content.LoadIntoBufferAsync(Cancel);
        return (answer.Headers.Contains("grpc-status") ? answer.Headers : answer.TrailingHeaders).GetValues("grpc-status").Single();
    }
}
