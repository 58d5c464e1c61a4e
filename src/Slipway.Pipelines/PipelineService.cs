using Slipway.Contracts;
using Slipway.Contracts.Pipelines;
using Slipway.Pipelines.Definitions;
using Slipway.Pipelines.Runs;
using Slipway.Storage;
using Slipway.Storage.Blobs;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines;

/// <summary>Starts pipeline runs and tells where they stand.</summary>
public sealed class PipelineService
{
    private static readonly string[] Triggers = ["manual", "drift", "performance", "schedule", "api"];

    private readonly DefinitionStore _definitions;
    private readonly PipelineKind _kind;
    private readonly PipelineStore _store;
    private readonly RunProgress _progress;

    internal PipelineService(DefinitionStore definitions, PipelineKind kind, PipelineStore store, RunProgress progress)
    {
        _definitions = definitions;
        _kind = kind;
        _store = store;
        _progress = progress;
    }

    /// <summary>Queues a run; a worker takes it up at once unless another run is at work.</summary>
    /// <param name="pipeline">Its name.</param>
    /// <param name="trigger"><c>manual</c>, <c>drift</c>, <c>performance</c>, <c>schedule</c> or <c>api</c>.</param>
    /// <param name="reason">Why, for the record.</param>
    /// <param name="parameters">Values for declared parameters; others keep their defaults.</param>
    /// <param name="by">Who asks.</param>
    /// <param name="ct">Cancels before the run is stored.</param>
    /// <param name="stage">Only this stage, afresh, after the stages it depends on; null: all.</param>
    /// <returns>The run's id.</returns>
    /// <exception cref="SlipwayException">NotFound: no such pipeline. InvalidArgument: trigger, parameter, stage, or more resources than this machine has.</exception>
    public async Task<string> StartAsync(
        string pipeline, string trigger, string reason, IReadOnlyDictionary<string, string>? parameters, Caller by, CancellationToken ct, string? stage = null)
    {
        if (!Triggers.Contains(trigger))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"'trigger' must be one of {string.Join(", ", Triggers)}, not '{trigger}'.");
        }

        var definition = Definition(pipeline);
        var checkedPipeline = _kind.Check(definition.Yaml, parameters);
        if (stage is not null && checkedPipeline.Stages.All(known => known.Name != stage))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument,
                $"'stage' names '{stage}'; pipeline '{pipeline}' has {string.Join(", ", checkedPipeline.Stages.Select(known => known.Name))}.");
        }

        DemandResources(checkedPipeline);
        var id = Guid.CreateVersion7().ToString("N");
        await _store.CreateAsync(id, checkedPipeline, definition.Version, trigger, reason, stage, by, ct);
        _progress.Wake();
        return id;
    }

    /// <summary>One run, with its progress as of now.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public PipelineRun Get(string id) => Find(id) ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no pipeline run '{id}'.");

    /// <summary>One run, with its progress as of now; null when there is none.</summary>
    public PipelineRun? Find(string id) => _store.Find(id) is { } run ? run with { Progress = _progress.Of(run) } : null;

    /// <summary>Runs, newest first.</summary>
    /// <param name="pipeline">Of this pipeline only; null: of all.</param>
    /// <param name="limit">At most this many, up to 1000.</param>
    public IReadOnlyList<PipelineRun> List(string? pipeline = null, int limit = 100) =>
        [.. _store.List(pipeline, limit).Select(run => run with { Progress = _progress.Of(run) })];

    /// <summary>Every blob that a stage of a run wrote.</summary>
    public IReadOnlyList<BlobReference> ReferencedBlobs() => _store.ReferencedBlobs();

    /// <summary>The pipelines in force.</summary>
    public IReadOnlyList<PipelineInfo> Pipelines() => [.. _definitions.List(PipelineKind.Name).Select(Describe)];

    /// <summary>Waits until a run has ended.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public async Task<PipelineRun> WaitAsync(string id, CancellationToken ct)
    {
        while (true)
        {
            var changed = _progress.Changed;
            var run = Get(id);
            if (run.FinishedAt is not null)
            {
                return run;
            }

            await changed.WaitAsync(ct);
        }
    }

    private Definition Definition(string pipeline) => _definitions.Find(PipelineKind.Name, pipeline)
        ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no pipeline '{pipeline}'; apply its definition first.");

    private PipelineInfo Describe(Definition definition)
    {
        var pipeline = _kind.Check(definition.Yaml);
        var last = _store.List(definition.Name, 1) is [var newest, ..] ? newest : null;
        return new PipelineInfo(
            definition.Name, definition.Version, pipeline.Model, pipeline.Description, pipeline.Parameters, pipeline.GoNoGo,
            [.. pipeline.Stages.Select(stage => new PipelineStageDeclaration(stage.Name, stage.Kind.Uses, stage.Inputs, stage.Outputs))],
            last?.Id, last?.Status);
    }

    internal static void DemandResources(PipelineDefinition pipeline)
    {
        var memoryMb = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >> 20;
        foreach (var stage in pipeline.Stages)
        {
            if (stage.Cpus > Environment.ProcessorCount)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"Stage '{stage.Name}' asks for {stage.Cpus} cpus, but this server has {Environment.ProcessorCount}; lower 'resources.cpus'.");
            }

            if (stage.MemoryMb > memoryMb)
            {
                throw new SlipwayException(ErrorCode.InvalidArgument,
                    $"Stage '{stage.Name}' asks for {stage.MemoryMb} MiB of memory, but this server has {memoryMb}; lower 'resources.memory_mb'.");
            }
        }
    }
}
