namespace Slipway.Contracts.Registry;

/// <summary>A registration: artifact, metadata, signature, environment and feature schema arrive together or not at all.</summary>
/// <param name="Model">The model's name; made with its first version. On the HTTP route the path names it.</param>
/// <param name="Bump"><c>auto</c>, <c>major</c>, <c>minor</c>, <c>patch</c>, or the version itself as <c>x.y.z</c>.</param>
/// <param name="RunId">The run that produced it; null when none is known.</param>
/// <param name="Files">Blobs already stored; empty for a model that its provider runs.</param>
/// <param name="Signature">Request and answer; null takes them from the ONNX graph.</param>
/// <param name="FeatureSchema">Features in vector order; null when none is declared.</param>
/// <param name="BaselineSha256">Blob of the training baseline; null for none.</param>
/// <param name="EnvironmentSha256">Blob of the environment file; null for none.</param>
/// <param name="EvaluationReportSha256">Blob of an <see cref="EvaluationReport"/>.</param>
/// <param name="TrainingSetSha256">Digest of the training set.</param>
/// <param name="Datasets">Dataset versions behind the training set.</param>
public sealed record RegisterVersion(
    string Model,
    string Bump,
    string? RunId,
    IReadOnlyList<ArtifactFile> Files,
    ModelSignature? Signature,
    FeatureSchema? FeatureSchema,
    string? BaselineSha256,
    string? EnvironmentSha256,
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

    /// <summary>What the files should be; null finds out. A registration whose files are something else is refused.</summary>
    public ModelFormat? Format { get; init; }

    /// <summary>Blob of a CSV file of feature rows, with a header, to check a conversion with; null makes rows around the model's split points.</summary>
    public string? SampleSha256 { get; init; }

    /// <summary>A model without files; null when it has some.</summary>
    public ExternalModel? External { get; init; }
}
