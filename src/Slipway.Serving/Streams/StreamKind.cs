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
}
