using Slipway.Contracts;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Streams;

/// <summary>The <c>stream</c> kind of definition files.</summary>
internal sealed class StreamKind(Database database) : ServedModelKind<StreamSpec>(database, StreamSpec.Kind, order: 67)
{
    protected override (string Name, string Model, StreamSpec Spec) Read(DefinitionYaml yaml)
    {
        var spec = StreamSpec.Parse(yaml);
        return (spec.Name, spec.Model, spec);
    }

    // They would share the events between them as two servers do: each would see some, and whose model answers would be chance.
    protected override void Demand(WriteTransaction transaction, StreamSpec spec)
    {
        var others = DefinitionStore.List(transaction.Connection, StreamSpec.Kind).Where(definition => definition.Name != spec.Name).Select(definition => StreamSpec.Parse(DefinitionYaml.Parse(definition.Yaml)));
        if (others.FirstOrDefault(other => other.Input == spec.Input && other.Group == spec.Group) is { } same)
        {
            throw new SlipwayException(ErrorCode.FailedPrecondition,
                $"The stream '{same.Name}' reads '{spec.Input}' in the group '{spec.Group}' already, and the two would share the events between them; give this one a 'group' of its own to read all of them.");
        }
    }
}
