using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Slos;

/// <summary>The <c>slo</c> kind of definition files. Requests are counted from the moment it is applied.</summary>
internal sealed class SloKind(Database database) : IDefinitionKind
{
    public string Kind => SloSpec.Kind;

    public int Order => 66;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => SloSpec.Parse(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(SloSpec.Parse(yaml).Model, "production")];

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var spec = SloSpec.Parse(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, spec.Model, yaml);
            return new AppliedDefinition(Kind, definition.Name, definition.Version, changed);
        }, cancellationToken);
    }
}
