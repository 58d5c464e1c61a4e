namespace Slipway.Contracts.Tracking;

/// <summary>Where and from what a run was computed.</summary>
/// <param name="OperatingSystem">Name and version.</param>
/// <param name="Architecture">Such as <c>X64</c>.</param>
/// <param name="Runtime">Language runtime and version.</param>
/// <param name="Cpu">Model of the processor; null when the system does not say.</param>
/// <param name="CpuCount">Logical processors the process may use.</param>
/// <param name="MemoryBytes">Memory the process may use.</param>
/// <param name="Gpus">Graphics processors; empty when there are none.</param>
/// <param name="Packages">Libraries by name, with versions.</param>
/// <param name="Git">The source; null when the folder is no checkout.</param>
/// <param name="Seed">The seed of every random choice; null when none was fixed.</param>
public sealed record RunEnvironment(
    string OperatingSystem, string Architecture, string Runtime, string? Cpu, int CpuCount, long MemoryBytes, IReadOnlyList<string> Gpus,
    IReadOnlyDictionary<string, string> Packages, GitState? Git, long? Seed);

/// <summary>The source a run was computed from.</summary>
/// <param name="Commit">Full hash.</param>
/// <param name="Branch">Null when detached.</param>
/// <param name="Dirty">Whether files differ from the commit; null when that could not be found out.</param>
/// <param name="RepositoryUrl">The remote, without credentials; null when there is none.</param>
public sealed record GitState(string Commit, string? Branch, bool? Dirty, string? RepositoryUrl);
