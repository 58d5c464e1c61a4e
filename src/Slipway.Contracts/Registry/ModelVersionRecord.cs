using System.Text.Json.Serialization;

namespace Slipway.Contracts.Registry;

/// <summary>A registered version. Its files, signature, features and provenance never change; its stage, aliases, tags and description may.</summary>
public sealed record ModelVersionRecord
{
    private Lazy<IReadOnlyList<string>>? _missingLineage;

    /// <summary>The model's name.</summary>
    public required string Model { get; init; }

    /// <summary>Semantic version, <c>1.0.0</c>.</summary>
    public required string Version { get; init; }

    /// <summary>1, 2, 3 … in order of registration: the version number MLflow clients see.</summary>
    public required int Number { get; init; }

    /// <summary>Where it stands now.</summary>
    public required Stage Stage { get; init; }

    /// <summary>The run that produced it; null when none is known.</summary>
    public string? RunId { get; init; }

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

    /// <summary>What its files are.</summary>
    public ModelFormat Format { get; init; } = ModelFormat.Onnx;

    /// <summary>Where MLflow's client said the files come from, or the address of a model bought as a service; null when it was registered from blobs.</summary>
    public string? Source { get; init; }

    /// <summary>Its files by path; none for a model bought as a service.</summary>
    public required IReadOnlyList<ArtifactFile> Files { get; init; }

    /// <summary>The ONNX file that a server loads, one of <see cref="Files"/>; null when no server here can run the version.</summary>
    public string? ServedPath { get; init; }

    /// <summary>Request and answer; <see cref="ModelSignature.None"/> when none was declared.</summary>
    public required ModelSignature Signature { get; init; }

    /// <summary>Features in vector order; <see cref="FeatureSchema.None"/> when none was declared.</summary>
    public required FeatureSchema FeatureSchema { get; init; }

    /// <summary>Blob of the training baseline that monitors compare with; null when it was registered without one.</summary>
    public string? BaselineSha256 { get; init; }

    /// <summary>Blob of the environment file; null when it was registered without one.</summary>
    public string? EnvironmentSha256 { get; init; }

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

    /// <summary>Last change of its stage, aliases, tags or description.</summary>
    public DateTimeOffset UpdatedAt { get; init; }

    /// <summary>Aliases that point at it now.</summary>
    public required IReadOnlyList<string> Aliases { get; init; }

    /// <summary>What registration found out about its files; null on a version that was registered before that was recorded, or by MLflow's client.</summary>
    public VersionProfile? Profile { get; init; }

    /// <summary>Kinds of upstream things its lineage lacks, of dataset version, commit, feature view and evaluation report; empty when complete.</summary>
    public IReadOnlyList<string> MissingLineage
    {
        get => _missingLineage?.Value ?? [];
        init => _missingLineage = new Lazy<IReadOnlyList<string>>(value);
    }

    /// <summary>Digest of the file at <see cref="ServedPath"/>; null when no server here can run the version.</summary>
    [JsonIgnore]
    public string? ServedSha256 => ServedPath is null ? null : Files.First(file => file.Path == ServedPath).Sha256;

    /// <summary>Bytes of all its files.</summary>
    [JsonIgnore]
    public long SizeBytes => Files.Sum(file => file.SizeBytes);

    /// <summary>The record with its <see cref="MissingLineage"/> looked for when it is first asked for: most who resolve a version never do.</summary>
    public ModelVersionRecord WithMissingLineage(Func<IReadOnlyList<string>> find) => new(this) { _missingLineage = new Lazy<IReadOnlyList<string>>(find) };
}

/// <summary>A model and where its versions stand.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Description">The model's own, else the newest version's.</param>
/// <param name="Owner">The newest version's; of a model without versions who made it.</param>
/// <param name="Versions">How many; 0 until the first is registered.</param>
/// <param name="NewestVersion">By registration; null while there is none.</param>
/// <param name="ProductionVersion">Null when none is in production.</param>
/// <param name="StagingVersions">In order of registration.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="UpdatedAt">Last registration or change.</param>
public sealed record ModelSummary(
    string Name, string Description, string Owner, int Versions, string? NewestVersion, string? ProductionVersion,
    IReadOnlyList<string> StagingVersions, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt)
{
    /// <summary>How much harm a wrong answer can do.</summary>
    public RiskClass RiskClass { get; init; }

    /// <summary>How it came to be.</summary>
    public ModelKind Kind { get; init; }

    /// <summary>What it is for; may be empty.</summary>
    public string Purpose { get; init; } = "";
}

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
