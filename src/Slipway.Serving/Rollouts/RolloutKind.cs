using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>The <c>rollout</c> kind of definition files.</summary>
internal sealed class RolloutKind(Database database) : ServedModelKind<RolloutSpec>(database, RolloutSpec.Kind, order: 70)
{
    protected override (string Name, string Model, RolloutSpec Spec) Read(DefinitionYaml yaml)
    {
        var spec = RolloutSpec.Parse(yaml);
        return (spec.Name, spec.Model, spec);
    }
}
