using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.FeatureStore;

/// <summary>Applies <c>feature_view</c> files.</summary>
internal sealed class FeatureViewKind(FeatureRegistry registry) : IDefinitionKind
{
    public string Kind => FeatureViewDefinition.Kind;

    public int Order => 20;

    public void Validate(DefinitionYaml yaml) => FeatureViewDefinition.Parse(yaml);

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken) => registry.ApplyViewAsync(yaml, by, cancellationToken);
}

/// <summary>Applies <c>feature_service</c> files.</summary>
internal sealed class FeatureServiceKind(FeatureRegistry registry) : IDefinitionKind
{
    public string Kind => FeatureServiceDefinition.Kind;

    public int Order => 30;

    public void Validate(DefinitionYaml yaml) => FeatureServiceDefinition.Parse(yaml);

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken) => registry.ApplyServiceAsync(yaml, by, cancellationToken);
}
