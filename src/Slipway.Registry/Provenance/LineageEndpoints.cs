using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Lineage;
using Slipway.Storage;

namespace Slipway.Registry.Provenance;

/// <summary>Maps questions about lineage.</summary>
internal static class LineageEndpoints
{
    private const int LimitMax = 100_000;

    /// <summary>Maps <c>/lineage</c> and what is below it.</summary>
    public static void MapLineage(this IEndpointRouteBuilder app)
    {
        var read = app.MapGroup("/api/slipway/v1/lineage").WithMetadata(new RequiredAccess(Permission.Read));
        read.MapGet("", Show).WithSummary("Show what a thing was made from and what came of it");
        read.MapGet("/path", Path).WithSummary("Find a shortest way between two things");
        read.MapGet("/impact", Impact).WithSummary("List the model versions that a change of a thing would reach");
        read.MapGet("/dependencies", Dependencies).WithSummary("List what a version was made from and what uses it");
        read.MapGet("/deployments", Deployments).WithSummary("List where a model's versions serve and served");
        read.MapGet("/requirements", (LineageQueries queries) => TypedResults.Ok(queries.Requirements())).WithSummary("List requirements and the models that answer to them");
        read.MapGet("/export", Export).WithSummary("Export a part of the graph as JSON or as OpenLineage events");

        var write = app.MapGroup("/api/slipway/v1/lineage").WithMetadata(new RequiredAccess(Permission.Write));
        write.MapPost("/links", Declare).WithSummary("Declare a use of a version that the platform cannot see");
    }

    private static Ok<LineageView> Show(string? node, string? direction, int? depth, string? kinds, int? limit, bool? history, LineageQueries queries) =>
        TypedResults.Ok(queries.Show(
            Required("node", node), Direction(direction), Between("depth", depth, 1, 1000),
            kinds?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries), Limit(limit) ?? Lineage.DefaultLimit, history ?? false));

    private static Ok<LineagePathView> Path(string? from, string? to, int? limit, LineageQueries queries) =>
        TypedResults.Ok(queries.Path(Required("from", from), Required("to", to), Limit(limit) ?? Lineage.DefaultPathLimit));

    private static Ok<LineageImpact> Impact(string? node, int? limit, LineageQueries queries) =>
        TypedResults.Ok(queries.Impact(Required("node", node), Between("limit", limit, 1, 10_000) ?? LineageQueries.DefaultImpactLimit));

    private static Ok<VersionDependencies> Dependencies(string? model, string? version, LineageQueries queries) =>
        TypedResults.Ok(queries.Dependencies(Required("model", model), Required("version", version)));

    private static Ok<ModelDeployments> Deployments(string? model, string? version, LineageQueries queries) =>
        TypedResults.Ok(queries.Deployments(Required("model", model), version));

    private static IResult Export(string? node, string? format, string? direction, int? limit, bool? history, HttpRequest request, LineageQueries queries)
    {
        var view = queries.Show(Required("node", node), Direction(direction), limit: Limit(limit) ?? Lineage.DefaultLimit, history: history ?? false);
        return format switch
        {
            null or "json" => TypedResults.Ok(view),
            "openlineage" => TypedResults.Text(
                string.Concat(OpenLineageExport.Events(view, $"slipway://{request.Host}").Select(each => $"{each.ToJsonString(JsonDefaults.Options)}\n")), "application/x-ndjson"),
            _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"'format' must be json or openlineage, not '{format}'."),
        };
    }

    private static async Task<NoContent> Declare(DeclareLink link, LineageQueries queries, Caller by, CancellationToken cancellationToken)
    {
        await queries.DeclareAsync(link, by, cancellationToken);
        return TypedResults.NoContent();
    }

    private static LineageSide Direction(string? text) => text switch
    {
        null or "both" => LineageSide.Both,
        "upstream" => LineageSide.Upstream,
        "downstream" => LineageSide.Downstream,
        _ => throw new SlipwayException(ErrorCode.InvalidArgument, $"'direction' must be upstream, downstream or both, not '{text}'."),
    };

    private static int? Limit(int? limit) => Between("limit", limit, 1, LimitMax);

    private static int? Between(string field, int? value, int least, int most) => value is null || (value >= least && value <= most)
        ? value
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' must be {least} to {most}, not {value}.");

    private static string Required(string field, string? value) => !string.IsNullOrWhiteSpace(value)
        ? value
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"'{field}' is missing.");
}
