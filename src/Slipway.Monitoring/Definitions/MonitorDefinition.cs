using Slipway.Contracts.Monitoring;
using Slipway.Storage.Definitions;

namespace Slipway.Monitoring.Definitions;

/// <summary>Which performance metrics a monitor may set limits on.</summary>
internal enum PerformanceMetric
{
    Auc,
    LogLoss,
    Brier,
    Ece,
}

/// <summary>What a window is compared with.</summary>
internal enum ReferenceKind
{
    /// <summary>The training data of the version that served it.</summary>
    Training,

    /// <summary>What the version itself was served one season earlier; the training data until there is enough of it.</summary>
    Seasonal,
}

/// <summary>The <c>performance</c> part of a monitor.</summary>
/// <param name="Metric">The metric with limits.</param>
/// <param name="Window">Length of the rolling window.</param>
/// <param name="Every">How often it is computed; a multiple of the cadence.</param>
/// <param name="MinLabels">Fewer labels are not judged.</param>
/// <param name="WarningDrop">Worse than the baseline by this much is a warning.</param>
/// <param name="CriticalDrop">Worse by this much is critical.</param>
/// <param name="Threshold">Probability from which on the answer counts as yes, for accuracy, precision, recall and F1.</param>
internal sealed record PerformanceDefinition(
    PerformanceMetric Metric, TimeSpan Window, TimeSpan Every, int MinLabels, double WarningDrop, double CriticalDrop, double Threshold);

/// <summary>One entry of <c>actions</c>.</summary>
/// <param name="On">The kinds of alert that lead to it.</param>
/// <param name="Pipeline">The pipeline to run.</param>
/// <param name="Reason">Put before the measured reason; null adds nothing.</param>
/// <param name="Parameters">Pipeline parameters; values may hold templates.</param>
/// <param name="SustainedFor">How long the upper limit must have been crossed without a pause; zero: as long as <c>consecutive</c> says.</param>
/// <param name="AtMostEvery">Least event time between two of them.</param>
internal sealed record ActionDefinition(
    IReadOnlyList<AlertKind> On, string Pipeline, string? Reason, IReadOnlyDictionary<string, string> Parameters, TimeSpan SustainedFor, TimeSpan AtMostEvery);

/// <summary>What a <c>monitor</c> file declares.</summary>
internal sealed record MonitorDefinition
{
    public const string Kind = "monitor";

    public required string Name { get; init; }

    public required string Model { get; init; }

    public required string Owner { get; init; }

    public required string Procedure { get; init; }

    public required TimeSpan Cadence { get; init; }

    public required TimeSpan Window { get; init; }

    public required int MinRows { get; init; }

    public required double PsiInvestigate { get; init; }

    public required double PsiAct { get; init; }

    /// <summary>The band from which on drift counts as a breach.</summary>
    public required MonitorBand AlertFrom { get; init; }

    /// <summary>The features to watch; empty watches all.</summary>
    public required IReadOnlyList<string> Features { get; init; }

    public required ReferenceKind Reference { get; init; }

    public required TimeSpan Season { get; init; }

    public required PerformanceDefinition? Performance { get; init; }

    public required int Consecutive { get; init; }

    public required TimeSpan Cooldown { get; init; }

    public required IReadOnlyList<ActionDefinition> Actions { get; init; }

    public long CadenceMs => (long)Cadence.TotalMilliseconds;

    public long WindowMs => (long)Window.TotalMilliseconds;

    /// <summary>How far back a window reaches for rows, its reference included.</summary>
    public long ReachMs => WindowMs + (Reference == ReferenceKind.Seasonal ? (long)Season.TotalMilliseconds : 0);

    public bool Watches(string feature) => Features.Count == 0 || Features.Contains(feature);

