using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Streams;

/// <summary>The <c>stream</c> kind of definition files.</summary>
internal sealed class StreamKind(Database database) : IDefinitionKind
{
    public string Kind => StreamSpec.Kind;

    public int Order => 67;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => StreamSpec.Parse(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(StreamSpec.Parse(yaml).Model, "production")];

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var spec = StreamSpec.Parse(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, spec.Name, yaml);
            return new AppliedDefinition(Kind, definition.Name, definition.Version, changed);
        }, cancellationToken);
    }
}
