using Slipway.Storage.Definitions;

namespace Slipway.Serving.Reviews;

/// <summary>Which of a model's predictions a person looks at, as a definition file of the kind <c>review</c> says it.</summary>
/// <param name="Model">The model, which the file is named after.</param>
/// <param name="From">Outputs from here,</param>
/// <param name="To">up to here, are reviewed.</param>
/// <param name="Sample">Share of the other predictions that is reviewed too, 0 to 1.</param>
/// <param name="OpenMax">Cases that may wait; beyond it predictions are not taken, and counted.</param>
/// <param name="IsLabel">Whether a decision becomes the prediction's label.</param>
/// <param name="Keep">How long decided cases are kept.</param>
internal sealed record ReviewSpec(string Model, double From, double To, double Sample, int OpenMax, bool IsLabel, TimeSpan Keep)
{
    public const string Kind = "review";

    /// <summary>Reads and checks a file.</summary>
    /// <exception cref="Contracts.SlipwayException">InvalidArgument: all faults of the file in one sentence.</exception>
    public static ReviewSpec Parse(DefinitionYaml yaml)
    {
        if (yaml.Text("kind") is var kind && kind.Length > 0 && kind != Kind)
        {
            yaml.Fault("kind", $"must be {Kind}, not '{kind}'");
        }

        var model = yaml.Text("name");
        var band = yaml.Map("band");
        var (from, to) = (band.Number("from"), band.Number("to"));
        if (!(from < to))
        {
            band.Fault("to", $"must be more than 'from' ({from})");
        }

        var keep = yaml.OptionalDuration("keep") ?? TimeSpan.FromDays(365);
        if (keep < TimeSpan.FromDays(1))
        {
            yaml.Fault("keep", "must be at least 1d");
        }

        var spec = new ReviewSpec(
            model, from, to, yaml.OptionalNumber("sample", 0, 1) ?? 0, yaml.OptionalInteger("max_open", 1, 1_000_000) ?? 1000, yaml.OptionalBool("labels") ?? false, keep);
        yaml.Done();
        return spec;
    }

    /// <summary>Why a prediction is reviewed; null when it is not.</summary>
    public string? Why(double output, ReadOnlySpan<byte> id) =>
        output >= From && output <= To ? "band" : Sample > 0 && RouteTable.Position("review\u001f"u8, id) < Sample ? "sample" : null;
}
