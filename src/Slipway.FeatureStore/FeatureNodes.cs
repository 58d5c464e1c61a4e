using System.Globalization;
using System.Text.Json;
using Dapper;
using Slipway.Contracts.Lineage;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>Describes feature views, feature services and training sets.</summary>
internal sealed class FeatureNodes(Database database, FeatureRegistry registry, DefinitionStore definitions, OfflineStore offline) : INodeDescriber
{
    public IReadOnlyList<string> Kinds { get; } = [NodeKinds.FeatureView, NodeKinds.FeatureService, NodeKinds.TrainingSet];

    public IReadOnlyDictionary<string, NodeFacts> Describe(string kind, IReadOnlyCollection<string> ids) => kind switch
    {
        NodeKinds.FeatureView => Describe(ids, id => registry.FindView(id) is { } view ? View(view) : null),
        NodeKinds.FeatureService => Describe(ids, id => id.LastIndexOf('@') is > 0 and var at && int.TryParse(id.AsSpan(at + 1), CultureInfo.InvariantCulture, out var version)
            && registry.FindService(id[..at], version) is { } service ? Service(service) : null),
        _ => TrainingSets(ids),
    };

    private static Dictionary<string, NodeFacts> Describe(IReadOnlyCollection<string> ids, Func<string, NodeFacts?> describe) =>
        ids.Select(id => (id, Facts: describe(id))).Where(pair => pair.Facts is not null).ToDictionary(pair => pair.id, pair => pair.Facts!);

    private NodeFacts View(FeatureViewRecord view)
    {
        var definition = view.Definition;
        var details = new Dictionary<string, string> { ["entity"] = definition.Entity, ["computed"] = definition.OnDemand ? "on demand, from the request" : $"from {definition.Source}" };
        if (offline.FindBuild(view) is { } build)
        {
            details["built_at"] = DateTimeOffset.FromUnixTimeMilliseconds(build.BuiltAtMs).ToString("O", CultureInfo.InvariantCulture);
            details["rows"] = build.Rows.ToString(CultureInfo.InvariantCulture);
        }

        return new NodeFacts
        {
            Title = definition.Description,
            StartedAt = definitions.Find(FeatureViewDefinition.Kind, view.Name, view.Version) is { } stored ? DateTimeOffset.FromUnixTimeMilliseconds(stored.AppliedAtMs) : null,
            Fields = [.. definition.Features.Select(feature => new NodeField($"{definition.Entity}:{feature.Name}", feature.Type, feature.Description))],
            Details = details,
        };
    }

    private static NodeFacts Service(FeatureServiceRecord service) => new()
    {
        Title = service.Definition.Description,
        Fields = [.. service.Features.Select(feature => new NodeField(feature.Ref, feature.Type, feature.Feature.Description))],
    };

    private Dictionary<string, NodeFacts> TrainingSets(IReadOnlyCollection<string> ids) => database.Read(connection => connection
        .Query<(string Sha256, long Rows, string Features, long CreatedAtMs)>(
            $"SELECT sha256, rows, features_json, created_at_ms FROM training_sets WHERE sha256 {SqlDialect.Of(connection).InTexts("@ids")}", new { ids = JsonSerializer.Serialize(ids) })
        .ToDictionary(row => row.Sha256, row => new NodeFacts
        {
            StartedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.CreatedAtMs),
            Fields = [.. JsonSerializer.Deserialize<List<string>>(row.Features)!.Select(name => new NodeField(name, "float32"))],
            Details = new Dictionary<string, string> { ["rows"] = row.Rows.ToString(CultureInfo.InvariantCulture) },
        }));
}
