namespace Slipway.Contracts.Serving;

/// <summary>One version's time in one role.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Model">Model.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Arm"><c>stable</c>, <c>candidate</c> or <c>shadow</c>.</param>
/// <param name="StartedAt">When it took the role.</param>
/// <param name="EndedAt">When it lost it; null while it holds it.</param>
/// <param name="Outcome"><c>replaced</c>, <c>promoted</c>, <c>stepped</c>, <c>rolled_back</c>, <c>stopped</c> …; null while it holds it.</param>
/// <param name="Reason">Why it ended; why it started while it holds it.</param>
public sealed record DeploymentRecord(
    string Id, string Model, string Version, string Arm, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? Outcome, string Reason);

/// <summary>Logged predictions of one version in one role.</summary>
/// <param name="Version">Semantic version.</param>
/// <param name="Arm"><c>stable</c>, <c>candidate</c>, <c>shadow</c> or <c>direct</c>.</param>
/// <param name="Predictions">Different prediction ids: a request that a client repeated counts once.</param>
/// <param name="Failed">Of these, the ones that failed.</param>
public sealed record LoggedPredictionCount(string Version, string Arm, long Predictions, long Failed);

/// <summary>What one arm has served since its version was loaded.</summary>
/// <param name="Arm"><c>stable</c> or <c>candidate</c>.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Share">Its part of the traffic, 0 to 1.</param>
/// <param name="Requests">Requests.</param>
/// <param name="Rows">Rows scored.</param>
/// <param name="Errors">Requests it failed.</param>
/// <param name="ErrorRate">Errors by requests; 0 without requests.</param>
/// <param name="LatencyMsP50">Median, ms.</param>
/// <param name="LatencyMsP95">95th percentile, ms.</param>
/// <param name="LatencyMsP99">99th percentile, ms.</param>
public sealed record ArmReport(
    string Arm, string Version, double Share, long Requests, long Rows, long Errors, double ErrorRate, double LatencyMsP50, double LatencyMsP95, double LatencyMsP99);

/// <summary>A shadow against the stable version.</summary>
/// <param name="Version">The shadow's version.</param>
/// <param name="Compared">Rows that both scored.</param>
/// <param name="DisagreementRate">Share of rows on which they disagree.</param>
/// <param name="DecisionsDiffer">Rows whose decision differs.</param>
/// <param name="MaxDifference">Largest |difference| of the outputs.</param>
/// <param name="MeanDifference">Mean |difference|.</param>
/// <param name="Errors">Requests that the shadow failed.</param>
/// <param name="Dropped">Requests not mirrored because the queue was full.</param>
/// <param name="LatencyMsP95">The shadow's 95th percentile, ms.</param>
public sealed record ShadowReport(
    string Version, long Compared, double DisagreementRate, long DecisionsDiffer, double MaxDifference, double MeanDifference, long Errors, long Dropped, double LatencyMsP95);

/// <summary>One arm in one interval.</summary>
/// <param name="At">Start of the interval.</param>
/// <param name="Arm"><c>stable</c> or <c>candidate</c>.</param>
/// <param name="Version">Semantic version.</param>
/// <param name="Requests">Requests in it.</param>
/// <param name="Errors">Errors in it.</param>
/// <param name="LatencyMsP50">Median, ms.</param>
/// <param name="LatencyMsP95">95th percentile, ms.</param>
/// <param name="LatencyMsP99">99th percentile, ms.</param>
public sealed record TrafficPoint(
    DateTimeOffset At, string Arm, string Version, long Requests, long Errors, double LatencyMsP50, double LatencyMsP95, double LatencyMsP99);

/// <summary>What runs for a model now.</summary>
/// <param name="Model">Model.</param>
/// <param name="Ready">Whether its production version answers.</param>
/// <param name="Sticky">Whether a key always meets the same version; false: each request is assigned by itself, so that one user may meet both.</param>
/// <param name="Arms">The versions that answer.</param>
/// <param name="Shadow">The version that sees copies; null when none does.</param>
/// <param name="LoadFailure">Why the production version could not be loaded; the one before it goes on answering. Null when it was.</param>
public sealed record DeploymentSummary(string Model, bool Ready, bool Sticky, IReadOnlyList<ArmReport> Arms, ShadowReport? Shadow, string? LoadFailure);

/// <summary>What runs for a model, what ran before, and the traffic of the last hours.</summary>
/// <param name="Now">What runs.</param>
/// <param name="History">Roles held, newest first.</param>
/// <param name="Traffic">Intervals since the server started, oldest first.</param>
/// <param name="PredictionsLogged">Rows logged by this server since it started, of all models.</param>
/// <param name="PredictionsDropped">Requests answered but not logged.</param>
public sealed record DeploymentReport(
    DeploymentSummary Now, IReadOnlyList<DeploymentRecord> History, IReadOnlyList<TrafficPoint> Traffic, long PredictionsLogged, long PredictionsDropped)
{
    /// <summary>The definition of kind <c>serving</c> that is applied to the model, as its YAML; null when there is none.</summary>
    public string? Serving { get; init; }

    /// <summary>The model's scaling policy; null when it has none.</summary>
    public ScalingReport? Scaling { get; init; }
}

/// <summary>How much of a model is kept ready, and how many requests are enough for one server.</summary>
/// <param name="Min">Servers that keep it in memory while nobody asks; with 0 each gives it back.</param>
/// <param name="Max">Runs at once, and the most servers; null when the policy does not say.</param>
/// <param name="Target">Requests that run or wait on each server before there should be another; null when the policy does not say.</param>
/// <param name="IdleSeconds">With a <paramref name="Min"/> of 0, how long a version answers nothing before it is given back.</param>
public sealed record ScalingReport(int Min, int? Max, int? Target, double IdleSeconds);
