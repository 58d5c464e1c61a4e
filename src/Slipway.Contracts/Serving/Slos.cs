namespace Slipway.Contracts.Serving;

/// <summary>How fast an error budget is spent: 1 spends it exactly within the window.</summary>
public enum SloAlertLevel
{
    /// <summary>As it should be.</summary>
    None,

    /// <summary>The budget will not last: look within days.</summary>
    Slow,

    /// <summary>A good part of the budget is gone in hours: look today.</summary>
    Medium,

    /// <summary>The budget is burning: look now.</summary>
    Fast,
}

/// <summary>One objective and how it is kept.</summary>
/// <param name="Name"><c>availability</c>, <c>latency</c> or <c>throughput</c>.</param>
/// <param name="Says">The objective in one sentence.</param>
/// <param name="Target">Share that has to be good, 0 to 1.</param>
/// <param name="Unit">What is counted: <c>requests</c> or <c>minutes</c>.</param>
/// <param name="Total">Counted in the window.</param>
/// <param name="Bad">Of them, not as the objective says.</param>
/// <param name="Attained">Share that was good; null when nothing was counted.</param>
/// <param name="BudgetLeft">Share of the error budget that is left, negative when more was spent than there is; null when nothing was counted.</param>
/// <param name="Burn">How fast the budget is spent, over three pairs of windows.</param>
/// <param name="Alert">What that means now.</param>
/// <param name="AlertSince">Since when; null without an alert.</param>
public sealed record SloObjectiveReport(
    string Name, string Says, double Target, string Unit, long Total, long Bad, double? Attained, double? BudgetLeft, IReadOnlyList<SloBurnReading> Burn, SloAlertLevel Alert, DateTimeOffset? AlertSince);

/// <summary>The burn rate over a long window and a short one, which says whether it still goes on.</summary>
/// <param name="Level">The alert that the pair raises.</param>
/// <param name="Limit">The rate that both have to exceed.</param>
/// <param name="LongMinutes">Length of the long window.</param>
/// <param name="Long">Its rate: the share of bad, as a multiple of what the objective allows.</param>
/// <param name="ShortMinutes">Length of the short window.</param>
/// <param name="Short">Its rate.</param>
public sealed record SloBurnReading(SloAlertLevel Level, double Limit, int LongMinutes, double Long, int ShortMinutes, double Short);

/// <summary>A model's objectives.</summary>
/// <param name="Model">The model.</param>
/// <param name="Window">Days over which the budget is counted.</param>
/// <param name="Objectives">As its definition has them.</param>
public sealed record SloReport(string Model, double Window, IReadOnlyList<SloObjectiveReport> Objectives);

/// <summary>An alert that stood.</summary>
/// <param name="Objective">Of which objective.</param>
/// <param name="Level">The highest it reached.</param>
/// <param name="OpenedAt">When it began.</param>
/// <param name="ClosedAt">When it ended; null while it stands.</param>
/// <param name="Reason">What was seen.</param>
public sealed record SloAlertReport(string Objective, SloAlertLevel Level, DateTimeOffset OpenedAt, DateTimeOffset? ClosedAt, string Reason);

/// <summary>One model's objectives with the alerts before.</summary>
/// <param name="Now">The objectives.</param>
/// <param name="Alerts">Newest first, at most 100.</param>
public sealed record SloDetails(SloReport Now, IReadOnlyList<SloAlertReport> Alerts);
