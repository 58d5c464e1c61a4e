using System.Diagnostics.Metrics;
using Slipway.Contracts;
using Slipway.Contracts.Serving;

namespace Slipway.Serving.Slos;

/// <summary>How the objectives are kept; the budgets also as gauges of the meter <c>Slipway.Serving</c>.</summary>
public sealed class SloReports
{
    private readonly SloStore _store;
    private readonly TimeProvider _clock;

    internal SloReports(SloStore store, TimeProvider clock, IMeterFactory meters)
    {
        (_store, _clock) = (store, clock);
        var meter = meters.Create("Slipway.Serving.Slos");
        meter.CreateObservableGauge("slipway.serving.slo_budget_left", () => Measure(objective => objective.BudgetLeft ?? 1), "1", "Share of the error budget that is left");
        meter.CreateObservableGauge("slipway.serving.slo_burn_rate", () => Measure(objective => objective.Burn[0].Long), "1", "How many times too fast the error budget is spent, over the window of the fast alert");
    }

    /// <summary>All models that have objectives.</summary>
    public IReadOnlyList<SloReport> List() => [.. _store.Specs().Select(Of).OrderBy(report => report.Model, StringComparer.Ordinal)];

    /// <summary>One model's; null when it has none.</summary>
    public SloDetails? Find(string model) => _store.Find(model) is { } spec ? new SloDetails(Of(spec), _store.Alerts(model)) : null;

    /// <summary>One model's.</summary>
    /// <exception cref="SlipwayException">NotFound: it has none.</exception>
    public SloDetails Get(string model) => Find(model) ?? throw new SlipwayException(
        ErrorCode.NotFound, $"Model '{model}' has no objectives; apply a definition of the kind slo that is named after it.");

    internal SloReport Of(SloSpec spec)
    {
        var open = _store.Open(spec.Model);
        return new SloReport(spec.Model, spec.Window.TotalDays, [.. spec.Objectives.Select(objective => Of(spec, objective, open))]);
    }

    internal SloAlertLevel Decide(SloSpec spec, string objective)
    {
        var found = spec.Objectives.First(candidate => candidate.Name == objective);
        var pairs = SloBurn.Pairs(spec.Window);
        var counts = _store.Count(spec, found, _clock.GetUtcNow(), [.. pairs.Select(pair => pair.Long), .. pairs.Select(pair => pair.Short)]);
        return SloBurn.Decide(found.Target, pairs.Select((pair, i) => (pair, counts[i], counts[pairs.Count + i])));
    }

    private SloObjectiveReport Of(SloSpec spec, SloObjective objective, IReadOnlyDictionary<string, (SloAlertLevel Level, DateTimeOffset Since)> open)
    {
        var pairs = SloBurn.Pairs(spec.Window);
        var counts = _store.Count(spec, objective, _clock.GetUtcNow(), [.. pairs.Select(pair => pair.Long), .. pairs.Select(pair => pair.Short), spec.Window]);
        var whole = counts[^1];
        var alert = open.TryGetValue(objective.Name, out var standing) ? standing : default;
        return new SloObjectiveReport(
            objective.Name, objective.Says, objective.Target, objective.Unit, whole.Total, whole.Bad,
            whole.Total == 0 ? null : 1 - ((double)whole.Bad / whole.Total), whole.Total == 0 ? null : 1 - whole.Burn(objective.Target),
            [.. pairs.Select((pair, i) => new SloBurnReading(
                pair.Level, pair.Factor, (int)pair.Long.TotalMinutes, counts[i].Burn(objective.Target), (int)pair.Short.TotalMinutes, counts[pairs.Count + i].Burn(objective.Target)))],
            alert.Level, alert.Level is SloAlertLevel.None ? null : alert.Since);
    }

    private IEnumerable<Measurement<double>> Measure(Func<SloObjectiveReport, double> value) =>
        [.. List().SelectMany(report => report.Objectives.Select(objective => new Measurement<double>(value(objective), new("model", report.Model), new KeyValuePair<string, object?>("objective", objective.Name))))];
}
