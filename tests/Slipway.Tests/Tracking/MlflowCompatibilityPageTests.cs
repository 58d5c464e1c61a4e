using System.Text;
using Microsoft.AspNetCore.Routing;
using Slipway.Tests.Hosting;
using Slipway.Tracking.Mlflow;
using Slipway.Web;

namespace Slipway.Tests.Tracking;

/// <summary>The page of what is served and what is not is written from the routes. SLIPWAY_WRITE_DOCS=1 writes it afresh.</summary>
public sealed class MlflowCompatibilityPageTests
{
    private const string Differences =
        """

        ## Where an answer differs from MLflow 3.6's

        | call | MLflow | here |
        |---|---|---|
        | all | answers indented by 2 | without blanks |
        | all | a field of the wrong type that no rule names is dropped | refused with `INVALID_PARAMETER_VALUE`, naming the field |
        | all | a text may hold NUL | refused |
        | all searches | `page_token` is an offset; rows that come or go between two pages shift the next one | `page_token` is the place of the last row, bound to filter and order |
        | experiments/create | `artifact_location` may be any place the server can reach | below `--artifact-root`; refused where this server keeps the files itself |
        | experiments/update on a deleted experiment | `INVALID_STATE`, 500 | `INVALID_PARAMETER_VALUE`, 400 |
        | experiments/search-datasets | `/api/2.0mlflow/…`, as its proto file spells it, and `/ajax-api/2.0/mlflow/…` | both, and the spelling that was meant |
        | runs/create | no `user_id` leaves it empty; no `start_time` means 0 | the caller's name; now |
        | runs/update | an end status without `end_time` leaves the run without an end | it ends now; a run that is RUNNING again has no end |
        | runs/log-batch | params, metrics and tags are written one after the other; a fault in the middle leaves the first part | all of it or nothing |
        | runs/log-inputs | a dataset is one input of a run, whatever its context | one input for each context |
        | runs/log-inputs, runs/outputs, log-metric with `model_id` | a model that does not exist is noted all the same, or ends in a fault of the database | `RESOURCE_DOES_NOT_EXIST` |
        | runs/search, `metrics.x != 1` | a NaN counts as 0 | a NaN differs from every number, and is neither less nor more than any |
        | runs/search, `IN` | for `run_id` alone | for every attribute that is a text |
        | metrics/get-history | by time, then step; without `max_results` no points, only a token | by step, then time; without `max_results` up to 25,000 points |
        | metrics/get-history-bulk | NaN as a bare word, which is not JSON | NaN as a text, as everywhere else |
        | logged-models | `data.metrics` holds every point | the newest point for each metric, dataset and run; the curve is the run's |
        | logged-models/search, `metrics.x > 1` | true when any point fits | true when the newest point on a dataset fits |
        | logged-models/search, `status` | a whole number, which no filter can name | `'READY'`, `'PENDING'`, `'UPLOAD_FAILED'`, with or without `LOGGED_MODEL_` before it |
        | mlflow-artifacts/mpu/… | parts are put to addresses of the store, where the store has such; a file store answers 501 | parts are put to this server, `mpu/parts/…`, whatever the store; an upload ends with the server that began it, or after a day |
        | registered-models/create | a name may hold anything | no `/`, `:`, `\`, `@`, `..` or control characters; it neither begins nor ends with a blank or `.` |
        | registered-models/create after delete | the new model's versions begin at 1 | they follow the deleted ones; lineage and history name those for good |
        | registered-models/rename, delete; model-versions/delete | always | refused with `RESOURCE_CONFLICT` while a version is in production; rename also while only the old name has a policy |
        | registered-models/alias | a number may be an alias | refused: it reads as a version |
        | registered-models/set-tag, model-versions/set-tag | setting a tag to the value it has is an event for webhooks | nothing changes, and nothing is told |
        | model-versions/create | any source is kept as a text | its files are kept by content; a source that is not the caller's run's, another logged model or version, or http(s) is refused, prompt or not |
        | model-versions/create | `run_id` and source need not agree | refused when the source is another run's |
        | model-versions/get, search | `tags` as set | also `slipway.version`, the semantic version |
        | model-versions/transition-stage | always done | passes the gates; `RESOURCE_CONFLICT` with the unmet items, and the request stays open for approvers |
        | model-versions/transition-stage to Production without `archive_existing_versions` | a model may have several versions in production | refused while another version is there |
        | model-versions/transition-stage with `archive_existing_versions` to None or Archived | `INTERNAL_ERROR`, 500 | `INVALID_PARAMETER_VALUE`, 400 |
        | webhooks | http, and until 3.9 any address | https to public addresses; `--webhook-host` names exceptions. Redirects are not followed, and are no success |
        | webhooks | lost when the server stops | sent from the database, at least once |
        | /version | `3.6.0` | `3.6.0+slipway.` and our own version |

        """;

    [Fact, Trait("capability", "TRK-18")]
    public async Task The_compatibility_page_lists_exactly_the_routes_that_are_served()
    {
        var data = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        try
        {
            await using var app = SlipwayServer.Build(new ServerOptions { DataDirectory = data, Database = TestDatabase.Address(data), Port = 0, GrpcPort = 0 });
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

            foreach (var (method, path) in UnbuiltEndpoints.RootPaths)
            {
                page.Append("| ").Append(method).Append(" | `").Append(path).AppendLine("` |");
            }

            page.Append(Differences);
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
