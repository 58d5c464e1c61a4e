using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving;

/// <summary>A kind of definition file that says how one model is served; whoever applies it must be allowed to operate that model in production.</summary>
/// <typeparam name="TSpec">What a file of the kind says.</typeparam>
internal abstract class ServedModelKind<TSpec>(Database database, string kind, int order) : IDefinitionKind
{
    public string Kind => kind;

    public int Order => order;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => Read(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(Read(yaml).Model, "production")];

    public async Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var (name, model, spec) = Read(DefinitionYaml.Parse(yaml));
        var (definition, changed) = await database.WriteAsync(transaction =>
        {
            Demand(transaction, spec);
            return DefinitionStore.Put(transaction, by, kind, name, yaml);
        }, cancellationToken);
        Use(model, spec);
        return new AppliedDefinition(kind, definition.Name, definition.Version, changed);
    }

    /// <summary>Reads and checks a file: its name, the model it is about, and what it says.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    protected abstract (string Name, string Model, TSpec Spec) Read(DefinitionYaml yaml);

    /// <summary>Refuses what cannot stand beside the other definitions of the kind; nothing to do for a kind whose files do not touch each other.</summary>
    /// <exception cref="SlipwayException">FailedPrecondition.</exception>
    protected virtual void Demand(WriteTransaction transaction, TSpec spec)
    {
    }

    /// <summary>Hands what has been stored to the versions of the model that are in memory; nothing to do for a kind that is read where it is used.</summary>
    protected virtual void Use(string model, TSpec spec)
    {
    }
}
