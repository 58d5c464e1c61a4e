using Slipway.Contracts.Serving;

namespace Slipway.Serving.Slos;

/// <summary>What was counted in some window.</summary>
/// <param name="Total">All.</param>
/// <param name="Bad">Not as the objective says.</param>
internal readonly record struct SloCounts(long Total, long Bad)
{
    /// <summary>The share of bad as a multiple of what the objective allows; 0 when nothing was counted.</summary>
    public double Burn(double target) => Total == 0 ? 0 : (double)Bad / Total / (1 - target);
}

/// <summary>A pair of windows: the long one says that enough of the budget is gone to tell somebody, the short one that it still goes on.</summary>
/// <param name="Level">The alert it raises.</param>
/// <param name="Factor">The burn rate that both have to exceed.</param>
/// <param name="Long">Length.</param>
/// <param name="Short">Length.</param>
internal sealed record SloPair(SloAlertLevel Level, double Factor, TimeSpan Long, TimeSpan Short);

/// <summary>
/// Alerts on burn rates over several windows: Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"
/// (https://sre.google/workbook/alerting-on-slos/): 14.4 times over an hour and five minutes, 6 times over six hours and thirty minutes, once over three days and
/// six hours, of a window of 30 days. Other windows stretch these.
/// </summary>
internal static class SloBurn
{
    /// <summary>Bad events in the long window below which nobody is told: a service with a request a minute is not burning because one failed.</summary>
    public const int BadMin = 5;

    private static readonly TimeSpan Reference = TimeSpan.FromDays(30);

    /// <summary>The pairs of a window, the most urgent first.</summary>
    public static IReadOnlyList<SloPair> Pairs(TimeSpan window)
    {
        TimeSpan Of(double minutes, double least) => TimeSpan.FromMinutes(Math.Max(least, Math.Round(minutes * (window / Reference))));
        return
        [
            new(SloAlertLevel.Fast, 14.4, Of(60, 5), Of(5, 1)),
            new(SloAlertLevel.Medium, 6, Of(360, 15), Of(30, 2)),
            new(SloAlertLevel.Slow, 1, Of(4320, 60), Of(360, 5)),
        ];
    }

    /// <summary>The most urgent pair that both windows exceed; None when there is none.</summary>
    /// <param name="target">The objective's.</param>
    /// <param name="pairs">With what was counted in the long and in the short window.</param>
    public static SloAlertLevel Decide(double target, IEnumerable<(SloPair Pair, SloCounts Long, SloCounts Short)> pairs)
    {
        foreach (var (pair, @long, @short) in pairs)
        {
            if (@long.Bad >= BadMin && @long.Burn(target) > pair.Factor && @short.Burn(target) > pair.Factor)
            {
                return pair.Level;
            }
        }

        return SloAlertLevel.None;
    }
}
