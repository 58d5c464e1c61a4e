using System.Globalization;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Slos;

/// <summary>One objective.</summary>
/// <param name="Name"><c>availability</c>, <c>latency</c> or <c>throughput</c>.</param>
/// <param name="Target">Share that has to be good, over 0 and under 1.</param>
/// <param name="Limit">Milliseconds of latency, requests a second of throughput; 0 for availability.</param>
internal sealed record SloObjective(string Name, double Target, double Limit)
{
    public const string Availability = "availability";
    public const string Latency = "latency";
    public const string Throughput = "throughput";

    /// <summary>What is counted.</summary>
    public string Unit => Name == Throughput ? "minutes" : "requests";

    public string Says => Name switch
    {
        Availability => string.Create(CultureInfo.InvariantCulture, $"{Target:0.###%} of the requests are answered"),
        Latency => string.Create(CultureInfo.InvariantCulture, $"{Target:0.###%} of the requests take no longer than {Limit:0.###} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"in {Target:0.###%} of the minutes up to {Limit:0.###} requests a second are taken without refusing one"),
    };
}

/// <summary>What a model's callers are promised, as a definition file of the kind <c>slo</c> says it.</summary>
/// <param name="Model">The model, which the file is named after.</param>
/// <param name="Window">Over which the error budget is counted, 1 to 90 days.</param>
/// <param name="Objectives">At least one.</param>
internal sealed record SloSpec(string Model, TimeSpan Window, IReadOnlyList<SloObjective> Objectives)
{
    public const string Kind = "slo";

    /// <summary>The latency limit in milliseconds; null when there is none.</summary>
    public double? SlowMs => Objectives.FirstOrDefault(objective => objective.Name == SloObjective.Latency)?.Limit;

    /// <summary>The rate up to which no request may be refused; null when there is none.</summary>
    public double? PerSecond => Objectives.FirstOrDefault(objective => objective.Name == SloObjective.Throughput)?.Limit;

    /// <summary>Reads and checks a file.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    public static SloSpec Parse(DefinitionYaml yaml)
    {
        if (yaml.Text("kind") is var kind && kind.Length > 0 && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        var model = yaml.Text("name");
        var window = yaml.OptionalDuration("window") ?? TimeSpan.FromDays(28);
        if (window < TimeSpan.FromDays(1) || window > TimeSpan.FromDays(90))
        {
            yaml.Fault("window", "must be from 1d to 90d");
        }

        var objectives = new List<SloObjective>();
        if (yaml.OptionalNumber("availability", 0.5, 0.999999) is { } availability)
        {
            objectives.Add(new SloObjective(SloObjective.Availability, availability, 0));
        }

        if (yaml.OptionalMap("latency") is { } latency)
        {
            objectives.Add(new SloObjective(SloObjective.Latency, latency.Number("percentile", 50, 99.9999) / 100, latency.Number("max_ms", 0.02, 3_600_000)));
        }

        if (yaml.OptionalMap("throughput") is { } throughput)
        {
            objectives.Add(new SloObjective(SloObjective.Throughput, throughput.Number("objective", 0.5, 0.999999), throughput.Number("per_second", 0.001, 10_000_000)));
        }

        if (objectives.Count == 0)
        {
            yaml.Fault("availability", "is missing, and so are latency and throughput; promise at least one, such as availability: 0.999");
        }

        yaml.Done();
        return new SloSpec(model, window, objectives);
    }
}
