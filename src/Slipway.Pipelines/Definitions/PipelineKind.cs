using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Stages;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Definitions;

/// <summary>Definition files of kind <c>pipeline</c>.</summary>
internal sealed class PipelineKind(Database database, DefinitionStore definitions, IEnumerable<StageKind> stageKinds) : IDefinitionKind
{
    internal const string Name = "pipeline";

    private readonly IReadOnlyList<StageKind> _stageKinds = [.. stageKinds];

    public string Kind => Name;

    public int Order => 40;

    public void Validate(DefinitionYaml yaml) => Check(yaml.Source);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(Check(yaml.Source).Model)];

    /// <summary>Checks a file without storing it.</summary>
    public PipelineDefinition Check(string yaml, IReadOnlyDictionary<string, string>? parameters = null) => PipelineDefinition.Parse(yaml, _stageKinds, parameters);

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var pipeline = Check(yaml);
        var before = definitions.Find(Kind, pipeline.Name);
        return database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, pipeline.Name, yaml);
            if (changed && before is not null && Threshold(before.Yaml) is { } earlier && earlier != pipeline.GoNoGo)
            {
                // Runs keep the threshold they were started with; the change itself must be seen.
                transaction.Audit(by, "pipeline.threshold_changed", new NodeRef(NodeKinds.Definition, $"{Kind}/{pipeline.Name}@{definition.Version}"), null, earlier, pipeline.GoNoGo);
            }

            return new AppliedDefinition(Kind, pipeline.Name, definition.Version, changed);
        }, cancellationToken);
    }

    private GoNoGo? Threshold(string yaml)
    {
        try
        {
            return Check(yaml).GoNoGo;
        }
        catch (SlipwayException)
        {
            return null; // Written for an older build whose keys are gone.
        }
    }
}
