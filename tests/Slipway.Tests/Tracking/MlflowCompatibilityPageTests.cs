using System.Text;
using Microsoft.AspNetCore.Routing;
using Slipway.Tracking.Mlflow;
using Slipway.Web;

namespace Slipway.Tests.Tracking;

/// <summary>The page of what is served and what is not is written from the routes. SLIPWAY_WRITE_DOCS=1 writes it afresh.</summary>
public sealed class MlflowCompatibilityPageTests
{
    [Fact, Trait("capability", "TRK-18")]
    public async Task The_compatibility_page_lists_exactly_the_routes_that_are_served()
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Port = 0, GrpcPort = 0 });
            var unbuilt = UnbuiltEndpoints.Paths.Select(path => (path.Method, Path: $"/api{path.Path}")).ToHashSet();
            var served = ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
                .Where(route => route.Order == 0 && route.RoutePattern.RawText is { } text && (text.StartsWith("/api/2.0/mlflow", StringComparison.Ordinal) || text.StartsWith("/api/3.0/mlflow", StringComparison.Ordinal)))
                .SelectMany(route => route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Select(method => (Method: method, Path: route.RoutePattern.RawText!)))
                .Distinct().ToList();

            var page = new StringBuilder(
                """
                # MLflow compatibility

                Written from the routes by a test. Every `/api/…` route answers under `/ajax-api/…` too. Paths are those of MLflow 3.6.

                ## Served

                | method | path |
                |---|---|

                """);
            foreach (var (method, path) in served.OrderBy(route => route.Path, StringComparer.Ordinal).ThenBy(route => route.Method, StringComparer.Ordinal))
            {
                page.Append("| ").Append(method).Append(" | `").Append(path).AppendLine("` |");
            }

            page.Append(
                """

                ## Not built: answers 501 with MLflow's error JSON, naming the path

                | method | path |
                |---|---|

                """);
            foreach (var (method, path) in unbuilt.Except(served).OrderBy(route => route.Path, StringComparer.Ordinal).ThenBy(route => route.Method, StringComparer.Ordinal))
            {
                page.Append("| ").Append(method).Append(" | `").Append(path).AppendLine("` |");
            }

            var file = Path.Combine(Repository.Root, "docs", "reference", "mlflow-compatibility.md");
            if (Environment.GetEnvironmentVariable("SLIPWAY_WRITE_DOCS") == "1")
            {
                await File.WriteAllTextAsync(file, page.ToString(), TestContext.Current.CancellationToken);
            }

            Assert.True(served.Count > 30);
            Assert.Equal(await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken), page.ToString());
        }
        finally
        {
            Directory.Delete(data, recursive: true);
        }
    }
}
