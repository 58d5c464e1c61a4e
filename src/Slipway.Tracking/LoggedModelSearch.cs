namespace Slipway.Tracking;

/// <summary>A dataset whose metrics a search looks at.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Digest">Its digest; null for any.</param>
public sealed record DatasetChoice(string Name, string? Digest);

/// <summary>One term of the order of logged models.</summary>
/// <param name="Field">An attribute such as <c>creation_timestamp</c>, or <c>metrics.auc</c>, <c>params.depth</c>, <c>tags.team</c>.</param>
/// <param name="Descending">Largest first.</param>
/// <param name="Dataset">For a metric: only its values on this dataset; null for all.</param>
public sealed record LoggedModelOrder(string Field, bool Descending, DatasetChoice? Dataset);

/// <summary>A search for logged models, in MLflow's grammar.</summary>
/// <param name="ExperimentIds">Only models of these; none means no models.</param>
/// <param name="Filter">Such as <c>metrics.auc &gt; 0.7 AND tags.team = 'ops'</c>; null for all.</param>
/// <param name="Datasets">Metrics count on these datasets only; null for all. Without a metric in the filter: models measured on one of them.</param>
/// <param name="OrderBy">Null for newest first.</param>
/// <param name="MaxResults">1 to 50,000.</param>
/// <param name="PageToken">From the page before; null for the first.</param>
public sealed record LoggedModelSearch(
    IReadOnlyList<string> ExperimentIds, string? Filter = null, IReadOnlyList<DatasetChoice>? Datasets = null, IReadOnlyList<LoggedModelOrder>? OrderBy = null,
    int MaxResults = 100, string? PageToken = null);
