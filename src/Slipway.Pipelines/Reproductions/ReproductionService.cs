using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Contracts.Registry;
using Slipway.Datasets;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Runs;
using Slipway.Registry;
using Slipway.Storage;

namespace Slipway.Pipelines.Reproductions;

/// <summary>
/// Builds a registered version again from its record: the pipeline as it ran, with its parameters and seed, on the dataset and feature
/// versions that the version names. Nothing is registered; what comes out is compared with the version.
/// </summary>
public sealed class ReproductionService
{
    internal const string Trigger = "reproduction";

    private readonly ModelRegistry _registry;
    private readonly DatasetStore _datasets;
    private readonly Database _database;
    private readonly PipelineKind _kind;
    private readonly PipelineStore _store;
    private readonly RunProgress _progress;
    private readonly TimeProvider _clock;

    internal ReproductionService(
        ModelRegistry registry, DatasetStore datasets, Database database, PipelineKind kind, PipelineStore store, RunProgress progress, TimeProvider clock)
    {
        _registry = registry;
        _datasets = datasets;
        _database = database;
        _kind = kind;
        _store = store;
        _progress = progress;
        _clock = clock;
    }

    /// <summary>Queues a pipeline run that builds the version again, or says why none can.</summary>
    /// <param name="model">The model.</param>
    /// <param name="reference">A version, its number, a stage or <c>@alias</c>.</param>
    /// <param name="by">Who asks.</param>
    /// <param name="cancellationToken">Cancels before the run is stored.</param>
    /// <exception cref="SlipwayException">NotFound: no such version.</exception>
    public async Task<Reproduction> StartAsync(string model, string reference, Caller by, CancellationToken cancellationToken)
    {
        var version = _registry.Get(model, reference);
        var original = version.PipelineRunId is { } runId ? _store.Find(runId) : null;
        PipelineDefinition pipeline;
        try
        {
            pipeline = Require(version, original);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.FailedPrecondition or ErrorCode.InvalidArgument)
        {
            var now = _clock.GetUtcNow();
            var refused = new Reproduction(version.Model, version.Version, ReproductionOutcome.NotReproducible, e.Message, original?.Id, null, [], by.Name, now, now);
            await _database.WriteAsync(
                transaction => transaction.Audit(by, "model_version.reproduction", version.Node, null, null, new { refused.Outcome, refused.Summary }), cancellationToken);
            return refused;
        }

        var id = Guid.CreateVersion7().ToString("N");
        await _store.CreateAsync(
            id, pipeline, original!.DefinitionVersion, Trigger, $"builds {version.Model} {version.Version} of run {original.Id} again", null, by, cancellationToken, version.Version);
        _progress.Wake();
        return _store.Reproductions(version.Model, version.Version, original.Id).First(started => started.RunId == id);
    }

    /// <summary>Every run that built the version again, newest first; at most 100.</summary>
    /// <exception cref="SlipwayException">NotFound: no such version.</exception>
    public IReadOnlyList<Reproduction> List(string model, string reference)
    {
        var version = _registry.Get(model, reference);
        return _store.Reproductions(version.Model, version.Version, version.PipelineRunId);
    }

    private PipelineDefinition Require(ModelVersionRecord version, PipelineRun? original)
    {
        if (original is null)
        {
            throw Impossible(version, version.PipelineRunId is { } gone
                ? $"this server has no record of the pipeline run {gone} that made it"
                : "no pipeline run made it, so that nobody knows the steps; only versions that a pipeline registered can be built again here");
        }

        if (version.ServedSha256 is null)
        {
            throw Impossible(version, "it has no model file to compare with");
        }

        // Whoever registers by hand may name any run.
        if (original.Stages.SelectMany(stage => stage.Outputs).All(output => output.Sha256 != version.ServedSha256))
        {
            throw Impossible(version, $"the pipeline run {original.Id} that it names did not make its model file");
        }

        foreach (var dataset in version.Datasets)
        {
            if (_datasets.FindByDigest(dataset.Name, dataset.Sha256) is null)
            {
                throw Impossible(version, $"no version of dataset '{dataset.Name}' has the SHA-256 {dataset.Sha256} that it was trained on; upload that file again");
            }
        }

        // The parameters are filled into the stored text, whose own list still holds the defaults; the model may have another name now.
        var pipeline = _kind.Check(_store.DefinitionYaml(original.Id)) with { Parameters = original.Parameters, Model = version.Model };
        PipelineService.DemandResources(pipeline);
        return pipeline;
    }

    private static SlipwayException Impossible(ModelVersionRecord version, string why) =>
        new(ErrorCode.FailedPrecondition, $"{version.Model} {version.Version} cannot be built again: {why}.");
}
