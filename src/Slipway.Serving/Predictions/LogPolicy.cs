using System.Collections.Frozen;
using Slipway.Storage.Definitions;

namespace Slipway.Serving.Predictions;

/// <summary>What of a model's predictions is logged, and for how long.</summary>
/// <param name="Share">Share of the requests, over 0 to 1.</param>
/// <param name="Redacted">Features and tensors whose values are never written; <c>entity_key</c> and <c>output</c> for those columns.</param>
/// <param name="Keep">Age at which predictions are deleted; null keeps them.</param>
public sealed record LogPolicy(double Share, IReadOnlySet<string> Redacted, TimeSpan? Keep)
{
    private const string Key = "entity_key";
    private const string Output = "output";

    /// <summary>Everything, for good.</summary>
    public static LogPolicy All { get; } = new(1, FrozenSet<string>.Empty, null);

    internal bool RedactsKey => Redacted.Contains(Key);

    internal bool RedactsOutput => Redacted.Contains(Output);

    /// <summary>Whether a prediction is in the sample: the same for the same id everywhere, so that a shadow's answer is there when the one it is compared with is.</summary>
    internal bool Takes(ReadOnlySpan<byte> id) => Share >= 1 || RouteTable.Position("log\u001f"u8, id) < Share;

    internal static LogPolicy Parse(DefinitionYaml log)
    {
        var keep = log.OptionalDuration("keep");
        if (keep < TimeSpan.FromDays(1))
        {
            log.Fault("keep", "must be at least 1d");
        }

        return new LogPolicy(log.OptionalNumber("sample", 0.0001, 1) ?? 1, log.Texts("redact").ToFrozenSet(StringComparer.Ordinal), keep);
    }
}
