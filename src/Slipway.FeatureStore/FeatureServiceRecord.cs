using Slipway.Contracts.FeatureStore;
using Slipway.Storage;

namespace Slipway.FeatureStore;

/// <summary>One version of a feature view.</summary>
/// <param name="Version">1, 2, 3 …: rises with each edit.</param>
/// <param name="Definition">What it declares.</param>
public sealed record FeatureViewRecord(int Version, FeatureViewDefinition Definition)
{
    /// <summary>The view.</summary>
    public string Name => Definition.Name;

    /// <summary><c>name@version</c>.</summary>
    public string Id => $"{Name}@{Version}";

    /// <summary>Its place in lineage and audit.</summary>
    public NodeRef Node => new(NodeKinds.FeatureView, Id);
}

/// <summary>One feature of a service, with the view version that defines it.</summary>
/// <param name="Ref"><c>entity:feature</c>.</param>
/// <param name="View">The view version.</param>
/// <param name="Feature">The feature in that view.</param>
public sealed record ServedFeature(string Ref, FeatureViewRecord View, FeatureDefinition Feature)
{
    /// <summary>boolean, int32, int64, float32 or float64.</summary>
    public string Type => Feature.Type;
}

/// <summary>One version of a feature service: the ordered features of a model, each with the exact view version behind it.</summary>
/// <param name="Version">1, 2, 3 …: rises with each edit of the service or of a view that it uses.</param>
/// <param name="DefinitionVersion">The version of the service's own file.</param>
/// <param name="Definition">What it declares.</param>
/// <param name="Features">In the model's order.</param>
public sealed record FeatureServiceRecord(int Version, long DefinitionVersion, FeatureServiceDefinition Definition, IReadOnlyList<ServedFeature> Features)
{
    /// <summary>The service.</summary>
    public string Name => Definition.Name;

    /// <summary>Its place in lineage.</summary>
    public NodeRef Node => new(NodeKinds.FeatureService, $"{Name}@{Version}");

    /// <summary>What a request brings.</summary>
    public IReadOnlyList<FeatureInput> Inputs => Definition.Inputs;

    /// <summary>References in the model's order.</summary>
    public IReadOnlyList<string> FeatureNames { get; } = [.. Features.Select(feature => feature.Ref)];

    /// <summary>The view versions, each once, in the order of first use.</summary>
    public IReadOnlyList<FeatureViewRecord> Views { get; } = [.. Features.Select(feature => feature.View).DistinctBy(view => view.Id)];

    /// <summary>A request to fill, for <see cref="FeatureVectorBuilder"/>.</summary>
    public FeatureRequest NewRequest() => new(Inputs, Definition.EventTime);

    /// <summary>The request input behind each key of a view.</summary>
    internal IReadOnlyList<string> InputsOfKeys(FeatureViewDefinition view) =>
        [.. view.Keys.Select(key => Definition.Keys.TryGetValue(view.Entity, out var keys) ? keys[key] : key)];
}
