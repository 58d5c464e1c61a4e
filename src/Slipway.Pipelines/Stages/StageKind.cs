using Slipway.Pipelines.Definitions;
using Slipway.Storage.Definitions;

namespace Slipway.Pipelines.Stages;

/// <summary>What a stage can do; the pipeline file names it with <c>uses:</c>.</summary>
internal abstract class StageKind
{
    /// <summary>The value of <c>uses:</c>.</summary>
    public abstract string Uses { get; }

    /// <summary>Artifacts it reads, by their fixed names; a pipeline file must declare exactly these.</summary>
    public abstract IReadOnlyList<string> Inputs { get; }

    /// <summary>Artifacts it writes.</summary>
    public abstract IReadOnlyList<string> Outputs { get; }

    /// <summary>False for work whose point is its effect, or whose inputs lie outside the pipeline.</summary>
    public virtual bool Cacheable => true;

    /// <summary>Whether it trains a model: the go/no-go threshold must be stored before it starts.</summary>
    public virtual bool Trains => false;

    /// <summary>Whether it registers what was made; a run that builds a version again leaves such a stage out.</summary>
    public virtual bool Registers => false;

    /// <summary>Whether a pipeline file must give it a <c>with:</c> mapping.</summary>
    public virtual bool NeedsSettings => true;

    /// <summary>Reads and checks the stage's <c>with:</c> mapping; the result is serialised into the cache key.</summary>
    public abstract object ReadSettings(DefinitionYaml with);

    /// <summary>What the work depends on beside its inputs, settings and code, such as the version in production; part of the cache key.</summary>
    public virtual string? Surroundings(PipelineDefinition pipeline) => null;

    /// <summary>Does the work. Throwing <see cref="Contracts.SlipwayException"/> fails the run with its sentence.</summary>
    public abstract Task RunAsync(StageContext context, CancellationToken cancellationToken);
}
