using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Reviews;

/// <summary>The <c>review</c> kind of definition files. It holds for the versions in memory from the moment it is applied, and for those loaded later.</summary>
internal sealed class ReviewKind(Database database, ModelRouter router, PinnedVersions pinned) : ServedModelKind<ReviewSpec>(database, ReviewSpec.Kind, order: 68)
{
    protected override (string Name, string Model, ReviewSpec Spec) Read(DefinitionYaml yaml)
    {
        var spec = ReviewSpec.Parse(yaml);
        return (spec.Model, spec.Model, spec);
    }

    protected override void Use(string model, ReviewSpec spec)
    {
        var table = router.Find(model);
        foreach (var version in new[] { table?.Stable, table?.Candidate }.OfType<Arm>().Select(arm => arm.Model).Concat(pinned.Loaded.Where(loaded => loaded.Model == model)))
        {
            version.Review = spec;
        }
    }
}
