namespace Slipway.Contracts.Tracking;

/// <summary>Curves for a screen: answer of <c>GET /api/slipway/v1/metric-series</c>.</summary>
/// <param name="X">What x counts: <c>step</c>, or <c>time</c> in Unix milliseconds.</param>
/// <param name="Series">One for each run and metric that has points, in the order asked for.</param>
public sealed record MetricSeriesList(string X, IReadOnlyList<MetricSeriesCurve> Series);

/// <summary>One metric of one run, thinned where it is longer than what was asked for.</summary>
/// <param name="RunId">The run.</param>
/// <param name="RunName">Its name.</param>
/// <param name="StartTimeMs">When the run began, in Unix milliseconds: x minus this is relative time.</param>
/// <param name="Key">The metric.</param>
/// <param name="Count">Points in the range asked for.</param>
/// <param name="Gaps">Of these, how many are NaN or infinite.</param>
/// <param name="X">Ascending.</param>
/// <param name="Y">One for each x; null is a gap.</param>
public sealed record MetricSeriesCurve(
    string RunId, string RunName, long StartTimeMs, string Key, long Count, long Gaps, IReadOnlyList<long> X, IReadOnlyList<double?> Y);
