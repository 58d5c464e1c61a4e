using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Storage;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Reviews;

/// <summary>The <c>review</c> kind of definition files. It holds for the versions in memory from the moment it is applied, and for those loaded later.</summary>
internal sealed class ReviewKind(Database database, ModelRouter router, PinnedVersions pinned) : IDefinitionKind
{
    public string Kind => ReviewSpec.Kind;

    public int Order => 68;

    public Permission Needs => Permission.Operate;

    public void Validate(DefinitionYaml yaml) => ReviewSpec.Parse(yaml);

    public IReadOnlyList<Resource> About(DefinitionYaml yaml) => [Resource.Model(ReviewSpec.Parse(yaml).Model, "production")];

    public async Task<AppliedDefinition> ApplyAsync(string yaml, Caller by, CancellationToken cancellationToken)
    {
        var spec = ReviewSpec.Parse(DefinitionYaml.Parse(yaml));
        var applied = await database.WriteAsync(transaction =>
        {
            var (definition, changed) = DefinitionStore.Put(transaction, by, Kind, spec.Model, yaml);
            return new AppliedDefinition(Kind, definition.Name, definition.Version, changed);
        }, cancellationToken);
        var table = router.Find(spec.Model);
        foreach (var model in new[] { table?.Stable, table?.Candidate }.OfType<Arm>().Select(arm => arm.Model).Concat(pinned.Loaded.Where(loaded => loaded.Model == spec.Model)))
        {
            model.Review = spec;
        }

        return applied;
    }
}
