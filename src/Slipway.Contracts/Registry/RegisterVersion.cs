namespace Slipway.Contracts.Registry;

/// <summary>A registration: artifact, metadata, signature, environment and feature schema arrive together or not at all.</summary>
/// <param name="Model">The model's name; made with its first version. On the HTTP route the path names it.</param>
/// <param name="Bump"><c>auto</c>, <c>major</c>, <c>minor</c>, <c>patch</c>, or the version itself as <c>x.y.z</c>.</param>
/// <param name="RunId">The run that produced it.</param>
/// <param name="Files">Blobs already stored; exactly one path ends in <c>.onnx</c>.</param>
/// <param name="Signature">Request and answer.</param>
/// <param name="FeatureSchema">Features in vector order.</param>
/// <param name="BaselineSha256">Blob of the training baseline.</param>
/// <param name="EnvironmentSha256">Blob of the environment file.</param>
/// <param name="EvaluationReportSha256">Blob of an <see cref="EvaluationReport"/>.</param>
/// <param name="TrainingSetSha256">Digest of the training set.</param>
/// <param name="Datasets">Dataset versions behind the training set.</param>
public sealed record RegisterVersion(
    string Model,
    string Bump,
    string RunId,
    IReadOnlyList<ArtifactFile> Files,
    ModelSignature Signature,
    FeatureSchema FeatureSchema,
    string BaselineSha256,
    string EnvironmentSha256,
    string? EvaluationReportSha256,
    string? TrainingSetSha256,
    IReadOnlyList<DatasetRef> Datasets)
{
    /// <summary>Source code commit; null when unknown.</summary>
    public string? Commit { get; init; }

    /// <summary>Pipeline run; null when registered by hand.</summary>
    public string? PipelineRunId { get; init; }

    /// <summary>Version it descends from; null takes the newest before it.</summary>
    public string? ParentVersion { get; init; }

    /// <summary>What the version is for.</summary>
    public string Description { get; init; } = "";

    /// <summary>Who answers for it; null takes the caller.</summary>
    public string? Owner { get; init; }

    /// <summary>Free labels; keys up to 250 characters.</summary>
    public IReadOnlyDictionary<string, string> Tags { get; init; } = new Dictionary<string, string>();
}
