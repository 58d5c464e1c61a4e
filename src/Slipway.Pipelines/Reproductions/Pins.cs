using Slipway.Contracts.Registry;

namespace Slipway.Pipelines.Reproductions;

/// <summary>What the stages of a reproduction take where others take the newest.</summary>
/// <param name="Version">The version that is built again.</param>
/// <param name="Datasets">Its dataset versions, with their digests.</param>
/// <param name="Features">Its features, with the versions of their service and views.</param>
internal sealed record Pins(string Version, IReadOnlyList<DatasetRef> Datasets, FeatureSchema Features)
{
    /// <summary>The pins of a registered version.</summary>
    public static Pins Of(ModelVersionRecord version) => new(version.Version, version.Datasets, version.FeatureSchema);
}
