using System.Text.Json.Serialization;

namespace Slipway.Contracts.Tracking;

/// <summary>The id of a run, so that it cannot be mistaken for another text.</summary>
/// <param name="Value">32 hexadecimal digits.</param>
public sealed record RunId(string Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value;
}

/// <summary>Where a run stands.</summary>
public enum RunStatus
{
    /// <summary>Under way.</summary>
    Running,

    /// <summary>Waiting to start.</summary>
    Scheduled,

    /// <summary>Ended well.</summary>
    Finished,

    /// <summary>Ended in an error.</summary>
    Failed,

    /// <summary>Stopped from outside.</summary>
    Killed,
}

/// <summary>One point of a metric's curve.</summary>
/// <param name="Key">At most 250 characters.</param>
/// <param name="Value">Any number. NaN stays NaN; an infinity is kept as the largest finite number of its sign, as MLflow's database stores do.</param>
/// <param name="TimestampMs">Unix milliseconds.</param>
/// <param name="Step">Any whole number; curves are ordered by it.</param>
public sealed record MetricPoint(string Key, double Value, long TimestampMs, long Step);

/// <summary>A dataset that a run used.</summary>
/// <param name="Name">The dataset's name; for one of ours <c>name@version</c> or the name.</param>
/// <param name="Digest">SHA-256 of the bytes for our own datasets; any short digest from MLflow's clients.</param>
/// <param name="Source">Where it came from.</param>
/// <param name="Context">train, validation, test or the caller's own word; null when not said.</param>
/// <param name="Rows">Rows used; null when not said.</param>
/// <param name="SourceType">Kind of source.</param>
/// <param name="Schema">Free text, usually JSON; null when not said.</param>
/// <param name="Profile">Free text, usually JSON; null when not said.</param>
/// <param name="Tags">Further tags; null when there are none.</param>
public sealed record RunInput(
    string Name, string Digest, string Source, string? Context = null, long? Rows = null, string SourceType = "slipway",
    string? Schema = null, string? Profile = null, IReadOnlyDictionary<string, string>? Tags = null);

/// <summary>A file of a run.</summary>
/// <param name="Path">Relative, with '/'.</param>
/// <param name="Sha256">Digest of its bytes and name of its blob.</param>
/// <param name="SizeBytes">Length.</param>
public sealed record RunArtifact(string Path, string Sha256, long SizeBytes);

/// <summary>Everything known of a run.</summary>
/// <param name="RunId">32 hexadecimal digits.</param>
/// <param name="ExperimentId">Whole number as text; <c>0</c> is Default.</param>
/// <param name="Name">Need not be unique.</param>
/// <param name="UserId">Who started it.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="StartTimeMs">Unix milliseconds.</param>
/// <param name="EndTimeMs">Unix milliseconds; null until it has ended.</param>
/// <param name="Deleted">Whether it is in the bin.</param>
/// <param name="Metrics">The newest point of each metric, by key.</param>
/// <param name="Parameters">By key.</param>
/// <param name="Tags">By key.</param>
/// <param name="Inputs">Datasets used.</param>
/// <param name="Environment">Where it ran; null when not recorded. A search leaves it out.</param>
/// <param name="EnvironmentSha256">Digest of the environment's blob; null when not recorded. A search leaves it out.</param>
/// <param name="Artifacts">Its files by path. A search leaves them out.</param>
public sealed record RunRecord(
    string RunId, string ExperimentId, string Name, string UserId, RunStatus Status, long StartTimeMs, long? EndTimeMs, bool Deleted,
    IReadOnlyList<MetricPoint> Metrics, IReadOnlyDictionary<string, string> Parameters, IReadOnlyDictionary<string, string> Tags,
    IReadOnlyList<RunInput> Inputs, RunEnvironment? Environment, string? EnvironmentSha256, IReadOnlyList<RunArtifact> Artifacts)
{
    /// <summary>Flag of a run that names no dataset; such a run cannot feed a promotion.</summary>
    public const string DatasetMissing = "slipway.dataset_missing";

    /// <summary>Tag that says why a run failed.</summary>
    public const string FailureReasonTag = "slipway.failure_reason";

    /// <summary>Tag that MLflow's clients and pages show as the run's note.</summary>
    public const string NoteTag = "mlflow.note.content";

    /// <summary>Ids of the logged models it used.</summary>
    public IReadOnlyList<string> ModelInputs { get; init; } = [];

    /// <summary>The logged models it produced, by step.</summary>
    public IReadOnlyList<ModelOutput> ModelOutputs { get; init; } = [];

    /// <summary>What is amiss with the run; empty when nothing is.</summary>
    public IReadOnlyList<string> Flags => Inputs.Count == 0 ? [DatasetMissing] : [];

    /// <summary>Where clients put the files of the experiment's runs by themselves; null when they send them to the server.</summary>
    public string? ArtifactLocation { get; init; }

    /// <summary>Where MLflow's clients put and fetch the run's files.</summary>
    public string ArtifactUri => $"{ArtifactLocation ?? $"mlflow-artifacts:/{ExperimentId}"}/{RunId}/artifacts";

    /// <summary>The source commit: from the environment, else from the tag MLflow's clients set; null when neither says.</summary>
    public string? GitCommit => Environment?.Git?.Commit ?? Tags.GetValueOrDefault("mlflow.source.git.commit");

    /// <summary>Why the run failed; null when it did not, or nobody said.</summary>
    public string? FailureReason => Tags.GetValueOrDefault(FailureReasonTag);

    /// <summary>What people wrote about the run; null when they did not.</summary>
    public string? Note => Tags.GetValueOrDefault(NoteTag);

    /// <summary>The run this one is a part of; null when it stands alone.</summary>
    public string? ParentRunId => Tags.GetValueOrDefault("mlflow.parentRunId");

    /// <summary>The newest value of a metric; null when it was never logged.</summary>
    public double? Metric(string key) => Metrics.FirstOrDefault(point => point.Key == key)?.Value;

    /// <summary>Whether the run has ended.</summary>
    [JsonIgnore]
    public bool Ended => Status is RunStatus.Finished or RunStatus.Failed or RunStatus.Killed;
}

/// <summary>A named group of runs.</summary>
/// <param name="ExperimentId">Whole number as text; <c>0</c> is Default.</param>
/// <param name="Name">Unique, also among deleted ones.</param>
/// <param name="Deleted">Whether it is in the bin.</param>
/// <param name="CreatedAtMs">Unix milliseconds.</param>
/// <param name="UpdatedAtMs">Unix milliseconds.</param>
/// <param name="Tags">By key.</param>
public sealed record ExperimentRecord(
    string ExperimentId, string Name, bool Deleted, long CreatedAtMs, long UpdatedAtMs, IReadOnlyDictionary<string, string> Tags)
{
    /// <summary>Where MLflow's clients put the files of its runs.</summary>
    public string ArtifactLocation { get; init; } = $"mlflow-artifacts:/{ExperimentId}";
}

/// <summary>Answer of <c>GET /api/slipway/v1/experiments</c>.</summary>
/// <param name="Experiments">Newest change first.</param>
public sealed record ExperimentList(IReadOnlyList<ExperimentRecord> Experiments);
