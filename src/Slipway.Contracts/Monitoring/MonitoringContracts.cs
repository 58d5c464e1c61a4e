namespace Slipway.Contracts.Monitoring;

/// <summary>Where a value lies against the monitor's limits.</summary>
public enum MonitorBand
{
    /// <summary>The value has no limits of its own; it is shown beside others.</summary>
    None,

    /// <summary>Too few rows or labels to judge; counts neither as a breach nor as quiet.</summary>
    Insufficient,

    /// <summary>Within limits.</summary>
    Ok,

    /// <summary>Drift: from the lower limit on; look at the feature.</summary>
    Investigate,

    /// <summary>Drift: from the upper limit on; retrain or escalate.</summary>
    Act,

    /// <summary>Performance: worse than the baseline by the lower margin.</summary>
    Warning,

    /// <summary>Performance: worse than the baseline by the upper margin.</summary>
    Critical,
}

/// <summary>What an alert is about.</summary>
public enum AlertKind
{
    /// <summary>Inputs or predictions are distributed unlike those of the baseline.</summary>
    Drift,

    /// <summary>Predictions fit the outcomes worse than on the test split.</summary>
    Performance,
}

/// <summary>How urgent an alert is.</summary>
public enum AlertSeverity
{
    /// <summary>The lower limit is crossed.</summary>
    Warning,

    /// <summary>The upper limit is crossed.</summary>
    Critical,
}

/// <summary>Whether an alert still stands.</summary>
public enum AlertStatus
{
    /// <summary>The breach goes on, or has been quiet for too short a time.</summary>
    Open,

    /// <summary>Quiet for as many windows as it took to open.</summary>
    Closed,
}

/// <summary>Where an action stands.</summary>
public enum MonitorActionStatus
{
    /// <summary>Decided, not yet started.</summary>
    Pending,

    /// <summary>The pipeline run exists.</summary>
    Started,

    /// <summary>It could not be started; the error says why.</summary>
    Failed,
}

/// <summary>One monitor in a listing.</summary>
/// <param name="Name">Unique.</param>
/// <param name="Model">The model it watches.</param>
/// <param name="Owner">Who answers its alerts.</param>
/// <param name="Procedure">What to do about them: a link or a text.</param>
/// <param name="DefinitionVersion">The definition in force.</param>
/// <param name="Band">The worst band of the newest window; none before the first.</param>
/// <param name="Windows">Windows evaluated so far.</param>
/// <param name="LastWindowEnd">End of the newest window, in event time; null before the first.</param>
/// <param name="OpenAlerts">Alerts that stand.</param>
public sealed record MonitorSummary(
    string Name, string Model, string Owner, string Procedure, long DefinitionVersion, MonitorBand Band, long Windows, DateTimeOffset? LastWindowEnd, int OpenAlerts);

/// <summary>The newest value of one metric of one subject.</summary>
/// <param name="Subject">A feature reference, <c>prediction</c> or <c>performance</c>.</param>
/// <param name="Metric"><c>psi</c>, <c>ks</c>, <c>ks_p</c>, <c>null_share</c>; or <c>auc</c>, <c>log_loss</c>, <c>brier</c>, <c>ece</c>, <c>accuracy</c>, <c>precision</c>, <c>recall</c>, <c>f1</c>, <c>label_coverage</c>.</param>
/// <param name="Value">The value.</param>
/// <param name="Band">Against the limits.</param>
/// <param name="N">Rows it was computed from.</param>
/// <param name="WindowEnd">End of its window, in event time.</param>
public sealed record ResultPoint(string Subject, string Metric, double Value, MonitorBand Band, long N, DateTimeOffset WindowEnd);

/// <summary>How a monitor computes its values; published with them, since a PSI means little without.</summary>
/// <param name="Reference">What the window is compared with.</param>
/// <param name="Bins">Which bins.</param>
/// <param name="ZeroFill">What becomes of empty bins.</param>
/// <param name="KolmogorovSmirnov">How the statistic and its p-value come about.</param>
/// <param name="Performance">How the rolling metrics come about.</param>
public sealed record MonitorMethod(string Reference, string Bins, string ZeroFill, string KolmogorovSmirnov, string Performance);

/// <summary>The limits in force.</summary>
/// <param name="PsiInvestigate">PSI from here on asks for a look.</param>
/// <param name="PsiAct">PSI from here on asks for action.</param>
/// <param name="PerformanceMetric">The metric with limits; null when performance is not watched.</param>
/// <param name="PerformanceBaseline">Its value on the test split of the version served; null when unknown.</param>
/// <param name="WarningLimit">Values beyond are a warning; null when unknown.</param>
/// <param name="CriticalLimit">Values beyond are critical; null when unknown.</param>
public sealed record MonitorLimits(
    double PsiInvestigate, double PsiAct, string? PerformanceMetric, double? PerformanceBaseline, double? WarningLimit, double? CriticalLimit);

/// <summary>A monitor as of now.</summary>
/// <param name="Summary">Name, owner and the worst band.</param>
/// <param name="Version">The model version of the newest window; null before the first.</param>
/// <param name="Rows">Predictions in the newest window.</param>
/// <param name="Watermark">The newest event time seen in the prediction log; null without predictions.</param>
/// <param name="Cadence">How often a window closes.</param>
/// <param name="Window">How long a drift window is.</param>
/// <param name="Limits">Limits in force.</param>
/// <param name="Method">How the values come about.</param>
/// <param name="Results">The newest value of every subject and metric.</param>
/// <param name="OpenAlerts">Alerts that stand, newest first.</param>
/// <param name="Actions">Actions taken, newest first.</param>
public sealed record MonitorStatus(
    MonitorSummary Summary, string? Version, long Rows, DateTimeOffset? Watermark, TimeSpan Cadence, TimeSpan Window, MonitorLimits Limits, MonitorMethod Method,
    IReadOnlyList<ResultPoint> Results, IReadOnlyList<AlertRecord> OpenAlerts, IReadOnlyList<MonitorActionRecord> Actions);

