using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Tracking.Discipline;

/// <summary>Files of kind <c>experiment</c>: applying one makes the experiment if there is none of its name.</summary>
internal sealed class ExperimentKind(Database database, ExperimentStore experiments) : IDefinitionKind
{
    public const string KindName = "experiment";

    public string Kind => KindName;

    public int Order => 5;

    public void Validate(DefinitionYaml yaml)
    {
        ExperimentRules.Read(yaml);
        yaml.Done();
        ExperimentStore.CheckName(yaml.Text("name"));
    }

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => experiments.FindByName(yaml.Text("name")) is { } known ? [Resource.Experiment(known.ExperimentId)] : [];

    public async Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var parsed = DefinitionYaml.Parse(yaml);
        Validate(parsed);
        var name = parsed.Text("name");
        var (definition, changed) = await database.WriteAsync(transaction =>
        {
            experiments.GetOrCreate(transaction, name, by);
            return DefinitionStore.Put(transaction, by, Kind, name, yaml);
        }, cancellationToken);
        return new AppliedDefinition(Kind, name, definition.Version, changed);
    }
}
