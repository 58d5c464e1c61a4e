using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Registry.Versions;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Registry.Stages;

/// <summary>Files of kind <c>policy</c>: one per model, named after it.</summary>
internal sealed class PolicyKind(Database database) : IDefinitionKind
{
    public const string KindName = "policy";

    public string Kind => KindName;

    public int Order => 50;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        var name = yaml.Text("name");
        yaml.OptionalText("description");
        var policy = PromotionPolicy.Read(yaml, "");
        if (!RegistrationRules.IsName(policy.Model) || name != policy.Model)
        {
            // Named after its model, so that a model can never have two policies that disagree.
            yaml.Fault("model", $"must be a model's name and equal to 'name' ('{name}'), not '{policy.Model}'");
        }

        yaml.Done();
    }

    // Named after its model, and decides on what comes to production.
    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(yaml.Text("name"), "production")];

    public async Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var parsed = DefinitionYaml.Parse(yaml);
        Validate(parsed);
        var name = parsed.Text("name");
        var (definition, changed) = await database.WriteAsync(transaction => DefinitionStore.Put(transaction, by, Kind, name, yaml), cancellationToken);
        return new AppliedDefinition(Kind, name, definition.Version, changed);
    }
}
