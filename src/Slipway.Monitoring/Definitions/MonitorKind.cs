using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring.Definitions;

/// <summary>The <c>monitor</c> kind of definition files.</summary>
internal sealed class MonitorKind(Database database) : IDefinitionKind
{
    public string Kind => MonitorDefinition.Kind;

    public int Order => 60;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => MonitorDefinition.Parse(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(MonitorDefinition.Parse(yaml).Model)];

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var monitor = MonitorDefinition.Parse(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, monitor.Name, yaml);
            transaction.Link(new NodeRef(NodeKinds.Model, monitor.Model), "watched_by", new NodeRef(NodeKinds.Monitor, monitor.Name));
            return new AppliedDefinition(Kind, definition.Name, definition.Version, changed);
        }, cancellationToken);
    }
}
