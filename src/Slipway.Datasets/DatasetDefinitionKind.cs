using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Datasets;

/// <summary>Applies <c>dataset</c> files.</summary>
internal sealed class DatasetDefinitionKind(Database database) : IDefinitionKind
{
    public string Kind => DatasetDefinition.Kind;

    public int Order => 10;

    public void Validate(DefinitionYaml yaml) => DatasetDefinition.Parse(yaml);

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var definition = DatasetDefinition.Parse(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (stored, changed) = DefinitionStore.Put(transaction, by, Kind, definition.Name, yaml);
            return new AppliedDefinition(Kind, definition.Name, stored.Version, changed);
        }, cancellationToken);
    }
}
