using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.FeatureStore;
using Slipway.Storage;

namespace Slipway.FeatureStore;

/// <summary>Routes under <c>/api/slipway/v1/features</c>, and Feast's <c>/get-online-features</c>.</summary>
public static class FeatureStoreEndpoints
{
    private const int OnlineRowsMax = 10_000;
    private static readonly RequiredAccess Read = new(Permission.Read);

    /// <summary>Maps the routes.</summary>
    public static IEndpointRouteBuilder MapSlipwayFeatureStore(this IEndpointRouteBuilder app)
    {
        var features = app.MapGroup("/api/slipway/v1/features");
        features.MapGet("views", ListViews).WithSummary("The feature views in force").WithMetadata(Read);
        features.MapGet("services", ListServices).WithSummary("The feature services in force").WithMetadata(Read);
        features.MapPost("materialize", Materialize).WithSummary("Bring online values to an instant").WithMetadata(new RequiredAccess(Permission.Write));
        app.MapPost("/get-online-features", GetOnlineFeatures).WithSummary("Online values, in Feast's shape").WithMetadata(Read);
        return app;
    }

    private static Ok<List<FeatureViewInfo>> ListViews(FeatureRegistry registry, OnlineStore online) => TypedResults.Ok(registry.Views().Select(view =>
    {
        var definition = view.Definition;
        return new FeatureViewInfo(
            view.Name, view.Version, definition.Description, definition.Entity, definition.Keys, definition.Source, definition.OnDemand, definition.Ttl?.TotalSeconds,
            [.. definition.Features.Select(feature => new FeatureInfo($"{definition.Entity}:{feature.Name}", feature.Type, view.Id, feature.Description))],
            online.MaterializedUpTo(view.Id), online.CountKeys(view.Id));
    }).ToList());

    private static Ok<List<FeatureServiceInfo>> ListServices(FeatureRegistry registry) => TypedResults.Ok(registry.Services().Select(service => new FeatureServiceInfo(
        service.Name, service.Version, service.Definition.Description, service.Definition.EventTime, service.Inputs,
        [.. service.Features.Select(feature => new FeatureInfo(feature.Ref, feature.Type, feature.View.Id, feature.Feature.Description))])).ToList());

    private static async Task<Ok<MaterializeResponse>> Materialize(
        MaterializeRequest request, FeatureRegistry registry, OnlineStore online, TimeProvider clock, Caller by, CancellationToken ct)
    {
        var upTo = request.UpTo ?? clock.GetUtcNow();
        var names = request.View is { } one ? [one] : registry.Views().Where(view => view.Definition.Online).Select(view => view.Name).ToList();
        var done = new List<MaterializedView>();
        foreach (var name in names)
        {
            done.AddRange(await online.MaterializeVersionsAsync(name, upTo, by, ct));
        }

        return TypedResults.Ok(new MaterializeResponse(done));
    }

    private static Ok<OnlineFeaturesResponse> GetOnlineFeatures(OnlineFeaturesRequest request, FeatureRegistry registry, OnlineStore online, TimeProvider clock)
    {
        var service = request.FeatureService is { } name ? registry.RequireService(name) : AdHocService(request, registry);
        var names = Names(service, request.FullFeatureNames);
        var rows = CountRows(request);
        var builder = online.CreateVectorBuilder(service);
        var row = service.NewRequest();
        var columns = names.Select(_ => (Values: new double?[rows], Statuses: new string[rows], Times: new DateTimeOffset[rows])).ToList();
        for (var i = 0; i < rows; i++)
        {
            Fill(row, request.Entities!, i, clock.GetUtcNow().ToUnixTimeMilliseconds());
            if (!builder.TryCheck(row, out var error))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, error!.Replace("Input", "'entities' column", StringComparison.Ordinal));
            }