    /// <summary>Reads a file, collecting every fault.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults in one sentence.</exception>
    public static MonitorDefinition Parse(DefinitionYaml yaml)
    {
        yaml.Text("kind");
        yaml.OptionalText("description");
        var cadence = Positive(yaml, "cadence", TimeSpan.FromHours(1));
        var window = MultipleOf(yaml, "window", TimeSpan.FromHours(24), cadence, "cadence");
        var psi = yaml.OptionalMap("psi");
        var (investigate, act) = (psi?.OptionalNumber("investigate", 0) ?? 0.1, psi?.OptionalNumber("act", 0) ?? 0.2);
        if (psi is not null && !(investigate > 0 && act >= investigate))
        {
            psi.Fault("act", $"must be at least 'investigate' ({investigate}), and both above 0");
        }

        var alertFrom = yaml.OptionalChoice<MonitorBand>("alert_from") ?? MonitorBand.Act;
        if (alertFrom is not (MonitorBand.Act or MonitorBand.Investigate))
        {
            yaml.Fault("alert_from", "must be investigate or act");
        }

        var reference = yaml.OptionalMap("reference");
        var definition = new MonitorDefinition
        {
            Name = yaml.Text("name"),
            Model = yaml.Text("model"),
            Owner = yaml.Text("owner"),
            Procedure = yaml.Text("procedure"),
            Cadence = cadence,
            Window = window,
            MinRows = yaml.OptionalInteger("min_rows", 1) ?? 500,
            PsiInvestigate = investigate,
            PsiAct = act,
            AlertFrom = alertFrom,
            Features = yaml.Texts("features") is ["all"] or [] ? [] : yaml.Texts("features"),
            Reference = reference?.OptionalChoice<ReferenceKind>("kind") ?? ReferenceKind.Training,
            Season = reference is null ? TimeSpan.FromDays(7) : MultipleOf(reference, "season", TimeSpan.FromDays(7), cadence, "cadence"),
            Performance = ReadPerformance(yaml.OptionalMap("performance"), cadence),
            Consecutive = yaml.OptionalInteger("consecutive", 1, 1000) ?? 3,
            Cooldown = yaml.OptionalDuration("cooldown") ?? TimeSpan.FromMinutes(15),
            Actions = [.. yaml.Maps("actions").Select(ReadAction)],
        };
        yaml.Done();
        return definition;
    }

    private static PerformanceDefinition? ReadPerformance(DefinitionYaml? yaml, TimeSpan cadence)
    {
        if (yaml is null)
        {
            return null;
        }

        var every = MultipleOf(yaml, "every", cadence, cadence, "cadence");
        var definition = new PerformanceDefinition(
            yaml.OptionalChoice<PerformanceMetric>("metric") ?? PerformanceMetric.Auc, MultipleOf(yaml, "window", TimeSpan.FromDays(7), cadence, "cadence"), every,
            yaml.OptionalInteger("min_labels", 2) ?? 500, yaml.OptionalNumber("warning_drop", 0) ?? 0.02, yaml.OptionalNumber("critical_drop", 0) ?? 0.05,
            yaml.OptionalNumber("threshold", 0, 1) ?? 0.5);
        if (!(definition.WarningDrop > 0 && definition.CriticalDrop >= definition.WarningDrop))
        {
            yaml.Fault("critical_drop", $"must be at least 'warning_drop' ({definition.WarningDrop}), and both above 0");
        }

        return definition;
    }

    private static ActionDefinition ReadAction(DefinitionYaml yaml)
    {
        var on = new List<AlertKind>();
        foreach (var text in yaml.Texts("on"))
        {
            if (Enum.TryParse<AlertKind>(text, ignoreCase: true, out var kind) && !char.IsAsciiDigit(text[0]))
            {
                on.Add(kind);
            }
            else
            {
                yaml.Fault("on", $"must list drift, performance or both, not '{text}'");
            }
        }

        if (on.Count == 0)
        {
            yaml.Fault("on", "must list drift, performance or both");
        }

        if (yaml.Text("do") is { Length: > 0 } act && act != "retrain")
        {
            yaml.Fault("do", $"must be retrain, not '{act}'");
        }

        var map = yaml.OptionalMap("parameters");
        var parameters = map?.AllTexts() ?? new Dictionary<string, string>();
        foreach (var (key, value) in parameters)
        {
            if (ParameterTemplate.FaultOf(value) is { } fault)
            {
                map!.Fault(key, fault);
            }
        }

        return new ActionDefinition(on, yaml.Text("pipeline"), yaml.OptionalText("reason"), parameters, yaml.OptionalDuration("sustained_for") ?? TimeSpan.Zero,
            Positive(yaml, "at_most_every", TimeSpan.FromDays(7)));
    }

    private static TimeSpan Positive(DefinitionYaml yaml, string key, TimeSpan fallback)
    {
        var value = yaml.OptionalDuration(key) ?? fallback;
        if (value < TimeSpan.FromMinutes(1) || value.Ticks % TimeSpan.TicksPerMinute != 0)
        {
            yaml.Fault(key, "must be a whole number of minutes, at least 1m");
            return fallback;
        }

        return value;
    }

    private static TimeSpan MultipleOf(DefinitionYaml yaml, string key, TimeSpan fallback, TimeSpan unit, string unitName)
    {
        var value = yaml.Has(key) ? Positive(yaml, key, unit) : fallback < unit ? unit : fallback;
        if (value.Ticks % unit.Ticks != 0)
        {
            yaml.Fault(key, $"must be a multiple of '{unitName}' ({unit})");
        }

        return value;
    }
}
