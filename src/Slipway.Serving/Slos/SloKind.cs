using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Slos;

/// <summary>The <c>slo</c> kind of definition files. Requests are counted from the moment it is applied.</summary>
internal sealed class SloKind(Database database) : ServedModelKind<SloSpec>(database, SloSpec.Kind, order: 66)
{
    protected override (string Name, string Model, SloSpec Spec) Read(DefinitionYaml yaml)
    {
        var spec = SloSpec.Parse(yaml);
        return (spec.Model, spec.Model, spec);
    }
}
