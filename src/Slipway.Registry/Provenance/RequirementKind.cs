using Slipway.Contracts.Identity;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Provenance;

/// <summary>What a <c>requirement</c> file declares.</summary>
/// <param name="Id">As the requirement is known, such as <c>REQ-12</c>.</param>
/// <param name="Text">What is required.</param>
/// <param name="Source">Where it comes from; null when not said.</param>
/// <param name="Models">The models that answer to it; empty while none does.</param>
internal sealed record Requirement(string Id, string Text, string? Source, IReadOnlyList<string> Models);

/// <summary>Files of kind <c>requirement</c>. A model need not exist yet: requirements come first.</summary>
internal sealed class RequirementKind(Database database) : IDefinitionKind
{
    public const string KindName = "requirement";

    public string Kind => KindName;

    public int Order => 45;

    public void Validate(DefinitionYaml yaml) => Read(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [.. Read(yaml).Models.Select(model => Resource.Model(model))];

    public Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var requirement = Read(DefinitionYaml.Parse(yaml));
        return database.WriteAsync(transaction =>
        {
            var (stored, changed) = DefinitionStore.Put(transaction, by, Kind, requirement.Id, yaml);
            foreach (var model in requirement.Models)
            {
                transaction.Link(new NodeRef(NodeKinds.Definition, $"{Kind}/{requirement.Id}@{stored.Version}"), "answers_to", new NodeRef(NodeKinds.Model, model));
            }

            return new AppliedDefinition(Kind, requirement.Id, stored.Version, changed);
        }, cancellationToken);
    }

    public static Requirement Read(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        var requirement = new Requirement(yaml.Text("name"), yaml.Text("text"), yaml.OptionalText("source"), yaml.Texts("models"));
        if (!requirement.Id.All(sign => char.IsAsciiLetterOrDigit(sign) || sign is '.' or '-' or '_'))
        {
            yaml.Fault("name", $"must be an id such as REQ-12, of letters, digits, '.', '-' and '_', not '{requirement.Id}'");
        }

        foreach (var model in requirement.Models.Where(model => !RegistrationRules.IsName(model)))
        {
            yaml.Fault("models", $"must hold names of models, not '{model}'");
        }

        yaml.Done();
        return requirement;
    }
}
