using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Reviews;

/// <summary>The <c>review</c> kind of definition files. It holds for the versions in memory from the moment it is applied, and for those loaded later.</summary>
internal sealed class ReviewKind(Database database, PinnedVersions pinned) : ServedModelKind<ReviewSpec>(database, ReviewSpec.Kind, order: 68)
{
    protected override (string Name, string Model, ReviewSpec Spec) Read(DefinitionYaml yaml)
    {
        var spec = ReviewSpec.Parse(yaml);
        return (spec.Model, spec.Model, spec);
    }

    protected override void Use(string model, ReviewSpec spec)
    {
        foreach (var version in pinned.InMemory(model))
        {
            version.Review = spec;
        }
    }
}
