namespace Slipway.Contracts.Registry;

/// <summary>How the mirror of an external registry stands. Answer of <c>GET /registry/external</c>.</summary>
/// <param name="Provider"><c>mlflow</c>.</param>
/// <param name="Address">The external server, without credentials.</param>
/// <param name="Reachable">Whether its last call was answered.</param>
/// <param name="Fault">What the last call failed with; null when it did not.</param>
/// <param name="SyncedAt">End of the last complete pass; null before the first.</param>
/// <param name="AgeSeconds">Seconds since then: as old are the answers about its models.</param>
/// <param name="Running">Whether a pass is under way.</param>
/// <param name="Models">Models mirrored.</param>
/// <param name="Versions">Versions mirrored.</param>
/// <param name="PendingWrites">Changes decided here that the external server has not confirmed yet.</param>
/// <param name="Drift">Versions that stand where no gate of this server put them.</param>
/// <param name="Incomplete">Versions whose files or run could not be copied, and why.</param>
/// <param name="Skipped">What is not mirrored, and why.</param>
/// <param name="Pass">The pass under way, else the last one of this process; null before the first.</param>
public sealed record ExternalRegistryStatus(
    string Provider, string Address, bool Reachable, string? Fault, DateTimeOffset? SyncedAt, double? AgeSeconds, bool Running, int Models, int Versions,
    int PendingWrites, IReadOnlyList<ExternalDrift> Drift, IReadOnlyList<IncompleteVersion> Incomplete, IReadOnlyList<string> Skipped, ExternalSyncReport? Pass);

/// <summary>A version in staging or production that was put there by hand on the external server.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Number">The external server's number.</param>
/// <param name="Stage">Where it stands.</param>
/// <param name="Reason">What was seen.</param>
/// <param name="At">When it was seen.</param>
public sealed record ExternalDrift(string Model, string Version, int Number, Stage Stage, string Reason, DateTimeOffset At);

/// <summary>A version of which something could not be copied; it is tried again when its promotion is asked for.</summary>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Reason">What is missing.</param>
public sealed record IncompleteVersion(string Model, string Version, string Reason);

/// <summary>What one pass over the external server did. Answer of <c>POST /registry/external/sync</c>.</summary>
/// <param name="Full">Whether everything was looked at, not only what changed since the pass before.</param>
/// <param name="VersionsSeen">Versions the server listed.</param>
/// <param name="VersionsAdded">Of them, new ones.</param>
/// <param name="Changes">Changes made outside this server that were taken over: stages, aliases, tags, descriptions, deletions.</param>
/// <param name="RunsCopied">Runs behind new versions.</param>
/// <param name="FilesCopied">Their files.</param>
/// <param name="BytesCopied">Their bytes.</param>
/// <param name="WritesSent">Changes decided here that were written to the server in this process so far.</param>
/// <param name="DurationMs">Milliseconds so far.</param>
public sealed record ExternalSyncReport(
    bool Full, long VersionsSeen, long VersionsAdded, long Changes, long RunsCopied, long FilesCopied, long BytesCopied, long WritesSent, long DurationMs);
