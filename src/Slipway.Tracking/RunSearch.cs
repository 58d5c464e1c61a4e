using Slipway.Contracts.Identity;

namespace Slipway.Tracking;

/// <summary>Which of the living and the deleted a search sees.</summary>
public enum LifecycleView
{
    /// <summary>Those not in the bin.</summary>
    Active,

    /// <summary>Those in the bin.</summary>
    Deleted,

    /// <summary>All.</summary>
    All,
}

/// <summary>A search for runs, in MLflow's grammar.</summary>
/// <param name="ExperimentIds">Only runs of these; none means no runs.</param>
/// <param name="Filter">Such as <c>metrics.auc &gt; 0.7 AND tags.team = 'ops'</c>; null for all.</param>
/// <param name="OrderBy">Terms such as <c>metrics.auc DESC</c>; null for newest first.</param>
/// <param name="MaxResults">1 to 50,000.</param>
/// <param name="PageToken">From the page before; null for the first.</param>
/// <param name="View">Living, deleted or all.</param>
public sealed record RunSearch(
    IReadOnlyList<string> ExperimentIds, string? Filter = null, IReadOnlyList<string>? OrderBy = null, int MaxResults = 1000,
    string? PageToken = null, LifecycleView View = LifecycleView.Active);

/// <summary>A search for experiments.</summary>
/// <param name="Filter">Over name, creation_time, last_update_time and tags; null for all.</param>
/// <param name="OrderBy">Null for newest change first.</param>
/// <param name="MaxResults">1 to 50,000.</param>
/// <param name="PageToken">From the page before; null for the first.</param>
/// <param name="View">Living, deleted or all.</param>
/// <param name="Visible">Those that the caller may see, by id; null for all.</param>
public sealed record ExperimentSearch(
    string? Filter = null, IReadOnlyList<string>? OrderBy = null, int MaxResults = 1000, string? PageToken = null, LifecycleView View = LifecycleView.Active,
    ResourceFilter? Visible = null);
