using System.Buffers.Text;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Mlflow;

/// <summary>MLflow's registry routes that read. Versions are made and moved through the native routes, where the gates are.</summary>
internal static class MlflowRegistryEndpoints
{
    public static void MapMlflowRegistry(this IEndpointRouteBuilder app)
    {
        foreach (var prefix in (ReadOnlySpan<string>)["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"])
        {
            var group = app.MapGroup(prefix).WithMetadata(new RequiredAccess(Permission.Read), new ErrorShape(ErrorEnvelope.Mlflow));
            group.MapGet("/registered-models/get", GetModel);
            group.MapGet("/registered-models/search", SearchModels);
            group.MapGet("/registered-models/get-latest-versions", (string? name, string[]? stages, ModelRegistry registry) => Latest(name, stages, registry));
            group.MapPost("/registered-models/get-latest-versions", (LatestVersionsRequest request, ModelRegistry registry) => Latest(request.Name, request.Stages, registry));
            group.MapGet("/registered-models/alias", GetByAlias);
            group.MapGet("/model-versions/get", GetVersion);
            group.MapGet("/model-versions/search", SearchVersions);
        }
    }

    private static Ok<RegisteredModelResponse> GetModel(string? name, ModelRegistry registry)
    {
        var model = Required("name", name);
        return TypedResults.Ok(new RegisteredModelResponse(Wire(
            registry.FindModel(model) ?? throw new SlipwayException(ErrorCode.NotFound, $"Registered Model with name={model} not found"), registry)));
    }

    private static Ok<RegisteredModelsResponse> SearchModels(
        string? filter, int? max_results, string[]? order_by, string? page_token, ModelRegistry registry)
    {
        var passes = SearchFilter.Parse(filter, "name");
        var models = registry.ListModels().Select(summary => Wire(summary, registry))
            .Where(model => passes(field => field == "name" ? model.Name : Tag(model.Tags, field)));
        var ordered = Order(models, order_by, new Dictionary<string, Func<MlflowRegisteredModel, object>>
        {
            ["name"] = model => model.Name,
            ["creation_timestamp"] = model => model.CreationTimestamp,
            ["last_updated_timestamp"] = model => model.LastUpdatedTimestamp,
        }, model => model.Name);
        var (page, next) = Page(ordered, max_results, 100, 1000, page_token, model => model.Name);
        return TypedResults.Ok(new RegisteredModelsResponse(page, next));
    }

    private static Ok<ModelVersionsResponse> Latest(string? name, IReadOnlyList<string>? stages, ModelRegistry registry)
    {
        var model = Required("name", name);
        var versions = registry.ListVersions(model);
        if (versions.Count == 0)
        {
            throw new SlipwayException(ErrorCode.NotFound, $"Registered Model with name={model} not found");
        }

        var newest = versions.GroupBy(version => version.Stage).Select(group => group.First())
            .Where(version => stages is not { Count: > 0 } || stages.Contains(MlflowModelVersion.StageName(version.Stage), StringComparer.OrdinalIgnoreCase));
        return TypedResults.Ok(new ModelVersionsResponse([.. newest.OrderBy(version => version.Number).Select(version => Wire(version, registry))], null));
    }

    private static Ok<ModelVersionResponse> GetByAlias(string? name, string? alias, ModelRegistry registry)
    {
        var (model, wanted) = (Required("name", name), Required("alias", alias));
        return TypedResults.Ok(new ModelVersionResponse(Wire(
            registry.Find(model, $"@{wanted}") ?? throw new SlipwayException(ErrorCode.NotFound, $"Registered model alias {wanted} not found."), registry)));
    }

    private static Ok<ModelVersionResponse> GetVersion(string? name, string? version, ModelRegistry registry)
    {
        var (model, number) = (Required("name", name), Required("version", version));
        return TypedResults.Ok(new ModelVersionResponse(Wire(
            registry.Find(model, number) ?? throw new SlipwayException(ErrorCode.NotFound, $"Model Version (name={model}, version={number}) not found"), registry)));
    }

