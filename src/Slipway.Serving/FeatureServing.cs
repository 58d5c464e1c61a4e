using Slipway.Contracts.Registry;

namespace Slipway.Serving;

/// <summary>Lets requests bring the feature service's inputs instead of features.</summary>
internal sealed class FeatureServing
{
    /// <summary>The inputs of the version's feature service; null when it was registered without one.</summary>
    public RequestInputs? InputsOf(ModelVersionRecord version) => null;
}
