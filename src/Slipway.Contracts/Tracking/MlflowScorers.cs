namespace Slipway.Contracts.Tracking;

/// <summary>One version of a scorer.</summary>
/// <param name="ExperimentId">A number here, as in MLflow's message.</param>
/// <param name="ScorerName">The scorer.</param>
/// <param name="ScorerVersion">From 1.</param>
/// <param name="SerializedScorer">What the client serialised.</param>
/// <param name="CreationTime">Unix milliseconds.</param>
/// <param name="ScorerId">The same for all versions.</param>
public sealed record MlflowScorer(long ExperimentId, string ScorerName, long ScorerVersion, string SerializedScorer, long CreationTime, string ScorerId);

/// <summary>Names a scorer, and a version of it.</summary>
public sealed record ScorerRequest(string? ExperimentId, string? Name, string? SerializedScorer, long? Version);

/// <summary>Scorers of an experiment, or versions of a scorer.</summary>
public sealed record ScorerList(IReadOnlyList<MlflowScorer>? Scorers);

/// <summary>One scorer.</summary>
public sealed record ScorerAnswer(MlflowScorer Scorer);

/// <summary>What has been registered.</summary>
public sealed record RegisterScorerResponse(long Version, string ScorerId, string ExperimentId, string Name, string SerializedScorer, long CreationTime);

/// <summary>Begins an upload in parts.</summary>
/// <param name="Path">The file's name on the client; only its last part counts.</param>
/// <param name="NumParts">How many parts will come.</param>
public sealed record CreateUploadRequest(string? Path, long? NumParts);

/// <summary>Where one part is to be put.</summary>
public sealed record UploadCredential(string Url, int PartNumber, IReadOnlyDictionary<string, string> Headers);

/// <summary>An upload that has begun.</summary>
public sealed record CreateUploadResponse(string UploadId, IReadOnlyList<UploadCredential> Credentials);

/// <summary>A part that was put, with the mark that its answer's <c>ETag</c> carried.</summary>
public sealed record UploadPart(long? PartNumber, string? Etag, string? Url);

/// <summary>Ends an upload: with all its parts, or without the file.</summary>
public sealed record EndUploadRequest(string? Path, string? UploadId, IReadOnlyList<UploadPart?>? Parts);
