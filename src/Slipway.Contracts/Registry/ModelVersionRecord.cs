using System.Text.Json.Serialization;

namespace Slipway.Contracts.Registry;

/// <summary>A registered version. Nothing but its stage, its aliases and the completeness of its lineage ever changes.</summary>
public sealed record ModelVersionRecord
{
    /// <summary>The model's name.</summary>
    public required string Model { get; init; }

    /// <summary>Semantic version, <c>1.0.0</c>.</summary>
    public required string Version { get; init; }

    /// <summary>1, 2, 3 … in order of registration: the version number MLflow clients see.</summary>
    public required int Number { get; init; }

    /// <summary>Where it stands now.</summary>
    public required Stage Stage { get; init; }

    /// <summary>The run that produced it.</summary>
    public required string RunId { get; init; }

    /// <summary>How the version number came about: <c>first</c>, <c>major</c>, <c>minor</c> or <c>patch</c>.</summary>
    public required string Bump { get; init; }

    /// <summary>Why it is that bump, with the fields that differ from the version before.</summary>
    public required string BumpReason { get; init; }

    /// <summary>What the version is for, in its author's words; may be empty.</summary>
    public required string Description { get; init; }

    /// <summary>Who answers for it.</summary>
    public required string Owner { get; init; }

    /// <summary>Free labels.</summary>
    public required IReadOnlyDictionary<string, string> Tags { get; init; }

    /// <summary>Its files; exactly one ends in <c>.onnx</c>.</summary>
    public required IReadOnlyList<ArtifactFile> Files { get; init; }

    /// <summary>Request and answer.</summary>
    public required ModelSignature Signature { get; init; }

    /// <summary>Features in vector order.</summary>
    public required FeatureSchema FeatureSchema { get; init; }

    /// <summary>Blob of the training baseline that monitors compare with.</summary>
    public required string BaselineSha256 { get; init; }

    /// <summary>Blob of the environment file.</summary>
    public required string EnvironmentSha256 { get; init; }

    /// <summary>Blob of the <see cref="EvaluationReport"/>; null when it was registered without one, which leaves its lineage incomplete.</summary>
    public string? EvaluationReportSha256 { get; init; }

    /// <summary>Digest of the training set; null when unknown.</summary>
    public string? TrainingSetSha256 { get; init; }

    /// <summary>Dataset versions behind it.</summary>
    public required IReadOnlyList<DatasetRef> Datasets { get; init; }

    /// <summary>Source code commit; null when unknown, which leaves its lineage incomplete.</summary>
    public string? Commit { get; init; }

    /// <summary>Pipeline run that registered it; null when registered by hand.</summary>
    public string? PipelineRunId { get; init; }

    /// <summary>Version it descends from; null on the first.</summary>
    public string? ParentVersion { get; init; }

    /// <summary>Who registered it.</summary>
    public required string CreatedBy { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>Aliases that point at it now.</summary>
    public required IReadOnlyList<string> Aliases { get; init; }

    /// <summary>Kinds of upstream things its lineage lacks, of dataset version, commit, feature view and evaluation report; empty when complete.</summary>
    public IReadOnlyList<string> MissingLineage { get; init; } = [];

    /// <summary>Digest of the model file.</summary>
    [JsonIgnore]
    public string OnnxSha256 => Files.Single(file => file.Path.EndsWith(".onnx", StringComparison.Ordinal)).Sha256;

    /// <summary>Bytes of all its files.</summary>
    [JsonIgnore]
    public long SizeBytes => Files.Sum(file => file.SizeBytes);
}

/// <summary>A model and where its versions stand.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Description">The newest version's.</param>
/// <param name="Owner">The newest version's.</param>
/// <param name="Versions">How many.</param>
/// <param name="NewestVersion">By registration.</param>
/// <param name="ProductionVersion">Null when none is in production.</param>
/// <param name="StagingVersions">In order of registration.</param>
/// <param name="CreatedAt">First registration.</param>
/// <param name="UpdatedAt">Last registration or change of stage.</param>
public sealed record ModelSummary(
    string Name, string Description, string Owner, int Versions, string NewestVersion, string? ProductionVersion,
    IReadOnlyList<string> StagingVersions, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt);

/// <summary>Which versions to list; every given field must match.</summary>
/// <param name="Stage">Stage.</param>
/// <param name="Owner">Owner.</param>
/// <param name="Approver">A user who approved one of its promotions.</param>
/// <param name="TagKey">A tag that is present.</param>
/// <param name="TagValue">With this value; needs <paramref name="TagKey"/>.</param>
/// <param name="RunId">The run that produced it.</param>
public sealed record VersionSearch(
    Stage? Stage = null, string? Owner = null, string? Approver = null, string? TagKey = null, string? TagValue = null, string? RunId = null);

/// <summary>Answer of <c>GET /models</c>.</summary>
/// <param name="Models">By name.</param>
public sealed record ModelList(IReadOnlyList<ModelSummary> Models);

/// <summary>Answer of <c>GET /models/{model}/versions</c>.</summary>
/// <param name="Versions">Newest first.</param>
public sealed record ModelVersionList(IReadOnlyList<ModelVersionRecord> Versions);
