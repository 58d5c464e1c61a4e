namespace Slipway.Contracts.Host;

/// <summary>One definition file of an applied folder.</summary>
/// <param name="Path">Where it lies in the folder, for messages.</param>
/// <param name="Yaml">Its text.</param>
public sealed record DefinitionFile(string Path, string Yaml);

/// <summary>Applies a folder of definition files: all are checked before any is stored.</summary>
/// <param name="Files">The files, in any order.</param>
/// <param name="DryRun">Check and compare only.</param>
public sealed record ApplyRequest(IReadOnlyList<DefinitionFile> Files, bool DryRun = false);

/// <summary>What happened, or would happen, to one file.</summary>
/// <param name="Path">The file.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="Name">Its name.</param>
/// <param name="Change"><c>create</c>, <c>update</c> or <c>unchanged</c>.</param>
/// <param name="Version">The version in force afterwards.</param>
/// <param name="Diff">Lines removed (<c>- </c>) and added (<c>+ </c>) against the version in force; empty when unchanged or new.</param>
public sealed record ApplyResult(string Path, string Kind, string Name, string Change, long Version, IReadOnlyList<string> Diff);

/// <summary>Answer to <see cref="ApplyRequest"/>, in the order applied.</summary>
/// <param name="Results">One per file.</param>
public sealed record ApplyResponse(IReadOnlyList<ApplyResult> Results);

/// <summary>One definition in force.</summary>
/// <param name="Kind">Its kind.</param>
/// <param name="Name">Its name.</param>
/// <param name="Version">1, 2, 3 …</param>
/// <param name="Sha256">Of its text.</param>
/// <param name="AppliedBy">Who applied it.</param>
/// <param name="AppliedAt">When.</param>
/// <param name="Yaml">Its text.</param>
public sealed record DefinitionResponse(string Kind, string Name, long Version, string Sha256, string AppliedBy, DateTimeOffset AppliedAt, string Yaml);

/// <summary>One audit row.</summary>
/// <param name="Seq">Its number in the chain.</param>
/// <param name="At">When.</param>
/// <param name="Actor">Who.</param>
/// <param name="Action">Did what.</param>
/// <param name="Subject">To what, as <c>kind:id</c>.</param>
/// <param name="Reason">Why; null when none was asked for.</param>
/// <param name="Before">State before, JSON text.</param>
/// <param name="After">State after, JSON text.</param>
/// <param name="RequestId">The HTTP request; null for the server's own work.</param>
/// <param name="Hash">Link of the chain.</param>
public sealed record AuditEventResponse(
    long Seq, DateTimeOffset At, string Actor, string Action, string Subject, string? Reason, string? Before, string? After, string? RequestId, string Hash);
