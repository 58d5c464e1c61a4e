using Slipway.Storage.Definitions;

namespace Slipway.Serving.Streams;

/// <summary>Events that a model scores, as a definition file of the kind <c>stream</c> says it.</summary>
/// <param name="Name">The definition's name.</param>
/// <param name="Model">Who scores: as any request, so that rollouts, queue, log and statistics hold.</param>
/// <param name="Input">Redis stream that is read.</param>
/// <param name="Output">Redis stream that answers are added to.</param>
/// <param name="DeadLetter">Redis stream for events that cannot be scored.</param>
/// <param name="Group">Consumer group: servers of one group share the events.</param>
/// <param name="Batch">Most events that are read at once.</param>
/// <param name="KeepOutput">About how many answers the output keeps; null keeps all.</param>
/// <param name="Retry">After so long without an answer an event is taken up again, whoever read it.</param>
/// <param name="DeliveriesMax">Deliveries after which an event that the model fails on is set aside.</param>
internal sealed record StreamSpec(
    string Name, string Model, string Input, string Output, string DeadLetter, string Group, int Batch, int? KeepOutput, TimeSpan Retry, int DeliveriesMax)
{
    public const string Kind = "stream";

    /// <summary>Reads and checks a file.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    public static StreamSpec Parse(DefinitionYaml yaml)
    {
        if (yaml.Text("kind") is var kind && kind.Length > 0 && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        var (name, input, output) = (yaml.Text("name"), yaml.Filled("input"), yaml.Filled("output"));
        var dead = yaml.OptionalFilled("dead_letter") ?? $"{input}:dead";
        if ((output == input && input.Length > 0) || dead == input || dead == output)
        {
            yaml.Fault(output == input ? "output" : "dead_letter", "must be another stream than the others, or the answers would be read as events");
        }

        var retry = yaml.OptionalDuration("retry") ?? TimeSpan.FromSeconds(30);
        if (retry < TimeSpan.FromSeconds(1) || retry > TimeSpan.FromDays(1))
        {
            yaml.Fault("retry", "must be from 1s to 1d");
        }

        var spec = new StreamSpec(
            name, yaml.Filled("model"), input, output, dead, yaml.OptionalFilled("group") ?? "slipway", yaml.OptionalInteger("batch", 1, 1000) ?? 64, yaml.OptionalInteger("keep_output", 1),
            retry, yaml.OptionalInteger("max_deliveries", 1, 1000) ?? 5);
        yaml.Done();
        return spec;
    }
}
