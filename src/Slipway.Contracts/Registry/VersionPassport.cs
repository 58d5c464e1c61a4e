namespace Slipway.Contracts.Registry;

/// <summary>All that a version brings along to a server of another environment; its blobs go beside it.</summary>
/// <param name="Version">The version as registered at the source.</param>
/// <param name="Blobs">Every blob it needs.</param>
/// <param name="Run">The run that made it; null when the source does not know it.</param>
/// <param name="Lineage">Where it came from.</param>
/// <param name="Promotions">Its requests with their approvals and gates.</param>
/// <param name="History">Its changes of stage.</param>
/// <param name="Manifest">SHA-256 over the paths and digests of all blobs: equal at both ends.</param>
public sealed record VersionPassport(
    ModelVersionRecord Version, IReadOnlyList<ArtifactFile> Blobs, RunSummary? Run, LineageGraph Lineage, IReadOnlyList<PromotionRecord> Promotions,
    IReadOnlyList<StageChange> History, string Manifest);

/// <summary>What is worth keeping of a run at another server.</summary>
/// <param name="RunId">Its id at the source.</param>
/// <param name="Name">Its name.</param>
/// <param name="By">Who ran it.</param>
/// <param name="StartedAt">When it started.</param>
/// <param name="EndedAt">When it ended; null when it had not.</param>
/// <param name="Metrics">Newest value by key.</param>
/// <param name="Parameters">By key.</param>
/// <param name="Commit">Its source; null when unknown.</param>
public sealed record RunSummary(
    string RunId, string Name, string By, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, IReadOnlyDictionary<string, double> Metrics,
    IReadOnlyDictionary<string, string> Parameters, string? Commit);

/// <summary>Body of <c>POST /registry/imports</c>.</summary>
/// <param name="Source">Address of the server it comes from.</param>
/// <param name="Passport">What it brings along.</param>
/// <param name="Reason">Why.</param>
public sealed record ImportVersion(string? Source, VersionPassport? Passport, string? Reason);

/// <summary>Answer of <c>POST /registry/imports</c>.</summary>
/// <param name="Version">The version at the target.</param>
/// <param name="Created">False when it was there already with the same content.</param>
/// <param name="Manifest">As computed from the verified blobs at the target.</param>
public sealed record ImportedVersion(ModelVersionRecord Version, bool Created, string Manifest);

/// <summary>Body of <c>POST …/copies</c>: tells the source where its copy is.</summary>
/// <param name="Server">Address of the target.</param>
/// <param name="Manifest">As the target computed it.</param>
/// <param name="Reason">Why it was copied.</param>
public sealed record LinkCopy(string? Server, string? Manifest, string? Reason);

/// <summary>A copy of a version on another server.</summary>
/// <param name="Direction"><c>to</c> the server, or <c>from</c> it.</param>
/// <param name="Server">Its address.</param>
/// <param name="Manifest">SHA-256 over the paths and digests of all blobs.</param>
/// <param name="By">Who copied it.</param>
/// <param name="At">When.</param>
public sealed record VersionCopy(string Direction, string Server, string Manifest, string By, DateTimeOffset At);

/// <summary>Answer of <c>GET …/copies</c>.</summary>
/// <param name="Copies">Oldest first.</param>
public sealed record VersionCopyList(IReadOnlyList<VersionCopy> Copies);

/// <summary>Answer of <c>POST /registry/imports/blobs</c>.</summary>
/// <param name="Missing">Digests that are not stored whole at the target.</param>
public sealed record MissingBlobs(IReadOnlyList<string> Missing);

/// <summary>Body of <c>POST /registry/imports/blobs</c>.</summary>
/// <param name="Sha256">Digests to look for.</param>
public sealed record FindBlobs(IReadOnlyList<string>? Sha256);