            var found = builder.Explain(row);
            for (var feature = 0; feature < found.Length; feature++)
            {
                columns[feature].Values[i] = found[feature].Value is { } value && double.IsFinite(value) ? value : null;
                columns[feature].Statuses[i] = JsonNamingPolicy.SnakeCaseUpper.ConvertName(found[feature].Status.ToString());
                columns[feature].Times[i] = DateTimeOffset.FromUnixTimeMilliseconds(found[feature].EventTimeMs);
            }
        }

        return TypedResults.Ok(new OnlineFeaturesResponse(
            new OnlineFeaturesMetadata(names), [.. columns.Select(column => new OnlineFeatureColumn(column.Values, column.Statuses, column.Times))]));
    }

    // References without a service: the request brings the views' own keys, and may bring event_timestamp.
    private static FeatureServiceRecord AdHocService(OnlineFeaturesRequest request, FeatureRegistry registry)
    {
        if (request.Features is not { Count: > 0 } references)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "Name a 'feature_service', or list 'features' such as airport:late_rate_7d.");
        }

        var views = registry.Views();
        var features = references.Select(reference => Find(views, reference)).ToList();
        var inputs = features.SelectMany(feature => feature.View.Definition.Inputs.Concat(feature.View.Definition.Keys.Select(key => new FeatureInput(key, "string"))))
            .DistinctBy(input => input.Name).ToList();
        var hasTime = request.Entities?.ContainsKey("event_timestamp") == true && inputs.All(input => input.Name != "event_timestamp");
        var definition = new FeatureServiceDefinition(
            "request", null, hasTime ? "event_timestamp" : null, hasTime ? [.. inputs, new FeatureInput("event_timestamp", "timestamp")] : inputs,
            new Dictionary<string, IReadOnlyDictionary<string, string>>(), references);
        return new FeatureServiceRecord(0, 0, definition, features);

        static ServedFeature Find(IReadOnlyList<FeatureViewRecord> views, string reference)
        {
            if (reference is null || !FeatureNames.IsReference(reference))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'features' holds '{reference}'; a reference reads entity:feature, such as airport:late_rate_7d.");
            }

            var parts = reference.Split(':');
            var view = views.FirstOrDefault(candidate => candidate.Definition.Entity == parts[0] && candidate.Definition.Features.Any(feature => feature.Name == parts[1]))
                ?? throw new SlipwayException(ErrorCode.NotFound, $"No feature view defines {reference}.");
            return new ServedFeature(reference, view, view.Definition.Features.First(feature => feature.Name == parts[1]));
        }
    }

    private static List<string> Names(FeatureServiceRecord service, bool full)
    {
        var names = service.Features.Select(feature => full ? $"{feature.View.Name}__{feature.Feature.Name}" : feature.Feature.Name).ToList();
        return names.Distinct(StringComparer.Ordinal).Count() == names.Count
            ? names
            : throw new SlipwayException(ErrorCode.InvalidArgument, "Two of the features have the same name; set 'full_feature_names' to true.");
    }

    private static int CountRows(OnlineFeaturesRequest request)
    {
        if (request.Entities is not { Count: > 0 } entities)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'entities' is missing: give each key or input as a list of values.");
        }

        var rows = entities.Values.First()?.Count ?? 0;
        if (entities.Values.Any(column => column?.Count != rows))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "The lists in 'entities' differ in length; give one value per row in each.");
        }

        return rows <= OnlineRowsMax ? rows : throw new SlipwayException(ErrorCode.TooLarge, $"'entities' has {rows} rows; ask for {OnlineRowsMax} at most.");
    }

    private static void Fill(FeatureRequest row, IReadOnlyDictionary<string, IReadOnlyList<JsonElement>> entities, int index, long receivedAtMs)
    {
        row.Clear();
        row.ReceivedAtMs = receivedAtMs;
        foreach (var (name, column) in entities)
        {
            var input = row.IndexOf(name);
            if (input < 0)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'entities' has a column '{name}' that no feature needs; known here: {string.Join(", ", row.Inputs.Select(known => known.Name))}.");
            }

            var value = column[index];
            var isSet = value.ValueKind switch
            {
                JsonValueKind.Null => SetNull(row, input),
                JsonValueKind.String => row.TrySet(input, value.GetString()!),
                JsonValueKind.True or JsonValueKind.False when row.Inputs[input].Type == "boolean" => row.TrySet(input, value.GetBoolean() ? 1L : 0L),
                // A key of an ad-hoc request is text whatever the view's type is, so that a number stands for its digits.
                JsonValueKind.Number when row.Inputs[input].Type == "string" => row.TrySet(input, value.GetRawText()),
                JsonValueKind.Number => value.TryGetInt64(out var whole) ? row.TrySet(input, whole) : row.TrySet(input, value.GetDouble()),
                _ => false,
            };
            if (!isSet)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"'entities.{name}[{index}]' must be {row.Inputs[input].Type}, not {value.GetRawText()}.");
            }
        }
    }

    private static bool SetNull(FeatureRequest row, int input)
    {
        row.SetNull(input);
        return true;
    }
}
