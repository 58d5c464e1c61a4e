using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Rollouts;

/// <summary>The <c>rollout</c> kind of definition files.</summary>
internal sealed class RolloutKind(Database database) : IDefinitionKind
{
    public string Kind => RolloutSpec.Kind;

    public int Order => 70;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => RolloutSpec.Parse(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(RolloutSpec.Parse(yaml).Model, "production")];

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var spec = RolloutSpec.Parse(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, spec.Name, yaml);
            return new AppliedDefinition(Kind, definition.Name, definition.Version, changed);
        }, cancellationToken);
    }
}