/// <summary>One feature over one calendar month (UTC) of event time.</summary>
/// <param name="Month">Such as <c>2001-05</c>.</param>
/// <param name="Version">The model version that served these rows.</param>
/// <param name="Subject">A feature reference, or <c>prediction</c>.</param>
/// <param name="Psi">Of all the month's rows against the version's baseline.</param>
/// <param name="Band">Of that PSI.</param>
/// <param name="Ks">Binned Kolmogorov-Smirnov distance.</param>
/// <param name="NullShare">Share of rows without a value.</param>
/// <param name="Rows">Rows of the month.</param>
public sealed record DriftByMonth(string Month, string Version, string Subject, double Psi, MonitorBand Band, double Ks, double NullShare, long Rows);

/// <summary>One alert. A monitor has at most one open per kind: all its breaching subjects are grouped in it.</summary>
/// <param name="Id">Unique.</param>
/// <param name="Monitor">The monitor.</param>
/// <param name="Model">Its model.</param>
/// <param name="Kind">About what.</param>
/// <param name="Severity">The worst since it opened.</param>
/// <param name="Status">Whether it stands.</param>
/// <param name="Message">One sentence with subject, value, limit and window.</param>
/// <param name="Subject">The worst subject of the newest breach.</param>
/// <param name="Metric">Its metric.</param>
/// <param name="Value">Its value.</param>
/// <param name="Limit">The limit it crossed.</param>
/// <param name="Peak">The worst value of the alert's life.</param>
/// <param name="Subjects">All subjects that breached in the newest breach.</param>
/// <param name="Windows">Windows with a breach while it was open.</param>
/// <param name="TimesOpened">More than 1 when it came back within the cooldown.</param>
/// <param name="Owner">Who answers.</param>
/// <param name="Procedure">What to do.</param>
/// <param name="FirstWindowEnd">The window that opened it, in event time.</param>
/// <param name="LastWindowEnd">The newest window with a breach.</param>
/// <param name="ClosedWindowEnd">The window that closed it; null while open.</param>
/// <param name="OpenedAt">Server time.</param>
/// <param name="ClosedAt">Server time; null while open.</param>
/// <param name="AcknowledgedBy">Who has seen it; null when nobody said so.</param>
/// <param name="AcknowledgedAt">When.</param>
/// <param name="Comment">What they said.</param>
public sealed record AlertRecord(
    string Id, string Monitor, string Model, AlertKind Kind, AlertSeverity Severity, AlertStatus Status, string Message,
    string Subject, string Metric, double Value, double Limit, double Peak, IReadOnlyList<string> Subjects, int Windows, int TimesOpened,
    string Owner, string Procedure, DateTimeOffset FirstWindowEnd, DateTimeOffset LastWindowEnd, DateTimeOffset? ClosedWindowEnd,
    DateTimeOffset OpenedAt, DateTimeOffset? ClosedAt, string? AcknowledgedBy, DateTimeOffset? AcknowledgedAt, string? Comment);

/// <summary>One action a monitor took.</summary>
/// <param name="Id">Unique; part of the reason of what it started.</param>
/// <param name="Monitor">The monitor.</param>
/// <param name="AlertId">The alert that led to it.</param>
/// <param name="Action"><c>retrain</c>.</param>
/// <param name="Trigger"><c>drift</c> or <c>performance</c>.</param>
/// <param name="Pipeline">The pipeline to run.</param>
/// <param name="Reason">Subject, value, limit and window.</param>
/// <param name="Parameters">The pipeline's parameters, templates filled in.</param>
/// <param name="WindowEnd">The window that decided it, in event time.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="PipelineRunId">The run it started; null before.</param>
/// <param name="Error">Why it could not be started; null otherwise.</param>
/// <param name="DecidedAt">Server time.</param>
public sealed record MonitorActionRecord(
    string Id, string Monitor, string AlertId, string Action, string Trigger, string Pipeline, string Reason, IReadOnlyDictionary<string, string> Parameters,
    DateTimeOffset WindowEnd, MonitorActionStatus Status, string? PipelineRunId, string? Error, DateTimeOffset DecidedAt);

/// <summary>Answer of <c>POST /monitors/{name}/run</c>.</summary>
/// <param name="Monitor">The monitor.</param>
/// <param name="Watermark">Windows up to here are closed; null without predictions.</param>
/// <param name="WindowsEvaluated">Drift windows closed by this call.</param>
/// <param name="PerformanceWindows">Performance windows computed by this call, among them those that late labels opened again.</param>
/// <param name="AlertsOpened">Alerts opened, or opened again.</param>
/// <param name="AlertsClosed">Alerts closed.</param>
/// <param name="ActionsDecided">Actions decided.</param>
public sealed record MonitorRunReport(
    string Monitor, DateTimeOffset? Watermark, int WindowsEvaluated, int PerformanceWindows, int AlertsOpened, int AlertsClosed, int ActionsDecided);

/// <summary>Body of <c>POST /alerts/{id}/acknowledge</c>.</summary>
/// <param name="Comment">What is being done about it.</param>
public sealed record AcknowledgeAlert(string? Comment = null);