    private static Ok<ModelVersionsResponse> SearchVersions(
        string? filter, int? max_results, string[]? order_by, string? page_token, ModelRegistry registry)
    {
        var passes = SearchFilter.Parse(filter, "name", "version_number", "run_id", "source_path");
        var versions = registry.Search(null, new VersionSearch()).Select(version => Wire(version, registry))
            .Where(version => passes(field => field switch
            {
                "name" => version.Name,
                "version_number" => version.Version,
                "run_id" => version.RunId,
                "source_path" => version.Source,
                _ => Tag(version.Tags, field),
            }));
        var ordered = Order(versions, order_by, new Dictionary<string, Func<MlflowModelVersion, object>>
        {
            ["name"] = version => version.Name,
            ["version_number"] = version => Number(version),
            ["creation_timestamp"] = version => version.CreationTimestamp,
            ["last_updated_timestamp"] = version => version.LastUpdatedTimestamp,
        }, Key);
        var (page, next) = Page(ordered, max_results, 10_000, 200_000, page_token, Key);
        return TypedResults.Ok(new ModelVersionsResponse(page, next));

        static string Key(MlflowModelVersion version) => $"{version.Name}\n{int.MaxValue - Number(version):D10}";
        static int Number(MlflowModelVersion version) => int.Parse(version.Version, System.Globalization.CultureInfo.InvariantCulture);
    }

    private static MlflowRegisteredModel Wire(ModelSummary summary, ModelRegistry registry)
    {
        var versions = registry.ListVersions(summary.Name);
        return new MlflowRegisteredModel(
            summary.Name, summary.CreatedAt.ToUnixTimeMilliseconds(), summary.UpdatedAt.ToUnixTimeMilliseconds(), summary.Description,
            [.. versions.GroupBy(version => version.Stage).Select(group => Wire(group.First(), registry))], [],
            [.. versions.SelectMany(version => version.Aliases.Select(alias =>
                new MlflowAlias(alias, version.Number.ToString(System.Globalization.CultureInfo.InvariantCulture))))]);
    }

    private static MlflowModelVersion Wire(ModelVersionRecord version, ModelRegistry registry) =>
        MlflowModelVersion.Of(version, registry.History(version.Model, version.Version)[^1].At);

    private static IEnumerable<T> Order<T>(IEnumerable<T> items, string[]? terms, Dictionary<string, Func<T, object>> fields, Func<T, string> tieBreak)
    {
        IOrderedEnumerable<T>? ordered = null;
        foreach (var term in terms ?? [])
        {
            var (field, descending) = term.Trim().Split(' ', StringSplitOptions.RemoveEmptyEntries) switch
            {
                [var name] => (name, false),
                [var name, var direction] when direction.Equals("asc", StringComparison.OrdinalIgnoreCase) => (name, false),
                [var name, var direction] when direction.Equals("desc", StringComparison.OrdinalIgnoreCase) => (name, true),
                _ => ("", false),
            };
            if (!fields.TryGetValue(field, out var key))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'order_by' must be one of {string.Join(", ", fields.Keys)}, then ASC or DESC, not '{term}'.");
            }

            ordered = (ordered, descending) switch
            {
                (null, false) => items.OrderBy(key),
                (null, true) => items.OrderByDescending(key),
                (_, false) => ordered.ThenBy(key),
                (_, true) => ordered.ThenByDescending(key),
            };
        }

        return ordered is null ? items.OrderBy(tieBreak, StringComparer.Ordinal) : ordered.ThenBy(tieBreak, StringComparer.Ordinal);
    }

    // The token names the last item of the page before, so that a registration between two pages shifts nothing.
    private static (List<T> Items, string? Next) Page<T>(IEnumerable<T> items, int? maxResults, int defaultSize, int maximum, string? token, Func<T, string> key)
    {
        var size = maxResults ?? defaultSize;
        if (size < 1 || size > maximum)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'max_results' must be from 1 to {maximum}, not {size}.");
        }

        var all = items.ToList();
        var start = 0;
        if (!string.IsNullOrEmpty(token))
        {
            var last = Base64Url.IsValid(token) ? Encoding.UTF8.GetString(Base64Url.DecodeFromChars(token)) : "";
            start = all.FindIndex(item => key(item) == last) + 1;
            if (start == 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, "'page_token' does not belong to this search; start again without it.");
            }
        }

        var page = all.GetRange(start, Math.Min(size, all.Count - start));
        return (page, start + size < all.Count ? Base64Url.EncodeToString(Encoding.UTF8.GetBytes(key(page[^1]))) : null);
    }

    private static string? Tag(IReadOnlyList<MlflowTag> tags, string field) => tags.FirstOrDefault(tag => field == $"tags.{tag.Key}")?.Value;

    private static string Required(string field, string? value) => !string.IsNullOrEmpty(value)
        ? value
        : throw new SlipwayException(ErrorCode.InvalidArgument, $"Missing value for required parameter '{field}'.");
}
