namespace Slipway.Contracts.Tracking;

/// <summary>How a file or a value stands in run b against run a.</summary>
public enum ConfigState
{
    /// <summary>Equal in both.</summary>
    Same,

    /// <summary>In b only.</summary>
    Added,

    /// <summary>In a only.</summary>
    Removed,

    /// <summary>In both, and different.</summary>
    Changed,
}

/// <summary>The configuration of two runs: answer of <c>GET /api/slipway/v1/runs/compare-config</c>.</summary>
/// <param name="RunA">The run compared with.</param>
/// <param name="RunB">The run compared.</param>
/// <param name="Summary">In one sentence.</param>
/// <param name="Files">Files under <c>config/</c> of either run, by path.</param>
public sealed record ConfigComparison(string RunA, string RunB, string Summary, IReadOnlyList<ConfigFileComparison> Files)
{
    /// <summary>The folder of a run's files that holds its configuration.</summary>
    public const string Folder = "config/";
}

/// <summary>One file of a comparison.</summary>
/// <param name="Path">Below the run's files.</param>
/// <param name="State">Whether it is in both, and equal.</param>
/// <param name="Format"><c>json</c> and <c>yaml</c> were compared value by value, <c>text</c> line by line; null when the contents were not compared.</param>
/// <param name="Changes">What differs, by key or in the order of the lines; empty when the file is in one run only.</param>
/// <param name="Note">Why less is shown than there is; null when all is shown.</param>
public sealed record ConfigFileComparison(string Path, ConfigState State, string? Format, IReadOnlyList<ConfigChange> Changes, string? Note);

/// <summary>One value that differs.</summary>
/// <param name="Key">Such as <c>optimizer.lr</c> or <c>layers[0]</c>; of a line its number in the run that has it, as <c>line 12</c>.</param>
/// <param name="State">Added, removed or changed.</param>
/// <param name="A">In run a; null when it is not there.</param>
/// <param name="B">In run b; null when it is not there.</param>
public sealed record ConfigChange(string Key, ConfigState State, string? A, string? B);
