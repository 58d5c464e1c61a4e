namespace Slipway.Contracts.Pipelines;

/// <summary>Where a pipeline run stands.</summary>
public enum PipelineRunStatus
{
    /// <summary>Waits for the runs before it.</summary>
    Queued,

    /// <summary>A stage is at work.</summary>
    Running,

    /// <summary>All stages are done; where the pipeline has a go/no-go threshold, it was met.</summary>
    Succeeded,

    /// <summary>All went well, but the model did not meet the threshold set before training: nothing was registered.</summary>
    Rejected,

    /// <summary>A stage failed; the run's error says which and why.</summary>
    Failed,
}

/// <summary>Where one stage of a run stands.</summary>
public enum PipelineStageStatus
{
    /// <summary>Waits for its inputs.</summary>
    Pending,

    /// <summary>At work.</summary>
    Running,

    /// <summary>Done; its outputs are stored.</summary>
    Succeeded,

    /// <summary>Its outputs were taken from an earlier run with the same code, settings, inputs and environment.</summary>
    Cached,

    /// <summary>Not run; its message says why.</summary>
    Skipped,

    /// <summary>Failed; its message says why.</summary>
    Failed,
}

/// <summary>What the model must reach on the test split, set before training starts.</summary>
/// <param name="Metric">Such as <c>auc</c>.</param>
/// <param name="Minimum">The least value that is a go (the greatest, for a metric that is better when lower).</param>
/// <param name="MustBeatBaselines">Whether every trivial baseline must be beaten beyond chance (paired DeLong, 95 %).</param>
/// <param name="ProductionTolerance">How far the metric may fall below the version in production on the same rows; null: not compared.</param>
public sealed record GoNoGo(string Metric, double Minimum, bool MustBeatBaselines, double? ProductionTolerance);

/// <summary>Body of <c>POST /api/slipway/v1/pipelines/{name}/runs</c>.</summary>
/// <param name="Trigger"><c>manual</c>, <c>drift</c>, <c>performance</c>, <c>schedule</c> or <c>api</c>; <c>api</c> when left out.</param>
/// <param name="Reason">Why, for the record.</param>
/// <param name="Parameters">Values for the pipeline's declared parameters; others keep their defaults.</param>
/// <param name="Stage">Runs only this stage afresh, after the stages it depends on; null runs the whole pipeline.</param>
public sealed record StartPipelineRun(
    string? Trigger = null, string? Reason = null, IReadOnlyDictionary<string, string>? Parameters = null, string? Stage = null);

/// <summary>A pipeline as applied.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Version">The definition's version.</param>
/// <param name="Model">The model it makes versions of.</param>
/// <param name="Description">In its author's words.</param>
/// <param name="Parameters">Declared parameters with their defaults.</param>
/// <param name="GoNoGo">The threshold in force.</param>
/// <param name="Stages">In running order.</param>
/// <param name="LastRunId">The newest run; null before the first.</param>
/// <param name="LastRunStatus">Where that run stands.</param>
public sealed record PipelineInfo(
    string Name, long Version, string Model, string? Description, IReadOnlyDictionary<string, string> Parameters, GoNoGo? GoNoGo,
    IReadOnlyList<PipelineStageDeclaration> Stages, string? LastRunId, PipelineRunStatus? LastRunStatus);

/// <summary>One stage as declared.</summary>
/// <param name="Name">Unique in the pipeline.</param>
/// <param name="Uses">The kind of work.</param>
/// <param name="Inputs">Artifacts it reads.</param>
/// <param name="Outputs">Artifacts it writes.</param>
public sealed record PipelineStageDeclaration(string Name, string Uses, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs);

/// <summary>A run of a pipeline.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Pipeline">Its pipeline.</param>
/// <param name="DefinitionVersion">The definition's version that ran.</param>
/// <param name="Model">The model it makes a version of.</param>
/// <param name="Trigger">What started it; <c>reproduction</c> for a run that builds a version again.</param>
/// <param name="Reason">Why it was started.</param>
/// <param name="Parameters">All parameters, as they ran.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Verdict"><c>go</c> or <c>no_go</c>; null before the evaluation.</param>
/// <param name="VerdictReason">The figures behind the verdict.</param>
/// <param name="Error">Which stage failed and why; null unless failed.</param>
/// <param name="GoNoGo">The threshold; null when the pipeline has none.</param>
/// <param name="ThresholdSetAt">When the threshold was stored: before the first training stage.</param>
/// <param name="ModelVersion">The version registered; null when none was.</param>
/// <param name="CreatedBy">Who started it.</param>
/// <param name="CreatedAt">When it was asked for.</param>
/// <param name="StartedAt">When its first stage began.</param>
/// <param name="FinishedAt">When it ended.</param>
/// <param name="Progress">How far it is.</param>
/// <param name="Stages">In running order.</param>
public sealed record PipelineRun(
    string Id, string Pipeline, long DefinitionVersion, string Model, string Trigger, string Reason, IReadOnlyDictionary<string, string> Parameters,
    PipelineRunStatus Status, string? Verdict, string? VerdictReason, string? Error, GoNoGo? GoNoGo, DateTimeOffset? ThresholdSetAt, string? ModelVersion,
    string CreatedBy, DateTimeOffset CreatedAt, DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt, PipelineProgress Progress, IReadOnlyList<PipelineStage> Stages)
{
    /// <summary>The version that the run builds again, registering nothing; null for all other runs.</summary>
    public string? Reproduces { get; init; }
}

/// <summary>For a progress bar.</summary>
/// <param name="Stage">The stage at work; null when none is.</param>
/// <param name="ShareDone">Of the whole run, 0 to 1.</param>
/// <param name="Message">What is being done.</param>
public sealed record PipelineProgress(string? Stage, double ShareDone, string Message);

/// <summary>One stage of a run.</summary>
/// <param name="Name">As declared.</param>
/// <param name="Uses">The kind of work.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Message">What it found, or why it failed or was skipped.</param>
/// <param name="Attempts">Times it was tried.</param>
/// <param name="Cache">Why its outputs were or were not taken from an earlier run.</param>
/// <param name="CachedFromRun">The run that made the outputs; null when this one did.</param>
/// <param name="Inputs">What it read.</param>
/// <param name="Outputs">What it wrote.</param>
/// <param name="StartedAt">When it began.</param>
/// <param name="FinishedAt">When it ended.</param>
/// <param name="WallSeconds">Time it took.</param>
/// <param name="CpuSeconds">Processor time of the server meanwhile; of the stage alone when the server did nothing else.</param>
public sealed record PipelineStage(
    string Name, string Uses, PipelineStageStatus Status, string? Message, int Attempts, string? Cache, string? CachedFromRun,
    IReadOnlyList<PipelineArtifact> Inputs, IReadOnlyList<PipelineArtifact> Outputs, DateTimeOffset? StartedAt, DateTimeOffset? FinishedAt,
    double? WallSeconds, double? CpuSeconds);

/// <summary>What a stage read or wrote.</summary>
/// <param name="Name">As declared.</param>
/// <param name="Sha256">Of the blob that holds it.</param>
/// <param name="SizeBytes">Its length.</param>
public sealed record PipelineArtifact(string Name, string Sha256, long SizeBytes);
